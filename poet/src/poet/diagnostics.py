"""What POET claims to keep and how it moves: spectra, energy, probes, coverage (POET §3.1, §4.1, App. C, F, H)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shared.orthogonal import cayley, cayley_neumann, packed_length, spectral_angle
from shared.orthogonal.indexed import rotate_columns

from .config import PoetConfig
from .effective import effective_weights
from .linear import PoetLinear, poet_layers
from .primitives import covered, draw_index, seeded, side_blocks

CLOSEST = 1e-6  # distance below which two neurons count as identical


@torch.no_grad()
def spectrum(model: nn.Module, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Singular values of every hidden matrix, float64, descending."""
    weights = effective_weights(model)
    return {
        name: torch.linalg.svdvals(W.double().cpu()) for name, W in weights.items() if names is None or name in names
    }


def spectrum_drift(now: Tensor, start: Tensor) -> float:
    """‖σ(W_t) − σ(W_0)‖₂ / ‖σ(W_0)‖₂."""
    return float((now - start).norm() / start.norm())


def svd_entropy(sigma: Float[Tensor, " n"]) -> float:
    """H = −(1/log n) Σ p log p with p = σ²/Σσ²: 1 for a flat spectrum, 0 for rank one (the paper prints no minus)."""
    p = sigma.double() ** 2
    p = p / p.sum()
    p = p[p > 0]
    return float(-(p * p.log()).sum() / math.log(len(sigma))) if len(sigma) > 1 else 0.0


@dataclass(frozen=True)
class Energy:
    """Hyperspherical energy of one matrix's neurons."""

    total: float  # Σ_{i≠j} ‖ŵ_i − ŵ_j‖⁻¹
    per_pair: float  # total / (N(N−1))
    identical: int  # ordered pairs closer than 1e-6, which count as 1e-6 apart


@torch.no_grad()
def hyperspherical_energy(W: Float[Tensor, "m n"], chunk: int = 2048) -> Energy:
    """Energy of the rows of W on the unit sphere, `chunk` rows at a time."""
    rows = nn.functional.normalize(W.double().cpu(), dim=1)
    N, total, identical = len(rows), 0.0, 0
    for start in range(0, N, chunk):
        # The direct form: by products, rounding would make near neurons up to 1e-8 apart.
        distance = torch.cdist(rows[start : start + chunk], rows, compute_mode="donot_use_mm_for_euclid_dist")
        here = torch.arange(len(distance))
        distance[here, start + here] = math.inf
        identical += int((distance < CLOSEST).sum())
        total += float(distance.clamp_min(CLOSEST).reciprocal().sum())
    return Energy(total, total / max(1, N * (N - 1)), identical)


def geometry(model: nn.Module, start: Mapping[str, Tensor]) -> dict[str, float]:
    """Spectrum, entropy and energy of the hidden matrices, summed up over layers.

    Args:
        start: the spectra before the first step.
    """
    weights = effective_weights(model)
    now = {name: torch.linalg.svdvals(W.double().cpu()) for name, W in weights.items()}
    energies = [hyperspherical_energy(W) for W in weights.values()]
    drifts = [spectrum_drift(now[name], start[name]) for name in now]
    return {
        "sigma_max": max(float(s[0]) for s in now.values()),
        "sigma_min": min(float(s[-1]) for s in now.values()),
        "sigma_growth": max(float(now[n][0] / start[n][0]) for n in now),
        "drift_mean": sum(drifts) / len(drifts),
        "drift_max": max(drifts),
        "entropy": sum(map(svd_entropy, now.values())) / len(now),
        "energy": sum(e.total for e in energies),
        "energy_per_pair": sum(e.per_pair for e in energies) / len(energies),
        "identical_pairs": float(sum(e.identical for e in energies)),
    }


class VectorProbe:
    """A fixed random unit vector v a layer and side, carried along by the rotations (POET §4.1): cos = vᵀ R_total v.

    `R_total` is the product of all merged rotations and the running one. The paper's three phases: the cosine falls
    from 1 to 0.60–0.65, stays there while the loss falls, and freezes with the learning rate.
    """

    def __init__(self, model: nn.Module, seed: int = 0, names: Sequence[str] | None = None):
        self.layers = [layer for layer in poet_layers(model) if names is None or layer.name in names]
        self.start: dict[str, Tensor] = {}
        self.vectors: dict[str, Tensor] = {}
        for layer in self.layers:
            for side, d in (("R", layer.out_features), ("P", layer.in_features)):
                v = torch.randn(1, d, generator=seeded(seed, layer.name, side, "probe"), dtype=torch.float64)
                self.start[f"{layer.name}/{side}"] = v / v.norm()
            layer.observers.append(self._merged)
        self.vectors.update({k: v.clone() for k, v in self.start.items()})

    def _merged(self, layer: PoetLinear, G_out: list[Tensor], G_in: list[Tensor]) -> None:
        for side, G in (("R", G_out), ("P", G_in)):
            self.vectors[f"{layer.name}/{side}"] = self._turned(layer, side, G)

    def _turned(self, layer: PoetLinear, side: str, G: list[Tensor]) -> Tensor:
        r = self.vectors[f"{layer.name}/{side}"]
        for blocks, index in layer.runs(int(side == "P"), G):
            r = rotate_columns(r, blocks.double().cpu().mT, index.cpu())
        return r

    def cosines(self) -> dict[str, float]:
        """vᵀ R_total v by layer and side, now."""
        found = {}
        for layer in self.layers:
            for side, G in zip("RP", layer.rotations(), strict=True):
                key = f"{layer.name}/{side}"
                found[key] = float((self._turned(layer, side, G) * self.start[key]).sum())
        return found

    def traces(self) -> dict[str, float]:
        """trace(R)/m of the running interval's rotation, by layer and side."""
        found = {}
        for layer in self.layers:
            sides = (("R", layer.out_features), ("P", layer.in_features))
            for (side, d), G in zip(sides, layer.rotations(), strict=True):
                inside = sum(float(blocks.diagonal(dim1=-2, dim2=-1).sum()) for blocks in G)
                outside = d - sum(blocks.shape[0] * blocks.shape[1] for blocks in G)
                found[f"{layer.name}/{side}"] = (inside + outside) / d
        return found


def phases(steps: Sequence[int], cosines: Sequence[float], losses: Sequence[float]) -> dict[str, Any]:
    """Where the paper's three phases lie in a run: the search ends when nine tenths of the cosine's fall are done, and
    the freeze begins when it stays within 0.005 of its last value."""
    fall = cosines[0] - cosines[-1]
    search = next((i for i, c in enumerate(cosines) if cosines[0] - c >= 0.9 * fall), len(cosines) - 1)
    moving = [i for i, c in enumerate(cosines) if abs(c - cosines[-1]) > 0.005]
    freeze = min(len(steps) - 1, (moving[-1] + 1) if moving else 0)
    return {
        "cosine": cosines[-1],
        "search_ends": steps[search],
        "freeze_begins": steps[freeze],
        "loss_at_search_end": losses[search],
        "loss_at_freeze": losses[freeze],
        "loss_at_end": losses[-1],
    }


def coverage(config: PoetConfig, m: int, n: int, steps: int = 100) -> Float[Tensor, "m n"]:
    """How often each element of an m×n weight is mixed by R or by P when every step draws anew (POET App. H)."""
    rows, columns = torch.zeros(m), torch.zeros(n)
    for interval in range(steps):
        for side, d, counts in ((0, m, rows), (1, n, columns)):
            counts[draw_index(config.seed, "coverage", side, interval, d, covered(side_blocks(config, side, d)))] += 1
    return rows[:, None] + columns[None, :]


@torch.no_grad()
def orthogonality(model: nn.Module) -> list[dict[str, Any]]:
    """‖GGᵀ − I‖_F/‖I‖_F and θ = ‖Q‖₂ of the worst block of every layer."""
    rows = []
    for layer in poet_layers(model):
        error, theta = 0.0, 0.0
        for Q in layer.Q:
            G = layer.parameterization.blocks(Q).double()
            error = max(error, float(relative_error(G).max()))
            theta = max(theta, float(spectral_angle(Q).max()))
        rows.append({"layer": layer.name, "error": error, "theta": theta})
    return rows


def relative_error(G: Float[Tensor, "r b b"]) -> Float[Tensor, " r"]:
    eye = torch.eye(G.shape[-1], dtype=G.dtype, device=G.device)
    return (G @ G.mT - eye).flatten(-2).norm(dim=-1) / G.shape[-1] ** 0.5


def series_errors(theta: float, b: int = 64, seed: int = 0) -> list[dict[str, Any]]:
    """Table 7 in miniature: how far each series is from a rotation at max angle θ, measured and, for Eq. 6, by the
    closed form: every pair of singular values is |1 − (iθ)^(k+1)|."""
    Q = torch.randn(1, packed_length(b), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    Q = Q * (theta / spectral_angle(Q))
    angles = torch.linalg.eigvals(cayley(Q)).squeeze(0).angle().div(2).tan().abs()
    rows = []
    for series, terms in [("truncated", k) for k in (1, 2, 3, 4)] + [("product", k) for k in (1, 2, 3, 4, 5)]:
        error = float(relative_error(cayley_neumann(Q, terms, series)))  # type: ignore[arg-type]
        expected = None
        if series == "product":
            squares = torch.abs(1 - (1j * angles) ** (terms + 1)) ** 2
            expected = float(((squares - 1) ** 2).mean().sqrt())
        rows.append({"series": series, "k": terms, "theta": theta, "error": error, "closed form": expected})
    return rows
