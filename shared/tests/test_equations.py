"""Each map against a dense float64 reference written from its formula, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from shared.orthogonal import (
    angle_bound,
    block_rotate_weight,
    cayley,
    cayley_neumann,
    exponential,
    inverse_cayley,
    nearest_rotation,
    neumann_coefficients,
    newton_schulz,
    orthogonality_error,
    pack_skew,
    rotate,
    rotate_many,
    skew_polynomial,
    spectral_angle,
    unpack_skew,
)

SIZES = [2, 3, 4, 7, 16, 32]


def random_packed(count: int, b: int, scale: float = 0.1, seed: int = 0, dtype=torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(count, b * (b - 1) // 2, generator=generator, dtype=torch.float64) * scale).to(dtype)


def dense_skew(packed: Tensor) -> Tensor:
    """Q entry by entry, from the layout's definition."""
    n = packed.shape[-1]
    b = next(b for b in range(2, 200) if b * (b - 1) // 2 == n)
    Q = torch.zeros(*packed.shape[:-1], b, b, dtype=packed.dtype)
    for i in range(b):
        for j in range(i + 1, b):
            value = packed[..., i * b - i * (i + 1) // 2 + (j - i - 1)]
            Q[..., i, j] = value
            Q[..., j, i] = -value
    return Q


def power_sum(Q: Tensor, coefficients) -> Tensor:
    return sum(c * torch.linalg.matrix_power(Q, i) for i, c in enumerate(coefficients))


@pytest.mark.parametrize("b", SIZES)
def test_packing_order(b):
    packed = random_packed(3, b)
    assert torch.equal(unpack_skew(packed), dense_skew(packed))
    assert torch.equal(pack_skew(dense_skew(packed)), packed)


@pytest.mark.parametrize("b", SIZES)
def test_cayley_is_its_formula(b):
    packed = random_packed(4, b, 0.3)
    Q, eye = dense_skew(packed), torch.eye(b, dtype=torch.float64)
    expected = (eye + Q) @ torch.linalg.inv(eye - Q)
    torch.testing.assert_close(cayley(packed), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("series", ["product", "truncated"])
@pytest.mark.parametrize("k", range(12))
def test_neumann_is_its_polynomial(k, series):
    packed = random_packed(3, 7, 0.2)
    Q, eye = dense_skew(packed), torch.eye(7, dtype=torch.float64)
    if series == "product":
        expected = (eye + Q) @ power_sum(Q, [1] * (k + 1))
    else:
        expected = power_sum(Q, [1] + [2] * k)
    torch.testing.assert_close(cayley_neumann(packed, k, series), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("k", range(1, 8))
def test_defect_law(k):
    """R_k = cayley(Q)(I - Q^(k+1)), so its singular values are |1 - (iθ)^(k+1)|."""
    packed = random_packed(5, 8, 0.15)
    Q, eye = dense_skew(packed), torch.eye(8, dtype=torch.float64)
    R = cayley_neumann(packed, k)
    torch.testing.assert_close(R, cayley(packed) @ (eye - torch.linalg.matrix_power(Q, k + 1)), rtol=0, atol=1e-10)
    angles = torch.linalg.eigvals(Q).imag
    expected = (1 - (1j * angles.to(torch.complex128)) ** (k + 1)).abs().sort(-1).values
    torch.testing.assert_close(torch.linalg.svdvals(R).sort(-1).values, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("b", [2, 5, 16])
def test_exponential_agrees_with_cayley_to_second_order(b):
    direction = random_packed(2, b, 1.0)
    gaps = []
    for step in (1e-2, 1e-3):
        gaps.append(float((exponential(direction * step) - cayley(direction * step)).abs().max()))
    assert gaps[0] / gaps[1] == pytest.approx(1000, rel=0.1)


@pytest.mark.parametrize("b", SIZES)
def test_inverse_cayley(b):
    packed = random_packed(4, b, 0.5)
    torch.testing.assert_close(inverse_cayley(cayley(packed)), packed, rtol=0, atol=1e-10)


def test_newton_schulz_converges_to_the_polar_factor():
    R = cayley_neumann(random_packed(6, 16, 0.05), 2)
    U, _, Vh = torch.linalg.svd(R)
    torch.testing.assert_close(nearest_rotation(R, 1e-12), U @ Vh, rtol=0, atol=1e-11)
    before, after = orthogonality_error(R).max(), orthogonality_error(newton_schulz(R)).max()
    assert after < before**2


def test_polished_defect_is_three_quarters_of_theta_to_the_twelfth():
    """One Newton-Schulz step on the k = 2 series: s = √(1+θ⁶) becomes s(3-s²)/2 = 1 - ⅜θ¹² + ..., so |s²-1| = ¾θ¹²."""
    packed = torch.tensor([[0.4]], dtype=torch.float64)  # one plane, θ = 0.4
    R = newton_schulz(cayley_neumann(packed, 2))
    defect = (R.mT @ R - torch.eye(2, dtype=torch.float64)).abs().max()
    assert float(defect) == pytest.approx(0.75 * 0.4**12, rel=1e-2)


@pytest.mark.parametrize("coefficients", [(1.0,), (1.0, 2.0), (1.0, 2.0, 1.0), (1.0, -2.0, 0.5, 3.0), (0.3,) * 8])
def test_polynomial_gradient(coefficients):
    packed = random_packed(3, 5, 0.3).requires_grad_()
    assert torch.autograd.gradcheck(lambda p: skew_polynomial(p, coefficients), packed)


@pytest.mark.parametrize("make", [cayley, exponential], ids=["cayley", "exponential"])
def test_exact_gradient(make):
    assert torch.autograd.gradcheck(make, random_packed(3, 5, 0.3).requires_grad_())


@pytest.mark.parametrize("terms", [1, 2, 3, 4, 5])
def test_polynomial_keeps_only_the_packed_numbers(terms):
    packed = random_packed(4, 8).requires_grad_()
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        cayley_neumann(packed, terms)
    assert kept == [packed.shape]


def block_diagonal(R: Tensor, d: int) -> Tensor:
    blocks = list(R) if R.shape[0] > 1 else [R[0]] * (d // R.shape[-1])
    return torch.block_diag(*blocks)


@pytest.mark.parametrize("shape", [(12,), (5, 12), (2, 3, 12)])
@pytest.mark.parametrize("stored", [1, 3])
def test_rotation_is_the_dense_product(shape, stored):
    torch.manual_seed(0)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    R = torch.randn(stored, 4, 4, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(rotate(x, R), x @ block_diagonal(R, 12), rtol=0, atol=1e-12)
    assert torch.autograd.gradcheck(rotate, (x, R))


def test_several_rotations_equal_single_ones():
    torch.manual_seed(0)
    x = torch.randn(5, 12, dtype=torch.float64, requires_grad=True)
    Rs = [torch.randn(r, b, b, dtype=torch.float64, requires_grad=True) for r, b in ((3, 4), (1, 4), (2, 6))]
    together = rotate_many(x, Rs)
    for y, R in zip(together, Rs, strict=True):
        assert torch.equal(y, rotate(x, R))
    assert torch.autograd.gradcheck(lambda x, *Rs: rotate_many(x, Rs), (x, *Rs))


def test_unused_outputs_get_no_gradient():
    x = torch.randn(5, 12, requires_grad=True)
    used, unused = torch.randn(3, 4, 4, requires_grad=True), torch.randn(3, 4, 4, requires_grad=True)
    y, _ = rotate_many(x, [used, unused])
    y.sum().backward()
    assert unused.grad is None
    torch.testing.assert_close(x.grad, torch.ones(5, 12) @ block_diagonal(used.detach(), 12).T)


def test_rotations_of_one_input_keep_it_once():
    x = torch.randn(64, 32, requires_grad=True)
    Rs = [torch.randn(4, 8, 8, requires_grad=True) for _ in range(3)]
    kept = {}
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: kept.setdefault(t.untyped_storage().data_ptr(), t.numel()) and t, lambda t: t
    ):
        rotate_many(x, Rs)
    assert sum(kept.values()) == x.numel() + sum(R.numel() for R in Rs)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bit_rotation_accumulates_in_float32(dtype):
    torch.manual_seed(0)
    x, R = torch.randn(64, 128, dtype=dtype), torch.randn(2, 64, 64, dtype=dtype) / 8
    y = rotate(x, R)
    exact = x.double() @ block_diagonal(R.double(), 128)
    assert y.dtype == dtype
    # one rounding of the result, and no more: a 16-bit accumulation would be several times off
    assert float((y.double() - exact).norm() / exact.norm()) < torch.finfo(dtype).eps


def test_weight_rotation_merges_what_input_rotation_does():
    torch.manual_seed(0)
    x, W = torch.randn(7, 12, dtype=torch.float64), torch.randn(6, 12, dtype=torch.float64)
    R = cayley(random_packed(3, 4, 0.4))
    torch.testing.assert_close(rotate(x, R) @ W.T, x @ block_rotate_weight(W, R).T, rtol=0, atol=1e-12)
    left = block_rotate_weight(W, cayley(random_packed(2, 3, 0.4)), side="output")
    expected = block_diagonal(cayley(random_packed(2, 3, 0.4)), 6) @ W
    torch.testing.assert_close(left, expected, rtol=0, atol=1e-12)


def test_weight_rotation_gradient():
    torch.manual_seed(0)
    W = torch.randn(6, 12, dtype=torch.float64, requires_grad=True)
    R = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(block_rotate_weight, (W, R))


def test_spectral_angle_and_its_bounds():
    packed = random_packed(6, 16, 0.2)
    exact = torch.linalg.svdvals(dense_skew(packed))[:, 0]
    torch.testing.assert_close(spectral_angle(packed), exact, rtol=1e-10, atol=0)
    iterated = spectral_angle(packed, iterations=200)
    assert bool((iterated <= exact * (1 + 1e-12)).all())
    torch.testing.assert_close(iterated, exact, rtol=1e-2, atol=0)
    assert bool((angle_bound(packed) >= exact).all())


def test_coefficients():
    assert neumann_coefficients(3) == (1, 2, 2, 2, 1)
    assert neumann_coefficients(0) == (1, 1)
    assert neumann_coefficients(3, "truncated") == (1, 2, 2, 2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_low_precision_parameters_are_computed_in_float32(dtype):
    packed = random_packed(4, 8, 0.1, dtype=dtype)
    for build in (cayley_neumann, cayley):
        R = build(packed)
        assert R.dtype == dtype
        assert torch.equal(R, build(packed.float()).to(dtype))


def test_compiled_equals_eager():
    torch.manual_seed(0)
    packed = random_packed(3, 4, dtype=torch.float32).requires_grad_()
    x = torch.randn(5, 12, requires_grad=True)

    def model(x, packed):
        return rotate(x, cayley_neumann(packed)).square().sum()

    eager = torch.autograd.grad(model(x, packed), (x, packed))
    compiled = torch.autograd.grad(torch.compile(model, fullgraph=True, backend="aot_eager")(x, packed), (x, packed))
    for a, b in zip(eager, compiled, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_indices_made_under_inference_serve_training():
    b = 11  # a size no other test uses, so that its index is made here
    with torch.inference_mode():
        cayley_neumann(random_packed(2, b))
    packed = random_packed(2, b).requires_grad_()
    cayley_neumann(packed).sum().backward()
    assert packed.grad is not None and bool(torch.isfinite(packed.grad).all())
