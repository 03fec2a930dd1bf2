"""Files that are whole or absent, and finished parts of a run that are reused while their settings stay.

results/parts/<name>.json      what a part measured, with a fingerprint of the settings that it depends on
results/parts/<name>/          what a training made, and the state of one under way
"""

from __future__ import annotations

import errno
import gc
import hashlib
import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from .errors import SepLLMError

PACKAGES = ("torch", "transformers", "accelerate", "tokenizers", "safetensors", "lm-eval", "triton")


def write_bytes(path: Path, content: bytes) -> None:
    """Raises SepLLMError where the place cannot be written; what stood there before is intact."""
    part = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(content)
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise SepLLMError(f"cannot write {path}: {error.strerror}; what was saved before is intact") from error


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=1) + "\n").encode())


def write_tensors(path: Path, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
    """One safetensors file with a JSON description inside; tensors that share storage are written apart."""
    part = path.with_name(f"{path.name}.part-{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}
        save_file(kept, part, metadata={"about": json.dumps(about)})
        part.replace(path)
    except (OSError, SafetensorError) as error:
        part.unlink(missing_ok=True)
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        reason = "the disk is full" if full else " ".join(str(error).split())[:120]
        raise SepLLMError(f"cannot write {path}: {reason}; what was saved before is intact") from error


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            about = json.loads((file.metadata() or {})["about"])
        return load_file(path), about
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise SepLLMError(f"{path} cannot be read ({' '.join(str(error).split())[:120]}): remove it") from error


def fingerprint(settings: Any) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode()).hexdigest()[:16]


def part_path(root: Path, name: str) -> Path:
    return root / "parts" / f"{name}.json"


def finished(root: Path, name: str, settings: Any, resume: bool = True) -> dict[str, Any] | None:
    """The part as it was kept, if it was made under these settings."""
    path = part_path(root, name)
    if not resume or not path.is_file():
        return None
    try:
        kept = json.loads(path.read_text())
        return kept if kept["fingerprint"] == fingerprint(settings) else None
    except (ValueError, KeyError, TypeError) as error:
        raise SepLLMError(f"{path} is not a finished part ({error}): remove it, and it is made again") from error


def make_part(
    root: Path, name: str, settings: Any, resume: bool, measure: Callable[[], Any], say: Callable[[str], None] = print
) -> dict[str, Any]:
    """The part: reused, or measured now and kept. Its `result` is what `measure` returns."""
    kept = finished(root, name, settings, resume)
    if kept is not None:
        say(f"{name}: reused")
        return kept
    wall, cpu = time.perf_counter(), time.process_time()
    result = measure()
    gc.collect()
    kept = {
        "fingerprint": fingerprint(settings),
        "settings": settings,
        "result": result,
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(part_path(root, name), kept)
    say(f"{name}: done in {kept['seconds']:.0f} s")
    return json.loads(json.dumps(kept))


def environment() -> dict[str, Any]:
    """Machine and versions, for the record."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        processor = platform.processor() or platform.machine()
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "versions": versions,
        "processor": processor,
        "gpu": gpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
