"""The baselines that ours is measured beside compute what they stand for, and the timings count what they say."""

from __future__ import annotations

import pytest
import torch
from models import SEPARATORS, VOCABULARY, tiny

from sepllm import SeparatorSet, SepCache, SepPolicy, StreamingPolicy
from sepllm.baselines import ConcatenatingSepCache
from sepllm.speed import decode_times, fill, random_text, stored_bytes, update_share

MARKS = SeparatorSet(SEPARATORS, VOCABULARY)


def test_the_concatenating_algorithm_keeps_the_same_tokens():
    """Ours with the authors' moment of compression and unshifted positions gives its logits, token by token."""
    policy = StreamingPolicy(a=2, s=3, w=5, c=14, compress_at="sepcache_code", positions="text")
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCABULARY, (1, 90), generator=generator)
    ids[0, ::5] = SEPARATORS[0]
    theirs, ours = ConcatenatingSepCache(2, policy, MARKS), SepCache(tiny(), policy, MARKS)
    with torch.no_grad():
        for i in range(90):
            token = ids[:, i : i + 1]
            theirs.ids = token
            expected = tiny()(token, past_key_values=theirs, position_ids=torch.tensor([[i]])).logits
            assert (tiny()(token, past_key_values=ours).logits - expected).abs().max() < 1e-12


@pytest.mark.parametrize("context", [70, 200])
def test_filled_caches_have_the_bytes_of_their_tokens(context):
    model, slot = tiny(), 2 * 2 * 2 * 8 * 8  # keys and values, layers, heads, head size, bytes
    ids = random_text(MARKS, context, 0.2)
    assert abs(MARKS.coverage(ids) - 0.2) < 0.15
    cache = fill(SepCache(model, StreamingPolicy(a=2, s=4, w=16, c=40), MARKS), model, ids)
    assert stored_bytes(cache) == 40 * slot and cache.get_seq_length() == context
    cache = fill(SepCache(model, SepPolicy(a=2, n=16), MARKS), model, ids)
    assert sum(cache.kept_tokens()) // 2 == int(MARKS.lut()[ids[0, 2 : context - 15]].sum()) + 2 + 15


def test_decode_times_name_every_cache_with_its_bound():
    policies = {"StreamingPolicy": StreamingPolicy(a=2, s=4, w=16, c=40)}
    rows = {r["cache"]: r for r in decode_times(tiny(), MARKS, policies, 100, 0.2, repeats=1)}
    assert set(rows) == {"DynamicCache", "StaticCache", "StreamingPolicy", "StreamingPolicy, concatenating"}
    assert rows["StreamingPolicy"]["bound"] > rows["DynamicCache"]["bound"] == 1
    assert 0 < update_share(tiny(), MARKS, policies["StreamingPolicy"], 100, 0.2) < 1
