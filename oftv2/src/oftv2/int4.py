"""Group-wise asymmetric int4 weights in plain torch: a reference for the kind of weight that AWQ and GPTQ leave.

    W  (out, in)   each row in groups of g columns:   w ≈ scale · (q - zero),   q and zero in 0..15

It means what AWQ's storage means (unsigned codes, one scale and one integer zero point a group), in a simpler
arrangement: two codes a byte along a row, float32 scales, no interleaving for a kernel. Codes come from rounding
to the nearest, so nothing of AWQ's search for activation-aware scales is in it, and the product dequantises the whole
weight: it saves memory between calls and no time. It is there to show that rotating inputs works over any frozen
weight, and to requantise into such a format.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from .errors import OFTError

GROUP_SIZES = (32, 64, 128)
LEVELS = 15


class Int4GroupLinear(nn.Module):
    """A frozen linear layer over an int4 weight; gradients reach its input.

    Buffers:
        codes: `(out, in/2)` uint8, the even column in the low four bits.
        scales: `(out, in/g)` float32.
        zeros: `(out, in/g)` uint8.

    Raises:
        OFTError: a group size that is not allowed or does not divide the width, or a weight that is not finite.
    """

    codes: Tensor
    scales: Tensor
    zeros: Tensor
    bias: nn.Parameter | None

    def __init__(self, weight: Float[Tensor, "out inp"], bias: nn.Parameter | None = None, group_size: int = 128):
        super().__init__()
        self.out_features, self.in_features = weight.shape
        self.group_size = group_size
        codes, scales, zeros = quantise_groups(weight, group_size)
        self.register_buffer("codes", codes[:, 0::2] | codes[:, 1::2] << 4)
        self.register_buffer("scales", scales)
        self.register_buffer("zeros", zeros)
        self.register_parameter("bias", bias)

    @classmethod
    def from_linear(cls, linear: nn.Linear, group_size: int = 128) -> Int4GroupLinear:
        """The same layer with its weight rounded to int4; the bias is shared with it."""
        return cls(linear.weight.detach(), linear.bias, group_size)

    def dequantise(self, dtype: torch.dtype = torch.float32) -> Float[Tensor, "out inp"]:
        return _dequantise(self.codes, self.scales, self.zeros, dtype)

    def forward(self, x: Float[Tensor, "*batch inp"]) -> Float[Tensor, "*batch out"]:
        y = _Int4Product.apply(x, self.codes, self.scales, self.zeros)
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, group_size={self.group_size}"


def quantise_groups(
    weight: Float[Tensor, "out inp"], group_size: int
) -> tuple[UInt8[Tensor, "out inp"], Float[Tensor, "out groups"], UInt8[Tensor, "out groups"]]:
    """Codes (unpacked), scales and zero points, by rounding to the nearest.

    The range of a group is widened to hold 0, so that an integer zero point between 0 and 15 exists; then no
    weight is further than half a step from what it becomes.

    Raises:
        OFTError: as `Int4GroupLinear`.
    """
    if group_size not in GROUP_SIZES:
        raise OFTError(f"group_size must be one of {', '.join(map(str, GROUP_SIZES))}, not {group_size!r}")
    if weight.ndim != 2 or weight.shape[1] % group_size:
        raise OFTError(f"groups of {group_size} columns do not divide a weight of shape {tuple(weight.shape)}")
    if not bool(torch.isfinite(weight).all()):
        raise OFTError("a weight with NaN or infinite entries cannot be quantised")
    groups = weight.detach().float().unflatten(1, (-1, group_size))
    low = groups.amin(-1).clamp_max(0)
    high = groups.amax(-1).clamp_min(0)
    scales = (high - low) / LEVELS
    scales = torch.where(scales > 0, scales, torch.ones_like(scales))
    zeros = (-low / scales).round().clamp(0, LEVELS)
    codes = (groups / scales.unsqueeze(-1)).round() + zeros.unsqueeze(-1)
    return codes.clamp(0, LEVELS).to(torch.uint8).flatten(1), scales, zeros.to(torch.uint8)


def _dequantise(codes: Tensor, scales: Tensor, zeros: Tensor, dtype: torch.dtype) -> Tensor:
    unpacked = torch.stack((codes & 15, codes >> 4), dim=-1).flatten(1)
    groups = unpacked.unflatten(1, (scales.shape[1], -1)).float()
    return ((groups - zeros.unsqueeze(-1)) * scales.unsqueeze(-1)).flatten(1).to(dtype)


class _Int4Product(torch.autograd.Function):
    """x Wᵀ keeping the codes, not the dequantised weight, for backward."""

    @staticmethod
    def forward(ctx, x: Tensor, codes: Tensor, scales: Tensor, zeros: Tensor) -> Tensor:
        ctx.save_for_backward(codes, scales, zeros)
        return F.linear(x, _dequantise(codes, scales, zeros, x.dtype))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return grad @ _dequantise(*ctx.saved_tensors, grad.dtype), None, None, None
