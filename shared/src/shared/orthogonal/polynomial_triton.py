"""Triton kernels of `skew_polynomial`: packed numbers in, `R = Σ c_i Q^i` out, with Q in registers only.

One program builds one T × T tile, T = max(b, 16). Smaller blocks lie on the tile's diagonal, 16/b of them: powers of
a block-diagonal matrix are block-diagonal, so one kernel serves every size. (A NaN in one of those small blocks makes
its neighbours on the tile NaN as well.)

Forward is Horner in Q² with C_m = c_2m I + c_2m+1 Q, as in `polynomial.py`: ⌈degree/2⌉ products and one for Q².

Backward keeps nothing but the packed numbers, and walks the powers upwards, so that no Horner value is stored:

    dH_m = Q² dH_m-1,  dH_0 = dR                 gradient by H_m
    S_m  = S_m-1 Q² + dH_m-1,  S_1 = dR          derivative of (Q²)^m applied to dR
    dQ²  = Σ_m S_m C_mᵀ = Σ_m c_2m S_m - (Σ_m c_2m+1 S_m) Q,    dQ = Σ_m c_2m+1 dH_m

and the packed gradient is upper(G - Gᵀ) with G = dQ - (dQ² + (dQ²)ᵀ) Q.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .skew import block_size_of
from .triton_tile import check_operand, on_device_of, product, rounded


def skew_polynomial(packed: Tensor, coefficients: list[float], dtype: torch.dtype) -> Tensor:
    """`Σ coefficients[i]·Q^i` of packed skew-symmetric blocks; differentiable, keeping only `packed`.

    Args:
        packed: `(N, b(b-1)/2)` with b one of 2, 4, 8, 16, 32, 64; float32, bfloat16 or float16. Computed in float32.
        coefficients: of Q^0, Q^1, ...; at least one. Each set of coefficients is compiled once.
        dtype: of R, which is `(N, b, b)`.

    Raises:
        ValueError: a device or dtype without kernels, or no coefficients.
    """
    check_operand(packed)
    if not coefficients:
        raise ValueError("a polynomial needs at least one coefficient")
    return _skew_polynomial(packed, coefficients, dtype)


@triton.jit
def _load_skew(PACKED, blocks, b: tl.constexpr, T: tl.constexpr):
    i = tl.arange(0, T)[:, None]
    j = tl.arange(0, T)[None, :]
    block = (tl.program_id(0) * (T // b) + i // b).to(tl.int64)
    row = i % b
    column = j % b
    upper = (i // b == j // b) & (row < column) & (block < blocks)
    at = block * (b * (b - 1) // 2) + row * (2 * b - row - 1) // 2 + column - row - 1
    U = tl.load(PACKED + at, mask=upper, other=0.0).to(tl.float32)
    return U - tl.trans(U)


@triton.jit
def _coefficient(C: tl.constexpr, index):
    """C[index] for an index known at run time only."""
    value = 0.0
    for i in tl.static_range(len(C)):
        value = tl.where(index == i, C[i], value)
    return value


@triton.jit
def _polynomial_kernel(PACKED, OUT, blocks, C: tl.constexpr, b: tl.constexpr, T: tl.constexpr):
    LEVELS: tl.constexpr = len(C) // 2
    i = tl.arange(0, T)[:, None]
    j = tl.arange(0, T)[None, :]
    I = tl.where(i == j, 1.0, 0.0)  # noqa: E741
    Q = _load_skew(PACKED, blocks, b, T)
    R = C[2 * LEVELS - 2] * I + C[2 * LEVELS - 1] * Q
    if LEVELS > 1:
        Q2 = product(Q, Q, tl.zeros([T, T], tl.float32))
        below = C[2 * LEVELS - 4] * I + C[2 * LEVELS - 3] * Q
        if C[2 * LEVELS - 1] == 0:
            R = below + C[2 * LEVELS - 2] * Q2
        else:
            R = product(Q2, R, below)
        for step in range(2, LEVELS):
            m = LEVELS - 1 - step
            R = product(Q2, R, _coefficient(C, 2 * m) * I + _coefficient(C, 2 * m + 1) * Q)
    block = (tl.program_id(0) * (T // b) + i // b).to(tl.int64)
    inside = (i // b == j // b) & (block < blocks)
    tl.store(OUT + (block * b + i % b) * b + j % b, rounded(R, OUT.dtype.element_ty), mask=inside)


@triton.jit
def _polynomial_backward_kernel(PACKED, DR, DPACKED, blocks, C: tl.constexpr, b: tl.constexpr, T: tl.constexpr):
    LEVELS: tl.constexpr = len(C) // 2
    i = tl.arange(0, T)[:, None]
    j = tl.arange(0, T)[None, :]
    block = (tl.program_id(0) * (T // b) + i // b).to(tl.int64)
    inside = (i // b == j // b) & (block < blocks)
    dH = tl.load(DR + (block * b + i % b) * b + j % b, mask=inside, other=0.0).to(tl.float32)
    G = C[1] * dH
    if LEVELS > 1:
        zero = tl.zeros([T, T], tl.float32)
        Q = _load_skew(PACKED, blocks, b, T)
        Q2 = product(Q, Q, zero)
        S = dH
        even = C[2] * S
        odd = C[3] * S
        for m in range(2, LEVELS):
            dH = product(Q2, dH, zero)
            G += _coefficient(C, 2 * m - 1) * dH
            S = product(S, Q2, dH)
            even += _coefficient(C, 2 * m) * S
            odd += _coefficient(C, 2 * m + 1) * S
        if C[2 * LEVELS - 1] != 0:
            G += C[2 * LEVELS - 1] * product(Q2, dH, zero)
        dQ2 = even - product(odd, Q, zero)
        G -= product(dQ2 + tl.trans(dQ2), Q, zero)
    G -= tl.trans(G)
    row = i % b
    column = j % b
    at = block * (b * (b - 1) // 2) + row * (2 * b - row - 1) // 2 + column - row - 1
    tl.store(DPACKED + at, rounded(G, DPACKED.dtype.element_ty), mask=inside & (row < column))


# By tile size. A float32 product takes whole rows and columns into registers: large tiles need many warps not to spill.
FORWARD_OPTIONS = {16: {"num_warps": 1}, 32: {"num_warps": 8}, 64: {"num_warps": 32, "maxnreg": 64}}
BACKWARD_OPTIONS = {16: {"num_warps": 1}, 32: {"num_warps": 8}, 64: {"num_warps": 16, "maxnreg": 128}}


def _launch(kernel, tensors: tuple[Tensor, ...], coefficients: Sequence[float], b: int, options: dict) -> None:
    blocks = tensors[0].shape[0]
    T = max(b, 16)
    C = pairs(coefficients)
    with on_device_of(tensors[0]):
        kernel[(triton.cdiv(blocks, T // b),)](*tensors, blocks, C=C, b=b, T=T, num_stages=1, **options[T])


def pairs(coefficients: Sequence[float]) -> tuple[float, ...]:
    """Coefficients of an even number of powers, as the kernels take them."""
    return tuple(float(c) for c in coefficients) + (0.0,) * (len(coefficients) % 2)


@torch.library.custom_op("tenfold::skew_polynomial", mutates_args=())
def _skew_polynomial(packed: Tensor, coefficients: Sequence[float], dtype: torch.dtype) -> Tensor:
    b = block_size_of(packed.shape[-1])
    R = packed.new_empty((packed.shape[0], b, b), dtype=dtype)
    if packed.numel():
        _launch(_polynomial_kernel, (packed.contiguous(), R), coefficients, b, FORWARD_OPTIONS)
    return R


@_skew_polynomial.register_fake
def _(packed, coefficients, dtype):
    b = block_size_of(packed.shape[-1])
    return packed.new_empty((packed.shape[0], b, b), dtype=dtype)


@torch.library.custom_op("tenfold::skew_polynomial_backward", mutates_args=())
def _skew_polynomial_backward(packed: Tensor, coefficients: Sequence[float], dR: Tensor) -> Tensor:
    d_packed = packed.new_empty(packed.shape)
    if packed.numel():
        tensors = (packed.contiguous(), dR.contiguous(), d_packed)
        _launch(_polynomial_backward_kernel, tensors, coefficients, dR.shape[-1], BACKWARD_OPTIONS)
    return d_packed


@_skew_polynomial_backward.register_fake
def _(packed, coefficients, dR):
    return packed.new_empty(packed.shape)


def _keep(ctx, inputs, output) -> None:
    packed, ctx.coefficients, _ = inputs
    ctx.save_for_backward(packed)


def _backward(ctx, grad):
    (packed,) = ctx.saved_tensors
    return _skew_polynomial_backward(packed, ctx.coefficients, grad), None, None


_skew_polynomial.register_autograd(_backward, setup_context=_keep)
