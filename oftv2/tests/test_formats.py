"""Every format opens with its own formulas; ours and PEFT's files are interchangeable bit for bit."""

from __future__ import annotations

import errno
import json
import math
import os
import warnings

import pytest
import torch
from adapter_files import (
    PATHS,
    lycoris_file,
    peft_folder,
    peft_settings,
    random_packed,
    v1_folder,
    v1_matrices,
    write_folder,
)
from models import tiny_llama
from safetensors.torch import load_file, save_file

from oftv2.config import OFTConfig
from oftv2.errors import OFTError
from oftv2.formats.adapter import Adapter
from oftv2.formats.lycoris import lycoris_merged_weight, merge_lycoris, read_lycoris
from oftv2.formats.tensors import TensorFile
from oftv2.io import read_adapter, write_adapter
from oftv2.rotation import rotation_from


def skew(packed):
    """Q of packed rows, entry by entry."""
    b = int((1 + (1 + 8 * packed.shape[-1]) ** 0.5) / 2)
    Q = torch.zeros(packed.shape[0], b, b, dtype=packed.dtype)
    for k in range(packed.shape[0]):
        position = 0
        for i in range(b):
            for j in range(i + 1, b):
                Q[k, i, j], Q[k, j, i] = packed[k, position], -packed[k, position]
                position += 1
    return Q


def equal_tensors(a, b):
    return a.keys() == b.keys() and all(a[k].dtype == b[k].dtype and torch.equal(a[k], b[k]) for k in a)


# -- PEFT 0.18 and later

PEFT_VARIANTS = {
    "b=16": {"oft_block_size": 16},
    "r=8": {"r": 8, "oft_block_size": 0},
    "block_share": {"block_share": True, "oft_block_size": 16},
    "exact": {"use_cayley_neumann": False},
    "n=2": {"num_cayley_neumann_terms": 2},
    "n=6": {"num_cayley_neumann_terms": 6},
    "coft": {"coft": True, "eps": 0.5},
    "modules_to_save": {"modules_to_save": ["lm_head"]},
    "embedding": {"target_modules": ["q_proj", "embed_tokens"]},
    "bias": {"bias": "oft_only"},
}


def peft_made(folder, **changes):
    """A folder written by PEFT, its tensors, and its logits."""
    import peft

    settings = {"oft_block_size": 16, "target_modules": ["q_proj", "down_proj"], "task_type": "CAUSAL_LM"} | changes
    model = peft.get_peft_model(tiny_llama(attention_bias=changes.get("bias") is not None), peft.OFTConfig(**settings))
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.02 if "oft_" in name else 0.1)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PEFT announces that it stores rotated embeddings
        logits = model.eval()(torch.arange(12)[None]).logits
        model.save_pretrained(folder)
    return load_file(folder / "adapter_model.safetensors"), logits


@pytest.mark.parametrize("variant", PEFT_VARIANTS)
def test_peft_round_trip(variant, tmp_path):
    """PEFT writes, we read and write, PEFT reads: the same tensors bit for bit, the same logits, no warning."""
    import peft

    changes = PEFT_VARIANTS[variant]
    theirs, logits = peft_made(tmp_path / "theirs", **changes)
    adapter = read_adapter(tmp_path / "theirs")
    assert adapter.source == "peft" and adapter.notes == []
    assert sorted(adapter.packed) + sorted(adapter.embeddings)
    assert ("model.embed_tokens" in adapter.embeddings) == (variant == "embedding")
    write_adapter(adapter, tmp_path / "ours")
    assert equal_tensors(load_file(tmp_path / "ours" / "adapter_model.safetensors"), theirs)
    again = read_adapter(tmp_path / "ours")
    assert again.config == adapter.config

    before = json.loads((tmp_path / "theirs" / "adapter_config.json").read_text())
    after = json.loads((tmp_path / "ours" / "adapter_config.json").read_text())
    for field in (
        "r",
        "oft_block_size",
        "block_share",
        "use_cayley_neumann",
        "num_cayley_neumann_terms",
        "coft",
        "eps",
    ):
        assert after[field] == before[field], field
    assert set(after["target_modules"]) == set(before["target_modules"])

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("error", UserWarning)  # what PEFT warns with of a file
        base = tiny_llama(attention_bias=changes.get("bias") is not None)
        model = peft.PeftModel.from_pretrained(base, tmp_path / "ours").eval()
        again = model(torch.arange(12)[None]).logits
    # PEFT projects constrained blocks again in every forward, which rounds once more.
    assert torch.allclose(again, logits, atol=1e-6) if variant == "coft" else torch.equal(again, logits)


def test_native_round_trip(tmp_path):
    """Every setting and every tensor comes back, bit for bit."""
    config = OFTConfig(
        block_size=None,
        num_blocks=4,
        parameterization="cayley_neumann_polished",
        block_dropout=0.1,
        rescale=True,
        target_modules=("q_proj", "down_proj"),
        modules_to_save=("lm_head",),
        rotation_dtype="bfloat16",
    )
    packed = {"a.q_proj": torch.randn(4, 120), "a.down_proj": torch.randn(4, 276)}
    flat = torch.randn(2, 64)
    adapter = Adapter(
        config,
        packed=packed,
        rescale={"a.q_proj": flat[0], "a.down_proj": flat[1]},  # views of one buffer
        saved={"lm_head.weight": torch.randn(7, 3).to(torch.bfloat16)},
    )
    write_adapter(adapter, tmp_path, "native")
    again = read_adapter(tmp_path)
    assert again.config == config and again.source == "native" and again.notes == []
    for name in ("packed", "embeddings", "rescale", "saved"):
        assert equal_tensors(getattr(again, name), getattr(adapter, name)), name


def test_block_size_comes_from_the_tensors(tmp_path):
    """A wrong oft_block_size in the settings is overruled and said."""
    packed = random_packed(b=8)
    adapter = read_adapter(peft_folder(tmp_path, packed, oft_block_size=32))
    assert adapter.config.block_size == 8
    assert equal_tensors(adapter.packed, packed)
    assert len(adapter.notes) == 1 and "blocks of size 8" in adapter.notes[0]


def test_adjusted_block_sizes_are_not_a_disagreement(tmp_path):
    """Where the wanted size does not divide a layer's width, the nearest divisor is what the setting means."""
    packed = {"a": torch.randn(4, 300), "b": torch.randn(2, 496)}  # width 100 in blocks of 25, 64 in blocks of 32
    adapter = read_adapter(peft_folder(tmp_path, packed, oft_block_size=32))
    assert adapter.config.block_size == 32 and adapter.notes == []


def test_sixteen_bit_parameters_are_widened_exactly(tmp_path):
    packed = {path: t.to(torch.bfloat16) for path, t in random_packed().items()}
    adapter = read_adapter(peft_folder(tmp_path, packed))
    assert all(t.dtype == torch.float32 and torch.equal(t, packed[p].float()) for p, t in adapter.packed.items())
    assert "bfloat16" in adapter.notes[0]


def test_cayley_is_written_with_the_sign_that_peft_reads(tmp_path):
    """The rotation that PEFT builds from the file is the paper's (I+Q)(I-Q)⁻¹, and the numbers only change sign."""
    packed = random_packed(scale=0.1)
    write_adapter(Adapter(OFTConfig(block_size=16, parameterization="cayley"), packed=packed), tmp_path)
    read = read_adapter(tmp_path)
    assert read.config.parameterization == "cayley_peft_exact"
    for path, t in packed.items():
        assert torch.equal(read.packed[path], -t)
        Q, eye = skew(t.double()), torch.eye(16, dtype=torch.float64)
        expected = (eye + Q) @ torch.linalg.inv(eye - Q)
        assert torch.allclose(rotation_from(read.packed[path].double(), "cayley_peft_exact"), expected, atol=1e-12)


def test_polished_series_is_written_as_its_exact_form(tmp_path):
    packed = random_packed(scale=0.03)
    write_adapter(
        Adapter(OFTConfig(block_size=16, parameterization="cayley_neumann_polished"), packed=packed), tmp_path
    )
    read = read_adapter(tmp_path)
    for path, t in packed.items():
        polished = rotation_from(t.double(), "cayley_neumann_polished")
        assert torch.allclose(rotation_from(read.packed[path], "cayley_peft_exact").double(), polished, atol=2e-6)


# -- PEFT 0.16 and 0.17


@pytest.mark.parametrize("version", ["absent", "0.17.1", "0.16.0", "0.17.2.dev0@UNKNOWN"])
@pytest.mark.parametrize("terms", [1, 2, 5, 8])
def test_017_series(version, terms, tmp_path):
    """R = I + 2 Σ Q^i for i < terms: the last term is doubled too."""
    packed = random_packed(scale=0.05)
    adapter = read_adapter(peft_folder(tmp_path, packed, peft_version=version, num_cayley_neumann_terms=terms))
    assert adapter.source == "peft-0.17" and "last term is doubled" in adapter.notes[0]
    for path, t in packed.items():
        Q = skew(t.double())
        expected, power = torch.eye(16, dtype=torch.float64).expand_as(Q).clone(), Q
        for _ in range(1, terms):
            expected, power = expected + 2 * power, power @ Q
        got = rotation_from(adapter.packed[path].double(), adapter.config.parameterization, adapter.config.terms)
        assert torch.allclose(got, expected, atol=1e-12)
    with pytest.raises(OFTError, match=r"0\.16 and 0\.17"):
        write_adapter(adapter, tmp_path / "peft", "peft")
    write_adapter(adapter, tmp_path / "native", "native")
    assert read_adapter(tmp_path / "native").config.parameterization == "cayley_neumann_017"


@pytest.mark.parametrize("version", ["0.18.0", "0.18.2.dev0@abc", "0.21.2", "1.0"])
def test_018_and_later_have_the_new_series(version, tmp_path):
    adapter = read_adapter(peft_folder(tmp_path, peft_version=version))
    assert adapter.config.parameterization == "cayley_neumann" and adapter.source == "peft"


# -- PEFT 0.14 and 0.15


def v1_merged(W, data, s):
    """W_merged = (W · Rᵀ) ⊙ s with R = (I - S)(I + S)⁻¹, S = (data - dataᵀ)/2, as PEFT 0.15 merges."""
    S, eye = 0.5 * (data - data.transpose(1, 2)), torch.eye(data.shape[1], dtype=data.dtype)
    R = torch.block_diag(*((eye - S) @ torch.linalg.inv(eye + S)))
    return (W @ R.T) * s


def test_v1_merges_to_the_same_weight(tmp_path):
    matrices = v1_matrices()
    adapter = read_adapter(v1_folder(tmp_path, matrices))
    assert adapter.source == "peft-v1" and adapter.config.rescale
    for path, (data, s) in matrices.items():
        W = torch.randn(s.shape[0], data.shape[0] * data.shape[1], dtype=torch.float64)
        R = rotation_from(adapter.packed[path].double(), adapter.config.parameterization)
        got = (W @ torch.block_diag(*R).T) * adapter.rescale[path].double()[:, None]
        assert torch.allclose(got, v1_merged(W, data.double(), s.double()), atol=1e-6)
    with pytest.raises(OFTError, match="rescale"):
        write_adapter(adapter, tmp_path / "peft", "peft")


def test_v1_with_unit_scales_goes_to_peft(tmp_path):
    """Without output scales a v1 adapter is an exact-form adapter of today's PEFT."""
    import peft

    matrices = {path: (data, torch.ones_like(s)) for path, (data, s) in v1_matrices().items()}
    adapter = read_adapter(v1_folder(tmp_path / "v1", matrices))
    assert not adapter.rescale and not adapter.config.rescale
    write_adapter(adapter, tmp_path / "peft")
    base = tiny_llama()
    originals = {path: base.get_submodule(path).weight.detach().clone() for path in PATHS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the fixture adapts one of the two down projections
        merged = peft.PeftModel.from_pretrained(base, tmp_path / "peft").merge_and_unload()
    for path, (data, s) in matrices.items():
        assert torch.allclose(merged.get_submodule(path).weight, v1_merged(originals[path], data, s), atol=1e-5)


def test_v1_coft_is_projected_as_peft_did(tmp_path):
    """‖data‖_F <= eps·(out/r)²/√r before every use; r = 4 and 6 blocks here."""
    matrices = v1_matrices(scale=0.5)
    adapter = read_adapter(v1_folder(tmp_path, matrices, coft=True, eps=1e-3))
    for path, (data, s) in matrices.items():
        r = data.shape[0]
        radius = 1e-3 * math.ceil(s.shape[0] / r) ** 2 / r**0.5
        projected = torch.stack([d * min(1.0, radius / float(d.norm())) for d in data])
        assert torch.allclose(skew(adapter.packed[path]), 0.5 * (projected - projected.transpose(1, 2)), atol=1e-6)
    assert not adapter.config.coft and any("COFT" in note for note in adapter.notes)


def test_output_side_files_of_peft_013_are_explained(tmp_path):
    named = {f"base_model.model.{p}.oft_r": data for p, (data, _) in v1_matrices().items()}
    with pytest.raises(OFTError, match=r"PEFT 0\.13 or earlier, whose OFT rotates the outputs"):
        read_adapter(write_folder(tmp_path, named, peft_settings(peft_version="absent")))


# -- LyCORIS


@pytest.mark.parametrize("alpha", [0.0, 0.002])
@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("layer", ["linear", "conv"])
def test_lycoris_merged_weight(layer, rescale, alpha):
    """Equal to the merged weight of the lycoris package's own module."""
    diag_oft = pytest.importorskip("lycoris.modules.diag_oft", reason="lycoris-lora is not installed")
    torch.manual_seed(0)
    base = torch.nn.Linear(12, 32) if layer == "linear" else torch.nn.Conv2d(6, 32, (3, 2))
    module = diag_oft.DiagOFTModule("lycoris_x", base, lora_dim=8, constraint=alpha, rescaled=rescale)
    with torch.no_grad():
        module.oft_blocks.normal_(std=0.05)
        if rescale:
            module.rescale.normal_(1.0, 0.1)
        expected = module.make_weight()
    state = module.state_dict()
    got = lycoris_merged_weight(base.weight.detach(), state["oft_blocks"], state.get("rescale"), float(state["alpha"]))
    assert got.shape == base.weight.shape
    assert torch.allclose(got, expected, atol=1e-5)
    assert not torch.allclose(expected, base.weight, atol=1e-3)


def test_lycoris_merges_into_a_model(tmp_path):
    """Modules are found by LyCORIS's flattened names; the weights are those of lycoris_merged_weight."""
    path = lycoris_file(tmp_path / "x.safetensors")
    tensors = load_file(path)
    model = tiny_llama()
    before = {p: model.get_submodule(p).weight.detach().clone() for p in PATHS}
    untouched = model.lm_head.weight.detach().clone()
    assert merge_lycoris(model, read_lycoris(TensorFile(path))) == len(PATHS)
    for p in PATHS:
        name = "lycoris_" + p.replace(".", "_")
        expected = lycoris_merged_weight(before[p], tensors[f"{name}.oft_blocks"], tensors[f"{name}.rescale"])
        assert torch.equal(model.get_submodule(p).weight, expected)
    assert torch.equal(model.lm_head.weight, untouched)


def test_lycoris_is_not_injected(tmp_path):
    lycoris_file(tmp_path / "x.safetensors")
    with pytest.raises(OFTError, match="rotates the outputs of a layer"):
        read_adapter(tmp_path)


# -- writing


def snapshot(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


@pytest.mark.parametrize("failing", [1, 2])
def test_full_disk_leaves_the_earlier_adapter(failing, tmp_path, monkeypatch):
    """Whichever of the two files does not fit: one sentence, the earlier files as they were, no litter."""
    write_adapter(Adapter(OFTConfig(block_size=16), packed=random_packed(0)), tmp_path)
    before = snapshot(tmp_path)
    calls, real = [], os.fsync

    def fsync(handle):
        calls.append(handle)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OFTError, match="the disk is full"):
        write_adapter(Adapter(OFTConfig(block_size=8), packed=random_packed(1, b=8)), tmp_path)
    assert snapshot(tmp_path) == before


def test_overwriting_replaces_both_files(tmp_path):
    write_adapter(Adapter(OFTConfig(block_size=16), packed=random_packed(0)), tmp_path)
    write_adapter(Adapter(OFTConfig(block_size=8), packed=random_packed(1, b=8)), tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert equal_tensors(read_adapter(tmp_path).packed, random_packed(1, b=8))


def test_two_formats_do_not_share_a_folder(tmp_path):
    adapter = Adapter(OFTConfig(block_size=16), packed=random_packed())
    write_adapter(adapter, tmp_path, "native")
    before = snapshot(tmp_path)
    with pytest.raises(OFTError, match="another format"):
        write_adapter(adapter, tmp_path, "peft")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("format", ["peft", "native"])
def test_nan_is_not_written(format, tmp_path):
    packed = random_packed()
    packed[PATHS[1]][0, 3] = float("nan")
    with pytest.raises(OFTError, match=r"down_proj.* 1 values that are NaN"):
        write_adapter(Adapter(OFTConfig(block_size=16), packed=packed), tmp_path / "x", format)
    assert not (tmp_path / "x").exists()


def test_pickles_are_refused_with_the_way_out(tmp_path):
    peft_folder(tmp_path)
    (tmp_path / "adapter_model.safetensors").unlink()
    torch.save({"x": torch.zeros(1)}, tmp_path / "adapter_model.bin")
    with pytest.raises(OFTError, match=r"save_pretrained.*safe_serialization"):
        read_adapter(tmp_path)
    with pytest.raises(OFTError, match="pickle"):
        read_adapter(tmp_path / "adapter_model.bin")


def test_classes_named_in_a_file_are_not_imported(tmp_path):
    """auto_mapping names a module whose import would leave a trace."""
    (tmp_path / "trace_of_import.py").write_text("raise SystemExit('imported')")
    mapping = {"base_model_class": "X", "parent_library": "trace_of_import"}
    assert read_adapter(peft_folder(tmp_path / "a", auto_mapping=mapping)).packed


def test_safetensors_of_other_dtypes_are_read_as_they_are(tmp_path):
    """The reader agrees with the safetensors package for every dtype that it knows."""
    from oftv2.formats.tensors import DTYPES

    tensors = {str(d): torch.arange(6).reshape(2, 3).to(d) for d in DTYPES.values()} | {"empty": torch.zeros(0, 4)}
    save_file(tensors, tmp_path / "x.safetensors")
    got = TensorFile(tmp_path / "x.safetensors").read_all()
    assert got.keys() == tensors.keys()
    for name, t in tensors.items():
        assert got[name].dtype == t.dtype and got[name].shape == t.shape
        assert torch.equal(got[name].view(torch.uint8), t.contiguous().view(torch.uint8))
