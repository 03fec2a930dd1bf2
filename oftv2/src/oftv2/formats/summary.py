"""What `inspect` prints of an adapter."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from shared.orthogonal import block_size_of, orthogonality_error, spectral_angle

from ..rotation import EXACT, rotation_from
from .adapter import Adapter
from .lycoris import OUTPUT_SIDE, LycorisAdapter

SERIES_LIMIT = 0.5  # θ above which the Neumann series visibly leaves the rotations

_NAMES = {
    "peft": "PEFT 0.18 or later",
    "peft-0.17": "PEFT 0.16 or 0.17",
    "peft-v1": "PEFT 0.14 or 0.15 (OFTv1)",
    "native": "oftv2 (native)",
}


@dataclass
class Summary:
    """Facts of one adapter."""

    format: str
    parameterization: str
    modules: int
    parameters: int
    blocks: dict[int, int]  # block size -> number of modules
    theta: float  # the largest ‖Q‖₂
    theta_module: str
    defect: float  # the largest ‖RᵀR - I‖_F, in float64
    defect_module: str
    notes: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        sizes = ", ".join(f"{b} ({n} modules)" for b, n in sorted(self.blocks.items()))
        return [
            f"format                {self.format}",
            f"parameterization      {self.parameterization}",
            f"block sizes           {sizes}",
            f"modules               {self.modules}",
            f"parameters            {self.parameters:,}".replace(",", " "),
            f"theta_max             {self.theta:.6g} in {self.theta_module}",
            f"orthogonality error   {self.defect:.3g} in {self.defect_module}",
            *(f"note                  {note}" for note in self.notes),
        ]


def summarise(adapter: Adapter | LycorisAdapter, path: str | Path) -> Summary:
    """Measures every block in float64, so that the error is the parameterization's and not rounding."""
    if isinstance(adapter, LycorisAdapter):
        packed = {name: adapter.packed(name) for name in adapter.blocks}
        stored = (*adapter.blocks.values(), *adapter.rescale.values())
        summary = _measured(packed, "cayley", 0)
        summary.format = "LyCORIS/kohya diag-oft"
        summary.parameterization = "cayley, of the outputs"
        summary.parameters = sum(t.numel() for t in stored)
        summary.notes = [f"{path} {OUTPUT_SIDE}"]
        return summary
    config = adapter.config
    summary = _measured(adapter.rotations, config.parameterization, config.terms)
    summary.format = _NAMES[adapter.source]
    exact = config.parameterization in EXACT or config.parameterization == "cayley_neumann_polished"
    summary.parameterization = config.parameterization if exact else f"{config.parameterization}({config.terms})"
    summary.parameters = adapter.parameter_count
    summary.notes = list(adapter.notes)
    if adapter.rescale:
        summary.notes.append(f"{len(adapter.rescale)} modules also rescale their outputs")
    if adapter.saved:
        summary.notes.append(f"{len(adapter.saved)} tensors of the base are trained whole")
    if adapter.base_weights:
        summary.notes.append(f"{len(adapter.base_weights)} weights of the base lie beside it (not counted)")
    if summary.theta > SERIES_LIMIT and not exact:
        summary.notes.append(f"theta_max is above {SERIES_LIMIT}, where the series is no longer a rotation")
    return summary


@torch.no_grad()
def _measured(rotations: dict[str, Tensor], parameterization: str, terms: int) -> Summary:
    theta = defect = (-1.0, "")
    for path, packed in rotations.items():
        wide = packed.double()
        theta = max(theta, (float(spectral_angle(wide).max()), path))
        R = rotation_from(wide, parameterization, max(terms, 1), backend="torch")
        defect = max(defect, (float(orthogonality_error(R).max()), path))
    blocks = Counter(block_size_of(t.shape[1]) for t in rotations.values())
    return Summary("", "", len(rotations), 0, dict(blocks), theta[0], theta[1], defect[0], defect[1])
