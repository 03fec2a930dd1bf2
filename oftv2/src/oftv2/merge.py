"""Fold adapters into weights, and take them out again.

A merge computes in float32 (float64 for float64 weights) and casts once. Where several adapters act, the merged
weight does what they do together: `W (R_a R_b)ᵀ`. Over a quantised base the choice is the caller's: merging into the
same 4-bit format rounds small updates away (the report of a run shows how much survives), merging into 16 or 32 bits
does not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from shared.orthogonal import block_rotate_weight

from .errors import OFTError
from .layers import OFTEmbedding, OFTLayer, OFTLinear, full_rotation, is_conv1d
from .quant import dequantise, is_quantised, requantise_layer, supports_merge

if TYPE_CHECKING:
    from .handle import AdapterHandle
    from .quant import RequantRow

INTO = ("auto", "float32", "bfloat16", "float16", "nf4")


@dataclass
class MergeReport:
    """What a merge did: the adapters in their order, the layers, and what requantisation cost where it happened."""

    names: tuple[str, ...]
    modules: list[str]
    into: str
    requantised: list[RequantRow] = field(default_factory=list)


def merge(handle: AdapterHandle, names: tuple[str, ...], into: str, keep_base: bool, untie: bool) -> MergeReport:
    """Merge the adapters `names`, which then no longer act as rotations.

    Args:
        into: `auto` keeps a plain layer's dtype and turns a quantised layer into a plain one of its compute dtype;
            a dtype name does that for every layer; `nf4` requantises quantised layers in their own format.
        keep_base: keep the original weights, so that `unmerge` restores them bit for bit; otherwise it solves with R.
        untie: give a tied embedding or head a weight of its own; without it a tied target is refused.

    Raises:
        OFTError: already merged, an unknown adapter, a tied target, or a layer that cannot be merged. Nothing is
            changed then.
    """
    if handle.merged:
        raise OFTError("adapters are merged already: call unmerge() first")
    if into not in INTO:
        raise OFTError(f"into must be one of {', '.join(INTO)}, not {into!r}")
    if not names:
        raise OFTError("no adapter is active: name the adapters to merge")
    for name in names:
        handle.config(name)
    if set(names) != set(handle.active):
        handle.set_active(names)
    layers = {path: layer for name in names for path, layer in handle.layers(name).items()}
    for path, layer in layers.items():
        _check_mergeable(handle.model, path, layer, into, untie)

    report = MergeReport(names, list(layers), into)
    changes: dict[str, tuple[Any, Tensor | None]] = {}
    with torch.no_grad():
        for path, layer in layers.items():
            base = layer.base_layer
            if is_quantised(base):
                changes[path] = (base, None)
                layer.base_layer = _merge_quantised(layer, path, names, into, report)
            else:
                changes[path] = (base, _merge_plain(layer, names, into, keep_base, untie))
    for layer in layers.values():
        layer.merged = tuple(name for name in names if name in layer.slots)
    handle.merged = names
    handle._kept = changes
    return report


def unmerge(handle: AdapterHandle) -> None:
    """Restore the layers as they were before `merge`.

    Bit for bit where the base was kept (quantised layers always are); otherwise by solving with R, which is right
    also for Cayley-Neumann rotations, whose transpose is not their inverse.

    Raises:
        OFTError: nothing is merged.
    """
    if not handle.merged:
        raise OFTError("no adapter is merged")
    with torch.no_grad():
        for path, (base, weight) in handle._kept.items():
            layer: Any = handle.model.get_submodule(path)
            if isinstance(weight, nn.Parameter):
                base.weight = weight
            elif weight is not None:
                base.weight.copy_(weight)
            elif layer.base_layer is base:
                base.weight.copy_(_without(layer, base.weight))
            layer.base_layer = base
            layer.merged = ()
    handle.merged = ()
    handle._kept = {}


def merged_weight(layer: OFTLayer, names: tuple[str, ...]) -> Tensor:
    """The weight of a layer with these adapters folded in, float32 (float64 for float64 bases), base untouched."""
    base = layer.base_layer
    W = dequantise(base) if is_quantised(base) else base.weight.detach()
    wide = torch.float64 if W.dtype == torch.float64 else torch.float32
    return layer.rotated_weight(W.to(wide), tuple(name for name in names if name in layer.slots))


def _check_mergeable(model: nn.Module, path: str, layer: OFTLayer, into: str, untie: bool) -> None:
    base = layer.base_layer
    if is_quantised(base):
        if into == "nf4" and not supports_merge(base):
            raise OFTError(
                f"{path}: a layer of type {type(base).__name__} cannot take new weights in its own format: keep the "
                "adapter unmerged, or merge into bfloat16"
            )
        return
    if into == "nf4":
        raise OFTError(f"{path}: into='nf4' requantises 4-bit layers, and this one is a plain {type(base).__name__}")
    tied = [
        name
        for name, other in model.named_parameters(remove_duplicate=False)
        if other is base.weight and not name.startswith(f"{path}.")
    ]
    if tied and not untie:
        raise OFTError(
            f"{path}: its weight is tied to {tied[0]}, which merging would change too: pass untie=True to give it a "
            "weight of its own"
        )


def _merge_plain(layer: OFTLayer, names: tuple[str, ...], into: str, keep_base: bool, untie: bool) -> Tensor | None:
    """Merge in place or, where dtype or tie change, into a new parameter; returns what restores the old weight."""
    base = layer.base_layer
    before = base.weight
    dtype = before.dtype if into == "auto" else getattr(torch, into)
    merged = merged_weight(layer, names).to(dtype)
    if untie or dtype != before.dtype:
        base.weight = nn.Parameter(merged, requires_grad=before.requires_grad)
        return before if keep_base else None
    kept = before.detach().clone() if keep_base else None
    before.copy_(merged)
    return kept


def _merge_quantised(layer: OFTLayer, path: str, names: tuple[str, ...], into: str, report: MergeReport) -> nn.Module:
    base = layer.base_layer
    merged = merged_weight(layer, names)
    if into == "nf4":
        rounded, row = requantise_layer(path, base, merged)
        report.requantised.append(row)
        return rounded
    computes = getattr(base, "compute_dtype", None) or torch.float32
    dtype = computes if into == "auto" else getattr(torch, into)
    bias = getattr(base, "bias", None)
    plain = nn.Linear(merged.shape[1], merged.shape[0], bias=bias is not None, device="meta")
    plain.weight = nn.Parameter(merged.to(dtype), requires_grad=False)
    if bias is not None:
        plain.bias = nn.Parameter(bias.detach().to(dtype), requires_grad=False)
    return plain


def _without(layer: OFTLayer, W: Tensor) -> Tensor:
    """The weight before merging, from the merged one: each factor is taken off by a solve, first merged last."""
    wide = torch.float64
    result = W.detach().to(wide).flatten(1)
    stored_in_out = isinstance(layer, OFTLinear) and is_conv1d(layer.base_layer)
    order = reversed(layer.merged) if isinstance(layer, OFTEmbedding) else iter(layer.merged)
    for name in order:
        if name in layer.rescale:
            factor = layer.rescale[name].to(wide)
            result = result / (factor if stored_in_out else factor[:, None])
        inverse = torch.linalg.inv(full_rotation(layer.slots[name], wide))
        if isinstance(layer, OFTEmbedding):
            result = block_rotate_weight(result, inverse.mT)
        elif stored_in_out:
            result = block_rotate_weight(result, inverse, side="output")
        else:
            result = block_rotate_weight(result, inverse)
    return result.view_as(W).to(W.dtype)
