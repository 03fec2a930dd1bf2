"""The geometry of an adapter: how far it turns each weight, and what that leaves unchanged.

An exact rotation `W' = W · Diag(R)ᵀ` keeps W's singular values, and the norms of its neurons (rows) and the angles
between them, so also their hyperspherical energy. The Cayley-Neumann series keeps them up to its defect: in a plane
of Q with eigenvalues ±iθ, R has the singular value |1 - (iθ)^(k+1)| instead of 1.

All functions are of tensors and dicts of tensors (module path -> tensor); results are plain rows for `to_rows`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from shared.orthogonal import block_rotate_weight, orthogonality_error, spectral_angle

from .errors import OFTError
from .rotation import rotation_from, series_of_terms


@dataclass(frozen=True)
class GeometryRow:
    """One adapted layer."""

    path: str
    block_size: int
    theta_max: float  # largest ‖Q‖₂ of its blocks
    orthogonality_error: float  # largest ‖RᵀR - I‖_F of its blocks
    update_norm: float  # ‖W' - W‖/‖W‖
    singular_drift: float  # max|σ'ᵢ - σᵢ|/σ_max
    energy: float  # hyperspherical energy of W (an estimate where neurons were sampled)
    energy_change: float  # (energy of W' - energy of W)/energy of W


@dataclass(frozen=True)
class ActivationRow:
    """One adapted layer, seen by the activations that reach it."""

    path: str
    csd: float  # E‖ΔW h‖²/E‖W h‖²
    cka: float  # linear CKA of W h and W' h


@dataclass(frozen=True)
class TermsRow:
    """The same parameters read with another number of Neumann terms."""

    terms: int
    orthogonality_error: float  # worst ‖RᵀR - I‖_F over all blocks
    path: str  # where that is
    theta_max: float  # largest ‖Q‖₂ over all blocks
    singular_value: float  # closed form at theta_max


def geometry(
    packed: Mapping[str, Float[Tensor, "r n"]],
    rotations: Mapping[str, Float[Tensor, "r b b"]],
    weights: Mapping[str, Float[Tensor, "out inp"]],
    *,
    neurons: int | None = 512,
    seed: int = 0,
) -> list[GeometryRow]:
    """One row for each path in `weights`.

    Args:
        packed: parameters as they stand, with any strength already multiplied in.
        rotations: what they were built into, in whichever parameterization.
        weights: the frozen weights, `(out, in)`. A row costs two decompositions of a matrix of the smaller side.
        neurons: how many neurons to sample for the energy; None for all.

    Raises:
        OFTError: a path has a weight and no rotation.
    """
    missing = [path for path in weights if path not in rotations or path not in packed]
    if missing:
        raise OFTError(f"{missing[0]} has a weight and no rotation: the adapter's paths are those of the base model")
    rows = []
    for path, W in weights.items():
        W, R = W.detach().float(), rotations[path].detach().float()
        turned = block_rotate_weight(W, R)
        energy = hyperspherical_energy(W, neurons=neurons, seed=seed)
        rows.append(
            GeometryRow(
                path,
                R.shape[-1],
                float(spectral_angle(packed[path].detach()).max()),
                float(orthogonality_error(R).max()),
                update_norm(W, R),
                singular_drift(W, turned),
                energy,
                hyperspherical_energy(turned, neurons=neurons, seed=seed) / energy - 1,
            )
        )
    return rows


def activation_geometry(
    rotations: Mapping[str, Float[Tensor, "r b b"]],
    weights: Mapping[str, Float[Tensor, "out inp"]],
    inputs: Mapping[str, Float[Tensor, "tokens inp"]],
) -> list[ActivationRow]:
    """One row for each path in `inputs`, which holds activations h that reach the layer in the base model."""
    rows = []
    for path, h in inputs.items():
        W, h = weights[path].detach().float(), h.detach().float()
        turned = block_rotate_weight(W, rotations[path].detach().float())
        rows.append(
            ActivationRow(path, relative_output_change(turned - W, W, h), linear_cka(h @ W.T, h @ turned.T)),
        )
    return rows


def update_norm(W: Float[Tensor, "out inp"], R: Float[Tensor, "r b b"]) -> float:
    """‖W Diag(R)ᵀ - W‖_F/‖W‖_F, block by block; nan for a zero weight."""
    eye = torch.eye(R.shape[-1], dtype=R.dtype, device=R.device)
    return float(block_rotate_weight(W, R - eye).norm() / W.norm())


def singular_drift(W: Float[Tensor, "out inp"], turned: Float[Tensor, "out inp"]) -> float:
    """max|σ'ᵢ - σᵢ|/σ_max with singular values in order; 0 for an exact rotation."""
    before, after = _singular_values(W), _singular_values(turned)
    return float((after - before).abs().max() / before[-1])


def hyperspherical_energy(
    W: Float[Tensor, "out inp"], *, neurons: int | None = None, seed: int = 0, chunk: int = 1024
) -> float:
    """`Σ_{i≠j} ‖ŵᵢ - ŵⱼ‖⁻¹` over the neurons (rows) scaled to length 1, in float64 (OFT, arXiv 2306.07280, §3).

    Neurons of length 0 have no direction and are left out; two of the same direction make it infinite.

    Args:
        neurons: sample so many, the same for the same seed and shape, and scale the sum to all pairs; None for all.
        chunk: rows a step; memory is chunk × neurons float64.
    """
    directions = W.detach().double()
    length = directions.norm(dim=1, keepdim=True)
    directions = (directions / length)[length.squeeze(1) > 0]
    total = len(directions)
    if total < 2:
        return math.nan
    if neurons is not None and neurons < total:
        chosen = torch.randperm(total, generator=torch.Generator().manual_seed(seed))[: max(neurons, 2)]
        directions = directions[chosen.to(W.device)]
    count = len(directions)
    energy = 0.0
    for start in range(0, count, chunk):
        part = directions[start : start + chunk]
        distance = (2 - 2 * part @ directions.T).clamp_min_(0).sqrt_()
        distance.diagonal(start).fill_(math.inf)
        energy += float(distance.reciprocal_().sum())
    return energy * (total * (total - 1)) / (count * (count - 1))


def relative_output_change(
    delta: Float[Tensor, "out inp"], W: Float[Tensor, "out inp"], h: Float[Tensor, "tokens inp"]
) -> float:
    """CSD_rel = E‖ΔW h‖²/E‖W h‖² over given activations."""
    return float((h @ delta.T).square().sum() / (h @ W.T).square().sum())


def linear_cka(X: Float[Tensor, "tokens p"], Y: Float[Tensor, "tokens q"]) -> float:
    """Linear centred kernel alignment ‖YᵀX‖²/(‖XᵀX‖·‖YᵀY‖) of centred features, in float64 (arXiv 1905.00414).

    1 where Y is X rotated or scaled; nan where one of them is constant.

    Raises:
        OFTError: not the same number of rows.
    """
    if len(X) != len(Y):
        raise OFTError(f"CKA compares the same tokens: {len(X)} rows of one and {len(Y)} of the other do not match")
    X, Y = X.double(), Y.double()
    X, Y = X - X.mean(0), Y - Y.mean(0)
    if len(X) < max(X.shape[1], Y.shape[1]):
        # the same three numbers from (tokens, tokens) matrices
        K, L = X @ X.T, Y @ Y.T
        shared, own_x, own_y = (K * L).sum(), K.norm(), L.norm()
    else:
        shared, own_x, own_y = (Y.T @ X).square().sum(), (X.T @ X).norm(), (Y.T @ Y).norm()
    return float(shared / (own_x * own_y))


def singular_value_of_cnp(theta: Float[Tensor, "*shape"] | float, terms: int) -> Float[Tensor, "*shape"]:
    """Singular value of R in a plane of Q with eigenvalues ±iθ; 1 is a rotation, 0 a lost plane. float64.

    `(I - Q) R_k = (I + Q)(I - Q^(k+1))` gives |1 - (iθ)^(k+1)| for the product form that PEFT >= 0.18 uses, with
    `terms` counted as PEFT counts: k = terms - 2 from 4 on, 3 the same as 4, 2 is I + 2Q, 1 is I.

    Raises:
        ValueError: terms outside 1..64.
    """
    theta = torch.as_tensor(theta, dtype=torch.float64)
    k, series = series_of_terms(terms)
    if series == "truncated":
        return torch.ones_like(theta) if k == 0 else (1 + 4 * theta.square()).sqrt()
    power = k + 1
    if power % 2:  # (iθ)^power is imaginary
        return (1 + theta.pow(2 * power)).sqrt()
    return (1 - theta.pow(power) * (-1) ** (power // 2)).abs()


def terms_ablation(packed: Mapping[str, Float[Tensor, "r n"]], terms: Iterable[int] = range(2, 9)) -> list[TermsRow]:
    """The orthogonality of the same trained parameters under other numbers of Neumann terms, one row each.

    Raises:
        OFTError: no parameters.
    """
    if not packed:
        raise OFTError("there are no packed parameters to read with other numbers of terms")
    theta_max = max(float(spectral_angle(p.detach().double()).max()) for p in packed.values())
    rows = []
    for n in terms:
        errors = {
            path: float(orthogonality_error(rotation_from(p.detach().double(), terms=n)).max())
            for path, p in packed.items()
        }
        worst = max(errors, key=errors.__getitem__)
        rows.append(TermsRow(n, errors[worst], worst, theta_max, float(singular_value_of_cnp(theta_max, n))))
    return rows


def to_rows(rows: Iterable[Any]) -> list[dict[str, Any]]:
    """Dataclass rows as dicts that JSON can hold: numbers that are not finite become None."""
    finite = lambda value: None if isinstance(value, float) and not math.isfinite(value) else value  # noqa: E731
    return [{name: finite(value) for name, value in asdict(row).items()} for row in rows]


def _singular_values(W: Tensor) -> Tensor:
    """Rising. From the Gram matrix of the smaller side in float64: to 1e-8·σ_max, closer than a float32 SVD."""
    W = W.double() if W.shape[0] <= W.shape[1] else W.double().T
    return torch.linalg.eigvalsh(W @ W.T).clamp_min_(0).sqrt_()
