"""transformers' own generation with the cache: greedy, sampled, beams, prompt lookup, crops, chats, saved caches."""

from __future__ import annotations

import pytest
import torch
from models import SEPARATORS, VOCABULARY, tiny

from sepllm import SeparatorSet, SepCache, SepLLMError, SepPolicy, SinkPolicy, StreamingPolicy, attach, masked
from sepllm.attach import decoder_of

MARKS = SeparatorSet(SEPARATORS, VOCABULARY)
POLICY = SepPolicy(a=2, n=6)
KINDS = ("llama", "gpt_neox", "qwen2")


def prompt(rows=3, length=20, pads=(0, 6, 13), seed=0):
    ids = torch.randint(6, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(seed))
    ids[:, ::4] = SEPARATORS[0]
    mask = (torch.arange(length) >= torch.tensor(pads[:rows])[:, None]).long()
    return {"input_ids": ids.masked_fill(mask == 0, 0), "attention_mask": mask}


def recomputed(model, inputs, steps, policy=POLICY):
    """Greedy decoding that runs the whole text under the mask for each token."""
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    with masked(model, policy, MARKS), torch.no_grad():
        for _ in range(steps):
            token = model(ids, attention_mask=mask).logits[:, -1].argmax(-1, keepdim=True)
            ids, mask = torch.cat([ids, token], 1), torch.cat([mask, torch.ones_like(token)], 1)
    return ids


def generate(model, inputs, steps=16, cache=None, **options):
    cache = SepCache(model, POLICY, MARKS) if cache is None else cache
    return model.generate(**inputs, past_key_values=cache, max_new_tokens=steps, **{"do_sample": False, **options})


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_equals_recomputation_by_mask(kind):
    model, inputs = tiny(kind), prompt()
    assert torch.equal(generate(model, inputs), recomputed(model, inputs, 16))


@pytest.mark.parametrize("kind", KINDS)
def test_sampling_draws_what_the_mask_would_draw(kind):
    model, inputs = tiny(kind), prompt()
    torch.manual_seed(7)
    found = generate(model, inputs, do_sample=True, temperature=1.3, top_k=0)
    torch.manual_seed(7)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    with masked(model, POLICY, MARKS), torch.no_grad():
        for _ in range(16):
            scores = model(ids, attention_mask=mask).logits[:, -1].float() / 1.3
            token = torch.multinomial(scores.softmax(-1), 1)
            ids, mask = torch.cat([ids, token], 1), torch.cat([mask, torch.ones_like(token)], 1)
    assert torch.equal(found, ids)


@pytest.mark.parametrize("kind", KINDS)
def test_beams(kind):
    """One beam is greedy; three beams equal beam search without a cache under the mask."""
    model, inputs = tiny(kind), prompt()
    with_cache = generate(model, inputs, num_beams=3)
    with masked(model, POLICY, MARKS):
        without = model.generate(**inputs, max_new_tokens=16, do_sample=False, num_beams=3, use_cache=False)
    assert torch.equal(with_cache, without)


@pytest.mark.parametrize("kind", KINDS)
def test_prompt_lookup_equals_greedy(kind):
    model, inputs = tiny(kind), prompt(rows=1)
    repeated = {k: v.repeat(1, 2) for k, v in inputs.items()}
    cache = SepCache(model, POLICY, MARKS, rollback=8)  # transformers 5.2 does not announce its crops
    model.generation_config.eos_token_id = VOCABULARY  # older prompt lookup wants one; this never comes
    try:
        found = generate(model, repeated, cache=cache, prompt_lookup_num_tokens=4)
    finally:
        model.generation_config.eos_token_id = None
    assert torch.equal(found, recomputed(model, repeated, 16))


def test_a_conversation_goes_on_from_its_cache():
    model, inputs = tiny(), prompt()
    cache = SepCache(model, POLICY, MARKS)
    first = generate(model, inputs, 8, cache)
    more = torch.cat([first, prompt(seed=3, length=9, pads=(0, 0, 0))["input_ids"]], 1)
    mask = torch.cat([inputs["attention_mask"], torch.ones(3, more.shape[1] - 20, dtype=torch.long)], 1)
    second = {"input_ids": more, "attention_mask": mask}
    assert torch.equal(generate(model, second, 8, cache), recomputed(model, second, 8))


def test_prompts_in_pieces():
    model, inputs = tiny(), prompt()
    expected = recomputed(model, inputs, 16)
    assert torch.equal(generate(model, inputs, cache=SepCache(model, POLICY, MARKS, prefill_chunk=5)), expected)
    assert torch.equal(generate(model, inputs, prefill_chunk_size=5), expected)


def test_streaming_policies_generate_past_their_capacity():
    model, inputs = tiny(), prompt()
    for policy in (StreamingPolicy(2, 2, 5, 13), SinkPolicy(2, 11)):
        cache = SepCache(model, policy, MARKS)
        together = generate(model, inputs, 20, cache)
        assert cache.layers[0].keys.shape[2] <= 13
        alone = {k: v[1:2, 6:] for k, v in inputs.items()}
        assert torch.equal(together[1, 6:], generate(model, alone, 20, SepCache(model, policy, MARKS))[0])


@pytest.mark.parametrize("recorded", [True, False])
def test_crop_then_replay_is_no_crop(recorded):
    model, ids = tiny(), prompt(rows=2, length=30, pads=(0, 9))
    ids, mask = ids["input_ids"], ids["attention_mask"]
    plain = SepCache(model, POLICY, MARKS)
    with torch.no_grad():
        expected = model(ids, attention_mask=mask, past_key_values=plain).logits
        cache = SepCache(model, POLICY, MARKS, rollback=0 if recorded else 4)
        model(ids[:, :22], attention_mask=mask[:, :22], past_key_values=cache)
        if recorded:
            cache.activate_past_recording()
        wrong = torch.full((2, 4), SEPARATORS[1])
        model(wrong, attention_mask=torch.cat([mask[:, :22], torch.ones(2, 4).long()], 1), past_key_values=cache)
        cache.crop(-4)
        assert cache.get_seq_length() == 22
        rest = [model(ids[:, i : i + 1], attention_mask=mask[:, : i + 1], past_key_values=cache) for i in range(22, 30)]
    logits = torch.cat([r.logits for r in rest], 1)
    assert (logits - expected[:, 22:]).abs().max() < 1e-12


def test_what_cannot_be_taken_back_is_refused():
    model, ids = tiny(), prompt(rows=1, length=30)["input_ids"]
    cache = SepCache(model, POLICY, MARKS)
    model(ids, past_key_values=cache)
    with pytest.raises(SepLLMError, match="rollback=3"):
        cache.crop(-3)
    cache.crop(0)
    cache.reset()
    assert cache.get_seq_length() == 0 and cache.kv_bytes() == 0
    model(ids, past_key_values=cache)


def test_rows_can_be_selected_and_repeated():
    model, inputs = tiny(), prompt()
    cache = SepCache(model, POLICY, MARKS)
    model(**inputs, past_key_values=cache)
    cache.batch_select_indices(torch.tensor([2, 0]))
    cache.batch_repeat_interleave(2)
    token = torch.tensor([[7], [7], [8], [8]])
    found = model(token, past_key_values=cache).logits[:, 0]
    for row, source in enumerate((2, 2, 0, 0)):
        ids = torch.cat([inputs["input_ids"][source], token[row]])[None]
        mask = torch.cat([inputs["attention_mask"][source], torch.ones(1).long()])[None]
        with masked(model, POLICY, MARKS):
            assert (model(ids, attention_mask=mask).logits[0, -1] - found[row]).abs().max() < 1e-12


def test_a_saved_cache_goes_on_bitwise(tmp_path):
    model, inputs = tiny(), prompt()
    cache = SepCache(model, POLICY, MARKS)
    model(**inputs, past_key_values=cache)
    cache.save(tmp_path / "cache.safetensors")
    again = SepCache(model, POLICY, MARKS).load(tmp_path / "cache.safetensors")
    tokens = torch.tensor([[7], [3], [9]])
    assert torch.equal(model(tokens, past_key_values=cache).logits, model(tokens, past_key_values=again).logits)
    assert [p.name for p in tmp_path.iterdir()] == ["cache.safetensors"]


def test_handles_leave_nothing_behind():
    model = tiny("llama", 1)
    decoder = decoder_of(model)
    attach(model).remove()
    before = model.config._attn_implementation
    ids = prompt()["input_ids"]
    plain = model(ids).logits
    with attach(model) as handle:
        assert attach(model) is handle and model.config._attn_implementation == "sepllm"
        assert torch.equal(model(ids).logits, plain)  # without a policy nothing changes
        cache = SepCache(model, POLICY, MARKS)
    assert not decoder._forward_pre_hooks and not decoder._forward_hooks
    assert model.config._attn_implementation == before and torch.equal(model(ids).logits, plain)
    with pytest.raises(SepLLMError, match="handle was removed"):
        model(ids, past_key_values=cache)
    with masked(model, POLICY, MARKS):
        assert not torch.equal(model(ids).logits, plain)
    assert torch.equal(model(ids).logits, plain) and not decoder._forward_pre_hooks


def test_training_under_the_mask_reaches_every_weight():
    """Gradients are those of dense masked attention, also with recomputed activations."""
    model, inputs = tiny(), prompt(rows=2, length=20)
    labels = inputs["input_ids"]
    gradients = []
    for recompute in (False, True):
        model.gradient_checkpointing_enable() if recompute else model.gradient_checkpointing_disable()
        model.train()
        with masked(model, POLICY, MARKS):
            model(**inputs, labels=labels, use_cache=False).loss.backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters()})
        model.zero_grad()
    model.eval().gradient_checkpointing_disable()
    assert all(g.abs().sum() > 0 for g in gradients[0].values())
    assert all(torch.allclose(gradients[0][n], gradients[1][n]) for n in gradients[0])


def test_compiled_models_keep_their_policy():
    """torch.compile breaks its graph at the hook and goes on; the numbers stay."""
    model, ids = tiny("llama", 1), prompt(rows=1)["input_ids"]
    with masked(model, POLICY, MARKS), torch.no_grad():
        expected = model(ids).logits
        compiled = torch.compile(model, backend="eager")
        assert (compiled(ids).logits - expected).abs().max() < 1e-12


def test_smollm2_generates_with_a_ragged_batch():
    from shared.llm import load_causal_lm

    model, tokenizer = load_causal_lm()
    tokenizer.padding_side = "left"
    prompts = ["The sun, the moon; and", "Write one sentence about rivers. Then stop, please.\n"]
    inputs = tokenizer(prompts, return_tensors="pt", padding=True)
    marks = SeparatorSet.from_tokenizer(tokenizer)
    policy = SepPolicy(a=3, n=8)
    options = {"max_new_tokens": 12, "do_sample": False}
    found = model.generate(**inputs, past_key_values=SepCache(model, policy, marks), **options)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    with masked(model, policy, marks), torch.no_grad():
        logits = model(found, attention_mask=torch.cat([mask, torch.ones(2, found.shape[1] - mask.shape[1])], 1)).logits
    chosen = logits[:, ids.shape[1] - 1 : -1]
    taken = chosen.gather(-1, found[:, ids.shape[1] :, None])[..., 0]
    live = (found[:, ids.shape[1] :] != tokenizer.eos_token_id).cumprod(-1).bool()
    assert ((chosen.amax(-1) - taken)[live] < 1e-3).all()  # each token is the best under the mask, float32 ties aside
    for options in ({"do_sample": True, "top_k": 0}, {"num_beams": 3}):
        torch.manual_seed(0)
        out = model.generate(**inputs, past_key_values=SepCache(model, policy, marks), max_new_tokens=6, **options)
        assert out.shape[1] > ids.shape[1]
    one = tokenizer([prompts[1] * 2], return_tensors="pt")
    cache = SepCache(model, policy, marks, rollback=8)
    looked = model.generate(**one, past_key_values=cache, max_new_tokens=8, do_sample=False, prompt_lookup_num_tokens=3)
    cache = SepCache(model, policy, marks)
    greedy = model.generate(**one, past_key_values=cache, max_new_tokens=8, do_sample=False)
    assert torch.equal(looked, greedy)
