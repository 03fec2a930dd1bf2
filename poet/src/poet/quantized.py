"""POET-XQ: W as 8-bit integers with a scale and a zero point a group (POET-X §4; layout of the official code).

    value = (q - zero)·scale over groups of the row-major flattened weight
    scale = max((max - min)/255, 1e-5),  zero = clamp(round(-min/scale), 0, 255)

A merge dequantises, rotates and quantises again, so the spectrum is kept up to the rounding only; a float32 master in
host memory (`master: fp32_host`) stops the rounding from adding up.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .errors import PoetError


class Int8Weight(nn.Module):
    """A frozen matrix in 8 bits."""

    codes: Tensor
    scales: Tensor
    zeros: Tensor

    def __init__(self, W: Float[Tensor, "m n"], group: int = 256):
        """
        Raises:
            PoetError: `group` does not divide the number of weights.
        """
        super().__init__()
        if W.numel() % group:
            raise PoetError(
                f"groups of {group} do not divide the {W.numel()} numbers of a {W.shape[0]}×{W.shape[1]} weight"
            )
        self.shape, self.group, self.dtype = W.shape, group, W.dtype
        groups = W.numel() // group
        self.register_buffer("codes", torch.zeros(W.shape, dtype=torch.uint8, device=W.device))
        self.register_buffer("scales", torch.zeros(groups, dtype=torch.float32, device=W.device))
        self.register_buffer("zeros", torch.zeros(groups, dtype=torch.uint8, device=W.device))
        self.write(W)

    @torch.no_grad()
    def write(self, W: Float[Tensor, "m n"], noise: torch.Generator | None = None) -> None:
        """Quantise; with `noise` the codes are rounded up or down at random without bias."""
        rows = W.float().reshape(-1, self.group)
        low, high = rows.amin(1), rows.amax(1)
        scales = ((high - low) / 255).clamp_min(1e-5)
        zeros = (-low / scales).round().clamp(0, 255)
        scaled = rows / scales[:, None] + zeros[:, None]
        if noise is None:
            codes = scaled.round()
        else:
            codes = (scaled + torch.rand(scaled.shape, generator=noise).to(scaled.device)).floor()
        self.codes.copy_(codes.clamp(0, 255).to(torch.uint8).view(self.shape))
        self.scales.copy_(scales)
        self.zeros.copy_(zeros.to(torch.uint8))

    def read(self) -> Float[Tensor, "m n"]:
        codes = self.codes.reshape(-1, self.group).float()
        values = (codes - self.zeros.float()[:, None]) * self.scales[:, None]
        return values.view(self.shape).to(self.dtype)
