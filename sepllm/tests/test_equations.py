"""Each equation against its words, a closed form, or counting."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import SEPARATORS, VOCABULARY, tiny
from reference import UnrotatedStreaming, brute_mask

from sepllm import SeparatorSet, SepCache, SepPolicy, StreamingPolicy, attention_ratio, sep_mask
from sepllm.flops import flops_per_token, kv_bytes_per_token, speedup_bound
from sepllm.mask import additive, lives_of, mask_mod, visible, visible_keys
from sepllm.policy import FixedIntervalPolicy, RandomPolicy, WindowPolicy

MARKS = SeparatorSet(SEPARATORS, VOCABULARY)


@st.composite
def batches(draw, longest=40):
    length = draw(st.integers(1, longest))
    rows = draw(st.integers(1, 3))
    density = draw(st.sampled_from([0.0, 0.15, 0.5, 1.0]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    ids = torch.randint(6, VOCABULARY, (rows, length), generator=generator)
    ids[torch.rand(rows, length, generator=generator) < density] = SEPARATORS[0]
    pads = torch.tensor([draw(st.integers(0, length - 1)) if r else 0 for r in range(rows)])
    return ids, torch.arange(length) >= pads[:, None]


@settings(max_examples=40, deadline=None)
@given(batches(), st.integers(0, 5), st.integers(1, 12), st.sampled_from([None, 1, 3]))
def test_mask_is_equation_1(batch, a, n, cap):
    ids, valid = batch
    policy = SepPolicy(a=a, n=n, sep_cap=cap)
    mask = sep_mask(policy, ids, MARKS, valid)[:, 0]
    expected = brute_mask(ids, valid, SEPARATORS, a, n, cap)
    assert torch.equal(mask & valid[:, :, None], expected)
    padded = torch.eye(ids.shape[1], dtype=torch.bool) & ~valid[:, :, None]
    assert torch.equal(mask & ~valid[:, :, None], padded)  # a padding query sees itself, so no softmax is empty
    lives = lives_of(policy, MARKS.lut()[ids], n, valid)
    assert torch.equal(visible_keys(lives), expected.sum(-1))
    triangle = brute_mask(ids, valid, SEPARATORS, a, 10**6)
    assert attention_ratio(lives) == pytest.approx(float(expected.sum() / triangle.sum()))


def test_every_form_of_the_mask_says_the_same():
    ids = torch.randint(0, VOCABULARY, (2, 20), generator=torch.Generator().manual_seed(0))
    valid = torch.arange(20) >= torch.tensor([[0], [4]])
    lives = lives_of(SepPolicy(a=2, n=5), MARKS.lut()[ids], 5, valid)
    mask = visible(lives)
    mod = mask_mod(lives)
    b, q, k = torch.meshgrid(torch.arange(2), torch.arange(20), torch.arange(20), indexing="ij")
    assert torch.equal(mod(b, torch.zeros_like(b), q, k), mask[:, 0])
    assert torch.equal(additive(mask, torch.float32) == 0, mask)


def test_windows_by_layer_and_by_head():
    assert SepPolicy(n=8, layers="H").windows(4, 2)[1:] == [8, 8, 8]
    full = [n > 10**9 for n in SepPolicy(n=8, layers="H/T").windows(4, 2)]
    assert full == [True, False, False, True]
    assert [n > 10**9 for n in SepPolicy(n=8, layers="H/M/T").windows(12, 2)].index(
        True, 1
    ) == 5  # the authors' layer 5
    ids = torch.full((1, 12), 9)
    mask = visible(lives_of(WindowPolicy(a=1, heads=(3, None)), MARKS.lut()[ids], (3, 1 << 60)))
    assert torch.equal(mask[0, 1], torch.ones(12, 12).tril().bool())
    assert mask[0, 0, 11].nonzero().flatten().tolist() == [0, 9, 10, 11]


def test_fixed_interval_is_the_same_as_separators_at_those_places():
    positions = torch.arange(30)[None]
    every = torch.where(positions % 4 == 0, SEPARATORS[0], 9)
    fixed = FixedIntervalPolicy(a=2, n=5, delta=4)
    a = visible(lives_of(fixed, torch.zeros_like(every).bool(), 5))
    b = visible(lives_of(SepPolicy(a=2, n=5), MARKS.lut()[every], 5))
    assert torch.equal(a, b)


def test_random_tokens_are_fixed_by_position_and_seed():
    positions = torch.arange(20000)[None]
    none = torch.zeros_like(positions).bool()
    first, second = (RandomPolicy(rho=0.2, seed=s).between(none, positions) for s in (0, 1))
    assert torch.equal(first, RandomPolicy(rho=0.2, seed=0).between(none, positions))
    assert abs(float(first.float().mean()) - 0.2) < 0.01 and not torch.equal(first, second)


def test_packed_documents_do_not_see_each_other():
    ids = torch.tensor([[9, 3, 9, 9, 9, 9, 3, 9, 9]])
    first = torch.tensor([[1, 0, 0, 0, 1, 0, 0, 0, 0]]).bool()
    mask = visible(lives_of(SepPolicy(a=1, n=2), MARKS.lut()[ids], 2, first_of_document=first))[0, 0]
    alone = [sep_mask(SepPolicy(a=1, n=2), part, MARKS)[0, 0] for part in (ids[:, :4], ids[:, 4:])]
    assert torch.equal(mask, torch.block_diag(*alone).bool())


WORDS = ["A", "B", "C", ",", "D", "E", ".", "F", "G", "\n", "H", "I", ",", "J"]
EXAMPLE = StreamingPolicy(a=2, s=2, w=4, c=11)


def names(cache, words):
    slots = next(iter(cache.groups.values()))
    return [words[p] for p in slots.positions[0, : slots.sizes[0]].tolist()]


def test_the_worked_example_of_four_blocks():
    """a = 2, s = 2, w = 4, c = 11: compressions after H and after J, the oldest separator leaves in the second."""
    ids = torch.tensor([[{",": 3, ".": 4, "\n": 5}.get(w, 10 + i) for i, w in enumerate(WORDS)]])
    cache = SepCache(tiny(), EXAMPLE, MARKS)
    slots = next(iter(cache.groups.values()))
    sizes, seen = [], {}
    for i, word in enumerate(WORDS):
        tiny()(ids[:, i : i + 1], past_key_values=cache)
        sizes.append(slots.sizes[0])
        seen[word] = names(cache, WORDS)
    assert seen["H"] == ["A", "B", "C", ",", "D", "E", ".", "F", "G", "\n", "H"]  # attended, 11 keys
    assert seen["I"] == ["A", "B", ",", ".", "F", "G", "\n", "H", "I"]
    tiny()(ids[:, :1], past_key_values=cache)  # the next token finds the store compressed
    assert names(cache, [*WORDS, "K"]) == ["A", "B", ".", "\n", "H", "I", ",", "J", "K"]
    assert sizes == [*range(1, 12), 9, 10, 11] and EXAMPLE.mean_size() == 9.5


@pytest.mark.parametrize("moment", ["paper", "streaming_code", "sepcache_code"])
def test_moments_of_compression(moment):
    policy = StreamingPolicy(a=2, s=2, w=4, c=11, compress_at=moment)
    ids = torch.randint(0, VOCABULARY, (60,), generator=torch.Generator().manual_seed(3))
    reference = UnrotatedStreaming(tiny(), policy, set(SEPARATORS))
    expected = torch.stack([reference.step(tiny(), int(t)) for t in ids])
    cache = SepCache(tiny(), policy, MARKS)
    found = torch.cat([tiny()(ids[None, i : i + 1], past_key_values=cache).logits[0] for i in range(60)])
    assert (found - expected).abs().max() < 1e-12
    most = {"paper": 11, "streaming_code": 12, "sepcache_code": 10}[moment]
    slots = next(iter(cache.groups.values()))
    assert max(reference.sizes) == most and slots.mean_size() == pytest.approx(sum(reference.sizes) / 60)


@pytest.mark.parametrize("a,s,w,c", [(2, 2, 4, 11), (2, 4, 6, 17), (4, 3, 8, 32)])
def test_mean_size_is_equation_4_once_separators_are_many(a, s, w, c):
    ids = torch.where(torch.arange(900) % 3 == 0, 3, 9)
    policy = StreamingPolicy(a=a, s=s, w=w, c=c)
    cache = SepCache(tiny(), policy, MARKS)
    slots = next(iter(cache.groups.values()))
    sizes = []
    for i in range(900):
        slots.begin(1, ids.device)
        slots.observe(MARKS.lut()[ids[None, i : i + 1]], torch.ones(1, 1, dtype=torch.bool))
        sizes.append(slots.sizes[0])
    filled = sizes[-((600 // policy.period) * policy.period) :]
    assert max(sizes) == c and abs(sum(filled) / len(filled) - policy.mean_size()) <= 1


@pytest.mark.parametrize("kind", ["llama", "gpt_neox"])
def test_flops_count_every_matrix_and_visible_key(kind):
    """Against torch's own counter on a forward with dense attention, of which all T² pairs are computed."""
    from torch.utils.flop_counter import FlopCounterMode

    model, length = tiny(kind), 16
    with FlopCounterMode(display=False) as counter, torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        model(torch.randint(0, VOCABULARY, (1, length)))
    assert flops_per_token(model.config, length, training=False) * length == pytest.approx(counter.get_total_flops())
    assert flops_per_token(model.config, length) == 3 * flops_per_token(model.config, length, training=False)


def test_bytes_of_a_kept_token_and_the_bound():
    from transformers import LlamaConfig

    smollm2 = LlamaConfig(hidden_size=576, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3)
    assert kv_bytes_per_token(smollm2, 4) == 46080
    llama3 = LlamaConfig(hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8)
    assert kv_bytes_per_token(llama3, 2) == 131072
    assert speedup_bound(16e9, 131072 * 8192, 0) == pytest.approx(1.067, abs=1e-3)
