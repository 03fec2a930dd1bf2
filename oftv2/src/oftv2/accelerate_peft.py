"""Speed up a live PEFT model in place: PEFT keeps its objects, parameters and files, the forward becomes ours.

    model = get_peft_model(base, peft.OFTConfig(...))
    accelerate(model)

Beside the speed, block dropout then works (PEFT constructs that layer and never calls it) and convolutions with
kernels larger than 1 give the output of PEFT's own merged model (its unmerged forward sums overlapping patches).
Saving, loading, merging and disabling stay PEFT's.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from peft.tuners.oft.layer import Conv2d, Embedding, Linear, OFTLayer
from torch import Tensor, nn

from shared.orthogonal import block_rotate_weight, rotate

from .bank import RotationBank
from .config import OFTConfig
from .errors import OFTError
from .fusion import Fusion
from .groups import find_groups
from .handle import entry_points
from .layers import apply_dtype, rotate_by
from .quant import keep_trainable
from .slot import RotationSlot


@dataclass
class AccelerationReport:
    """What was taken over: layers by kind, and what was left to PEFT and why."""

    layers: dict[str, int]
    left: list[str] = field(default_factory=list)
    _undo: list = field(default_factory=list, repr=False)

    def undo(self) -> None:
        """Give the model back to PEFT's own forward."""
        for step in self._undo:
            step()
        self._undo = []


def accelerate(peft_model: nn.Module, *, strict: bool = True, recompute_inputs: bool = False) -> AccelerationReport:
    """Give every OFT layer of a PEFT model this package's forward.

    Args:
        strict: refuse a model with OFT layers of a kind that is not known here, instead of leaving those to PEFT.
        recompute_inputs: keep no rotated layer's input for backward, see fusion.py.

    Raises:
        OFTError: the model has no OFT layers, is accelerated already, or (strict) has an unknown kind of them.
    """
    layers: dict[str, Any] = {path: m for path, m in peft_model.named_modules() if isinstance(m, OFTLayer)}
    if not layers:
        raise OFTError("the model has no OFT layers of PEFT: wrap it by peft.get_peft_model with an OFTConfig first")
    if any("_oft_rotations" in layer.__dict__ for layer in layers.values()):
        raise OFTError("the model is accelerated already")
    left = [f"{path} ({type(m).__name__})" for path, m in layers.items() if _forward_for(m) is None]
    if left and strict:
        raise OFTError(f"OFT layers of an unknown kind: {', '.join(left[:10])}; strict=False leaves them to PEFT")
    taken = {path: m for path, m in layers.items() if _forward_for(m) is not None}

    keep_trainable(peft_model)
    rotations = _Rotations(taken)
    bank = RotationBank(rotations.active)
    rotations.bank = bank
    hooks = bank.attach(*entry_points(peft_model))
    bank.on_refresh(rotations.forget_groups)
    for layer in taken.values():
        layer.__dict__["_oft_rotations"] = rotations
        layer.__dict__["forward"] = partial(_forward_for(layer), layer)
        layer.__dict__["single_slot"] = partial(_single_slot, layer)
        layer.__dict__["apply_base"] = layer.get_base_layer()
    fusion = Fusion(peft_model, recompute_inputs=recompute_inputs)
    fusion.install()

    def undo() -> None:
        fusion.remove()
        for hook in hooks:
            hook.remove()
        for layer in taken.values():
            for name in ("_oft_rotations", "forward", "single_slot", "apply_base"):
                layer.__dict__.pop(name, None)

    return AccelerationReport(dict(Counter(type(m).__name__ for m in taken.values())), left, [undo])


class _Rotations:
    """The slots of a PEFT model's layers, made when an adapter is first active."""

    def __init__(self, layers: dict[str, Any]):
        self.layers = layers
        self.bank: RotationBank | None = None
        self._slots: dict[str, dict[Any, RotationSlot]] = {}

    def active(self) -> list[RotationSlot]:
        return [slot for layer in self.layers.values() for slot in self.of(layer)]

    def of(self, layer: Any) -> list[RotationSlot]:
        """Rotations that a layer applies now, in PEFT's order."""
        if layer.disable_adapters or layer.merged:
            return []
        names = [name for name in layer.active_adapters if name in _modules_of(layer)]
        return [self._made(name)[layer] for name in names]

    def forget_groups(self) -> None:
        for slots in self._slots.values():
            for slot in slots.values():
                if slot.group is not None:
                    slot.group.forget()

    def _made(self, name: str) -> dict[Any, RotationSlot]:
        owners = {path: layer for path, layer in self.layers.items() if name in _modules_of(layer)}
        slots = self._slots.setdefault(name, {})
        if len(slots) != len(owners):
            slots.clear()
            slots.update({layer: self._slot(layer, name) for layer in owners.values()})
            find_groups({path: slots[layer] for path, layer in owners.items() if isinstance(layer, Linear)})
        return slots

    def _slot(self, layer: Any, name: str) -> RotationSlot:
        module = _modules_of(layer)[name]
        base = layer.get_base_layer()
        dropout = dict(layer.oft_dropout).get(name)
        blocks = layer.r[name]
        return RotationSlot(
            packed=lambda: _modules_of(layer)[name].weight,
            width=blocks * module.block_size,
            block_size=module.block_size,
            parameterization="cayley_neumann" if module.use_cayley_neumann else "cayley_peft_exact",
            terms=module.num_cayley_neumann_terms,
            apply_dtype=apply_dtype(OFTConfig(), base),
            dropout=getattr(dropout, "p", 0.0),
            training=lambda: layer.training,
            project_eps=module.eps if module.coft else None,
            bank=self.bank,
        )


def _modules_of(layer: Any) -> Any:
    return layer.oft_embedding_R if isinstance(layer, Embedding) else layer.oft_R


def _single_slot(layer: Any) -> RotationSlot | None:
    slots = layer._oft_rotations.of(layer)
    return slots[0] if len(slots) == 1 else None


def _forward_for(layer: Any):
    for kind, forward in ((Linear, _linear_forward), (Conv2d, _conv_forward), (Embedding, _embedding_forward)):
        if isinstance(layer, kind):
            return forward
    return None


def _linear_forward(layer: Any, x: Tensor, *args, **kwargs) -> Tensor:
    slots = layer._oft_rotations.of(layer)
    if not slots:
        return type(layer).forward(layer, x, *args, **kwargs)
    return layer.base_layer(rotate_by(slots, x), *args, **kwargs).to(x.dtype)


def _conv_forward(layer: Any, x: Tensor) -> Tensor:
    slots = layer._oft_rotations.of(layer)
    if not slots:
        return type(layer).forward(layer, x)
    base = layer.get_base_layer()
    W = base.weight.flatten(1)
    for slot in reversed(slots):
        W = block_rotate_weight(W, slot.rotation())
    return base._conv_forward(x, W.view_as(base.weight), base.bias)


def _embedding_forward(layer: Any, ids: Tensor) -> Tensor:
    slots = layer._oft_rotations.of(layer)
    if not slots:
        return type(layer).forward(layer, ids)
    y = layer.base_layer(ids)
    for slot in slots:
        y = rotate(y, slot.rotation())
    return y
