"""RMSNorm and SwiGLU joined with the rotations that follow them, keeping nothing that can be made again.

An ordinary graph keeps x = rmsnorm(h) or x = silu(gate)·up for the backward pass of the rotation, beside h or gate
and up, which the norm and the product keep anyway. Here x is recomputed in backward:

    rmsnorm_rotate   keeps h, rstd (one number a row) and the Rs
    swiglu_rotate    keeps gate, up and the Rs

The torch forms below round where the unfused modules round, so that values do not change with the switch; on a GPU
the kernels of `producers_triton` never write x to memory at all.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from shared.orthogonal import rotate_many
from shared.orthogonal.backend import use_triton
from shared.orthogonal.neumann import Backend
from shared.orthogonal.rotate import apply_blocks, block_gram, check_blocks

from .errors import OFTError


def rmsnorm_rotate(
    h: Float[Tensor, "*batch d"],
    weight: Float[Tensor, " d"],
    eps: float,
    Rs: Sequence[Float[Tensor, "r b b"]],
    backend: Backend = "auto",
) -> list[Float[Tensor, "*batch d"]]:
    """`rmsnorm(h) · Diag(R)` of each R, with the norm of LLaMA: `weight · (h·rsqrt(mean(h²) + eps))`.

    The mean and the scaling are computed in float32 and rounded to h's dtype before the product with `weight`, as
    transformers' `LlamaRMSNorm` does. Differentiable in h and the Rs.

    Args:
        weight: of the norm, frozen.
        eps: added to the mean square.
        Rs: rotations of the normed vectors; `(1, b, b)` is one block shared by all d/b positions.
        backend: `torch`, `triton`, or `auto` to choose by device and block size.

    Raises:
        OFTError: `weight` is trained, or does not fit the kernels' dtype where these were asked for.
        ValueError: a rotation that does not fit d.
    """
    Rs = list(Rs)
    for R in Rs:
        check_blocks(h.shape[-1], R)
    if weight.shape != h.shape[-1:]:
        raise OFTError(f"an RMSNorm of width {h.shape[-1]} has a weight of that length, not {tuple(weight.shape)}")
    if weight.requires_grad and torch.is_grad_enabled():
        raise OFTError("rmsnorm_rotate gives the norm's weight no gradient: freeze it, or call the norm by itself")
    if backend == "triton" and weight.dtype != h.dtype:
        raise OFTError(f"backend='triton' needs a norm weight of the input's dtype {h.dtype}, not {weight.dtype}")
    if weight.dtype == h.dtype and _one_shape(Rs) and use_triton(backend, h, Rs[0].shape[-1]):
        from .producers_triton import rmsnorm_rotate as kernels

        ys = kernels(h.reshape(-1, h.shape[-1]), weight, eps, _for_kernels(h, Rs))
        return [y.view(h.shape) for y in ys]
    if torch.compiler.is_compiling():
        return rotate_many(weight * _normed(h, _rstd(h, eps)), Rs, backend=backend)
    dtype = torch.promote_types(weight.dtype, h.dtype)
    return list(_RMSNormRotate.apply(h, weight, eps, *(R.to(dtype) for R in Rs)))


def swiglu_rotate(
    gate: Float[Tensor, "*batch d"],
    up: Float[Tensor, "*batch d"],
    Rs: Sequence[Float[Tensor, "r b b"]],
    backend: Backend = "auto",
) -> list[Float[Tensor, "*batch d"]]:
    """`(silu(gate)·up) · Diag(R)` of each R. Differentiable in all arguments.

    Raises:
        OFTError: `gate` and `up` differ in shape or dtype.
        ValueError: a rotation that does not fit d.
    """
    Rs = list(Rs)
    if gate.shape != up.shape or gate.dtype != up.dtype:
        raise OFTError(
            "swiglu_rotate takes gate and up of one shape and dtype, "
            f"not {tuple(gate.shape)} {gate.dtype} and {tuple(up.shape)} {up.dtype}"
        )
    for R in Rs:
        check_blocks(gate.shape[-1], R)
    if _one_shape(Rs) and use_triton(backend, gate, Rs[0].shape[-1]):
        from .producers_triton import swiglu_rotate as kernels

        d = gate.shape[-1]
        ys = kernels(gate.reshape(-1, d), up.reshape(-1, d), _for_kernels(gate, Rs))
        return [y.view(gate.shape) for y in ys]
    if torch.compiler.is_compiling():
        return rotate_many(torch.nn.functional.silu(gate) * up, Rs, backend=backend)
    return list(_SwiGLURotate.apply(gate, up, *(R.to(gate.dtype) for R in Rs)))


class _RMSNormRotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h: Tensor, weight: Tensor, eps: float, *Rs: Tensor):
        rstd = _rstd(h, eps)
        ctx.save_for_backward(h, weight, rstd, *Rs)
        ctx.set_materialize_grads(False)
        return _rotated(weight * _normed(h, rstd), Rs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grads):
        h, weight, rstd, *Rs = ctx.saved_tensors
        x = weight * _normed(h, rstd)
        dx, dRs = _rotation_gradients(x, Rs, grads, ctx.needs_input_grad[0], ctx.needs_input_grad[3:])
        if dx is None:
            return None, None, None, *dRs
        n = h.float() * rstd
        dn = (dx * weight).to(h.dtype).float()
        dh = n.mul_((dn * n).mean(-1, keepdim=True)).neg_().add_(dn).mul_(rstd)
        return dh.to(h.dtype), None, None, *dRs


class _SwiGLURotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gate: Tensor, up: Tensor, *Rs: Tensor):
        ctx.save_for_backward(gate, up, *Rs)
        ctx.set_materialize_grads(False)
        return _rotated(torch.nn.functional.silu(gate).mul_(up), Rs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grads):
        gate, up, *Rs = ctx.saved_tensors
        needs_gate, needs_up, *needs_R = ctx.needs_input_grad
        silu = torch.nn.functional.silu(gate)
        dx, dRs = _rotation_gradients(silu * up, Rs, grads, needs_gate or needs_up, needs_R)
        if dx is None:
            return None, None, *dRs
        dup = silu.mul_(dx) if needs_up else None
        dx.mul_(up)
        dgate = torch.ops.aten.silu_backward.grad_input(dx, gate, grad_input=dx) if needs_gate else None
        return dgate, dup, *dRs


def _rstd(h: Tensor, eps: float) -> Tensor:
    return torch.rsqrt(h.float().pow(2).mean(-1, keepdim=True) + eps)


def _normed(h: Tensor, rstd: Tensor) -> Tensor:
    return (h.float() * rstd).to(h.dtype)


def _rotated(x: Tensor, Rs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """x under each R. The last result takes x's own memory: fresh memory costs a CPU as much as the product."""
    flat = x.reshape(-1, x.shape[-1])
    made = [apply_blocks(flat, R) for R in Rs[:-1]]
    return tuple(y.view(x.shape) for y in (*made, apply_blocks(flat, Rs[-1], out=flat)))


def _rotation_gradients(
    x: Tensor, Rs: Sequence[Tensor], grads: Sequence[Tensor | None], need_x: bool, need_R: Sequence[bool]
) -> tuple[Tensor | None, list[Tensor | None]]:
    """dx = Σ_s g_s · Diag(R_s)ᵀ, which takes x's memory, and dR of each rotation."""
    flat = x.reshape(-1, x.shape[-1])
    gs = [None if g is None else g.reshape(flat.shape).contiguous() for g in grads]
    dRs = [
        block_gram(flat, g, R) if needed and g is not None else None
        for g, R, needed in zip(gs, Rs, need_R, strict=True)
    ]
    dx: Tensor | None = None
    for g, R in zip(gs, Rs, strict=True):
        if need_x and g is not None:
            dx = apply_blocks(g, R.mT, out=flat) if dx is None else apply_blocks(g, R.mT, add_to=dx)
    return None if dx is None else dx.view(x.shape), dRs


def _one_shape(Rs: list[Tensor]) -> bool:
    return len({R.shape for R in Rs}) == 1


def _for_kernels(x: Tensor, Rs: list[Tensor]) -> list[Tensor]:
    """Kernels read one block a position; a shared block is repeated, and autograd adds up its gradient."""
    return [R.expand(x.shape[-1] // R.shape[-1], -1, -1) for R in Rs]
