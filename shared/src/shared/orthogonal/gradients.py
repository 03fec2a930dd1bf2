"""Gradients by the packed numbers, for code that has the gradient by R in hand and no graph to walk.

Exact Cayley needs no solve here: `I + R = 2(I - Q)⁻¹`, so `dQ = (I-Q)⁻ᵀ dR (I+R)ᵀ = (I+R)ᵀ dR (I+R)ᵀ / 2`.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from .neumann import Series, neumann_coefficients
from .polynomial import _gradient
from .skew import fold_gradient, unpack_skew


def cayley_gradient(R: Float[Tensor, "r b b"], dR: Float[Tensor, "r b b"]) -> Float[Tensor, "r n"]:
    """Gradient by the packed numbers of `R = cayley(packed)` from the gradient by R."""
    A = (R + torch.eye(R.shape[-1], dtype=R.dtype, device=R.device)).mT
    return fold_gradient(A @ dR @ A) / 2


def cayley_neumann_gradient(
    packed: Float[Tensor, "r n"], dR: Float[Tensor, "r b b"], terms: int, series: Series = "product"
) -> Float[Tensor, "r n"]:
    """Gradient by the packed numbers of `cayley_neumann(packed, terms, series)` from the gradient by R."""
    return _gradient(unpack_skew(packed), neumann_coefficients(terms, series), dR)
