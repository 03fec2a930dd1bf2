"""Cayley-Neumann parameterization: the Cayley transform with its inverse cut to a short Neumann series.

    product    R_k = (I + Q)(I + Q + ... + Q^k) = I + 2Q + ... + 2Q^k + Q^(k+1)      OFTv2 §3.3, POET Eq. 6
    truncated  R_k = I + 2Q + ... + 2Q^k                                             older codes

R_k is not quite orthogonal. From `(I - Q) R_k = (I + Q)(I - Q^(k+1))` for the product form follows
`R_k = cayley(Q) (I - Q^(k+1))`: in a plane of Q with eigenvalues ±iθ its singular value is |1 - (iθ)^(k+1)|.
"""

from __future__ import annotations

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from .polynomial import skew_polynomial

Series = Literal["product", "truncated"]
Backend = Literal["auto", "torch", "triton"]


def neumann_coefficients(terms: int, series: Series = "product") -> tuple[float, ...]:
    """Coefficients of Q^0, Q^1, ... in R_k, with `terms` = k.

    Raises:
        ValueError: k outside 0..64, or an unknown series.
    """
    if not 0 <= terms <= 64:
        raise ValueError(f"a Neumann series keeps between 0 and 64 powers, not {terms}")
    if series == "truncated":
        return (1.0, *(2.0,) * terms)
    if series == "product":
        return (1.0, *(2.0,) * terms, 1.0)
    raise ValueError(f"series must be 'product' or 'truncated', not {series!r}")


def cayley_neumann(
    packed: Float[Tensor, "*batch n"],
    terms: int = 3,
    series: Series = "product",
    *,
    dtype: torch.dtype | None = None,
    backend: Backend = "auto",
) -> Float[Tensor, "*batch b b"]:
    """R_k of packed skew-symmetric blocks; differentiable, keeping only `packed` for backward.

    Args:
        packed: `(..., b(b-1)/2)`, any floating dtype; 16-bit input is computed in float32.
        terms: k, the highest power in the Neumann sum (not PEFT's `num_cayley_neumann_terms`, which is k + 2).
        series: which of the two forms above.
        dtype: of R; as `packed` where omitted.
        backend: `triton` for the fused kernel (CUDA tensors, or CPU tensors in Triton's interpreter),
            `torch` for the reference, `auto` to choose by device and block size.
    """
    return skew_polynomial(packed, neumann_coefficients(terms, series), dtype=dtype, backend=backend)


def newton_schulz(R: Float[Tensor, "*batch b b"], steps: int = 1) -> Float[Tensor, "*batch b b"]:
    """`R ← R(3I - RᵀR)/2`, repeated: each step squares the distance to the nearest orthogonal matrix.

    Converges for singular values in (0, √3). Differentiable by autograd.
    """
    eye = torch.eye(R.shape[-1], dtype=R.dtype, device=R.device)
    for _ in range(steps):
        R = R @ (1.5 * eye - 0.5 * (R.mT @ R))
    return R


def nearest_rotation(
    R: Float[Tensor, "*batch b b"], tolerance: float = 1e-6, max_steps: int = 30
) -> Float[Tensor, "*batch b b"]:
    """The orthogonal polar factor of R by Newton-Schulz, to ‖RᵀR - I‖_F < tolerance in every block.

    Raises:
        ValueError: a singular value lies outside (0, √3), so the iteration does not converge.
    """
    eye = torch.eye(R.shape[-1], dtype=R.dtype, device=R.device)
    for _ in range(max_steps):
        if bool(((R.mT @ R - eye).flatten(-2).norm(dim=-1) < tolerance).all()):
            return R
        R = newton_schulz(R)
    raise ValueError(
        f"Newton-Schulz did not reach {tolerance:g} in {max_steps} steps: "
        "a singular value of the matrix lies outside (0, √3), or the dtype is too coarse"
    )
