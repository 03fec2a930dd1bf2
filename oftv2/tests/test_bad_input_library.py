"""Refusals of the library: one sentence that names the module or field and what is allowed; nothing is changed."""

from __future__ import annotations

import math

import pytest
import torch
from models import fill_adapter, tiny_llama, tokens
from torch import nn

from oftv2 import OFTConfig, OFTError, inject, load_adapter, rotation_from, targets


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"block_size": 32, "num_blocks": 4}, "exactly one of block_size and num_blocks"),
        ({"block_size": None}, "exactly one of block_size and num_blocks"),
        ({"block_size": 1}, "at least 2, not 1"),
        ({"block_size": -4}, "at least 2, not -4"),
        ({"parameterization": "exponential"}, "one of cayley_neumann, .* not 'exponential'"),
        ({"terms": 0}, "from 1 to 64, not 0"),
        ({"terms": 65}, "from 1 to 64, not 65"),
        ({"eps": 0.0}, "above 0, not 0.0"),
        ({"eps": math.nan}, "above 0, not nan"),
        ({"block_dropout": 1.0}, r"\[0, 1\), not 1.0"),
        ({"block_dropout": -0.1}, r"\[0, 1\), not -0.1"),
        ({"bias": "some"}, "one of none, all, oft_only, not 'some'"),
        ({"rotation_dtype": "int8"}, "one of auto, float32, bfloat16, float16, not 'int8'"),
        ({"target_modules": ()}, "target_modules is empty"),
    ],
    ids=str,
)
def test_settings(fields, sentence):
    with pytest.raises(ValueError, match=sentence) as caught:
        OFTConfig(**fields)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("width", "wanted", "expected"), [(576, 32, 32), (100, 32, 25), (192, 36, 32), (1536, 1000, 768), (576, 1024, 576)]
)
def test_block_sizes_that_do_not_divide_become_the_nearest_that_does(width, wanted, expected):
    assert OFTConfig(block_size=wanted).blocks_of(width) == (width // expected, expected)


def test_adjusted_blocks_are_told_in_one_line():
    model = nn.Sequential(nn.Linear(100, 4), nn.Linear(64, 4))
    with pytest.warns(UserWarning, match=r"block_size=32 does not divide .* taken in 0 \(25\)$"):
        inject(model, OFTConfig(block_size=32, target_modules=("0", "1")))


def unchanged(model, before):
    return [n for n, _ in model.named_parameters()] == before and all(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"target_modules": ("query_projection",)}, "nearest names are .*q_proj"),
        ({"target_modules": "no.such.*pattern"}, "no module of the model"),
        ({"target_modules": "(unclosed"}, "no regular expression"),
        ({"target_modules": "x" * 1001}, "1001 characters long; at most 1000"),
        ({"target_modules": ("input_layernorm",)}, "model.layers.0.input_layernorm: a layer of type LlamaRMSNorm"),
        ({"modules_to_save": ("classifier",)}, "modules_to_save names 'classifier'"),
    ],
    ids=lambda v: str(v)[:40],
)
def test_targets(fields, sentence):
    model = tiny_llama()
    before = [n for n, _ in model.named_parameters()]
    with pytest.raises(OFTError, match=sentence) as caught:
        inject(model, OFTConfig(block_size=16, **fields))
    assert "\n" not in str(caught.value)
    assert unchanged(model, before)


def test_a_pattern_that_would_not_end(monkeypatch):
    monkeypatch.setattr(targets, "PATTERN_SECONDS", 0.2)
    with pytest.raises(OFTError, match="took over 0.2 s .* simplify it"):
        targets.matches("model.language_model.layers.0.self_attn.q_proj", r"(\w|\.|\w\.|\.\w|\w\w)*(?<=[!A-Z])")


@pytest.mark.parametrize("name", ["", "a.b", "default"])
def test_names(name):
    model = tiny_llama()
    inject(model, OFTConfig(block_size=16))
    with pytest.raises(OFTError):
        inject(model, OFTConfig(block_size=16), name)


@pytest.mark.parametrize("alpha", [math.nan, math.inf, "1"])
def test_strengths(alpha):
    handle = inject(tiny_llama(), OFTConfig(block_size=16))
    with pytest.raises(OFTError, match="finite number"):
        handle.scale(alpha=alpha)


def test_unknown_adapters_and_merged_states():
    model = tiny_llama()
    handle = inject(model, OFTConfig(block_size=16))
    with pytest.raises(OFTError, match="no adapter named 'other'; there are default"):
        handle.set_active(["other"])
    with pytest.raises(OFTError, match="no adapter is merged"):
        handle.unmerge()
    with pytest.raises(OFTError, match="into must be one of"):
        handle.merge(into="int3")
    with pytest.raises(OFTError, match="requantises 4-bit layers"):
        handle.merge(into="nf4")
    handle.merge()
    for refused in (handle.merge, lambda: handle.scale(alpha=0.5), lambda: handle.set_active("default")):
        with pytest.raises(OFTError, match="merged"):
            refused()


def test_adapter_of_another_model(tmp_path):
    small, large = tiny_llama(), tiny_llama(hidden_size=128)
    handle = inject(large, OFTConfig(block_size=16))
    fill_adapter(handle)
    handle.save(tmp_path)
    before = [n for n, _ in small.named_parameters()]
    y = small(tokens()).logits
    with pytest.raises(OFTError, match=r"_proj: 8 blocks of size 16 .* the layer's is 64"):
        load_adapter(small, tmp_path)
    assert unchanged(small, before)
    assert torch.equal(small(tokens()).logits, y)


def test_adapter_for_modules_that_are_not_there(tmp_path):
    deep, shallow = tiny_llama(num_hidden_layers=3), tiny_llama()
    handle = inject(deep, OFTConfig(block_size=16))
    handle.save(tmp_path)
    with pytest.raises(OFTError, match="model.layers.2.* which the model does not have"):
        load_adapter(shallow, tmp_path)


def test_loading_under_another_parameterization(tmp_path):
    handle = inject(tiny_llama(), OFTConfig(block_size=16))
    handle.save(tmp_path)
    other = inject(tiny_llama(), OFTConfig(block_size=16, terms=4))
    with pytest.raises(OFTError, match="would act differently"):
        other.load(tmp_path)


def test_missing_and_left_over_modules(tmp_path):
    handle = inject(tiny_llama(), OFTConfig(block_size=16, target_modules=("q_proj",)))
    handle.save(tmp_path)
    wider = inject(tiny_llama(), OFTConfig(block_size=16, target_modules=("q_proj", "v_proj")))
    with pytest.raises(OFTError, match=r"lacks parameters for model.layers.0.self_attn.v_proj"):
        wider.load(tmp_path)
    narrower = inject(tiny_llama(), OFTConfig(block_size=16, target_modules=("q_proj",), layers_to_transform=(0,)))
    with pytest.raises(OFTError, match="does not take: model.layers.1.self_attn.q_proj"):
        narrower.load(tmp_path)
    narrower.load(tmp_path, strict=False)


def test_copies_are_refused_by_a_sentence():
    import copy

    model = tiny_llama()
    inject(model, OFTConfig(block_size=16))
    with pytest.raises(OFTError, match="cannot be copied by deepcopy"):
        copy.deepcopy(model)


def test_rotation_names():
    with pytest.raises(ValueError, match="parameterization must be one of"):
        rotation_from(torch.zeros(1, 6), "householder")
