"""From the packed skew-symmetric Q to the blocks G of a rotation, and the gradients between them (POET §3.2.2).

series       G = (I + Q)(I + Q + ... + Q^k)     Eq. 6; singular values |1 - (iθ)^(k+1)|
cayley       G = (I + Q)(I - Q)⁻¹
exponential  G = exp(2Q)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from shared.orthogonal import cayley, cayley_neumann, exponential, nearest_rotation, neumann_coefficients
from shared.orthogonal.gradients import cayley_gradient, cayley_neumann_gradient

from .config import PoetConfig
from .errors import PoetError


@dataclass(frozen=True)
class Parameterization:
    """One map from Q to G; the same function on every device and dtype."""

    kind: str
    series: str
    terms: int
    bounded: bool  # whether a trust region keeps ‖Q‖₂ near 0.5, so that few Newton steps invert G

    @classmethod
    def of(cls, config: PoetConfig) -> Parameterization:
        bounded = config.theta_max is not None and config.theta_max <= 0.5
        return cls(config.parameterization, config.series, config.terms, bounded)

    def blocks(self, packed: Float[Tensor, "r n"]) -> Float[Tensor, "r b b"]:
        """G, differentiable."""
        if self.kind == "cayley":
            return cayley(packed)
        if self.kind == "exponential":
            return exponential(packed)
        return cayley_neumann(packed, self.terms, self.series)  # type: ignore[arg-type]

    def gradient(
        self, packed: Float[Tensor, "r n"], G: Float[Tensor, "r b b"], dG: Float[Tensor, "r b b"]
    ) -> Float[Tensor, "r n"]:
        """Gradient by the packed numbers from the gradient by G."""
        if self.kind == "cayley":
            return cayley_gradient(G, dG)
        if self.kind == "series":
            return cayley_neumann_gradient(packed, dG, self.terms, self.series)  # type: ignore[arg-type]
        with torch.enable_grad():
            leaf = packed.detach().requires_grad_()
            return torch.autograd.grad(exponential(leaf), leaf, dG)[0]

    def inverse_transpose(self, G: Float[Tensor, "r b b"]) -> Float[Tensor, "r b b"]:
        """G⁻ᵀ, which is G itself for a rotation. A series is close to one: Newton's `X ← X(2I - GᵀX)` squares the
        distance I - GᵀG, which within the trust region is at most θ^(2(k+1)) for even k (1e-3 for k = 4) and 2θ^(k+1)
        for odd k: one and three of them leave less than 1e-6."""
        if self.kind != "series":
            return G
        eye = torch.eye(G.shape[-1], dtype=G.dtype, device=G.device)
        far = self.series == "truncated" or self.terms < 3
        if G.dtype == torch.float64 or far or not self.bounded:
            return torch.linalg.solve(G.mT, eye.expand_as(G))
        X = G
        for _ in range(1 if self.terms % 2 == 0 else 3):
            X = X @ (2 * eye - G.mT @ X)
        return X

    def merged(self, packed: Float[Tensor, "r n"], merge: str) -> Float[Tensor, "r b b"]:
        """What a merge applies, in float64: the orthogonal polar factor of G, the exact Cayley transform, or G.

        For the product series with k = 3 the polar factor is the Cayley transform: `I - Q⁴` is symmetric positive.

        Raises:
            PoetError: G is so far from a rotation that it has no nearest one in reach.
        """
        Q = packed.detach().double()
        if merge == "cayley":
            return cayley(Q)
        G = self.blocks(Q)
        if merge == "series":
            return G
        try:
            return nearest_rotation(G, tolerance=1e-12)
        except ValueError as error:
            raise PoetError(
                f"a rotation was trained so far (‖Q‖ up to {float(Q.norm(dim=-1).max()):.2g}) that its series is no "
                "rotation any more: lower poet_lr or merge_every, or set theta_max"
            ) from error

    def coefficients(self) -> tuple[float, ...]:
        return neumann_coefficients(self.terms, self.series)  # type: ignore[arg-type]
