"""W0, fixed for the whole run: its spectrum is the spectrum of the trained weight (POET §3.1, Table 5)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import PoetError

SCHEMES = ("keep", "standard", "xavier", "uniform_spectrum", "normalized", "mup_normalized")
STANDARD_DEVIATION = 0.02


def initial_weight(
    scheme: str, given: Float[Tensor, "m n"], gain: float, generator: torch.Generator
) -> Float[Tensor, "m n"]:
    """W0 in float32 on the CPU (`given` decides the shape, and the values for `keep`).

        standard          N(0, 0.02²)
        xavier            N(0, 2/(m+n))
        uniform_spectrum  U Vᵀ of a standard draw: every singular value is 1
        normalized        a standard draw with every row (neuron) divided by its 2-norm; the paper's choice
        mup_normalized    normalized, then scaled to the spectral norm sqrt(m/n)
        keep              the given weight: for pretrained models

    Raises:
        PoetError: a row of zeros cannot be normalised, or the scheme is unknown.
    """
    if scheme not in SCHEMES:
        raise PoetError(f"init must be one of {', '.join(SCHEMES)}, not {scheme!r}")
    if scheme == "keep":
        return given.detach().float().cpu() * gain
    m, n = given.shape
    W = torch.randn(m, n, generator=generator)
    if scheme == "xavier":
        return W * (gain * math.sqrt(2 / (m + n)))
    W = W * STANDARD_DEVIATION
    if scheme == "uniform_spectrum":
        U, _, Vt = torch.linalg.svd(W.double(), full_matrices=False)
        W = (U @ Vt).float()
    elif scheme != "standard":
        W = normalized_rows(W)
        if scheme == "mup_normalized":
            W = W * (math.sqrt(m / n) / torch.linalg.matrix_norm(W.double(), 2).float())
    return W * gain


def normalized_rows(W: Float[Tensor, "m n"]) -> Float[Tensor, "m n"]:
    """Every neuron on the unit sphere.

    Raises:
        PoetError: a row is zero.
    """
    norms = W.norm(dim=1, keepdim=True)
    if bool((norms == 0).any()):
        row = int((norms == 0).flatten().nonzero()[0])
        raise PoetError(f"row {row} of the weight is zero and has no direction to normalise: use another init")
    return W / norms
