"""The four-block cache and StreamingLLM: against un-rotated storage, in any pieces, in batches, saved and resumed."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import SEPARATORS, VOCABULARY, tiny
from reference import UnrotatedStreaming, rotated
from transformers import DynamicCache

from sepllm import SeparatorSet, SepCache, SepLLMError, SinkPolicy, StreamingPolicy, stream
from sepllm.cache import REBASE
from sepllm.rope import turn

MARKS = SeparatorSet(SEPARATORS, VOCABULARY)


def text(length, density, seed, rows=1):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(6, VOCABULARY, (rows, length), generator=generator)
    ids[torch.rand(rows, length, generator=generator) < density] = SEPARATORS[0]
    return ids


def one_by_one(model, cache, ids, mask=None):
    with torch.no_grad():
        steps = [
            model(
                ids[:, i : i + 1],
                past_key_values=cache,
                attention_mask=None if mask is None else mask[:, : i + 1],
            ).logits
            for i in range(ids.shape[1])
        ]
    return torch.cat(steps, 1)


@settings(max_examples=12, deadline=None)
@given(
    st.sampled_from([(1, 2, 4, 11), (0, 1, 2, 5), (3, 4, 6, 20), (2, 1, 8, 13)]),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.integers(0, 99),
)
def test_one_rotation_a_compression_equals_unrotated_storage(sizes, density, seed):
    model, policy = tiny(), StreamingPolicy(*sizes)
    ids = text(50, density, seed)
    reference = UnrotatedStreaming(model, policy, set(SEPARATORS))
    with torch.no_grad():
        expected = torch.stack([reference.step(model, int(t)) for t in ids[0]])
    assert (one_by_one(model, SepCache(model, policy, MARKS), ids)[0] - expected).abs().max() < 1e-11


def test_after_many_compressions_the_rotations_have_not_drifted():
    """400 tokens, over 70 compressions: turning keys again and again stays at float64 rounding."""
    model, policy, ids = tiny(), StreamingPolicy(a=2, s=3, w=6, c=16), text(400, 0.2, 1)
    reference = UnrotatedStreaming(model, policy, set(SEPARATORS))
    with torch.no_grad():
        expected = torch.stack([reference.step(model, int(t)) for t in ids[0]])
    cache = SepCache(model, policy, MARKS)
    assert (one_by_one(model, cache, ids)[0] - expected).abs().max() < 1e-11
    slots = next(iter(cache.groups.values()))
    assert slots.mean_size() == pytest.approx(sum(reference.sizes) / 400)


@pytest.mark.parametrize("policy", [StreamingPolicy(2, 3, 6, 16), SinkPolicy(2, 12), StreamingPolicy(1, 2, 4, 9)])
@pytest.mark.parametrize("kind", ["llama", "gpt_neox"])
def test_pieces_are_exactly_token_by_token(kind, policy):
    model, ids = tiny(kind), text(130, 0.25, 7)
    expected = one_by_one(model, SepCache(model, policy, MARKS), ids)[0]
    nll = torch.cat(list(stream(model, ids[0], SepCache(model, policy, MARKS), chunk=7)))
    target = torch.nn.functional.cross_entropy(expected[:-1].float(), ids[0, 1:], reduction="none")
    assert torch.allclose(nll, target, atol=1e-5)
    with torch.no_grad():
        whole = model(ids, past_key_values=SepCache(model, policy, MARKS)).logits[0]
    assert (whole - expected).abs().max() < 1e-11


@pytest.mark.parametrize("policy", [StreamingPolicy(2, 2, 5, 13), SinkPolicy(2, 10)])
def test_rows_with_padding_stream_as_if_alone(policy):
    model, ids = tiny(), text(60, 0.25, 3, rows=3)
    pads = (0, 17, 5)
    mask = (torch.arange(60) >= torch.tensor(pads)[:, None]).long()
    with torch.no_grad():
        cache = SepCache(model, policy, MARKS)
        together = [model(ids[:, :40], attention_mask=mask[:, :40], past_key_values=cache).logits]
        together += [
            model(ids[:, i : i + 1], attention_mask=mask[:, : i + 1], past_key_values=cache).logits
            for i in range(40, 60)
        ]
    for row, pad in enumerate(pads):
        alone = one_by_one(model, SepCache(model, policy, MARKS), ids[row : row + 1, pad:])
        assert (torch.cat(together, 1)[row, pad:] - alone[0]).abs().max() < 1e-11


class UnrotatedSinks(DynamicCache):
    """StreamingLLM by its words: un-rotated keys of a sinks and the newest c − a, rotated by place at every step."""

    def __init__(self, model, a, c):
        super().__init__(config=model.config)
        self.a, self.c, self.frequencies = a, c, model.model.rotary_emb.inv_freq
        self.store, self.place = {}, 0

    def update(self, key_states, value_states, layer_idx, *args, **kwargs):
        plain = rotated(key_states, torch.tensor([-self.place]), self.frequencies)
        keys, values = self.store.get(layer_idx, [plain[:, :, :0], value_states[:, :, :0]])
        keys, values = torch.cat([keys, plain], 2), torch.cat([values, value_states], 2)
        if keys.shape[2] > self.c:
            keep = [*range(self.a), *range(self.a + 1, keys.shape[2])]
            keys, values = keys[:, :, keep], values[:, :, keep]
        self.store[layer_idx] = [keys, values]
        return rotated(keys, torch.arange(keys.shape[2]), self.frequencies), values

    def get_seq_length(self, layer_idx=0):
        return self.place


def test_turned_queries_are_streaming_llm():
    model, ids = tiny(), text(80, 0.2, 5)
    reference, expected = UnrotatedSinks(model, 3, 14), []
    with torch.no_grad():
        for i in range(80):
            reference.place = min(i, 13)
            position = torch.tensor([[reference.place]])
            expected.append(model(ids[:, i : i + 1], past_key_values=reference, position_ids=position).logits)
    found = one_by_one(model, SepCache(model, SinkPolicy(3, 14)), ids)
    assert (found - torch.cat(expected, 1)).abs().max() < 1e-11


def test_counting_anew_changes_nothing(monkeypatch):
    model, ids = tiny(), text(90, 0.2, 5)
    expected = one_by_one(model, SepCache(model, SinkPolicy(3, 14)), ids)
    monkeypatch.setattr("sepllm.cache.REBASE", 20)
    cache = SepCache(model, SinkPolicy(3, 14))
    assert (one_by_one(model, cache, ids) - expected).abs().max() < 1e-11
    assert next(iter(cache.groups.values())).base > 20 and REBASE > 10**4


def test_positions_of_the_text_are_another_function():
    """The ablation without shift (Table 8) equals the cache without re-rotation, and differs from the design."""
    model, ids = tiny(), text(60, 0.2, 5)
    shifted, unshifted = (StreamingPolicy(2, 2, 5, 13, positions=p) for p in ("cache", "text"))
    a, b = (one_by_one(model, SepCache(model, policy, MARKS), ids) for policy in (shifted, unshifted))
    assert (a[:, :13] - b[:, :13]).abs().max() < 1e-12 and (a[:, 20:] - b[:, 20:]).abs().max() > 1e-3


@pytest.mark.parametrize("policy", [StreamingPolicy(2, 2, 5, 13), SinkPolicy(2, 10)])
def test_a_stream_saved_and_resumed_is_bitwise_the_same(policy, tmp_path):
    model, ids = tiny(), text(80, 0.25, 9)[0]
    whole = SepCache(model, policy, MARKS)
    expected = torch.cat([*stream(model, ids[:50], whole), *stream(model, ids[50:], whole)])
    first = SepCache(model, policy, MARKS)
    head = list(stream(model, ids[:50], first))
    first.save(tmp_path / "state.safetensors")
    again = SepCache(model, policy, MARKS).load(tmp_path / "state.safetensors")
    assert torch.equal(torch.cat([*head, *stream(model, ids[50:], again)]), expected)
    assert again.kv_bytes() == whole.kv_bytes() and again.kept_ratio() == whole.kept_ratio()


def test_turn_is_a_group():
    x = torch.randn(1, 2, 5, 12, dtype=torch.float64)
    frequencies = torch.tensor([1.0, 0.1, 0.01, 0.001])
    moves = torch.tensor([0, 3, -7, 100, 5])
    assert torch.allclose(turn(turn(x, moves, frequencies), -moves, frequencies), x)
    assert torch.allclose(turn(x, moves, frequencies), rotated(x, moves, frequencies))
    assert torch.equal(turn(x, moves, frequencies)[..., 8:], x[..., 8:])  # dimensions beyond the rotary part


def test_keys_that_cannot_be_moved_are_refused():
    from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

    gpt2 = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=16, n_head=2, vocab_size=VOCABULARY))
    with pytest.raises(SepLLMError, match="need rotary embeddings"):
        SepCache(gpt2, StreamingPolicy(1, 1, 2, 8), MARKS)
    rope = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    config = LlamaConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, vocab_size=VOCABULARY,
        rope_parameters=rope,
    )  # fmt: skip
    with pytest.raises(SepLLMError, match="rope type 'dynamic'"):
        SepCache(LlamaForCausalLM(config), SinkPolicy(1, 8))
