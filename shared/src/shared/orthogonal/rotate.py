"""Block-diagonal rotations applied to vectors (input-centric) and to weights (weight-centric).

    x  (..., d)   ┌──────┬──────┬─ ─┐        R  (r, b, b), r·b = d
                  │ b    │ b    │   │
                  └──┬───┴──┬───┴─ ─┘        rotate(x, R): block k of x times R[k] from the right
                     ·R[0]  ·R[1]            block_rotate_weight(W, R): W · Diag(R)ᵀ without the d×d matrix

The backward passes keep x and R and nothing else; several rotations of one x keep it once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .backend import use_triton

if TYPE_CHECKING:
    from .neumann import Backend


# Bytes of a row up to which the product writes its blocks in place. In wider rows the pieces that one block writes lie
# so far apart that a CPU's cache loses them, and a contiguous product with a copy behind it is faster.
NARROW_ROW = 4096
# Bytes of such a product at a time: they stay in the cache, and are handed out again without asking the system for
# memory, whose first touch costs more than the arithmetic.
PORTION = 2**20


def rotate(
    x: Float[Tensor, "*batch d"], R: Float[Tensor, "r b b"], *, backend: Backend = "auto"
) -> Float[Tensor, "*batch d"]:
    """`x · Diag(R_1..R_r)`. R may be `(1, b, b)`: one block shared by all d/b positions.

    Products accumulate in float32 for 16-bit dtypes. R is cast to x's dtype.

    Raises:
        ValueError: r·b is not d.
    """
    return rotate_many(x, [R], backend=backend)[0]


def rotate_many(
    x: Float[Tensor, "*batch d"], Rs: Sequence[Float[Tensor, "r b b"]], *, backend: Backend = "auto"
) -> list[Float[Tensor, "*batch d"]]:
    """One x under several rotations (query, key and value; gate and up), reading and keeping x once.

    Raises:
        ValueError: r·b of some rotation is not d.
    """
    for R in Rs:
        check_blocks(x.shape[-1], R)
    shapes = {R.shape for R in Rs}
    if len(shapes) == 1 and use_triton(backend, x, Rs[0].shape[-1]):
        from .rotate_triton import rotate_many as triton_rotate_many

        full = [R.expand(x.shape[-1] // R.shape[-1], -1, -1).contiguous() for R in Rs]
        return [y.view_as(x) for y in triton_rotate_many(x.reshape(-1, x.shape[-1]), full)]
    Rs = [R.to(x.dtype) for R in Rs]
    if torch.compiler.is_compiling():
        return [_rotate_plain(x, R) for R in Rs]
    return list(_RotateMany.apply(x, *Rs))


def block_rotate_weight(
    W: Float[Tensor, "out inp"], R: Float[Tensor, "r b b"], *, side: Literal["input", "output"] = "input"
) -> Float[Tensor, "out inp"]:
    """`W · Diag(R)ᵀ` (side `input`: r·b = inp) or `Diag(R) · W` (side `output`: r·b = out).

    With `y = x Wᵀ` the input side satisfies `rotate(x, R) Wᵀ = x (W Diag(R)ᵀ)ᵀ`, which is how an
    input-centric rotation is merged. Differentiable in both arguments.

    Raises:
        ValueError: r·b does not fit that side.
    """
    if side == "input":
        return rotate(W, R.mT, backend="torch")
    return rotate(W.mT, R.mT, backend="torch").mT


def check_blocks(d: int, R: Tensor) -> None:
    if R.ndim != 3 or R.shape[1] != R.shape[2]:
        raise ValueError(f"rotations are (r, b, b) blocks, not of shape {tuple(R.shape)}")
    r, b, _ = R.shape
    if r * b != d and not (r == 1 and d % b == 0):
        raise ValueError(f"{r} blocks of size {b} rotate vectors of width {r * b}, not {d}")


def _rotate_plain(x: Tensor, R: Tensor) -> Tensor:
    """The same product in ops that a compiler can fuse and differentiate by itself."""
    blocks = x.unflatten(-1, (-1, R.shape[-1]))
    return (blocks.unsqueeze(-2) @ R).squeeze(-2).flatten(-2)


def _blocks(x: Tensor, b: int) -> Tensor:
    """(N, d) seen as (r, N, b) without a copy; bmm takes and writes such strided views as they are."""
    return x.unflatten(1, (x.shape[1] // b, b)).transpose(0, 1)


class _RotateMany(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, *Rs: Tensor):
        ctx.save_for_backward(x, *Rs)
        ctx.set_materialize_grads(False)
        flat = x.reshape(-1, x.shape[-1])
        return tuple(apply_blocks(flat, R).view(x.shape) for R in Rs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, *grads):
        x, *Rs = ctx.saved_tensors
        flat = x.reshape(-1, x.shape[-1])
        grads = [None if g is None else g.reshape(-1, x.shape[-1]).contiguous() for g in grads]
        dx = None
        if ctx.needs_input_grad[0]:
            for g, R in zip(grads, Rs, strict=True):
                if g is not None:
                    dx = apply_blocks(g, R.mT, add_to=dx)
            dx = None if dx is None else dx.view(x.shape)
        dRs = [
            block_gram(flat, g, R) if needed and g is not None else None
            for g, R, needed in zip(grads, Rs, ctx.needs_input_grad[1:], strict=True)
        ]
        return (dx, *dRs)


def apply_blocks(x: Tensor, R: Tensor, *, add_to: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """`x · Diag(R)` for x of shape (N, d): new, or added to `add_to`, or written to `out`, which may be x itself."""
    b = R.shape[-1]
    if R.shape[0] == 1 and x.shape[-1] != b:
        y = (x.reshape(-1, b) @ R[0]).view(x.shape)
        return add_to.add_(y) if add_to is not None else y if out is None else out.copy_(y)
    target = add_to if add_to is not None else torch.empty_like(x, memory_format=torch.contiguous_format)
    target = target if out is None else out
    blocks, result = _blocks(x, b), _blocks(target, b)
    if out is not x and x.shape[-1] * x.element_size() <= NARROW_ROW:
        if add_to is not None:
            torch.baddbmm(result, blocks, R, out=result)
        else:
            torch.bmm(blocks, R, out=result)
        return target
    a_block = max(1, x.shape[0]) * b * x.element_size()
    step = max(1, PORTION // a_block) if x.device.type == "cpu" else len(R)
    for portion in (slice(start, start + step) for start in range(0, len(R), step)):
        product = torch.bmm(blocks[portion], R[portion])
        result[portion].copy_(product) if add_to is None else result[portion].add_(product)
    return target


def block_gram(x: Tensor, g: Tensor, R: Tensor) -> Tensor:
    """dR[k] = (block k of x)ᵀ · (block k of g); summed over k for one shared block."""
    b = R.shape[-1]
    if R.shape[0] == 1 and x.shape[-1] != b:
        return (x.reshape(-1, b).mT @ g.reshape(-1, b)).unsqueeze(0)
    return torch.bmm(_blocks(x, b).mT, _blocks(g, b))
