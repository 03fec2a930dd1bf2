"""Timing and memory of several variants of one step, so that only their ratio matters."""

from __future__ import annotations

import statistics
import time
import weakref
from collections.abc import Callable, Mapping

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from oftv2.memory import saved_bytes

Step = Callable[[], object]


def interleaved(steps: Mapping[str, Step], repeats: int, device: torch.device, warmup: int = 2) -> dict[str, float]:
    """Median seconds of each step. The variants take turns, so that a busy machine slows all of them alike.

    On a CPU the time is that of the process on all its threads, which other processes disturb least.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    for round_ in range(warmup + repeats):
        for name, step in steps.items():
            seconds = _timed(step, device)
            if round_ >= warmup:
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def _timed(step: Step, device: torch.device) -> float:
    if device.type == "cuda":
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        step()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000
    begin = time.process_time()
    step()
    return time.process_time() - begin


def peak_bytes(step: Step, model: nn.Module, device: torch.device) -> int:
    """Peak bytes of tensors during a step, parameters included."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated()
    with _LiveBytes(model) as live:
        step()
    return live.peak


class _LiveBytes(TorchDispatchMode):
    """Follows the storages that operations make, and how many bytes of them live at once.

    torch's own MemTracker does the same and more, but refuses modules with frozen parameters.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()
        self._live = self.peak = 0
        for tensor in (*model.parameters(), *model.buffers()):
            self._add(tensor)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._add, result)
        return result

    def _add(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        weakref.finalize(storage, self._drop, size)
        self._live += size
        self.peak = max(self.peak, self._live)

    def _drop(self, size: int) -> None:
        self._live -= size


def kept_bytes(forward: Step, model: nn.Module) -> int:
    """Bytes kept for backward, each storage once."""
    return saved_bytes(forward, model)
