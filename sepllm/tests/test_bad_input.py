"""Every refusal is one sentence that says what, where and what is allowed; nothing already written is lost."""

from __future__ import annotations

import pytest
import torch
from models import SEPARATORS, VOCABULARY, tiny

from sepllm import (
    FixedIntervalPolicy,
    RandomPolicy,
    SeparatorSet,
    SepCache,
    SepLLMError,
    SepPolicy,
    SinkPolicy,
    StreamingPolicy,
    WindowPolicy,
    make_policy,
    masked,
    stream,
)

MARKS = SeparatorSet(SEPARATORS, VOCABULARY)
IDS = torch.arange(6, 26)[None]


@pytest.mark.parametrize(
    "make,words",
    [
        (lambda: SepPolicy(n=0), "policy.n must be a whole number of at least 1, not 0"),
        (lambda: SepPolicy(a=-1), "policy.a must be a whole number of at least 0, not -1"),
        (lambda: SepPolicy(sep_cap=0), "policy.sep_cap must be a whole number of at least 1"),
        (lambda: SepPolicy(layers="X"), "policy.layers must be one of H, H/T, H/M/T, not 'X'"),
        (lambda: SepPolicy(layers=(4, 0)), "policy.layers must be a whole number of at least 1"),
        (lambda: SepPolicy(layers="H", heads=(1, 2)), "cannot both be set"),
        (lambda: SepPolicy(layers=(4, 4, 4)).windows(2, 2), "policy.layers has 3 windows and the model 2 layers"),
        (lambda: WindowPolicy(heads=(4,)).windows(2, 2), "policy.heads has 1 windows and the model 2 key/value heads"),
        (
            lambda: StreamingPolicy(4, 64, 900, 800),
            "a + s + w must be less than the capacity c, and 4 + 64 + 900 = 968",
        ),
        (lambda: StreamingPolicy(4, 0, 8, 100), "policy.s must be a whole number of at least 1"),
        (lambda: StreamingPolicy(compress_at="late"), "policy.compress_at must be one of"),
        (lambda: SinkPolicy(4, 4), "policy.c must be a whole number of at least 5"),
        (lambda: FixedIntervalPolicy(delta=0), "policy.delta"),
        (lambda: RandomPolicy(rho=1.5), "policy.rho must lie in [0, 1], not 1.5"),
        (lambda: make_policy({"name": "seq"}), "policy.name must be one of full, sep"),
        (lambda: make_policy({"name": "sep", "w": 3}), "policy sep has no setting 'w'"),
        (lambda: SeparatorSet((70,), VOCABULARY), "separator ids must lie in [0, 64), and 70 does not"),
        (lambda: SepCache(tiny(), SepPolicy()), "SepPolicy needs separators: give a tokenizer"),
        (lambda: SepCache(tiny(), SepPolicy(), MARKS, prefill="half"), "prefill must be one of sep, dense"),
        (lambda: SepCache(tiny(), SinkPolicy(2, 9), prefill="dense"), "not for streaming"),
    ],
)
def test_settings(make, words):
    with pytest.raises(SepLLMError) as error:
        make()
    assert words in str(error.value) and "\n" not in str(error.value)


def model_of(name, **options):
    import transformers

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1}
    sizes |= {"intermediate_size": 16, "vocab_size": VOCABULARY, "head_dim": 8, **options}
    return getattr(transformers, f"{name}ForCausalLM")(getattr(transformers, f"{name}Config")(**sizes))


def test_models_that_are_not_plain_decoders():
    from transformers import T5Config, T5ForConditionalGeneration

    t5 = T5ForConditionalGeneration(T5Config(d_model=16, num_layers=1, num_heads=2, d_ff=16, vocab_size=VOCABULARY))
    cases = [
        (t5, "T5ForConditionalGeneration is an encoder–decoder"),
        (model_of("Gemma2", sliding_window=8), "has layers of type sliding_attention"),
        (model_of("Mistral", sliding_window=8), "has layers of type sliding_attention"),
    ]
    for model, words in cases:
        for use in (lambda m: SepCache(m, SepPolicy(), MARKS), lambda m: masked(m, SepPolicy(), MARKS).__enter__()):
            with pytest.raises(SepLLMError, match=words):
                use(model)
    SepCache(model_of("Mistral", sliding_window=None), SepPolicy(), MARKS)


def test_attention_that_cannot_show_the_mask():
    model = model_of("Llama")
    model.config._attn_implementation = "flash_attention_2"
    with pytest.raises(SepLLMError, match="'flash_attention_2' cannot show SepLLM's mask"):
        SepCache(model, SepPolicy(), MARKS)
    eager = model_of("Llama", attn_implementation="eager")
    with pytest.raises(SepLLMError, match="eager attention takes one mask for all layers"):
        with masked(eager, SepPolicy(n=4, layers="H"), MARKS):
            eager(IDS)


def test_forwards():
    model, policy = tiny(), SepPolicy(a=1, n=4)

    def refused(words, **inputs):
        with pytest.raises(SepLLMError, match=words):
            model(past_key_values=SepCache(model, policy, MARKS), **inputs)

    right = torch.ones_like(IDS)
    right[0, -3:] = 0
    refused("padding after real tokens", input_ids=IDS, attention_mask=right)
    refused(r"must have shape \(1, 20\)", input_ids=IDS, attention_mask=torch.ones(1, 9))
    refused("must have shape", input_ids=IDS, attention_mask=torch.ones(1, 1, 20, 20))
    refused(r"token ids must lie in \[0, 64\)", input_ids=IDS + 60)
    refused("pass separator_mask", inputs_embeds=model.get_input_embeddings()(IDS))
    with pytest.warns(UserWarning, match="row 0 has only padding so far"):
        model(IDS, attention_mask=torch.zeros_like(IDS), past_key_values=SepCache(model, policy, MARKS))
    with masked(model, policy, MARKS):  # right padding is fine in training
        model(IDS, attention_mask=right)


def test_a_cache_belongs_to_its_model_and_batch():
    model, other = tiny(), tiny("llama", 1)
    cache = SepCache(model, SepPolicy(a=1, n=4), MARKS)
    SepCache(other, SepPolicy(a=1, n=4), MARKS)
    with pytest.raises(SepLLMError, match="was made for another model"):
        other(IDS, past_key_values=cache)
    model(IDS, past_key_values=cache)
    with pytest.raises(SepLLMError, match=r"holds 1 rows on cpu and was given 2"):
        model(IDS.expand(2, -1), past_key_values=cache)
    with pytest.raises(SepLLMError, match="is no mask: use SepCache"):
        masked(model, SinkPolicy(2, 9)).__enter__()
    with pytest.raises(SepLLMError, match="StreamingPolicy cannot take tokens back"):
        streaming = SepCache(model, StreamingPolicy(1, 1, 2, 8), MARKS)
        streaming.crop(0)
        model(IDS, past_key_values=streaming)
        streaming.crop(-1)


def test_beyond_the_trained_context_there_is_one_warning():
    model = model_of("Llama", max_position_embeddings=8)
    with pytest.warns(UserWarning, match="beyond the 8 that this model was trained for") as seen:
        cache = SepCache(model, SepPolicy(a=1, n=4), MARKS)
        model(IDS, past_key_values=cache)
        model(IDS, past_key_values=cache)
    assert len([w for w in seen if "trained for" in str(w.message)]) == 1


def test_logits_that_are_not_finite_stop_a_stream():
    model = model_of("Llama")
    cache = SepCache(model, SinkPolicy(1, 8))
    list(stream(model, IDS[0], cache))
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    with pytest.raises(SepLLMError, match="logits are not finite after 27 tokens under SinkPolicy"):
        list(stream(model, IDS[0], cache))


def test_foreign_files(tmp_path):
    from safetensors.torch import save_file

    model, policy = tiny(), SepPolicy(a=1, n=4)
    cache = SepCache(model, policy, MARKS)
    model(IDS, past_key_values=cache)
    good = tmp_path / "good.safetensors"
    cache.save(good)
    (tmp_path / "cut").write_bytes(good.read_bytes()[:-100])
    (tmp_path / "pickle").write_bytes(b"\x80\x04K\x01.")
    save_file({"x": torch.zeros(1)}, tmp_path / "other")
    for name in ("cut", "pickle", "other", "missing"):
        with pytest.raises(SepLLMError, match="is not a saved SepCache"):
            SepCache(model, policy, MARKS).load(tmp_path / name)
    with pytest.raises(SepLLMError, match="was saved with separators"):
        SepCache(model, policy, SeparatorSet((3, 4), VOCABULARY)).load(good)
    with pytest.raises(SepLLMError, match="was saved with policy"):
        SepCache(model, SepPolicy(a=1, n=5), MARKS).load(good)
    with pytest.raises(SepLLMError, match="does not fit this cache"):
        SepCache(tiny("llama", 3), policy, MARKS).load(good)
