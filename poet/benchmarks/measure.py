"""Timing and memory of several variants of one piece of work, so that only their ratio matters."""

from __future__ import annotations

import statistics
import time
import weakref
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

Work = Callable[[], Any]


def interleaved(works: Mapping[str, Work], repeats: int, warmup: int = 1) -> dict[str, float]:
    """Median seconds of each. They take turns, so that a busy machine slows all of them alike; on a CPU it is the time
    of this process on all its threads, which other processes disturb least."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(warmup + repeats):
        for name, work in works.items():
            seconds = timed(work)
            if turn >= warmup:
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def timed(work: Work) -> float:
    if torch.cuda.is_available():
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        return start.elapsed_time(end) / 1000
    begin = time.process_time()
    work()
    return time.process_time() - begin


def peak_bytes(work: Work, held: list[Tensor]) -> int:
    """Peak bytes of tensors during a piece of work, those in `held` included."""
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated()
    with _LiveBytes(held) as live:
        work()
    return live.peak


class _LiveBytes(TorchDispatchMode):
    """Follows the storages that operations make, and how many of their bytes live at once."""

    def __init__(self, held: list[Tensor]):
        super().__init__()
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()
        self._live = self.peak = 0
        for tensor in held:
            self._meet(tensor)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._meet, result)
        return result

    def _meet(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        weakref.finalize(storage, self._part, size)
        self._live += size
        self.peak = max(self.peak, self._live)

    def _part(self, size: int) -> None:
        self._live -= size
