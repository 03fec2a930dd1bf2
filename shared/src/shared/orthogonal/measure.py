"""How far blocks are from orthogonal, and how large a rotation is."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .skew import unpack_skew


def orthogonality_error(R: Float[Tensor, "*batch b b"]) -> Float[Tensor, "*batch"]:
    """‖RᵀR - I‖_F of each block, computed in at least float32."""
    R = R if R.dtype in (torch.float32, torch.float64) else R.float()
    eye = torch.eye(R.shape[-1], dtype=R.dtype, device=R.device)
    return (R.mT @ R - eye).flatten(-2).norm(dim=-1)


def spectral_angle(packed: Float[Tensor, "*batch n"], iterations: int | None = None) -> Float[Tensor, "*batch"]:
    """θ = ‖Q‖₂ of each block: the largest plane of Q turns by 2·arctan θ under Cayley.

    Exact (singular values) where `iterations` is omitted; otherwise that many power iterations on
    QᵀQ, a lower bound that costs two small products an iteration.
    """
    Q = unpack_skew(packed if packed.dtype in (torch.float32, torch.float64) else packed.float())
    if iterations is None:
        return torch.linalg.matrix_norm(Q, 2)
    # A fixed start keeps the result the same from run to run; the cosine has weight in every direction.
    v = torch.cos(torch.arange(1, Q.shape[-1] + 1, dtype=Q.dtype, device=Q.device)).expand(*Q.shape[:-1]).unsqueeze(-1)
    for _ in range(iterations):
        v = torch.nn.functional.normalize(Q.mT @ (Q @ v), dim=-2)
    return (Q @ v).squeeze(-1).norm(dim=-1)


def angle_bound(packed: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch"]:
    """‖Q‖_F/√2 = ‖packed‖, an upper bound of θ: singular values of a skew matrix come in pairs."""
    return packed.norm(dim=-1)
