"""Adapters merged on disk: OrthoMerge, the mean, and the product of rotations."""

from __future__ import annotations

import warnings

import pytest
import torch
from adapter_files import PATHS, WIDTHS, peft_folder, random_packed, v1_folder
from hypothesis import given, settings
from hypothesis import strategies as st
from models import tiny_llama

from oftv2.compose import composed, convert, mean, merge_adapters, orthomerge
from oftv2.config import OFTConfig
from oftv2.errors import OFTError
from oftv2.formats.adapter import Adapter
from oftv2.io import read_adapter, write_adapter
from oftv2.rotation import rotation_from
from shared.orthogonal import unpack_skew


def dense(adapter: Adapter, path: str, width: int) -> torch.Tensor:
    """The d×d block-diagonal rotation of one module, float64; a shared block repeats."""
    R = rotation_from(adapter.rotations[path].double(), adapter.config.parameterization, adapter.config.terms)
    return torch.block_diag(*R.repeat(width // (R.shape[0] * R.shape[1]), 1, 1))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 4), scale=st.floats(1e-4, 1.0))
def test_orthomerge_is_its_equation(seed, count, scale):
    """Q = (c/T) ΣQ_t with c = Σ‖Q_t‖_F/‖ΣQ_t‖_F over all blocks of a module; ‖Q‖_F is then the mean of the norms."""
    adapters = [random_packed(seed + t, scale=scale * (t + 1)) for t in range(count)]
    merged = orthomerge(adapters)
    for path in PATHS:
        Qs = [unpack_skew(a[path].double()) for a in adapters]
        c = sum(Q.norm() for Q in Qs) / sum(Qs).norm()
        assert torch.allclose(unpack_skew(merged.packed[path].double()), c / count * sum(Qs), rtol=1e-5, atol=1e-9)
        assert merged.strength[path] == pytest.approx(float(c))
        norm = unpack_skew(merged.packed[path].double()).norm()
        assert float(norm) == pytest.approx(float(sum(Q.norm() for Q in Qs) / count), rel=1e-5)
    assert merged.cancelled == []


def test_orthomerge_of_one_adapter_with_itself_is_that_adapter():
    packed = random_packed()
    merged = orthomerge([packed, packed, packed]).packed
    assert all(torch.allclose(merged[path], packed[path], rtol=1e-6) for path in packed)


def test_cancelling_rotations_are_reported():
    """Q and -Q leave nothing to scale up: c = 1, zeros, and the module is named; a fresh adapter is no such case."""
    packed = random_packed()
    opposite = {path: -t for path, t in packed.items()}
    opposite[PATHS[0]] = packed[PATHS[0]]
    merged = orthomerge([packed, opposite])
    assert merged.cancelled == [PATHS[1], PATHS[2]]
    assert merged.strength[PATHS[1]] == 1.0 and not merged.packed[PATHS[1]].any()
    assert torch.allclose(merged.packed[PATHS[0]], packed[PATHS[0]])
    fresh = {path: torch.zeros_like(t) for path, t in packed.items()}
    assert orthomerge([fresh, fresh]).cancelled == []


def test_absent_module_counts_as_the_identity():
    a, b = random_packed(0), random_packed(1)
    del b[PATHS[1]]
    assert torch.allclose(orthomerge([a, b]).packed[PATHS[1]], a[PATHS[1]] / 2, rtol=1e-6)
    assert torch.allclose(mean([b, a])[PATHS[1]], a[PATHS[1]] / 2, rtol=1e-6)


@pytest.mark.parametrize("shared", [False, True])
def test_blocks_of_different_sizes_meet_in_the_larger(shared):
    """The dense block-diagonal Q of the mean is the mean of the dense Q's."""

    def dense_q(packed, width):
        Q = unpack_skew(packed.double())
        return torch.block_diag(*Q.repeat(width // (Q.shape[0] * Q.shape[1]), 1, 1))

    a, b = random_packed(0, b=8, shared=shared), random_packed(1, b=32)
    for merged in (mean([a, b]), mean([b, a])):
        for path, width in zip(PATHS, WIDTHS, strict=True):
            expected = (dense_q(a[path], width) + dense_q(b[path], width)) / 2
            assert torch.allclose(dense_q(merged[path], width), expected, atol=1e-8)


def test_blocks_that_do_not_nest_are_refused():
    with pytest.raises(OFTError, match="do not fit together"):
        mean([{"a": torch.zeros(4, 66)}, {"a": torch.zeros(3, 120)}])  # blocks of 12 and 16 over 48


KINDS = ["cayley_neumann", "cayley_neumann_017", "cayley_neumann_polished", "cayley", "cayley_peft_exact"]


@pytest.mark.parametrize("first", KINDS)
@pytest.mark.parametrize("second", KINDS)
def test_composition_is_the_product_of_the_rotations(first, second):
    """R_1·R_2·R_1 for any parameterizations, up to how far a series is from a rotation; order matters."""
    adapters = [
        Adapter(OFTConfig(block_size=16, parameterization=name, terms=6), packed=random_packed(seed, scale=0.03))
        for seed, name in enumerate((first, second, first))
    ]
    packed = composed(adapters)
    for path, width in zip(PATHS, WIDTHS, strict=True):
        product = dense(adapters[0], path, width) @ dense(adapters[1], path, width) @ dense(adapters[2], path, width)
        R = torch.block_diag(*rotation_from(packed[path].double(), "cayley_peft_exact"))
        defect = float((product.T @ product - torch.eye(width, dtype=torch.float64)).norm())
        assert float((R - product).norm()) <= 0.51 * defect + 1e-5
        reverse = dense(adapters[1], path, width) @ dense(adapters[0], path, width)
        assert float((R - reverse).norm()) > 0.1


@pytest.mark.parametrize("method", ["orthomerge", "mean", "compose"])
def test_result_opens_in_peft(method, tmp_path):
    """PEFT's weights, merged from the written folder, are those of the rotations that we computed."""
    import peft

    packed = {path: random_packed(s, scale=0.05) for s, path in enumerate(("a", "b"))}
    for name, tensors in packed.items():
        peft_folder(tmp_path / name, tensors, num_cayley_neumann_terms=6, target_modules=list(PATHS))
    result = merge_adapters([tmp_path / "a", tmp_path / "b"], tmp_path / "out", method)
    base = tiny_llama()
    originals = {path: base.get_submodule(path).weight.detach().clone() for path in PATHS}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        merged = peft.PeftModel.from_pretrained(base, tmp_path / "out").merge_and_unload()
    a, b = read_adapter(tmp_path / "a"), read_adapter(tmp_path / "b")
    for path, width in zip(PATHS, WIDTHS, strict=True):
        W = originals[path].double()
        assert torch.allclose(merged.get_submodule(path).weight.double(), W @ dense(result, path, width).T, atol=1e-5)
        if method == "compose":
            together = W @ (dense(a, path, width) @ dense(b, path, width)).T
            assert torch.allclose(merged.get_submodule(path).weight.double(), together, atol=2e-3)
            assert not torch.allclose(merged.get_submodule(path).weight.double(), W, atol=1e-2)


def test_mixed_parameterizations_are_made_exact(tmp_path):
    """The mean is taken of exact Cayley parameters of the rotations that each adapter makes, and this is said."""
    config = OFTConfig(block_size=16, target_modules=("q_proj", "down_proj"))
    adapters = []
    for seed, name in enumerate(("cayley", "cayley_peft_exact", "cayley_neumann_017")):
        adapters.append(Adapter(config.with_(parameterization=name, terms=8), packed=random_packed(seed)))
        write_adapter(adapters[-1], tmp_path / name, "native")
    result = merge_adapters([tmp_path / a.config.parameterization for a in adapters], tmp_path / "out", "mean")
    assert result.config.parameterization == "cayley_peft_exact"
    assert any("exact Cayley form" in note for note in result.notes)
    for path in PATHS:
        parts = [-adapters[0].packed[path], adapters[1].packed[path], -adapters[2].packed[path]]
        assert torch.allclose(result.packed[path], sum(parts) / 3, atol=2e-4)
    assert read_adapter(tmp_path / "out").config.parameterization == "cayley_peft_exact"


def test_series_of_equal_kind_stay_a_series(tmp_path):
    for seed, name in enumerate("ab"):
        peft_folder(tmp_path / name, random_packed(seed))
    result = merge_adapters([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    assert (result.config.parameterization, result.config.terms, result.notes) == ("cayley_neumann", 5, [])
    expected = orthomerge([random_packed(0), random_packed(1)]).packed
    read = read_adapter(tmp_path / "out")
    assert all(torch.equal(read.packed[path], expected[path]) for path in PATHS)


def test_adapters_of_different_modules_name_them_all(tmp_path):
    a, b = random_packed(0), random_packed(1)
    del a[PATHS[0]], b[PATHS[1]]
    peft_folder(tmp_path / "a", a, target_modules=["down_proj"])
    peft_folder(tmp_path / "b", b, target_modules=["q_proj"])
    result = merge_adapters([tmp_path / "a", tmp_path / "b"], tmp_path / "out", "mean")
    assert set(result.config.target_modules) == set(PATHS)
    assert set(read_adapter(tmp_path / "out").packed) == set(PATHS)


def test_what_cannot_be_merged_is_said(tmp_path):
    peft_folder(tmp_path / "a")
    v1_folder(tmp_path / "v1")
    trained = Adapter(
        OFTConfig(block_size=16, modules_to_save=("lm_head",)),
        packed=random_packed(),
        saved={"lm_head.weight": torch.zeros(3, 4)},
    )
    write_adapter(trained, tmp_path / "saved")
    for paths, method, words in (
        ([tmp_path / "a"], "mean", "at least two"),
        ([tmp_path / "a", tmp_path / "a"], "median", "orthomerge, mean, compose"),
        ([tmp_path / "a", tmp_path / "v1"], "mean", "rescales outputs"),
        ([tmp_path / "a", tmp_path / "saved"], "mean", "lm_head.weight"),
    ):
        with pytest.raises(OFTError, match=words):
            merge_adapters(paths, tmp_path / "out", method)
        assert not (tmp_path / "out").exists()


def test_a_half_turn_is_refused():
    """R·R of a quarter turn in each plane has the eigenvalue -1, which no finite Q reaches."""
    quarter = Adapter(OFTConfig(block_size=2, parameterization="cayley"), packed={"a": torch.ones(3, 1)})
    with pytest.raises(OFTError, match="half turn"):
        composed([quarter, quarter])


def test_convert_between_formats(tmp_path):
    """PEFT to native and back: bit for bit."""
    packed = random_packed()
    peft_folder(tmp_path / "a", packed)
    convert(tmp_path / "a", tmp_path / "b", "native")
    convert(tmp_path / "b", tmp_path / "c", "peft")
    a, c = read_adapter(tmp_path / "a"), read_adapter(tmp_path / "c")
    assert a.config == c.config and all(torch.equal(a.packed[p], c.packed[p]) for p in PATHS)
