"""Cache and mask are the same function: float64, any chunking, padding, windows, separators, model family."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import SEPARATORS, VOCABULARY, tiny

from sepllm import FullPolicy, SeparatorSet, SepCache, SepPolicy, WindowPolicy, masked
from sepllm.policy import FOREVER, FixedIntervalPolicy, RandomPolicy

MARKS = SeparatorSet(SEPARATORS, VOCABULARY)
TOLERANCE = 1e-12
KINDS = ("llama", "gpt_neox", "qwen2")


def text(rows, length, density, seed):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(6, VOCABULARY, (rows, length), generator=generator)
    ids[torch.rand(rows, length, generator=generator) < density] = SEPARATORS[1]
    return ids


def left_padded(pads, length):
    return (torch.arange(length) >= torch.tensor(pads)[:, None]).long()


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


def by_mask(model, policy, ids, mask):
    with masked(model, policy, MARKS):
        return model(ids, attention_mask=mask).logits


def by_cache(model, cache, ids, mask, chunks):
    done, logits = 0, []
    for q in chunks:
        logits.append(model(ids[:, done : done + q], attention_mask=mask[:, : done + q], past_key_values=cache).logits)
        done += q
    return torch.cat(logits, 1)


def gap(a, b, mask):
    return float(((a - b).abs() * mask[..., None]).max())


@st.composite
def cases(draw):
    length = draw(st.integers(1, 36))
    pads = [0] + [draw(st.integers(0, length - 1)) for _ in range(draw(st.integers(0, 3)))]
    n = draw(st.integers(1, 12))
    a = draw(st.integers(0, 5))
    shape = draw(st.sampled_from(["plain", "layers", "heads", "cap", "window", "fixed", "random", "full"]))
    policy = {
        "plain": lambda: SepPolicy(a=a, n=n),
        "layers": lambda: SepPolicy(a=a, n=n, layers=draw(st.sampled_from([(n, None), (n, n + 3), "H", "H/T"]))),
        "heads": lambda: SepPolicy(a=a, heads=(n, None)),
        "cap": lambda: SepPolicy(a=a, n=n, sep_cap=draw(st.integers(1, 4))),
        "window": lambda: WindowPolicy(a=a, n=n),
        "fixed": lambda: FixedIntervalPolicy(a=a, n=n, delta=3),
        "random": lambda: RandomPolicy(a=a, n=n, rho=0.3),
        "full": lambda: FullPolicy(),
    }[shape]()
    chunks = []
    while sum(chunks) < length:
        chunks.append(min(draw(st.sampled_from([1, 1, 1, 2, 5, 13, 40])), length - sum(chunks)))
    density = draw(st.sampled_from([0.0, 0.2, 0.6, 1.0]))  # none, some, runs longer than n, all
    kind = "llama" if shape == "heads" else draw(st.sampled_from(KINDS))
    return kind, policy, text(len(pads), length, density, draw(st.integers(0, 999))), left_padded(pads, length), chunks


@settings(max_examples=220, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases())
def test_cache_equals_mask(case):
    kind, policy, ids, mask, chunks = case
    model = tiny(kind)
    cache = SepCache(model, policy, MARKS)
    assert gap(by_cache(model, cache, ids, mask, chunks), by_mask(model, policy, ids, mask), mask) < TOLERANCE


@pytest.mark.parametrize("chunks", [[40], [25] + [1] * 15, [1] * 40, [7, 1, 1, 20, 11]])
def test_what_is_kept_is_what_the_definition_says_and_its_bytes(chunks):
    """Held after t tokens: valid and (p < a, or separator, or still in the window of a next token)."""
    model, policy = tiny(), SepPolicy(a=3, n=6)
    ids, mask = text(2, 40, 0.2, 5), left_padded([0, 9], 40)
    cache = SepCache(model, policy, MARKS)
    by_cache(model, cache, ids, mask, chunks)
    slots = next(iter(cache.groups.values()))
    for row, pad in enumerate((0, 9)):
        tokens = ids[row, pad:]
        last = len(tokens)
        expected = {p for p in range(last) if p < 3 or int(tokens[p]) in SEPARATORS or p > last - policy.n}
        held = {int(p) for p in slots.positions[row] if p < FOREVER}
        assert expected <= held and held - expected <= {last - policy.n}  # the one that the next token replaces
    stored = sum(x.numel() * x.element_size() for layer in cache.layers for x in (layer.keys, layer.values))
    assert cache.kv_bytes() == stored
    per_slot = 2 * 2 * 2 * 8 * 8  # keys and values, layers, heads, head size, bytes
    assert stored == 2 * slots.positions.shape[1] * per_slot


def test_rows_do_not_depend_on_each_other():
    model, policy = tiny(), SepPolicy(a=2, n=5)
    ids, mask = text(3, 30, 0.3, 1), left_padded([0, 11, 4], 30)
    chunks = [14] + [1] * 16
    together = by_cache(model, SepCache(model, policy, MARKS), ids, mask, chunks)
    for row, pad in enumerate((0, 11, 4)):
        alone = ids[row : row + 1, pad:]
        logits = by_cache(model, SepCache(model, policy, MARKS), alone, torch.ones_like(alone), [30 - pad])
        assert (together[row, pad:] - logits[0]).abs().max() < TOLERANCE


def test_limits_of_the_policy():
    model, ids, mask = tiny(), text(2, 24, 0.3, 2), left_padded([0, 5], 24)
    plain = model(ids, attention_mask=mask).logits
    everything = SeparatorSet(tuple(range(VOCABULARY)), VOCABULARY)
    for policy, marks in ((SepPolicy(n=24), MARKS), (SepPolicy(a=0, n=1), everything)):
        with masked(model, policy, marks):
            assert gap(model(ids, attention_mask=mask).logits, plain, mask) < TOLERANCE
    with masked(model, SepPolicy(a=2, n=5), SeparatorSet.nothing(VOCABULARY)):
        empty = model(ids, attention_mask=mask).logits
    assert gap(by_mask(model, WindowPolicy(a=2, n=5), ids, mask), empty, mask) == 0


def test_hybrid_layers_see_their_own_window():
    """The first layer's window changes what the second sees only through its states: each layer has its own mask."""
    model, ids = tiny(), text(1, 30, 0.1, 4)
    mask = torch.ones_like(ids)
    seen = {}
    for layers in ((4, 4), (4, None), (None, 4), (None, None)):
        seen[layers] = by_mask(model, SepPolicy(a=1, layers=layers), ids, mask)
    assert (seen[(None, None)] - model(ids).logits).abs().max() < TOLERANCE
    distinct = list(seen.values())
    assert all(gap(x, y, mask) > 1e-3 for i, x in enumerate(distinct) for y in distinct[:i])


def test_eager_attention_gives_the_same():
    ids, mask = text(2, 24, 0.3, 3), left_padded([0, 6], 24)
    eager, fused = tiny(attention="eager"), tiny()
    eager.load_state_dict(fused.state_dict())
    for policy in (SepPolicy(a=2, n=5), WindowPolicy(a=1, heads=(4, None))):
        expected = by_mask(fused, policy, ids, mask)
        # eager's softmax is in float32
        assert gap(by_mask(eager, policy, ids, mask), expected, mask) < 1e-4
        assert gap(by_cache(eager, SepCache(eager, policy, MARKS), ids, mask, [12, 12]), expected, mask) < 1e-4


def test_dense_prefill_is_the_authors_variant():
    """Full attention over the prompt, eviction from the first generated token on."""
    model, policy, ids = tiny(), SepPolicy(a=2, n=5), text(1, 30, 0.2, 8)
    cache = SepCache(model, policy, MARKS, prefill="dense")
    ones = torch.ones_like(ids)
    logits = by_cache(model, cache, ids, ones, [20] + [1] * 10)
    assert (logits[:, :20] - model(ids[:, :20]).logits).abs().max() < TOLERANCE
    assert gap(logits[:, 20:], by_mask(model, policy, ids, ones)[:, 20:], ones[:, 20:]) > 1e-3
    held = next(iter(cache.groups.values())).positions
    assert int((held < FOREVER).sum()) < 20


def test_prompts_in_pieces_give_the_same_and_hold_less():
    model, policy, ids = tiny(), SepPolicy(a=2, n=5), text(2, 60, 0.2, 8)
    mask = left_padded([0, 33], 60)
    cache = SepCache(model, policy, MARKS, prefill_chunk=16)
    logits = by_cache(model, cache, ids, mask, [59, 1])
    assert logits.shape[1] == 60 and gap(logits, by_mask(model, policy, ids, mask), mask) < TOLERANCE


def test_embeddings_with_a_separator_mask():
    model, policy, ids = tiny(), SepPolicy(a=2, n=5), text(1, 20, 0.3, 8)
    embeds, marks = model.get_input_embeddings()(ids), MARKS.lut()[ids]
    cache = SepCache(model, policy, MARKS)
    logits = model(inputs_embeds=embeds, separator_mask=marks, past_key_values=cache).logits
    assert gap(logits, by_mask(model, policy, ids, torch.ones_like(ids)), torch.ones_like(ids)) < TOLERANCE


def test_a_pad_id_inside_the_prompt_is_an_ordinary_token():
    model, policy = tiny(), SepPolicy(a=2, n=5)
    ids = text(1, 20, 0.2, 8)
    ids[0, 8] = model.config.pad_token_id
    padded = torch.cat([torch.zeros(1, 6, dtype=torch.long), ids], 1)
    mask = left_padded([6], 26)
    logits = by_cache(model, SepCache(model, policy, MARKS), padded, mask, [20] + [1] * 6)
    assert (logits[:, 6:] - by_mask(model, policy, ids, torch.ones_like(ids))).abs().max() < TOLERANCE
