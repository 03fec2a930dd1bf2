"""Triton kernels of `rotate_many`: S rotations of one x, which is read once forward and once backward.

    forward    y_s = x · Diag(R_s)                          moves (1 + S)·N·d elements
    backward   dx = Σ_s g_s · Diag(R_s)ᵀ,  dR_s = Σ_n x_nᵀ g_s,n  on the blocks      (2 + S)·N·d

dR is a sum over rows: each program keeps the sum of its run of rows in registers and writes it to a float32
workspace once, and a second pass adds the runs in a fixed order. No atomics, so a result repeats bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from .triton_tile import (
    MOST_ROTATIONS,
    add_gradients,
    check_operand,
    contiguous,
    cut,
    load_rotations,
    on_device_of,
    rounded,
    store_grams,
    store_rotated,
    sum_parts,
    zero_grams,
)


def rotate_many(x: Tensor, Rs: list[Tensor]) -> list[Tensor]:
    """`x · Diag(R)` of each R; differentiable, keeping x and the Rs.

    Args:
        x: `(N, d)`, float32, bfloat16 or float16.
        Rs: each `(r, b, b)` with r·b = d and b one of 2, 4, 8, 16, 32, 64; rounded to x's dtype where they
            differ. Products accumulate in float32, and dR has R's dtype.

    Raises:
        ValueError: a device or dtype without kernels.
    """
    check_operand(x)
    outputs: list[Tensor] = []
    for start in range(0, len(Rs), MOST_ROTATIONS):
        outputs += _rotate_many(x, Rs[start : start + MOST_ROTATIONS])
    return outputs


@triton.jit
def _rotate_kernel(
    X,
    Rs,
    Ys,
    N,
    d,
    rows,
    b: tl.constexpr,
    S: tl.constexpr,
    W: tl.constexpr,
    BN: tl.constexpr,
):
    first = tl.program_id(0) * W
    begin = tl.program_id(1) * rows
    columns = first + tl.arange(0, W)
    tiles = load_rotations(Rs, first, d, X.dtype.element_ty, b, W, S)
    for start in range(begin, tl.minimum(begin + rows, N), BN):
        n = start + tl.arange(0, BN)
        inside = (n < N)[:, None] & (columns < d)[None, :]
        at = n.to(tl.int64)[:, None] * d + columns[None, :]
        x = tl.load(X + at, mask=inside, other=0.0)
        store_rotated(x, tiles, Ys, at, inside, BN, W, S)


@triton.jit
def _rotate_backward_kernel(
    X,
    Rs,
    Gs,
    DX,
    PARTS,
    N,
    d,
    rows,
    b: tl.constexpr,
    S: tl.constexpr,
    W: tl.constexpr,
    BN: tl.constexpr,
    NEED_X: tl.constexpr,
    NEED_R: tl.constexpr,
):
    first = tl.program_id(0) * W
    begin = tl.program_id(1) * rows
    columns = first + tl.arange(0, W)
    tiles = load_rotations(Rs, first, d, X.dtype.element_ty, b, W, S)
    grams = zero_grams(W, S)
    for start in range(begin, tl.minimum(begin + rows, N), BN):
        n = start + tl.arange(0, BN)
        inside = (n < N)[:, None] & (columns < d)[None, :]
        at = n.to(tl.int64)[:, None] * d + columns[None, :]
        x = tl.load(X + at, mask=inside, other=0.0)
        dx, grams = add_gradients(x, tiles, Gs, grams, at, inside, BN, W, S, NEED_X, NEED_R)
        if NEED_X:
            tl.store(DX + at, rounded(dx, DX.dtype.element_ty), mask=inside)
    if NEED_R:
        store_grams(grams, PARTS, tl.program_id(1), first, d, b, W, S)


@torch.library.custom_op("tenfold::rotate_many", mutates_args=())
def _rotate_many(x: Tensor, Rs: Sequence[Tensor]) -> list[Tensor]:
    ys = [x.new_empty(x.shape) for _ in Rs]
    if x.numel():
        b, S = Rs[0].shape[-1], len(Rs)
        launch = cut(x, b, S, backward=False)
        with on_device_of(x):
            _rotate_kernel[launch.grid](
                x.contiguous(), contiguous(Rs), tuple(ys), *x.shape, launch.rows, b=b, S=S, **launch.constants()
            )
    return ys


@_rotate_many.register_fake
def _(x, Rs):
    return [x.new_empty(x.shape) for _ in Rs]


@torch.library.custom_op("tenfold::rotate_many_backward", mutates_args=())
def _rotate_many_backward(
    x: Tensor, Rs: Sequence[Tensor], grads: Sequence[Tensor], need_x: bool, need_R: bool
) -> tuple[Tensor, Tensor]:
    N, d = x.shape
    b, S = Rs[0].shape[-1], len(Rs)
    launch = cut(x, b, S, backward=True)
    dx = x.new_empty(x.shape if need_x else (0,))
    parts = x.new_empty((launch.splits, S, d, b) if need_R else (0,), dtype=torch.float32)
    if x.numel():
        with on_device_of(x):
            _rotate_backward_kernel[launch.grid](
                x.contiguous(),
                contiguous(Rs),
                contiguous(grads),
                dx,
                parts,
                N,
                d,
                launch.rows,
                b=b,
                S=S,
                NEED_X=need_x,
                NEED_R=need_R,
                **launch.constants(),
            )
    return dx, sum_parts(parts, Rs) if need_R else parts


@_rotate_many_backward.register_fake
def _(x, Rs, grads, need_x, need_R):
    dx = x.new_empty(x.shape if need_x else (0,))
    return dx, x.new_empty((len(Rs), *Rs[0].shape) if need_R else (0,), dtype=torch.float32)


def _keep(ctx, inputs, output) -> None:
    x, Rs = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(x, *Rs)


def _backward(ctx, grads):
    x, *Rs = ctx.saved_tensors
    need_x, need_Rs = ctx.needs_input_grad
    used = [s for s, g in enumerate(grads) if g is not None]
    dRs: list[Tensor | None] = [None] * len(Rs)
    if not used:
        return None, dRs
    used_Rs = [Rs[s] for s in used]
    dx, dR = _rotate_many_backward(x, used_Rs, [grads[s] for s in used], need_x, any(need_Rs))
    for index, s in enumerate(used):
        if need_Rs[s]:
            dRs[s] = dR[index].to(Rs[s].dtype)
    return dx if need_x else None, dRs


_rotate_many.register_autograd(_backward, setup_context=_keep)
