"""From packed skew-symmetric parameters to rotations, under explicitly named parameterizations.

cayley_neumann            (I+Q)(I+Q+...+Q^k), k = terms - 2           OFTv2 §3.3, as PEFT >= 0.18 computes it
cayley_neumann_017        I + 2Q + ... + 2Q^(terms-1)                 PEFT 0.16 and 0.17
cayley_neumann_polished   cayley_neumann(4), one Newton-Schulz step   ours: orthogonal to ¾·θ¹² for four products
cayley                    (I+Q)(I-Q)⁻¹                                OFTv2 §3.1
cayley_peft_exact         (I-Q)(I+Q)⁻¹, the transpose of `cayley`     PEFT with `use_cayley_neumann=False`

`terms` counts as PEFT's `num_cayley_neumann_terms` does. PEFT's code has two quirks that adapters depend on:
1 term means R = I, 2 terms mean I + 2Q, and 3 terms give the same polynomial as 4.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from shared.orthogonal import cayley, cayley_neumann, newton_schulz

PARAMETERIZATIONS = (
    "cayley_neumann",
    "cayley_neumann_017",
    "cayley_neumann_polished",
    "cayley",
    "cayley_peft_exact",
)
EXACT = frozenset({"cayley", "cayley_peft_exact"})


def rotation_from(
    packed: Float[Tensor, "*batch n"],
    parameterization: str = "cayley_neumann",
    terms: int = 5,
    dtype: torch.dtype | None = None,
    *,
    backend: str = "auto",
) -> Float[Tensor, "*batch b b"]:
    """R of packed blocks; differentiable. 16-bit parameters are computed in float32; R comes out in `dtype`.

    Raises:
        ValueError: unknown name, `terms` outside 1..64, or a length that is not b(b-1)/2.
    """
    dtype = dtype or packed.dtype
    if parameterization == "cayley_neumann":
        k, series = series_of_terms(terms)
        return cayley_neumann(packed, k, series, dtype=dtype, backend=backend)
    if parameterization == "cayley_neumann_017":
        check_terms(terms)
        return cayley_neumann(packed, terms - 1, "truncated", dtype=dtype, backend=backend)
    wide = packed if packed.dtype == torch.float64 else packed.float()
    if parameterization == "cayley_neumann_polished":
        return newton_schulz(cayley_neumann(wide, 2, "product", backend=backend)).to(dtype)
    if parameterization == "cayley":
        return cayley(wide).to(dtype)
    if parameterization == "cayley_peft_exact":
        return cayley(-wide).to(dtype)
    raise ValueError(f"parameterization must be one of {', '.join(PARAMETERIZATIONS)}, not {parameterization!r}")


def series_of_terms(terms: int) -> tuple[int, str]:
    """PEFT's `num_cayley_neumann_terms` as (k, series) of `shared.orthogonal.cayley_neumann`."""
    check_terms(terms)
    if terms <= 2:
        return terms - 1, "truncated"
    return max(terms, 4) - 2, "product"


def check_terms(terms: int) -> None:
    if not (isinstance(terms, int) and 1 <= terms <= 64):
        raise ValueError(f"terms must be a whole number from 1 to 64, not {terms!r}")


def project_to_ball(packed: Float[Tensor, "r n"], eps: float) -> Float[Tensor, "r n"]:
    """Constrained OFT (COFT): each block scaled back to ‖Q‖_F <= eps/√r, r being the number of stored blocks.

    ‖Q‖_F is √2 times the norm of the packed numbers.
    """
    radius = eps / packed.shape[0] ** 0.5
    norm = packed.norm(dim=-1, keepdim=True) * 2**0.5
    return torch.where(norm <= radius, packed, packed * (radius / norm.clamp_min(torch.finfo(packed.dtype).tiny)))
