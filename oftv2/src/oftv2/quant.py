"""Quantised weights under a rotation (QOFT): reading them, writing them again, and what is lost in that.

QOFT itself needs nothing of this file: `z = Dequant(W_q)ᵀ Rᵀ x` (OFTv2 §4) rotates x and calls the frozen layer,
whatever it is. Merging does: the merged weight `W_q · Rᵀ` lies off the grid of the format and must be rounded to it
again. `requantise` measures for trained adapters, and `survival_curve` for random updates, how much of the update
lives through that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shared.orthogonal import block_rotate_weight, cayley, packed_length

from .bnb_layers import (
    dequantise_4bit,
    dequantise_8bit,
    is_4bit,
    is_8bit,
    keep_trainable,
    linear_4bit,
    quantise_like_4bit,
    quantise_like_8bit,
)
from .config import OFTConfig
from .errors import OFTError
from .int4 import Int4GroupLinear

__all__ = [
    "Int4GroupLinear",
    "RequantRow",
    "SurvivalRow",
    "dequantise",
    "is_forward_only",
    "is_quantised",
    "keep_trainable",
    "linear_4bit",
    "quantise_like",
    "requantise",
    "requantise_layer",
    "supports_merge",
    "survival_curve",
]

# Base classes and layers of gptqmodel, awq and auto-gptq, whose packed weights only their kernels read.
FORWARD_ONLY = frozenset(
    {
        "AWQuantLinear",
        "BaseQuantLinear",
        "GPTQQuantLinear",
        "QuantLinear",
        "WQLinear_Exllama",
        "WQLinear_ExllamaV2",
        "WQLinear_GEMM",
        "WQLinear_GEMV",
        "WQLinear_GEMVFast",
        "WQLinear_IPEX",
        "WQLinear_Marlin",
    }
)


def dequantise(layer: nn.Module, dtype: torch.dtype = torch.float32) -> Float[Tensor, "out inp"]:
    """The weight that a linear layer stands for, without gradient; for a plain layer it may share its memory.

    Serves `nn.Linear`, `Linear4bit` and `Linear8bitLt` of bitsandbytes and `Int4GroupLinear`. Forward-only layers of
    gptqmodel and awq are asked for it, one unit vector a column, which costs a product with the identity and gives
    the weight to one rounding of the layer's own dtype.

    Raises:
        OFTError: a layer of another kind.
    """
    with torch.no_grad():
        if isinstance(layer, Int4GroupLinear):
            return layer.dequantise(dtype)
        if is_4bit(layer):
            return dequantise_4bit(layer, dtype)
        if is_8bit(layer):
            return dequantise_8bit(layer, dtype)
        if is_forward_only(layer):
            return _answers_to_unit_vectors(layer).to(dtype)
        if _is_plain(layer):
            return cast(nn.Linear, layer).weight.detach().to(dtype)
    raise OFTError(f"{_known(layer)}; its weight cannot be read")


def quantise_like(layer: nn.Module, weight: Float[Tensor, "out inp"]) -> nn.Module:
    """A new layer in the format of `layer` (type, block size, double quantisation, dtype) over another weight.

    The old layer is left as it is; the two share the bias.

    Raises:
        OFTError: a layer whose format cannot be written, or a weight of another shape or with NaN or infinities.
    """
    if not supports_merge(layer):
        reason = (
            f"{type(layer).__name__} is packed for its kernel and cannot be written: keep the adapter unmerged, "
            "or merge into float32, bfloat16 or float16"
            if is_forward_only(layer)
            else f"{_known(layer)}; no weight can be written into it"
        )
        raise OFTError(reason)
    linear = cast(nn.Linear, layer)
    shape = (linear.out_features, linear.in_features)
    if tuple(weight.shape) != shape:
        raise OFTError(f"a weight for this layer has shape {shape}, not {tuple(weight.shape)}")
    if not bool(torch.isfinite(weight).all()):
        raise OFTError("a weight with NaN or infinite entries cannot be quantised")
    if is_4bit(layer):
        return quantise_like_4bit(layer, weight)
    if is_8bit(layer):
        return quantise_like_8bit(layer, weight)
    if isinstance(layer, Int4GroupLinear):
        rounded = Int4GroupLinear(weight.to(layer.codes.device), layer.bias, layer.group_size)
        return rounded.train(layer.training)
    old = linear.weight
    plain = nn.Linear(shape[1], shape[0], bias=False, device="meta")
    plain.weight = nn.Parameter(weight.detach().to(old.device, old.dtype, copy=True), requires_grad=old.requires_grad)
    plain.bias = linear.bias
    return plain.train(layer.training)


def supports_merge(layer: nn.Module) -> bool:
    """Whether `quantise_like` can write another weight in this layer's format."""
    return isinstance(layer, Int4GroupLinear) or is_4bit(layer) or is_8bit(layer) or _is_plain(layer)


def is_quantised(layer: nn.Module) -> bool:
    """Whether the layer holds its weight in some quantised form."""
    return isinstance(layer, Int4GroupLinear) or is_4bit(layer) or is_8bit(layer) or is_forward_only(layer)


def is_forward_only(layer: nn.Module) -> bool:
    """Whether this is a layer of gptqmodel, awq or auto-gptq, told by its classes' names."""
    return any(c.__name__ in FORWARD_ONLY for c in type(layer).__mro__)


@dataclass(frozen=True)
class RequantRow:
    """What rounding a merged weight to its base's format did, with W_q the base, ΔW the update, W_q' the result."""

    path: str
    update_norm: float  # ‖ΔW‖/‖W_q‖
    error: float  # ‖W_q' - (W_q + ΔW)‖/‖W_q‖
    surviving: float  # ⟨W_q' - W_q, ΔW⟩/‖ΔW‖²; nan where ΔW = 0


@dataclass(frozen=True)
class SurvivalRow:
    """The same for a random update of a given size."""

    kind: str
    update_norm: float
    error: float
    surviving: float


def requantise(layers: Mapping[str, tuple[nn.Module, Float[Tensor, "out inp"]]]) -> list[RequantRow]:
    """Round merged weights to the formats of their base layers and measure what lives through it.

    Args:
        layers: module path -> (base layer, merged weight). The base layers are only read.

    Raises:
        OFTError: as `quantise_like`, naming the path.
    """
    return [requantise_layer(path, layer, merged)[1] for path, (layer, merged) in layers.items()]


def requantise_layer(path: str, layer: nn.Module, merged: Float[Tensor, "out inp"]) -> tuple[nn.Module, RequantRow]:
    """The merged weight in the format of its base layer, and what that rounding did."""
    merged = merged.detach()
    try:
        base, new = dequantise(layer), quantise_like(layer, merged)
    except OFTError as error:
        raise OFTError(f"{path}: {error}") from error
    return new, RequantRow(path, *_losses(base, merged.to(base), dequantise(new)))


def survival_curve(
    weight: Float[Tensor, "out inp"],
    update_norms: Sequence[float],
    kinds: Sequence[str] = ("rotation", "low_rank"),
    *,
    block_size: int = 32,
    rank: int = 16,
    seed: int = 0,
) -> list[SurvivalRow]:
    """How much of a random update of a given relative size survives NF4 (blocks of 64, double quantisation).

    The base is the weight after its own round trip through NF4. `rotation` turns it by exact Cayley rotations of
    normally distributed Q, scaled until ‖W Rᵀ - W‖ has the wanted size; `low_rank` adds B·A with normally
    distributed factors. The same random draw serves all sizes of a kind.

    Raises:
        OFTError: unknown kind, a size that is not positive or that no rotation reaches (it is below 2).
    """
    draws: dict[str, Callable[[Tensor, float], Tensor]] = {
        "rotation": lambda W, size: _rotated(W, size, block_size, seed),
        "low_rank": lambda W, size: _plus_low_rank(W, size, rank, seed),
    }
    unknown = [kind for kind in kinds if kind not in draws]
    if unknown:
        raise OFTError(f"kinds must be among {', '.join(draws)}, not {unknown[0]!r}")
    wrong = [size for size in update_norms if not (math.isfinite(size) and size > 0)]
    if wrong:
        raise OFTError(f"update_norms must be finite and above 0, not {wrong[0]!r}")
    layer = linear_4bit(weight)
    base = dequantise(layer)
    rows = []
    for kind in kinds:
        for size in update_norms:
            merged = draws[kind](base, size)
            rows.append(SurvivalRow(kind, *_losses(base, merged, dequantise(quantise_like(layer, merged)))))
    return rows


def _losses(base: Tensor, merged: Tensor, rounded: Tensor) -> tuple[float, float, float]:
    update = (merged - base).double()
    scale, size = base.double().norm(), update.norm()
    error = (rounded - merged).double().norm() / scale
    surviving = float(((rounded - base).double() * update).sum() / size**2) if size > 0 else math.nan
    return float(size / scale), float(error), surviving


def _rotated(W: Tensor, size: float, block_size: int, seed: int) -> Tensor:
    r, b = OFTConfig(block_size=block_size).blocks_of(W.shape[1])
    Q = torch.randn(r, packed_length(b), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    Q = Q.to(W.device)
    columns = W.double().unflatten(1, (r, b)).transpose(0, 1)
    gram = columns.mT @ columns
    eye = torch.eye(b, dtype=Q.dtype, device=Q.device)

    def moved(scale: float) -> float:
        """‖W Rᵀ - W‖/‖W‖ from the Gram matrices of the column blocks; grows with the scale, as each plane turns on."""
        D = cayley(Q * scale) - eye
        return float(((D @ gram * D).sum() / gram.diagonal(dim1=1, dim2=2).sum()).sqrt())

    low, high = 0.0, 1e-3
    while moved(high) < size:
        low, high = high, 2 * high
        if high > 1e6:
            raise OFTError(f"no rotation of blocks of {b} moves this weight by {size:g} times its norm: stay below 2")
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if moved(middle) < size else (low, middle)
    return block_rotate_weight(W, cayley(Q * high).to(W.dtype))


def _plus_low_rank(W: Tensor, size: float, rank: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    B = torch.randn(W.shape[0], rank, generator=generator).to(W)
    A = torch.randn(rank, W.shape[1], generator=generator).to(W)
    update = B @ A
    return W + update * (size * W.norm() / update.norm())


def _answers_to_unit_vectors(layer: Any, chunk: int = 1024) -> Tensor:
    tensors = [*layer.parameters(), *layer.buffers()]
    dtype = next((t.dtype for t in tensors if t.is_floating_point()), torch.float16)
    device = tensors[0].device
    width = layer.in_features
    silent = layer(torch.zeros(1, width, dtype=dtype, device=device)).float()
    columns = []
    for start in range(0, width, chunk):
        rows = min(chunk, width - start)
        unit = torch.zeros(rows, width, dtype=dtype, device=device)
        unit[torch.arange(rows), torch.arange(start, start + rows)] = 1
        columns.append(layer(unit).float() - silent)
    return torch.cat(columns).T.contiguous()


def _is_plain(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) and not is_forward_only(layer) and layer.weight.is_floating_point()


def _known(layer: nn.Module) -> str:
    return (
        f"{type(layer).__name__} is none of the known linear layers (nn.Linear, Linear4bit, Linear8bitLt, "
        "Int4GroupLinear, and those of gptqmodel and awq)"
    )
