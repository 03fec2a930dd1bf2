"""Layers that read the same input (query, key and value; gate and up) rotate it together.

The first of them that is called with some x rotates it for all, so that x is read and kept for backward once.
Whether the others really see the same x is found at run time, by identity: a layer that turns out to read
something else (a key over encoder states, say) leaves the group by itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from shared.orthogonal import rotate, rotate_many

from .slot import RotationSlot

SIBLINGS = (
    ("q_proj", "k_proj", "v_proj"),
    ("gate_proj", "up_proj"),
    ("to_q", "to_k", "to_v"),
    ("add_q_proj", "add_k_proj", "add_v_proj"),
    ("query", "key", "value"),
    ("w1", "w3"),
    ("wi_0", "wi_1"),
)


class SharedInput:
    """Rotations of one input, in the order in which their layers are called."""

    def __init__(self, slots: list[RotationSlot]):
        self._slots = list(slots)
        self._x: Tensor | None = None
        self._version = -1
        self._ready: dict[RotationSlot, Tensor] = {}
        for slot in slots:
            slot.group = self

    def rotate(self, slot: RotationSlot, x: Tensor) -> Tensor:
        """x rotated for one member; taken from what an earlier member's call has made where x is the same."""
        if slot in self._ready:
            if self._x is x and self._version == _version(x):
                y = self._ready.pop(slot)
                if not self._ready:
                    self._x = None
                return y
            self._split_off(list(self._ready))
            return slot.group.rotate(slot, x)
        rotated = rotate_inputs(x, [member.rotation() for member in self._slots])
        self._ready = {m: y for m, y in zip(self._slots, rotated, strict=True) if m is not slot}
        self._x, self._version = x, _version(x)
        return rotated[self._slots.index(slot)]

    def forget(self) -> None:
        """Drop what was made for members that have not been called (a forward that broke off)."""
        self._x = None
        self._ready = {}

    def _split_off(self, leaving: list[RotationSlot]) -> None:
        """Members that read another input than the first one did become a group of their own."""
        self._slots = [s for s in self._slots if s not in leaving]
        self.forget()
        SharedInput(leaving)


def rotate_inputs(x: Tensor, Rs: list[Tensor]) -> list[Tensor]:
    """`rotate_many`, or the fused form where x carries the recipe by which its producer can make it again."""
    recipe = getattr(x, "oft_recipe", None)
    if recipe is not None and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        return recipe(Rs)
    return rotate_many(x, Rs) if len(Rs) > 1 else [rotate(x, Rs[0])]


def find_groups(slots: Mapping[str, RotationSlot]) -> list[SharedInput]:
    """The groups among slots named by module path: known siblings of one parent with equal blocks."""
    by_parent: dict[str, dict[str, RotationSlot]] = {}
    for path, slot in slots.items():
        parent, _, leaf = path.rpartition(".")
        by_parent.setdefault(parent, {})[leaf] = slot
    groups = []
    for leaves in by_parent.values():
        for family in SIBLINGS:
            present = [leaves[leaf] for leaf in family if leaf in leaves]
            alike = {(s.width, s.block_size, s.packed().shape[0]) for s in present}
            if len(present) > 1 and len(alike) == 1:
                groups.append(SharedInput(present))
    return groups


def _version(x: Tensor) -> int:
    return -1 if x.is_inference() else x._version
