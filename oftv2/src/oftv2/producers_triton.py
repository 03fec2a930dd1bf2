"""Triton kernels that rotate what an RMSNorm or a SwiGLU makes, without writing the un-rotated activation.

    rmsnorm_rotate   x = weight · h·rstd,  rstd = (mean(h²) + eps)^-1/2      keeps h, rstd (N numbers) and the Rs
    swiglu_rotate    x = silu(gate) · up                                     keeps gate, up and the Rs

x exists a tile at a time in registers, forward and backward, and is rounded there as the unfused modules round it.
Backward of the norm goes by two passes over h, since its row sums run over all column groups:

    pass 1   dx = Σ_s g_s R_sᵀ,  dn = dx·weight,  dR_s = xᵀ g_s,  and by row and column group  Σ dn·n,  n = h·rstd
    pass 2   dh = rstd·(dn - n·(Σ dn·n)/d), in place of dn
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import triton
import triton.language as tl
from torch import Tensor

from shared.orthogonal.triton_tile import (
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


def rmsnorm_rotate(h: Tensor, weight: Tensor, eps: float, Rs: list[Tensor]) -> list[Tensor]:
    """`rmsnorm(h) · Diag(R)` of each R; differentiable in h and the Rs.

    Args:
        h: `(N, d)`, float32, bfloat16 or float16.
        weight: `(d,)` in h's dtype; frozen: it gets no gradient.
        eps: added to the mean square.
        Rs: each `(r, b, b)` with r·b = d and b one of 2, 4, 8, 16, 32, 64.

    Raises:
        ValueError: a device or dtype without kernels.
    """
    check_operand(h)
    outputs: list[Tensor] = []
    for start in range(0, len(Rs), MOST_ROTATIONS):
        outputs += _rmsnorm_rotate(h, weight, eps, Rs[start : start + MOST_ROTATIONS])[1:]
    return outputs


def swiglu_rotate(gate: Tensor, up: Tensor, Rs: list[Tensor]) -> list[Tensor]:
    """`(silu(gate)·up) · Diag(R)` of each R; differentiable in all.

    Args:
        gate, up: `(N, d)` of one dtype: float32, bfloat16 or float16.
        Rs: as for `rmsnorm_rotate`.

    Raises:
        ValueError: a device or dtype without kernels.
    """
    check_operand(gate)
    outputs: list[Tensor] = []
    for start in range(0, len(Rs), MOST_ROTATIONS):
        outputs += _swiglu_rotate(gate, up, Rs[start : start + MOST_ROTATIONS])
    return outputs


@triton.jit
def _rstd_kernel(H, RSTD, d, eps, BW: tl.constexpr):
    n = tl.program_id(0)
    squares = tl.zeros([BW], tl.float32)
    for first in range(0, d, BW):
        columns = first + tl.arange(0, BW)
        h = tl.load(H + n.to(tl.int64) * d + columns, mask=columns < d, other=0.0).to(tl.float32)
        squares += h * h
    tl.store(RSTD + n, tl.rsqrt(tl.sum(squares, 0) / d + eps))


@triton.jit
def _rmsnorm_rotate_kernel(
    H,
    WEIGHT,
    RSTD,
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
    dtype: tl.constexpr = H.dtype.element_ty
    first = tl.program_id(0) * W
    begin = tl.program_id(1) * rows
    columns = first + tl.arange(0, W)
    tiles = load_rotations(Rs, first, d, dtype, b, W, S)
    weight = tl.load(WEIGHT + columns, mask=columns < d, other=0.0).to(tl.float32)
    for start in range(begin, tl.minimum(begin + rows, N), BN):
        n = start + tl.arange(0, BN)
        inside = (n < N)[:, None] & (columns < d)[None, :]
        at = n.to(tl.int64)[:, None] * d + columns[None, :]
        h = tl.load(H + at, mask=inside, other=0.0).to(tl.float32)
        rstd = tl.load(RSTD + n, mask=n < N, other=0.0)
        normed = rounded(h * rstd[:, None], dtype).to(tl.float32)
        x = rounded(weight[None, :] * normed, dtype)
        store_rotated(x, tiles, Ys, at, inside, BN, W, S)


@triton.jit
def _rmsnorm_rotate_backward_kernel(
    H,
    WEIGHT,
    RSTD,
    Rs,
    Gs,
    DN,
    DOTS,
    PARTS,
    N,
    d,
    rows,
    b: tl.constexpr,
    S: tl.constexpr,
    W: tl.constexpr,
    BN: tl.constexpr,
    NEED_H: tl.constexpr,
    NEED_R: tl.constexpr,
):
    dtype: tl.constexpr = H.dtype.element_ty
    group = tl.program_id(0)
    first = group * W
    begin = tl.program_id(1) * rows
    columns = first + tl.arange(0, W)
    tiles = load_rotations(Rs, first, d, dtype, b, W, S)
    grams = zero_grams(W, S)
    weight = tl.load(WEIGHT + columns, mask=columns < d, other=0.0).to(tl.float32)
    for start in range(begin, tl.minimum(begin + rows, N), BN):
        n = start + tl.arange(0, BN)
        inside = (n < N)[:, None] & (columns < d)[None, :]
        at = n.to(tl.int64)[:, None] * d + columns[None, :]
        h = tl.load(H + at, mask=inside, other=0.0).to(tl.float32)
        rstd = tl.load(RSTD + n, mask=n < N, other=0.0)
        normed = h * rstd[:, None]
        x = rounded(weight[None, :] * rounded(normed, dtype).to(tl.float32), dtype)
        dx, grams = add_gradients(x, tiles, Gs, grams, at, inside, BN, W, S, NEED_H, NEED_R)
        if NEED_H:
            dn = rounded(rounded(dx, dtype).to(tl.float32) * weight[None, :], dtype)
            tl.store(DN + at, dn, mask=inside)
            dots = tl.sum(dn.to(tl.float32) * normed, 1)
            tl.store(DOTS + group.to(tl.int64) * N + n, dots, mask=n < N)
    if NEED_R:
        store_grams(grams, PARTS, tl.program_id(1), first, d, b, W, S)


@triton.jit
def _rmsnorm_input_gradient_kernel(H, RSTD, DOTS, DN, d, BW: tl.constexpr):
    n = tl.program_id(0)
    rstd = tl.load(RSTD + n)
    mean = tl.load(DOTS + n) / d
    for first in range(0, d, BW):
        columns = first + tl.arange(0, BW)
        at = n.to(tl.int64) * d + columns
        h = tl.load(H + at, mask=columns < d, other=0.0).to(tl.float32)
        dn = tl.load(DN + at, mask=columns < d, other=0.0).to(tl.float32)
        dh = rstd * (dn - h * rstd * mean)
        tl.store(DN + at, rounded(dh, DN.dtype.element_ty), mask=columns < d)


@triton.jit
def _swiglu_rotate_kernel(
    GATE,
    UP,
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
    dtype: tl.constexpr = GATE.dtype.element_ty
    first = tl.program_id(0) * W
    begin = tl.program_id(1) * rows
    columns = first + tl.arange(0, W)
    tiles = load_rotations(Rs, first, d, dtype, b, W, S)
    for start in range(begin, tl.minimum(begin + rows, N), BN):
        n = start + tl.arange(0, BN)
        inside = (n < N)[:, None] & (columns < d)[None, :]
        at = n.to(tl.int64)[:, None] * d + columns[None, :]
        gate = tl.load(GATE + at, mask=inside, other=0.0).to(tl.float32)
        up = tl.load(UP + at, mask=inside, other=0.0).to(tl.float32)
        silu = rounded(gate * tl.sigmoid(gate), dtype).to(tl.float32)
        x = rounded(silu * up, dtype)
        store_rotated(x, tiles, Ys, at, inside, BN, W, S)


@triton.jit
def _swiglu_rotate_backward_kernel(
    GATE,
    UP,
    Rs,
    Gs,
    DGATE,
    DUP,
    PARTS,
    N,
    d,
    rows,
    b: tl.constexpr,
    S: tl.constexpr,
    W: tl.constexpr,
    BN: tl.constexpr,
    NEED_INPUTS: tl.constexpr,
    NEED_R: tl.constexpr,
):
    dtype: tl.constexpr = GATE.dtype.element_ty
    first = tl.program_id(0) * W
    begin = tl.program_id(1) * rows
    columns = first + tl.arange(0, W)
    tiles = load_rotations(Rs, first, d, dtype, b, W, S)
    grams = zero_grams(W, S)
    for start in range(begin, tl.minimum(begin + rows, N), BN):
        n = start + tl.arange(0, BN)
        inside = (n < N)[:, None] & (columns < d)[None, :]
        at = n.to(tl.int64)[:, None] * d + columns[None, :]
        gate = tl.load(GATE + at, mask=inside, other=0.0).to(tl.float32)
        up = tl.load(UP + at, mask=inside, other=0.0).to(tl.float32)
        sigmoid = tl.sigmoid(gate)
        silu = rounded(gate * sigmoid, dtype).to(tl.float32)
        x = rounded(silu * up, dtype)
        dx, grams = add_gradients(x, tiles, Gs, grams, at, inside, BN, W, S, NEED_INPUTS, NEED_R)
        if NEED_INPUTS:
            dx = rounded(dx, dtype).to(tl.float32)
            dsilu = rounded(dx * up, dtype).to(tl.float32)
            tl.store(DGATE + at, rounded(dsilu * sigmoid * (1 + gate * (1 - sigmoid)), dtype), mask=inside)
            tl.store(DUP + at, rounded(dx * silu, dtype), mask=inside)
    if NEED_R:
        store_grams(grams, PARTS, tl.program_id(1), first, d, b, W, S)


@torch.library.custom_op("tenfold::rmsnorm_rotate", mutates_args=())
def _rmsnorm_rotate(h: Tensor, weight: Tensor, eps: float, Rs: Sequence[Tensor]) -> list[Tensor]:
    """rstd, then the outputs."""
    N, d = h.shape
    rstd = h.new_empty(N, dtype=torch.float32)
    ys = [h.new_empty(h.shape) for _ in Rs]
    if h.numel():
        b, S = Rs[0].shape[-1], len(Rs)
        launch = cut(h, b, S, backward=False)
        h, weight = h.contiguous(), weight.contiguous()
        with on_device_of(h):
            _rstd_kernel[(N,)](h, rstd, d, eps, BW=row_width(d), num_warps=4)
            _rmsnorm_rotate_kernel[launch.grid](
                h, weight, rstd, contiguous(Rs), tuple(ys), N, d, launch.rows, b=b, S=S, **launch.constants()
            )
    return [rstd, *ys]


@_rmsnorm_rotate.register_fake
def _(h, weight, eps, Rs):
    return [h.new_empty(h.shape[0], dtype=torch.float32), *(h.new_empty(h.shape) for _ in Rs)]


@torch.library.custom_op("tenfold::rmsnorm_rotate_backward", mutates_args=())
def _rmsnorm_rotate_backward(
    h: Tensor,
    weight: Tensor,
    rstd: Tensor,
    Rs: Sequence[Tensor],
    grads: Sequence[Tensor],
    need_h: bool,
    need_R: bool,
) -> tuple[Tensor, Tensor]:
    N, d = h.shape
    b, S = Rs[0].shape[-1], len(Rs)
    launch = cut(h, b, S, backward=True)
    dh = h.new_empty(h.shape if need_h else (0,))
    parts = h.new_empty((launch.splits, S, d, b) if need_R else (0,), dtype=torch.float32)
    if h.numel():
        dots = h.new_empty((launch.grid[0], N) if need_h else (0,), dtype=torch.float32)
        h, weight = h.contiguous(), weight.contiguous()
        with on_device_of(h):
            _rmsnorm_rotate_backward_kernel[launch.grid](
                h,
                weight,
                rstd,
                contiguous(Rs),
                contiguous(grads),
                dh,
                dots,
                parts,
                N,
                d,
                launch.rows,
                b=b,
                S=S,
                NEED_H=need_h,
                NEED_R=need_R,
                **launch.constants(),
            )
            if need_h:
                _rmsnorm_input_gradient_kernel[(N,)](h, rstd, dots.sum(0), dh, d, BW=row_width(d), num_warps=4)
    return dh, sum_parts(parts, Rs) if need_R else parts


@_rmsnorm_rotate_backward.register_fake
def _(h, weight, rstd, Rs, grads, need_h, need_R):
    dh = h.new_empty(h.shape if need_h else (0,))
    return dh, h.new_empty((len(Rs), *Rs[0].shape) if need_R else (0,), dtype=torch.float32)


@torch.library.custom_op("tenfold::swiglu_rotate", mutates_args=())
def _swiglu_rotate(gate: Tensor, up: Tensor, Rs: Sequence[Tensor]) -> list[Tensor]:
    ys = [gate.new_empty(gate.shape) for _ in Rs]
    if gate.numel():
        b, S = Rs[0].shape[-1], len(Rs)
        launch = cut(gate, b, S, backward=False)
        with on_device_of(gate):
            _swiglu_rotate_kernel[launch.grid](
                gate.contiguous(),
                up.contiguous(),
                contiguous(Rs),
                tuple(ys),
                *gate.shape,
                launch.rows,
                b=b,
                S=S,
                **launch.constants(),
            )
    return ys


@_swiglu_rotate.register_fake
def _(gate, up, Rs):
    return [gate.new_empty(gate.shape) for _ in Rs]


@torch.library.custom_op("tenfold::swiglu_rotate_backward", mutates_args=())
def _swiglu_rotate_backward(
    gate: Tensor, up: Tensor, Rs: Sequence[Tensor], grads: Sequence[Tensor], need_inputs: bool, need_R: bool
) -> tuple[Tensor, Tensor, Tensor]:
    N, d = gate.shape
    b, S = Rs[0].shape[-1], len(Rs)
    launch = cut(gate, b, S, backward=True)
    dgate = gate.new_empty(gate.shape if need_inputs else (0,))
    dup = gate.new_empty(gate.shape if need_inputs else (0,))
    parts = gate.new_empty((launch.splits, S, d, b) if need_R else (0,), dtype=torch.float32)
    if gate.numel():
        with on_device_of(gate):
            _swiglu_rotate_backward_kernel[launch.grid](
                gate.contiguous(),
                up.contiguous(),
                contiguous(Rs),
                contiguous(grads),
                dgate,
                dup,
                parts,
                N,
                d,
                launch.rows,
                b=b,
                S=S,
                NEED_INPUTS=need_inputs,
                NEED_R=need_R,
                **launch.constants(),
            )
    return dgate, dup, sum_parts(parts, Rs) if need_R else parts


@_swiglu_rotate_backward.register_fake
def _(gate, up, Rs, grads, need_inputs, need_R):
    shape = gate.shape if need_inputs else (0,)
    dR = gate.new_empty((len(Rs), *Rs[0].shape) if need_R else (0,), dtype=torch.float32)
    return gate.new_empty(shape), gate.new_empty(shape), dR


def row_width(d: int) -> int:
    """Columns that one step of a row pass takes."""
    return min(triton.next_power_of_2(d), 4096)


def _keep_rmsnorm(ctx, inputs, output) -> None:
    h, weight, _, Rs = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(h, weight, output[0], *Rs)


def _rmsnorm_backward(ctx, grads):
    h, weight, rstd, *Rs = ctx.saved_tensors
    need_h, _, _, need_Rs = ctx.needs_input_grad
    used = [s for s, g in enumerate(grads[1:]) if g is not None]
    dRs: list[Tensor | None] = [None] * len(Rs)
    if not used:
        return None, None, None, dRs
    dh, dR = _rmsnorm_rotate_backward(
        h, weight, rstd, [Rs[s] for s in used], [grads[s + 1] for s in used], need_h, any(need_Rs)
    )
    for index, s in enumerate(used):
        if need_Rs[s]:
            dRs[s] = dR[index].to(Rs[s].dtype)
    return dh if need_h else None, None, None, dRs


def _keep_swiglu(ctx, inputs, output) -> None:
    gate, up, Rs = inputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(gate, up, *Rs)


def _swiglu_backward(ctx, grads):
    gate, up, *Rs = ctx.saved_tensors
    need_gate, need_up, need_Rs = ctx.needs_input_grad
    used = [s for s, g in enumerate(grads) if g is not None]
    dRs: list[Tensor | None] = [None] * len(Rs)
    if not used:
        return None, None, dRs
    dgate, dup, dR = _swiglu_rotate_backward(
        gate, up, [Rs[s] for s in used], [grads[s] for s in used], need_gate or need_up, any(need_Rs)
    )
    for index, s in enumerate(used):
        if need_Rs[s]:
            dRs[s] = dR[index].to(Rs[s].dtype)
    return dgate if need_gate else None, dup if need_up else None, dRs


_rmsnorm_rotate.register_autograd(_rmsnorm_backward, setup_context=_keep_rmsnorm)
_swiglu_rotate.register_autograd(_swiglu_backward, setup_context=_keep_swiglu)
