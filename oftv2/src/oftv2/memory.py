"""Memory: what a backward keeps, what a process peaked at, and what a training will need."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import resource
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from .trainee import Trainee


def saved_bytes(forward: Callable[[], Any], model: nn.Module) -> int:
    """Bytes that autograd keeps for backward when `forward` runs.

    Each storage counts once, however many views and copies of the handle are saved, and storages of the model's
    parameters and buffers count nothing: they are there anyway.
    """
    own = {_storage(t) for t in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}
    holding: list[Tensor] = []  # so that no storage is freed and its address used again during the forward

    def pack(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in own:
            kept[_storage(tensor)] = tensor.untyped_storage().nbytes()
            holding.append(tensor.detach())
        # A node that keeps its own output, with its graph, would keep itself and the whole graph alive for ever.
        return tensor.detach()

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = forward()
    del result
    return sum(kept.values())


class PeakMemory:
    """The largest memory since it was made: of the CUDA allocator, or resident in the process."""

    def __init__(self, device: torch.device):
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _reset_resident_peak()

    def read(self) -> int:
        """Bytes."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device)
        return _resident_peak()


def estimate_training(trainee: Trainee, batch_size: int, length: int, checkpointing: bool) -> int:
    """Bytes that a training of decoder layers will hold at its peak, to within about a third.

    Weights as they are stored; four float32 numbers a trained parameter (itself, gradient, two moments); and per
    token and layer what backward keeps: 8 tensors of the hidden width, 4 of the MLP's, and the logits in float32.
    """
    model = trainee.model
    config: Any = getattr(model, "config", None)
    weights = sum(p.numel() * p.element_size() for p in model.parameters())
    trained = sum(16 * p.numel() for p in trainee.named_parameters().values())
    hidden: int = getattr(config, "hidden_size", None) or getattr(config, "d_model", None) or 1024
    inner: int = getattr(config, "intermediate_size", None) or getattr(config, "encoder_ffn_dim", None) or 4 * hidden
    layers = getattr(config, "num_hidden_layers", None) or 24
    vocabulary = getattr(config, "vocab_size", 0)
    width = next((p.element_size() for p in model.parameters() if p.is_floating_point()), 4)
    tokens = batch_size * length
    a_layer = tokens * width * (8 * hidden + 4 * inner)
    activations = tokens * width * hidden * layers + a_layer if checkpointing else layers * a_layer
    return weights + trained + activations + 8 * tokens * vocabulary


def release() -> None:
    """Collect what nobody uses (a model and its adapter refer to each other) and give it back to the system."""
    gc.collect()
    libc = ctypes.CDLL(None)
    if hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _reset_resident_peak() -> None:
    release()  # or what an earlier training has freed would count for this one
    with contextlib.suppress(OSError):  # another system than Linux: the peak is then that of the process
        Path("/proc/self/clear_refs").write_text("5")


def _resident_peak() -> int:
    try:
        rows = Path("/proc/self/status").read_text().splitlines()
        line = next(row for row in rows if row.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
