"""Numerics against PEFT: its adapters here, ours there, and a live PEFT model sped up in place."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path

import peft
import pytest
import torch
from models import fill, fill_adapter, gradients, relative, tiny_llama, tokens
from torch import nn

from oftv2 import OFTConfig, OFTError, inject, load_adapter
from oftv2.accelerate_peft import accelerate
from oftv2.io import read_adapter

SETTINGS = [
    {"oft_block_size": 32, "r": 0},
    {"oft_block_size": 0, "r": 8},
    {"oft_block_size": 16, "r": 0, "block_share": True},
    {"oft_block_size": 16, "r": 0, "use_cayley_neumann": False},
    {"oft_block_size": 16, "r": 0, "coft": True, "eps": 1e-2},
    *({"oft_block_size": 16, "r": 0, "num_cayley_neumann_terms": n} for n in range(2, 9)),
]


def peft_model(dtype=torch.float32, **settings):
    settings = {"target_modules": "all-linear", "use_cayley_neumann": True} | settings
    model = peft.get_peft_model(tiny_llama(dtype), peft.OFTConfig(**settings)).eval()
    fill([p for n, p in model.named_parameters() if "oft_" in n])
    return model


def saved(model, directory) -> Path:
    model.save_pretrained(directory)
    return Path(directory)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_pefts_adapters_give_pefts_logits(settings, tmp_path):
    theirs = peft_model(**settings)
    expected = theirs(tokens()).logits  # first, since PEFT's coft changes its parameters in the forward
    ours = tiny_llama()
    load_adapter(ours, saved(theirs, tmp_path))
    torch.testing.assert_close(ours(tokens()).logits, expected, rtol=0, atol=1e-5)


def test_pefts_bfloat16_model(tmp_path):
    theirs = peft_model(torch.bfloat16, oft_block_size=16, r=0)
    ours = tiny_llama(torch.bfloat16)
    load_adapter(ours, saved(theirs, tmp_path))
    assert relative(ours(tokens()).logits.float(), theirs(tokens()).logits.float()) < 3e-2


def test_pefts_embedding(tmp_path):
    theirs = peft_model(oft_block_size=16, r=0, target_modules=["embed_tokens", "q_proj"])
    ours = tiny_llama()
    load_adapter(ours, saved(theirs, tmp_path))
    torch.testing.assert_close(ours(tokens()).logits, theirs(tokens()).logits, rtol=0, atol=1e-5)


def test_pefts_modules_to_save(tmp_path):
    theirs = peft_model(oft_block_size=16, r=0, modules_to_save=["lm_head"])
    fill([p for n, p in theirs.named_parameters() if "modules_to_save" in n], seed=4)
    ours = tiny_llama()
    load_adapter(ours, saved(theirs, tmp_path))
    torch.testing.assert_close(ours(tokens()).logits, theirs(tokens()).logits, rtol=0, atol=1e-5)


def test_pefts_pointwise_convolution(tmp_path):
    def build():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(16, 6, 1))

    theirs = peft.get_peft_model(build(), peft.OFTConfig(oft_block_size=8, r=0, target_modules=["0"]))
    fill([p for n, p in theirs.named_parameters() if "oft_R" in n], scale=0.2)
    ours = build()
    load_adapter(ours, saved(theirs, tmp_path))
    x = torch.randn(2, 16, 5, 5)
    torch.testing.assert_close(ours(x), theirs(x), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "config",
    [
        OFTConfig(block_size=16),
        OFTConfig(block_size=None, num_blocks=4),
        OFTConfig(block_size=16, block_share=True),
        OFTConfig(block_size=16, parameterization="cayley"),
        OFTConfig(block_size=16, parameterization="cayley_neumann_polished"),
        OFTConfig(block_size=16, parameterization="cayley_peft_exact"),
        OFTConfig(block_size=16, modules_to_save=("lm_head",)),
    ],
    ids=lambda c: f"{c.parameterization}-{c.block_size}-{c.block_share}-{c.modules_to_save}",
)
def test_peft_opens_our_adapters(config, tmp_path):
    model = tiny_llama()
    handle = inject(model, config)
    fill_adapter(handle)
    if config.modules_to_save:
        fill([model.lm_head.weight], seed=4)
    expected = model(tokens()).logits
    handle.save(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        theirs = peft.PeftModel.from_pretrained(tiny_llama(), tmp_path)
    torch.testing.assert_close(theirs(tokens()).logits, expected, rtol=0, atol=1e-5)


def test_round_trip_is_bit_exact(tmp_path):
    theirs = peft_model(oft_block_size=16, r=0)
    first = read_adapter(saved(theirs, tmp_path / "theirs"))
    handle = load_adapter(tiny_llama(), tmp_path / "theirs")
    handle.save(tmp_path / "ours")
    second = read_adapter(tmp_path / "ours")
    assert first.packed.keys() == second.packed.keys()
    assert all(torch.equal(first.packed[k], second.packed[k]) for k in first.packed)


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_accelerated_model_computes_what_peft_does(settings):
    model = peft_model(**settings).train()
    logits = model(tokens()).logits.detach()
    parameters = [p for p in model.parameters() if p.requires_grad]
    expected = gradients(model, parameters, tokens())
    report = accelerate(model)
    assert report.layers == {"Linear": 14}
    torch.testing.assert_close(model(tokens()).logits, logits, rtol=0, atol=1e-5)
    for ours, theirs in zip(gradients(model, parameters, tokens()), expected, strict=True):
        assert relative(ours, theirs) < 1e-5


def test_accelerated_model_saves_the_same_bytes(tmp_path):
    model = peft_model(oft_block_size=16, r=0)

    def digest(directory):
        files = sorted(p for p in saved(model, directory).iterdir() if p.name.startswith("adapter"))
        return [(p.name, hashlib.sha256(p.read_bytes()).hexdigest()) for p in files]

    before = digest(tmp_path / "before")
    accelerate(model)
    assert digest(tmp_path / "after") == before


def test_accelerated_model_merges_disables_and_takes_more_adapters():
    model = peft_model(oft_block_size=16, r=0)
    base = tiny_llama()(tokens()).logits
    accelerate(model)
    with model.disable_adapter():
        torch.testing.assert_close(model(tokens()).logits, base, rtol=0, atol=1e-6)
    model.add_adapter("second", peft.OFTConfig(oft_block_size=8, r=0, target_modules="all-linear"))
    model.set_adapter("second")
    torch.testing.assert_close(model(tokens()).logits, base, rtol=0, atol=1e-6)
    model.set_adapter("default")
    y = model(tokens()).logits
    merged = model.merge_and_unload()
    torch.testing.assert_close(merged(tokens()).logits, y, rtol=1e-5, atol=1e-5)


def test_accelerated_block_dropout_works():
    model = peft_model(oft_block_size=16, r=0, module_dropout=0.5).train()
    first = model(tokens()).logits
    assert torch.equal(model(tokens()).logits, first), "PEFT is expected to ignore its own module_dropout"
    accelerate(model)
    assert not torch.equal(model(tokens()).logits, first)
    model.eval()
    torch.testing.assert_close(model(tokens()).logits, first, rtol=0, atol=1e-5)


def test_only_peft_models_can_be_accelerated():
    with pytest.raises(OFTError, match="no OFT layers"):
        accelerate(tiny_llama())
    model = peft_model(oft_block_size=16, r=0)
    accelerate(model)
    with pytest.raises(OFTError, match="accelerated already"):
        accelerate(model)


def test_the_library_imports_peft_in_one_place():
    source = Path(__file__).parent.parent / "src" / "oftv2"
    importing = {
        p.name
        for p in source.rglob("*.py")
        if any(
            line.split()[:1] in (["import"], ["from"]) and line.split()[1].split(".")[0] == "peft"
            for line in map(str.strip, p.read_text().splitlines())
            if line
        )
    }
    assert importing <= {"accelerate_peft.py", "baselines.py"}
