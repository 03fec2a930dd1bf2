"""The Cayley transform, its inverse, and the exponential map as a second exact reference.

    Cayley          R = (I + Q)(I - Q)⁻¹        det R = +1; a plane of Q with eigenvalues ±iθ turns by 2·arctan θ
    inverse Cayley  Q = (R - I)(R + I)⁻¹        for any R without the eigenvalue -1
    exponential     R = exp(2Q)                 the same plane turns by 2θ: equal to Cayley up to O(θ³)

All take and give batches of blocks and work in the dtype they are given, at least float32.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .skew import fold_gradient, pack_skew, unpack_skew


def cayley(packed: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch b b"]:
    """Exact Cayley transform of packed skew-symmetric blocks (OFT paper; OFTv2 §3.3; POET §3.2.2).

    The backward pass keeps the packed numbers and R only, one solve a call:
    `dQ = (I-Q)⁻ᵀ · dR · (I+R)ᵀ`.
    """
    return _Cayley.apply(packed)


def inverse_cayley(R: Float[Tensor, "*batch b b"]) -> Float[Tensor, "*batch n"]:
    """Packed `Q` with `cayley(Q) = R`, for an orthogonal R; of a nearly orthogonal R the nearest reading (skew part).

    Raises:
        ValueError: R has (nearly) the eigenvalue -1 (a half turn), which no finite Q reaches.
    """
    R = _at_least_float32(R)
    eye = torch.eye(R.shape[-1], dtype=R.dtype, device=R.device)
    solution, info = torch.linalg.solve_ex((R + eye).mT, (R - eye).mT)
    Q = solution.mT
    limit = 0.1 / torch.finfo(R.dtype).eps
    if bool((info != 0).any()) or not bool(torch.isfinite(Q).all()) or bool((Q.abs() > limit).any()):
        raise ValueError("a rotation with a half turn (eigenvalue -1) has no inverse Cayley transform")
    return pack_skew((Q - Q.mT) / 2)


def exponential(packed: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch b b"]:
    """`exp(2Q)`, the exponential map at the scale at which it agrees with Cayley to second order."""
    return torch.linalg.matrix_exp(2 * unpack_skew(_at_least_float32(packed))).to(packed.dtype)


class _Cayley(torch.autograd.Function):
    @staticmethod
    def forward(ctx, packed: Tensor) -> Tensor:
        Q = unpack_skew(_at_least_float32(packed))
        eye = torch.eye(Q.shape[-1], dtype=Q.dtype, device=Q.device)
        # (I+Q) and (I-Q)⁻¹ commute, so a left solve serves.
        R = torch.linalg.solve(eye - Q, eye + Q)
        ctx.save_for_backward(packed, R)
        return R.to(packed.dtype)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        packed, R = ctx.saved_tensors
        Q = unpack_skew(packed.to(R.dtype))
        eye = torch.eye(Q.shape[-1], dtype=Q.dtype, device=Q.device)
        dQ = torch.linalg.solve((eye - Q).mT, grad.to(R.dtype) @ (eye + R).mT)
        return fold_gradient(dQ).to(packed.dtype)


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype in (torch.float32, torch.float64) else x.float()
