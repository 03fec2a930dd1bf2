"""Polynomials of packed skew-symmetric blocks, `R = Σ c_i Q^i`, with few products and nothing but `packed` kept.

Horner in Q² (Paterson-Stockmeyer): with `C_j = c_2j I + c_2j+1 Q`

    H_top = C_top,   H_j = C_j + Q² H_j+1,   R = H_0

needs ⌈degree/2⌉ products (and one for Q²) instead of degree - 1. Backward walks the same chain, and uses that
only the skew part of dQ reaches the packed numbers: with S = dQ² + (dQ²)ᵀ, which is symmetric, the part that
comes through Q² is `-(M - Mᵀ)` with the one product M = S·Q.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from .backend import use_triton
from .skew import block_size_of, fold_gradient, unpack_skew

if TYPE_CHECKING:
    from .neumann import Backend

Coefficients = tuple[float, ...]

CACHED_NUMBERS = 64_000  # packed numbers worked on at once: a matrix made of each block, half a megabyte in all


def skew_polynomial(
    packed: Float[Tensor, "*batch n"],
    coefficients: Coefficients,
    *,
    dtype: torch.dtype | None = None,
    backend: Backend = "auto",
) -> Float[Tensor, "*batch b b"]:
    """`Σ coefficients[i]·Q^i` of packed skew-symmetric blocks, in `dtype` (as `packed` where omitted)."""
    b = block_size_of(packed.shape[-1])
    dtype = dtype or packed.dtype
    flat = packed.reshape(-1, packed.shape[-1])
    if use_triton(backend, packed, b):
        from .polynomial_triton import skew_polynomial as triton_polynomial

        R = triton_polynomial(flat, list(coefficients), dtype)
    elif torch.compiler.is_compiling():
        R = _evaluate(unpack_skew(_working(flat)), coefficients).to(dtype)
    else:
        R = _SkewPolynomial.apply(flat, coefficients, dtype)
    return R.view(*packed.shape[:-1], b, b)


class _SkewPolynomial(torch.autograd.Function):
    @staticmethod
    def forward(ctx, packed: Tensor, coefficients: Coefficients, dtype: torch.dtype) -> Tensor:
        ctx.save_for_backward(packed)
        ctx.coefficients = coefficients
        b = block_size_of(packed.shape[-1])
        R = torch.empty(packed.shape[0], b, b, dtype=dtype, device=packed.device)
        for start, chunk in _chunks(packed):
            R[start : start + len(chunk)] = _evaluate(unpack_skew(_working(chunk)), coefficients)
        return R

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (packed,) = ctx.saved_tensors
        gradient = torch.empty_like(packed)
        for start, chunk in _chunks(packed):
            work = _working(chunk)
            dR = grad[start : start + len(chunk)].to(work.dtype)
            gradient[start : start + len(chunk)] = _gradient(unpack_skew(work), ctx.coefficients, dR)
        return gradient, None, None


def _chunks(packed: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Rows in portions whose intermediate results stay in a CPU's cache; all rows at once elsewhere."""
    rows = max(1, CACHED_NUMBERS // max(1, packed.shape[1])) if packed.device.type == "cpu" else len(packed)
    for start in range(0, len(packed), rows):
        yield start, packed[start : start + rows]


def _evaluate(Q: Tensor, coefficients: Coefficients) -> Tensor:
    """`Σ c_i Q^i` for Q of shape (N, b, b)."""
    return _chain(Q, _pairs(coefficients))[-1]


def _chain(Q: Tensor, pairs: list[tuple[float, float]], Q2: Tensor | None = None) -> list[Tensor]:
    """The Horner values H_top, ..., H_0, without H_top where it is even·I, which takes no product to go on from."""
    even, odd = pairs[-1]
    if len(pairs) == 1:
        return [_affine(Q, even, odd)]
    Q2 = torch.bmm(Q, Q) if Q2 is None else Q2
    if odd == 0:
        below, alpha = pairs[-2]
        H = torch.add(Q2 if even == 1 else Q2 * even, Q, alpha=alpha)
        H.diagonal(dim1=-2, dim2=-1).add_(below)
        values, rest = [H], pairs[:-2]
    else:
        values, rest = [_affine(Q, even, odd)], pairs[:-1]
    for pair in reversed(rest):
        values.append(_affine(Q, *pair).baddbmm_(Q2, values[-1]))
    return values


def _gradient(Q: Tensor, coefficients: Coefficients, dR: Tensor) -> Tensor:
    """Gradient by the packed numbers, (N, b(b-1)/2), from `dR` of shape (N, b, b)."""
    pairs = _pairs(coefficients)
    if len(pairs) == 1:
        return fold_gradient(dR * pairs[0][1])
    Q2 = torch.bmm(Q, Q)
    top_is_scalar = pairs[-1][1] == 0
    # ..., H_2, H_1; H_0 itself is not needed, and H_1 takes no product where it is the top and a multiple of I
    values = _chain(Q, pairs[1:], Q2) if len(pairs) > 2 or not top_is_scalar else []
    dH, dQ, dQ2 = dR, dR * pairs[0][1], None
    for level in range(1, len(pairs)):
        # here dH is the gradient by H_(level-1) = C_(level-1) + Q² H_level
        if level == len(pairs) - 1 and top_is_scalar:
            even = pairs[-1][0]
            dQ2 = dH * even if dQ2 is None else dQ2.add_(dH, alpha=even)
            break
        H = values[-level]
        dQ2 = torch.bmm(dH, H.mT) if dQ2 is None else dQ2.baddbmm_(dH, H.mT)
        dH = torch.bmm(Q2, dH)  # Q² is symmetric
        dQ = dQ.add_(dH, alpha=pairs[level][1])
    assert dQ2 is not None
    return fold_gradient(dQ.baddbmm_(dQ2 + dQ2.mT, Q, alpha=-1))


def _pairs(coefficients: Coefficients) -> list[tuple[float, float]]:
    padded = (*coefficients, 0.0) if len(coefficients) % 2 else coefficients
    return [(padded[i], padded[i + 1]) for i in range(0, len(padded), 2)]


def _affine(Q: Tensor, even: float, odd: float) -> Tensor:
    """even·I + odd·Q."""
    C = Q * odd
    C.diagonal(dim1=-2, dim2=-1).add_(even)
    return C


def _working(packed: Tensor) -> Tensor:
    return packed if packed.dtype in (torch.float32, torch.float64) else packed.float()
