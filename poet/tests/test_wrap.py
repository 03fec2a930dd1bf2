"""Wrapping, unwrapping, exporting, importing."""

from __future__ import annotations

import json

import pytest
import torch
from models import linear, tiny_llama, tokens, turn
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from poet import PoetConfig, PoetError, PoetLinear, forecast_memory, load_official, save_merged, unwrap, wrap
from poet.evaluation import Batch, summed_loss
from poet.linear import poet_layers
from poet.memory import measured_bytes
from poet.methods import make_trainee, prepare_model
from poet.models import llama_config
from poet.settings import MethodSettings, ModelSettings, TrainingSettings
from shared.orthogonal import packed_length

TRAINING = TrainingSettings(steps=1, sequences=2, length=8)


def test_kept_weights_keep_the_function_and_the_right_layers_are_wrapped():
    model = tiny_llama()
    ids = tokens()
    before = model(ids).logits
    report = wrap(model, PoetConfig(block=8, init="keep"))
    torch.testing.assert_close(model(ids).logits, before, rtol=0, atol=1e-5)
    assert len(report.layers) == 14 and not any("lm_head" in name or "embed" in name for name in report.layers)
    assert isinstance(model.lm_head, torch.nn.Linear)
    trained = {name.split(".")[-1] for name, p in model.named_parameters() if p.requires_grad and ".Q." not in name}
    assert trained == {"weight"}  # embedding, head and norms
    assert report.rotation_parameters == sum(Q.numel() for layer in poet_layers(model) for Q in layer.Q)


def test_new_weights_do_not_depend_on_what_was_there():
    one, two = tiny_llama(seed=0), tiny_llama(seed=1)
    for model in (one, two):
        wrap(model, PoetConfig(block=8, seed=3))
    for a, b in zip(poet_layers(one), poet_layers(two), strict=True):
        assert torch.equal(a.weight, b.weight)
        torch.testing.assert_close(a.weight.norm(dim=1), torch.ones(a.out_features))


def test_unwrap_gives_plain_layers_with_the_trained_function():
    model = tiny_llama()
    wrap(model, PoetConfig(block=8))
    for layer in poet_layers(model):
        turn(layer)
    ids = tokens()
    with torch.no_grad():
        trained = model(ids).logits
    unwrap(model)
    assert not poet_layers(model) and all(type(m) is not PoetLinear for m in model.modules())
    torch.testing.assert_close(model(ids).logits, trained, rtol=0, atol=1e-5)


@pytest.mark.parametrize("tied", [False, True])
def test_a_saved_model_is_a_plain_folder(tmp_path, tied):
    model = tiny_llama()
    if tied:
        model.config.tie_word_embeddings = True
        model.tie_weights()
    wrap(model, PoetConfig(block=8))
    for layer in poet_layers(model):
        turn(layer)
    save_merged(model, tmp_path / "model")
    with safe_open(tmp_path / "model" / "model.safetensors", "pt") as file:
        keys = set(file.keys())
    expected = set(tiny_llama().state_dict()) - ({"lm_head.weight"} if tied else set())
    assert keys == expected
    assert "poet" not in json.dumps(json.loads((tmp_path / "model" / "config.json").read_text())).lower()
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    ids = tokens()
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, model(ids).logits, rtol=0, atol=1e-5)
    assert len(poet_layers(model)) == 14  # the model in memory trains on
    save_merged(model, tmp_path / "model")  # and may be saved over it


def test_lora_is_exported_merged(tmp_path):
    model = tiny_llama()
    method = MethodSettings("lora", "lora", lr=1e-2, init="normalized", options={"match_block": 8})
    prepare_model(model, method, 0)
    trainee = make_trainee(model, method, TRAINING)
    ids = tokens()
    for _ in range(3):
        summed_loss(model, Batch(ids, ids)).backward()
        trainee.step()
    save_merged(model, tmp_path / "model")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, model(ids).logits, rtol=1e-4, atol=1e-4)


def test_lora_trains_as_many_numbers_as_poet():
    sizes = {"hidden": 64, "mlp": 128}
    lora, poet = tiny_llama(**sizes), tiny_llama(**sizes)
    method = MethodSettings("lora", "lora", lr=1e-2, init="normalized", options={"match_block": 32})
    prepare_model(lora, method, 0)
    report = wrap(poet, PoetConfig(block=32))
    found = make_trainee(lora, method, TRAINING).hidden_trainables()
    assert found == pytest.approx(report.rotation_parameters, rel=0.03)


def test_grouped_heads_and_ragged_blocks():
    model = tiny_llama()
    model.model.layers[0].self_attn.k_proj = torch.nn.Linear(16, 12, bias=False)
    with pytest.raises(PoetError, match="block 8 does not divide the size 12 of model.layers.0.self_attn.k_proj"):
        wrap(model, PoetConfig(block=8))
    report = wrap(model, PoetConfig(block=8, on_indivisible="dense"))
    assert len(report.layers) == 13 and list(report.skipped) == ["model.layers.0.self_attn.k_proj"]
    assert "trained as a plain linear layer" in report.sentence()


@pytest.mark.parametrize("quantized", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_an_official_state_dict_gives_the_official_formula_s_weight(quantized, bias):
    """The reference is written out from the layout: gather, blocks, product, blocks, gather."""
    m, n, b = 16, 32, 8
    generator = torch.Generator().manual_seed(0)
    perm_in, perm_out = torch.randperm(n, generator=generator), torch.randperm(m, generator=generator)
    state = {
        "0.oft_R": 0.1 * torch.randn(m // b + n // b, packed_length(b), generator=generator),
        "0.weight": torch.randn(m, n, generator=generator),
        "0.perm_in": perm_in.int(),
        "0.perm_out": perm_out.int(),
        "0.perm_in_inv": perm_in.argsort().int(),
        "0.perm_out_inv": perm_out.argsort().int(),
    }
    weight = state["0.weight"].double()
    if quantized:
        groups = weight.view(-1, 256)
        scales = ((groups.amax(1) - groups.amin(1)) / 255).clamp_min(1e-5)
        zeros = (-groups.amin(1) / scales).round().clamp(0, 255)
        codes = (groups / scales[:, None] + zeros[:, None]).round().clamp(0, 255)
        state |= {"0.weight": codes.to(torch.uint8).view(m, n), "0.weight_scales": scales, "0.weight_zeros": zeros}
        weight = ((codes - zeros[:, None]) * scales[:, None]).view(m, n)
    if bias:
        state["0.bias"] = torch.randn(m, generator=generator)
    blocks = []
    for row in state["0.oft_R"].double():
        Q = torch.zeros(b, b, dtype=torch.float64)
        Q[tuple(torch.triu_indices(b, b, 1))] = row
        Q = Q - Q.T
        blocks.append(torch.eye(b) + 2 * Q + 2 * Q @ Q + 2 * Q @ Q @ Q + Q @ Q @ Q @ Q)
    x = torch.randn(5, n, dtype=torch.float64, generator=generator)
    z = x[:, state["0.perm_in_inv"].long()]
    z = torch.cat([z[:, j * b : j * b + b] @ blocks[m // b + j] for j in range(n // b)], 1) @ weight.T
    z = z + state["0.bias"].double() if bias else z
    y = torch.cat([z[:, j * b : j * b + b] @ blocks[j] for j in range(m // b)], 1)[:, state["0.perm_out"].long()]

    model = torch.nn.Sequential(linear(m, n, bias))
    wrap(model, PoetConfig(block=8))
    assert load_official(state, model) == ["0"]
    torch.testing.assert_close(model(x), y, rtol=0, atol=1e-6)


def test_an_official_state_dict_of_another_model_is_refused():
    model = torch.nn.Sequential(linear(16, 32))
    wrap(model, PoetConfig(block=8))
    with pytest.raises(PoetError, match="differ in the POET layer 0"):
        load_official({"1.oft_R": torch.zeros(6, 28)}, model)


# -- memory

SIZES = {
    "tiny": ModelSettings("tiny", hidden=64, mlp=128, heads=2, layers=2, vocabulary=512),
    "60m": ModelSettings("60m", hidden=512, mlp=1280, heads=8, layers=8, vocabulary=32000),
}
OPTIMIZED = {
    "adamw": (None, MethodSettings("adamw", "adamw", lr=1e-3)),
    "muon": (None, MethodSettings("muon", "muon", lr=1e-3)),
    "poet_bs": (PoetConfig(block=64), MethodSettings("p", "poet", lr=1e-3, poet={"block": 64})),
    "poet_fs": (
        PoetConfig(variant="full", block=0.5),
        MethodSettings("p", "poet", lr=1e-3, poet={"variant": "full", "block": 0.5}),
    ),
    "skew_muon": (
        PoetConfig(block=64),
        MethodSettings("p", "poet", lr=1e-2, poet={"block": 64}, q_optimizer="skew_muon"),
    ),
}


@pytest.mark.parametrize("model, method", [("tiny", m) for m in OPTIMIZED] + [("60m", "adamw"), ("60m", "poet_bs")])
def test_the_forecast_is_within_five_percent_of_the_tensors(model, method):
    poet, settings = OPTIMIZED[method]
    config = llama_config(SIZES[model])
    optimizer = "skew_muon" if method == "skew_muon" else "adamw" if poet else method
    forecast = forecast_memory(config, poet, optimizer=optimizer)
    device = "cpu" if model == "tiny" else "meta"
    with torch.device(device):
        real = AutoModelForCausalLM.from_config(config)
    prepare_model(real, settings, 0)
    trainee = make_trainee(real, settings, TRAINING)
    if device == "cpu":
        ids = tokens(16, 64)
        summed_loss(real, Batch(ids, ids)).backward()
        assert measured_bytes(real, []).built_weights == forecast.built_weights
    else:
        for p in real.parameters():
            p.grad = torch.empty_like(p) if p.requires_grad else None
        for group in trainee.optimizers[0].param_groups:
            group["foreach"] = False
        torch.optim.AdamW.step(trainee.optimizers[0])
    if device == "cpu":
        trainee.step()
    measured = measured_bytes(real, trainee.optimizers)
    for field in ("parameters", "gradients", "optimizer_state"):
        assert getattr(forecast, field) == pytest.approx(getattr(measured, field), rel=0.05), field
