"""Training state that survives a kill at any moment.

    <directory>/checkpoint-000020/training_state.safetensors   adapter, both moments of AdamW, random states
    <directory>/checkpoint-000020/training_state.json          step, loss history, fingerprint of the settings

A checkpoint is written under a temporary name, synced, and renamed as a folder: it is whole or it is not there. The
one before it is removed after that.
"""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .errors import OFTError
from .formats.files import sync, write_files

TENSORS, STATE = "training_state.safetensors", "training_state.json"


def write_checkpoint(directory: Path, step: int, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> Path:
    """Write the state after `step` steps and remove older ones.

    Raises:
        OFTError: the disk is full or not writable; earlier checkpoints are intact.
    """
    final = directory / f"checkpoint-{step:06d}"

    def write(folder: Path) -> None:
        save_file({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, folder / TENSORS)
        (folder / STATE).write_text(json.dumps(state))

    replace_folder(final, write)
    for path in checkpoints(directory):
        if path != final:
            shutil.rmtree(path, ignore_errors=True)
    return final


def read_checkpoint(directory: Path, fingerprint: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """The newest state under these settings, or None.

    Raises:
        OFTError: the state was made under other settings, or cannot be read.
    """
    found = checkpoints(directory)
    if not found:
        return None
    newest = found[-1]
    try:
        state = json.loads((newest / STATE).read_text())
        tensors = load_file(newest / TENSORS)
    except Exception as error:
        raise OFTError(f"cannot resume from {newest}: {error}; remove that folder to begin anew") from error
    if state.get("fingerprint") != fingerprint:
        raise OFTError(
            f"{newest} was saved under other settings: give another output_dir, or resume=false to begin anew"
        )
    return tensors, state


def checkpoints(directory: Path) -> list[Path]:
    return sorted(directory.glob("checkpoint-[0-9]*"))


def remove_checkpoints(directory: Path) -> None:
    for path in checkpoints(directory):
        shutil.rmtree(path, ignore_errors=True)


def pack_state(parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Parameters, moments and random states under one naming. Sharded tensors are gathered."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in parameters.items():
        tensors[f"parameter/{name}"] = gathered(parameter.detach())
        for key, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{key}/{name}"] = gathered(value)
    tensors["random/cpu"] = torch.get_rng_state()
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        tensors["random/cuda"] = torch.cuda.get_rng_state()
    return tensors


def unpack_state(
    tensors: Mapping[str, Tensor], parameters: Mapping[str, nn.Parameter], optimizer: torch.optim.Optimizer
) -> None:
    """The reverse of `pack_state`.

    Raises:
        OFTError: a parameter is missing or has another shape.
    """
    for name, parameter in parameters.items():
        stored = tensors.get(f"parameter/{name}")
        if stored is None or stored.shape != parameter.shape:
            raise OFTError(f"the checkpoint does not fit this model: {name} is missing or has another shape")
        with torch.no_grad():
            parameter.copy_(like(stored, parameter))
        moments = {key: tensors[f"{key}/{name}"] for key in ("exp_avg", "exp_avg_sq") if f"{key}/{name}" in tensors}
        if moments:
            optimizer.state[parameter] = {key: like(value, parameter).clone() for key, value in moments.items()}
            optimizer.state[parameter]["step"] = tensors[f"step/{name}"].clone()
    torch.set_rng_state(tensors["random/cpu"])
    if "random/cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random/cuda"])


def gathered(tensor: Any) -> Tensor:
    """A tensor that FSDP shards, whole; others as they are."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def like(whole: Tensor, reference: Any) -> Tensor:
    """A whole tensor laid out as `reference` is: on its device, and sharded where that is."""
    if hasattr(reference, "full_tensor"):
        from torch.distributed.tensor import distribute_tensor

        return distribute_tensor(whole.to(reference.device), reference.device_mesh, reference.placements)
    return whole.to(reference.device)


def replace_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Put a folder that `write` fills in the place of `folder`: it is whole at every moment, old or new.

    Raises:
        OFTError: the disk is full or not writable; what was there before is intact.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        for stale in folder.parent.glob(f".{folder.name}.part-*"):
            shutil.rmtree(stale, ignore_errors=True)
        part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.part-", dir=folder.parent))
        try:
            write(part)
            part.chmod(0o755)
            for path in (*part.iterdir(), part):
                sync(path)
            if folder.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{folder.name}.part-", dir=folder.parent))
                folder.rename(old / "old")
                part.rename(folder)
                shutil.rmtree(old, ignore_errors=True)
            else:
                part.rename(folder)
            sync(folder.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    except Exception as error:
        # safetensors reports a full disk by an exception of its own
        full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        if full or isinstance(error, OSError):
            reason = "the disk is full" if full else str(getattr(error, "strerror", None) or error)
            raise OFTError(f"cannot write {folder}: {reason}; what was saved before is intact") from error
        raise


def write_json(path: Path, value: Any) -> None:
    """A JSON file that is whole at every moment, old or new."""
    write_files(path.parent, {path.name: (json.dumps(value, indent=1) + "\n").encode()})
