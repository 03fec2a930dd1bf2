"""Finished parts of an experiment: kept as files, reused while nothing that they depend on has changed.

    results/parts/<label>/train.json       what a training measured, with the fingerprint of its settings
    results/parts/<label>/adapter/         what it made
    results/parts/<label>/<part>.json      what an evaluation measured, with the fingerprint of settings and adapter

A part whose settings have changed is made anew, and the earlier one kept under a name with its fingerprint.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from .checkpoint import write_json
from .errors import OFTError
from .memory import release

PACKAGES = ("torch", "transformers", "peft", "accelerate", "bitsandbytes", "safetensors")


@dataclass
class Part:
    """One finished training or evaluation."""

    fingerprint: str
    result: dict[str, Any]
    files: dict[str, str]  # path below the part's folder -> SHA-256
    seconds: float  # wall time, of the start that finished it
    finished: str  # UTC
    environment: dict[str, Any]
    reused: bool = False


class Parts:
    """The parts below one folder."""

    def __init__(self, root: Path, resume: bool, say: Callable[[str], None] = print):
        self.root = root
        self.resume = resume
        self.say = say

    def folder(self, label: str) -> Path:
        return self.root / label

    def finished(self, label: str, name: str, fingerprint: str) -> Part | None:
        """The part as it was kept, if its settings are these and all of its files are still there."""
        path = self.folder(label) / f"{name}.json"
        if not path.is_file():
            return None
        try:
            part = Part(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise OFTError(f"{path} is not a finished part ({error}): remove it, and it is made again") from error
        if part.fingerprint != fingerprint:
            return None
        if any(digest(path.parent / file) != known for file, known in part.files.items()):
            return None
        part.reused = True
        return part

    def make(
        self,
        label: str,
        name: str,
        fingerprint: str,
        measure: Callable[[Path], dict[str, Any]],
        keep: str | None = None,
        writes: bool = True,
    ) -> Part:
        """The part: reused, or measured now and kept.

        Args:
            measure: makes the result, given the folder; it may write files there.
            keep: a folder below that `measure` fills and the part depends on.
            writes: False in the processes of a distributed run that leave the writing to the first.
        """
        found = self.finished(label, name, fingerprint) if self.resume else None
        if found is not None:
            self.say(f"{label}/{name}: reused")
            return found
        folder = self.folder(label)
        if writes:
            self._set_aside(folder, name, keep)
        started = time.perf_counter()
        result = measure(folder)
        seconds = time.perf_counter() - started
        release()
        files = {}
        if keep is not None and writes:
            files = {str(p.relative_to(folder)): digest(p) for p in sorted((folder / keep).rglob("*")) if p.is_file()}
        when = datetime.now(UTC).isoformat(timespec="seconds")
        part = Part(fingerprint, result, files, seconds, when, environment())
        if writes:
            write_json(folder / f"{name}.json", asdict(part))
            self.say(f"{label}/{name}: done in {seconds:.0f} s")
        return part

    def _set_aside(self, folder: Path, name: str, keep: str | None) -> None:
        path = folder / f"{name}.json"
        if not path.is_file():
            return
        try:
            before = json.loads(path.read_text())["fingerprint"][:8]
        except (ValueError, KeyError, TypeError):
            before = "unreadable"
        path.replace(folder / f"{name}.{before}.json")
        kept = folder / keep if keep is not None else None
        if kept is not None and kept.exists() and not (folder / f"{keep}.{before}").exists():
            kept.rename(folder / f"{keep}.{before}")


def digest(path: Path) -> str:
    """SHA-256 of a file; '' if it is not there."""
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        hashed = sha256()
        while chunk := file.read(1 << 20):
            hashed.update(chunk)
    return hashed.hexdigest()


def environment() -> dict[str, Any]:
    """Machine and versions, for the record."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "versions": versions,
        "processor": processor(),
        "gpu": gpu,
        "threads": torch.get_num_threads(),
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
