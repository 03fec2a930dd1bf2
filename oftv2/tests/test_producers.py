"""Producers joined with rotations against the unfused modules, and what their backward passes keep."""

import pytest
import torch
from torch import nn
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from oftv2.errors import OFTError
from oftv2.producers import rmsnorm_rotate, swiglu_rotate
from shared.orthogonal import rotate_many

pytest.importorskip("triton", reason="the kernels need the package triton")

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
EPS = 1e-5


def random(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """The same numbers on every device."""
    generator = torch.Generator().manual_seed(sum(shape) + len(shape))
    return torch.randn(*shape, generator=generator).to(DEVICE, dtype)


def rotations(S: int, r: int, b: int, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    return [random(r, b, b, dtype=dtype).mul(s + 1).div(b**0.5).requires_grad_() for s in range(S)]


def norm_of(weight: torch.Tensor) -> LlamaRMSNorm:
    norm = LlamaRMSNorm(weight.numel(), EPS)
    norm.weight = nn.Parameter(weight, requires_grad=False)
    return norm


def unfused_norm(h, weight, Rs):
    return rotate_many(norm_of(weight)(h), Rs, backend="torch")


def unfused_swiglu(gate, up, Rs):
    return rotate_many(nn.functional.silu(gate) * up, Rs, backend="torch")


def gradients(ys: list[torch.Tensor], inputs: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    weights = [random(*y.shape, dtype=y.dtype).roll(s, 0) for s, y in enumerate(ys)]
    return torch.autograd.grad(ys, inputs, weights)


def assert_near(actual: torch.Tensor, expected: torch.Tensor, tolerance: float) -> None:
    """To `tolerance` of the largest number."""
    assert actual.dtype == expected.dtype and actual.shape == expected.shape
    error = (actual.double() - expected.double()).abs().max() / expected.double().abs().max()
    assert error <= tolerance, f"off by {error:.1e} of the largest number"


# The norm computes in float32 whatever h is, so float64 brings its tolerance down by the rest of the chain only.
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-6), (torch.float32, 1e-6), (torch.bfloat16, 2**-8)])
@pytest.mark.parametrize("S, r, b", [(1, 4, 3), (3, 2, 8), (2, 1, 4)], ids=["odd block", "q, k and v", "shared block"])
def test_norm_in_torch_equals_the_unfused_modules(S, r, b, dtype, tolerance):
    h = random(2, 7, 12 if r == 1 else r * b, dtype=dtype).requires_grad_()
    weight, Rs = 1 + 0.1 * random(h.shape[-1], dtype=dtype), rotations(S, r, b, dtype)
    ys, expected = rmsnorm_rotate(h, weight, EPS, Rs, backend="torch"), unfused_norm(h, weight, Rs)
    for y, reference in zip(ys, expected, strict=True):
        assert torch.equal(y, reference)
    for actual, reference in zip(gradients(ys, [h, *Rs]), gradients(expected, [h, *Rs]), strict=True):
        assert_near(actual, reference, tolerance)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-14), (torch.float32, 1e-6), (torch.bfloat16, 2**-8)])
@pytest.mark.parametrize("S, r, b", [(1, 4, 3), (2, 2, 8), (1, 1, 4)], ids=["odd block", "two", "shared block"])
def test_swiglu_in_torch_equals_the_unfused_modules(S, r, b, dtype, tolerance):
    gate = random(2, 7, 12 if r == 1 else r * b, dtype=dtype).mul(3).requires_grad_()
    up, Rs = random(*gate.shape, dtype=dtype).flip(0).requires_grad_(), rotations(S, r, b, dtype)
    ys, expected = swiglu_rotate(gate, up, Rs, backend="torch"), unfused_swiglu(gate, up, Rs)
    for y, reference in zip(ys, expected, strict=True):
        assert torch.equal(y, reference)
    inputs = [gate, up, *Rs]
    for actual, reference in zip(gradients(ys, inputs), gradients(expected, inputs), strict=True):
        assert_near(actual, reference, tolerance)


def test_swiglu_in_torch_passes_gradcheck():
    gate, up = (random(3, 6, dtype=torch.float64).roll(s, 0).requires_grad_() for s in range(2))
    R = random(2, 3, 3, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda *a: swiglu_rotate(*a[:2], [a[2]], backend="torch")[0], (gate, up, R))


def test_a_norm_weight_in_float32_widens_the_output_as_the_module_does():
    h = random(5, 16, dtype=torch.bfloat16).requires_grad_()
    weight, Rs = 1 + 0.1 * random(16), rotations(1, 2, 8)
    (y,), (expected,) = rmsnorm_rotate(h, weight, EPS, Rs), unfused_norm(h, weight, Rs)
    assert torch.equal(y, expected) and y.dtype == torch.float32
    for actual, reference in zip(gradients([y], [h, *Rs]), gradients([expected], [h, *Rs]), strict=True):
        assert_near(actual, reference, 2**-8)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 2e-6), (torch.bfloat16, 2**-6)], ids=["fp32", "bf16"])
@pytest.mark.parametrize("S, r, b", [(1, 17, 4), (3, 3, 32), (2, 2, 64), (4, 1, 16)])
def test_kernels_equal_the_torch_forms(S, r, b, dtype, tolerance):
    """On several column groups, over rows that fill no whole tile, and over more rotations than one launch takes."""
    shape = (71, 48 if r == 1 else r * b)
    h = random(*shape, dtype=dtype).requires_grad_()
    up = random(*shape, dtype=dtype).flip(0).requires_grad_()
    weight, Rs = 1 + 0.1 * random(shape[1], dtype=dtype), rotations(S, r, b, dtype)
    results = {}
    for backend in ("torch", "triton"):
        normed = rmsnorm_rotate(h, weight, EPS, Rs, backend=backend)
        gated = swiglu_rotate(h, up, Rs, backend=backend)
        results[backend] = (*normed, *gated, *gradients(normed, [h, *Rs]), *gradients(gated, [h, up, *Rs]))
    for actual, reference in zip(results["triton"], results["torch"], strict=True):
        assert_near(actual, reference, tolerance)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_what_backward_keeps(backend):
    h, up = random(9, 32).requires_grad_(), random(9, 32).flip(0).requires_grad_()
    weight, Rs = 1 + 0.1 * random(32), rotations(3, 2, 16)
    rstd = 9 * 4
    assert kept_bytes(lambda: rmsnorm_rotate(h, weight, EPS, Rs, backend=backend), {h, weight, *Rs}) == rstd
    assert kept_bytes(lambda: swiglu_rotate(h, up, Rs, backend=backend), {h, up, *Rs}) == 0
    assert kept_bytes(lambda: unfused_norm(h, weight, Rs), {h, weight, *Rs}) >= rstd + h.nbytes


def kept_bytes(call, inputs: set[torch.Tensor]) -> int:
    """Bytes kept for backward beyond the inputs, each storage counted once."""
    known = {t.data_ptr() for t in inputs}
    kept: dict[int, int] = {}

    def pack(t: torch.Tensor) -> torch.Tensor:
        if t.data_ptr() not in known:
            kept[t.data_ptr()] = t.nbytes
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        outputs = call()
        assert all(y.requires_grad for y in outputs)
    return sum(kept.values())


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_unused_outputs_and_inputs_without_gradient(backend):
    h, up, weight = random(5, 32), random(5, 32).flip(0).requires_grad_(), torch.ones(32, device=DEVICE)
    Rs = rotations(2, 2, 16)
    normed, gated = rmsnorm_rotate(h, weight, EPS, Rs, backend=backend), swiglu_rotate(h, up, Rs, backend=backend)
    expected = unfused_norm(h, weight, Rs)[1].sum() + unfused_swiglu(h, up, Rs)[0].sum()
    actual = normed[1].sum() + gated[0].sum()
    inputs = [up, *Rs]
    for gradient, reference in zip(
        torch.autograd.grad(actual, inputs), torch.autograd.grad(expected, inputs), strict=True
    ):
        assert_near(gradient, reference, 2e-6)


@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_compiled_without_a_graph_break_equals_eager(backend):
    weight = torch.ones(16, device=DEVICE)

    def loss(h, up, R):
        (normed,) = rmsnorm_rotate(h, weight, EPS, [R], backend=backend)
        (gated,) = swiglu_rotate(normed, up, [R], backend=backend)
        return gated.square().sum()

    inputs = [random(5, 16).requires_grad_(), random(5, 16).flip(0).requires_grad_(), *rotations(1, 1, 16)]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    expected = torch.autograd.grad(loss(*inputs), inputs)
    for actual, reference in zip(torch.autograd.grad(compiled(*inputs), inputs), expected, strict=True):
        assert_near(actual, reference, 2e-6)


def test_operators_keep_what_they_declare():
    from oftv2 import producers_triton

    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    h, up, weight, R, rstd = random(3, 8), random(3, 8).flip(0), random(8), random(2, 4, 4), random(3)
    for operator, arguments in (
        (producers_triton._rmsnorm_rotate, (h.clone().requires_grad_(), weight, EPS, [R, R + 1])),
        (producers_triton._rmsnorm_rotate_backward, (h, weight, rstd, [R], [up], True, True)),
        (producers_triton._rmsnorm_rotate_backward, (h, weight, rstd, [R], [up], False, False)),
        (producers_triton._swiglu_rotate, (h.clone().requires_grad_(), up, [R])),
        (producers_triton._swiglu_rotate_backward, (h, up, [R], [up], True, True)),
        (producers_triton._swiglu_rotate_backward, (h, up, [R], [up], False, False)),
    ):
        torch.library.opcheck(operator, arguments, test_utils=checks)


def test_no_rows():
    h, Rs = torch.empty(0, 32, device=DEVICE, requires_grad=True), rotations(1, 2, 16)
    (normed,) = rmsnorm_rotate(h, torch.ones(32, device=DEVICE), EPS, Rs, backend="triton")
    (gated,) = swiglu_rotate(h, h, Rs, backend="triton")
    dh, dR = torch.autograd.grad(normed.sum() + gated.sum(), [h, *Rs])
    assert dh.shape == (0, 32) and not dR.any()


def test_what_cannot_be_served_is_refused_in_a_sentence():
    h, Rs = random(3, 16), rotations(1, 2, 8)
    with pytest.raises(OFTError, match="gives the norm's weight no gradient"):
        rmsnorm_rotate(h, torch.ones(16, device=DEVICE, requires_grad=True), EPS, Rs)
    with pytest.raises(OFTError, match="width 16 has a weight of that length, not \\(8,\\)"):
        rmsnorm_rotate(h, torch.ones(8, device=DEVICE), EPS, Rs)
    with pytest.raises(OFTError, match=r"needs a norm weight of the input's dtype torch\.float32, not torch\.bfloat16"):
        rmsnorm_rotate(h, torch.ones(16, device=DEVICE).bfloat16(), EPS, Rs, backend="triton")
    with pytest.raises(OFTError, match="gate and up of one shape and dtype"):
        swiglu_rotate(h, h[:2], Rs)
    with pytest.raises(ValueError, match="2 blocks of size 8 rotate vectors of width 16, not 24"):
        swiglu_rotate(random(3, 24), random(3, 24), Rs)
