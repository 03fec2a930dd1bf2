"""All rotations of a model, built in one batched call instead of one small call a layer.

    packed of every layer ──cat──▶ (Σr, b(b-1)/2) ──build──▶ (Σr, b, b) ──split──▶ R of every layer

Two ways of putting the build into training:

`graph`  The build is ordinary autograd. It runs once when the outermost forward begins, and layers that are
         recomputed under gradient checkpointing take the same R. Right under DDP and FSDP.
`step`   R is a leaf. Gradients by R add up in one flat buffer over any number of forwards and backwards, and one
         batched backward brings them to the parameters in `finish_gradients()`, before clipping and stepping.
         R is built once an optimiser step whatever the accumulation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
import torch.distributed
from torch import Tensor, nn

from .errors import OFTError
from .rotation import rotation_from
from .slot import RotationSlot

BUILDS = ("graph", "step")


class RotationBank:
    """Builds and hands out the rotations of the slots that `slots()` lists as active."""

    def __init__(self, slots: Callable[[], list[RotationSlot]], build: str = "graph"):
        if build not in BUILDS:
            raise OFTError(f"build must be one of {', '.join(BUILDS)}, not {build!r}")
        self.build = build
        self.builds = 0  # how many times rotations were built, for tests and reports
        self._slots = slots
        self._depth = 0
        self._stamp: tuple | None = None  # what the current rotations were built from
        self._pending: list[tuple[Tensor, Tensor]] = []  # build="step": (R with its graph, gradient buffer)
        self._held: list[RotationSlot] = []
        self._on_refresh: list[Callable[[], None]] = []

    def attach(self, *roots: nn.Module) -> list:
        """Refresh when the outermost of these modules is called. Returns the hooks' handles."""
        handles = []
        for root in roots:
            handles.append(root.register_forward_pre_hook(self._enter))
            handles.append(root.register_forward_hook(self._leave, always_call=True))
        return handles

    def on_refresh(self, callback: Callable[[], None]) -> None:
        self._on_refresh.append(callback)

    def _enter(self, module, args) -> None:
        if torch.compiler.is_compiling() or _in_backward():
            return
        self._depth += 1
        if self._depth == 1:
            self.refresh()

    def _leave(self, module, args, output) -> None:
        if torch.compiler.is_compiling() or _in_backward():
            return
        self._depth = max(0, self._depth - 1)

    def current(self, slot: RotationSlot) -> Tensor | None:
        """The rotation that this bank holds for a slot, or None where the layer is called on its own.

        Inside a forward of the root, or in a recomputation during backward, the bank's R is the one to use. A layer
        that somebody calls by itself builds its own, since a graph kept from an earlier call may be spent.
        """
        if torch.compiler.is_compiling() or not (self._depth > 0 or _in_backward()):
            return None
        return slot.R

    def refresh(self) -> None:
        """Build what is out of date."""
        for callback in self._on_refresh:
            callback()
        slots = self._slots()
        for slot in slots:
            slot.project()
        trains = torch.is_grad_enabled() and any(slot.packed().requires_grad for slot in slots)
        stamp = (trains, *((id(s.packed()), _version(s.packed()), s.alpha, s.apply_dtype, s.drops) for s in slots))
        if trains and self.build == "step":
            if stamp != self._stamp or not self._pending:
                self._build_leaves(slots)
        elif trains:
            self._build(slots)
        elif stamp != self._stamp or any(s.R is None for s in slots) or any(s.drops for s in slots):
            # Outside inference mode, so that these tensors may meet autograd later.
            with torch.inference_mode(False), torch.no_grad():
                self._build(slots)
        self._stamp = stamp

    def forget(self) -> None:
        """Drop the current rotations (after loading, scaling, or switching adapters)."""
        self._stamp = None
        self._pending = []
        for slot in self._held:
            slot.R = None
        self._held = []

    def finish_gradients(self) -> None:
        """`build="step"`: bring the gradients collected on R to the packed parameters, averaged over ranks."""
        if not self._pending:
            return
        pending, self._pending = self._pending, []
        slots = self._held
        with torch.enable_grad():
            for R, gradient in pending:
                R.backward(gradient)
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            world = torch.distributed.get_world_size()
            for slot in slots if world > 1 else ():
                grad = slot.packed().grad
                if grad is not None:
                    torch.distributed.all_reduce(grad)
                    grad /= world
        self.forget()

    def _build(self, slots: Iterable[RotationSlot]) -> None:
        for members, R in self._batches(slots):
            for slot, block in zip(members, _split(R, members), strict=True):
                slot.R = slot.drop(block)

    def _build_leaves(self, slots: Iterable[RotationSlot]) -> None:
        self._pending = []
        for members, R in self._batches(slots):
            gradient = torch.zeros_like(R)
            self._pending.append((R, gradient))
            leaves = _split(R.detach(), members)
            for slot, leaf, grad in zip(members, leaves, _split(gradient, members), strict=True):
                if slot.drops:
                    raise OFTError("build='step' keeps one R over several forwards and cannot drop blocks: use 'graph'")
                slot.R = leaf.detach().requires_grad_(slot.packed().requires_grad)
                slot.R.grad = grad if slot.R.requires_grad else None

    def _batches(self, slots: Iterable[RotationSlot]) -> list[tuple[list[RotationSlot], Tensor]]:
        by_key: dict[tuple, list[RotationSlot]] = {}
        for slot in slots:
            by_key.setdefault(slot.key, []).append(slot)
        self.builds += 1
        self._held = [slot for members in by_key.values() for slot in members]
        batches = []
        for members in by_key.values():
            first = members[0]
            packed = torch.cat([slot.scaled() for slot in members])
            dtype = first.apply_dtype or packed.dtype
            batches.append((members, rotation_from(packed, first.parameterization, first.terms, dtype)))
        return batches


def _split(R: Tensor, members: list[RotationSlot]) -> tuple[Tensor, ...]:
    # One split: slicing instead would make backward add up a full-sized gradient for every layer.
    return R.split([slot.packed().shape[0] for slot in members])


def _in_backward() -> bool:
    return torch._C._current_graph_task_id() != -1


def _version(t: Tensor) -> int:
    return -1 if t.is_inference() else t._version
