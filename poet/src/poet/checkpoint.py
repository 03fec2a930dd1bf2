"""Training state that survives a kill at any moment, and exact resume.

    <directory>/checkpoint-000400/state.safetensors   parameters, W, intervals, patterns, optimizer moments, random
    state <directory>/checkpoint-000400/state.json          step, history, data position, optimizer numbers, fingerprint

A checkpoint is written under a temporary name, synced, and renamed as a folder: it is whole or it is not there. A merge
and the reset of the optimizer's state happen between two checkpoints, never across one. Nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from .distributed import put, whole
from .errors import PoetError
from .linear import poet_layers

TENSORS, STATE = "state.safetensors", "state.json"
PROJECTOR = "projector"  # GaLore keeps an object among its optimizer state; its matrix and numbers are stored


def pack(model: nn.Module, optimizers: Sequence[Optimizer], observed: Mapping[str, Tensor]) -> tuple[dict, dict]:
    """(tensors, numbers) of a training. Sharded tensors are gathered, so every process calls it."""
    tensors: dict[str, Tensor] = {f"model/{k}": whole(v).detach() for k, v in model.state_dict().items()}
    tensors |= {f"master/{layer.name}": layer.master for layer in poet_layers(model) if layer.master is not None}
    numbers: dict[str, Any] = {"optimizers": []}
    for at, optimizer in enumerate(optimizers):
        scalars: dict[str, Any] = {}
        for place, parameter in enumerate(p for group in optimizer.param_groups for p in group["params"]):
            for key, value in optimizer.state.get(parameter, {}).items():
                name = f"optimizer/{at}/{place}/{key}"
                if isinstance(value, Tensor):
                    tensors[name] = whole(value).detach()
                elif key == PROJECTOR:
                    tensors[name] = value.ortho_matrix.detach()
                    scalars[name] = {
                        "stride": value.ortho_matrix.stride(),
                        "numbers": [value.rank, value.update_proj_gap, value.scale, value.proj_type],
                    }
                else:
                    scalars[name] = value
        groups = [{k: v for k, v in g.items() if k != "params"} for g in optimizer.param_groups]
        numbers["optimizers"].append({"groups": groups, "scalars": scalars})
    tensors |= {f"observed/{k}": v for k, v in observed.items()}
    tensors["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    return tensors, numbers


def unpack(
    tensors: Mapping[str, Tensor], numbers: Mapping[str, Any], model: nn.Module, optimizers: Sequence[Optimizer]
) -> dict[str, Tensor]:
    """The reverse of `pack`; returns what was observed.

    Raises:
        PoetError: the state does not fit this model, or its patterns are not those that the configuration draws.
    """
    for name, target in model.state_dict().items():
        stored = tensors.get(f"model/{name}")
        if stored is None or stored.shape != target.shape:
            raise PoetError(f"the checkpoint does not fit this model: {name} is missing or has another shape")
        put(target, stored)
    for layer in poet_layers(model):
        if layer.master is not None:
            layer.master.copy_(tensors[f"master/{layer.name}"])
        layer.invalidate()
        layer.check_pattern()
    for at, (optimizer, kept) in enumerate(zip(optimizers, numbers["optimizers"], strict=True)):
        for group, values in zip(optimizer.param_groups, kept["groups"], strict=True):
            group.update({k: tuple(v) if k == "betas" else v for k, v in values.items()})
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        optimizer.state.clear()
        prefix = f"optimizer/{at}/"
        for name in (*tensors, *kept["scalars"]):
            if not name.startswith(prefix):
                continue
            place, _, key = name.removeprefix(prefix).partition("/")
            parameter = parameters[int(place)]
            if key == PROJECTOR:
                value: Any = _projector(kept["scalars"][name], tensors[name].to(parameter.device))
            elif name in tensors:
                value = _as_state(tensors[name], parameter, key)
            else:
                value = kept["scalars"][name]
            optimizer.state[parameter][key] = value
    torch.set_rng_state(tensors["random/cpu"])
    if "random/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random/cuda"])
    return {k.removeprefix("observed/"): v for k, v in tensors.items() if k.startswith("observed/")}


def _as_state(stored: Tensor, parameter: Tensor, key: str) -> Tensor:
    if key == "step" or stored.shape != parameter.shape:
        return stored.clone() if key == "step" else stored.to(parameter.device).clone()
    value = torch.zeros_like(parameter, dtype=stored.dtype)
    put(value, stored)
    return value


def _projector(kept: Mapping[str, Any], matrix: Tensor) -> Any:
    from galore_torch.galore_projector import GaLoreProjector

    rank, gap, scale, kind = kept["numbers"]
    # A matrix laid out in another way gives products that are rounded in another way.
    matrix = torch.empty_strided(matrix.shape, kept["stride"], dtype=matrix.dtype, device=matrix.device).copy_(matrix)
    projector = GaLoreProjector(rank, update_proj_gap=gap, scale=scale, proj_type=kind)
    projector.ortho_matrix = matrix
    return projector


def write_checkpoint(directory: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
    """Write the state after `step` steps and remove older ones.

    Raises:
        PoetError: the disk is full or not writable; earlier checkpoints are intact.
    """
    final = directory / f"checkpoint-{step:06d}"
    with explained_disk(final):
        directory.mkdir(parents=True, exist_ok=True)
        for stale in directory.glob(".checkpoint.part-*"):
            shutil.rmtree(stale, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix=".checkpoint.part-", dir=directory))
        try:
            save_file({k: t.detach().cpu().contiguous().clone() for k, t in tensors.items()}, part / TENSORS)
            (part / STATE).write_text(json.dumps(state))
            for path in (*part.iterdir(), part):
                sync(path)
            if final.exists():
                shutil.rmtree(final)
            part.rename(final)
            sync(directory)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    for path in checkpoints(directory):
        if path != final:
            shutil.rmtree(path, ignore_errors=True)
    return final


def read_checkpoint(directory: Path, settings: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest state, or None.

    Raises:
        PoetError: it cannot be read, or was made under other settings; the sentence lists those that differ.
    """
    found = checkpoints(directory)
    if not found:
        return None
    newest = found[-1]
    try:
        state = json.loads((newest / STATE).read_text())
        tensors = load_file(newest / TENSORS)
        kept = state["settings"]
    except Exception as error:
        raise PoetError(f"cannot resume from {newest}: {error}; remove that folder to begin anew") from error
    apart = sorted(k for k in {*kept, *settings} if kept.get(k) != settings.get(k))
    if apart:
        listed = ", ".join(f"{k} ({kept.get(k)!r} there, {settings.get(k)!r} here)" for k in apart)
        raise PoetError(f"{newest} was saved under other settings, {listed}: resume=false begins anew")
    return tensors, state


def checkpoints(directory: Path) -> list[Path]:
    return sorted(directory.glob("checkpoint-[0-9]*"))


def remove_checkpoints(directory: Path) -> None:
    for path in checkpoints(directory):
        shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def explained_disk(path: Path) -> Iterator[None]:
    """Turn failures of the file system into one sentence."""
    try:
        yield
    except Exception as error:
        # safetensors reports a full disk by an exception of its own
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        if full or isinstance(error, OSError):
            reason = "the disk is full" if full else str(getattr(error, "strerror", None) or error)
            raise PoetError(f"cannot write {path}: {reason}; what was saved before is intact") from error
        raise


def write_text(path: Path, text: str) -> None:
    """A text file that is whole at every moment, old or new."""
    with explained_disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.part-{os.getpid()}")
        part.write_text(text)
        sync(part)
        part.replace(path)


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=1) + "\n")


def sync(path: Path) -> None:
    """Ask the system to put a file or folder on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
