"""Finished parts of a run: files that are reused while nothing that they depend on has changed.

results/parts/<name>.json    what was measured, with the fingerprint of its settings
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .entry import tell
from .errors import SGPError

PACKAGES = ("torch", "transformers", "peft", "accelerate", "resvg-py", "trimesh", "manifold3d", "shapely")


class Parts:
    """The parts below one folder."""

    def __init__(self, root: Path, resume: bool):
        self.root, self.resume = root, resume

    def make(self, name: str, key: str, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result: as it was kept, or measured now and kept."""
        found = self.found(name, key)
        if found is not None and self.resume:
            tell(f"{name}: reused")
            return found
        clock, processor = time.perf_counter(), time.process_time()
        result = measure()
        record = {
            "fingerprint": key,
            "result": result,
            "seconds": round(time.perf_counter() - clock, 2),
            "cpu_seconds": round(time.process_time() - processor, 2),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if os.environ.get("RANK", "0") == "0":
            write_json(self.root / f"{name}.json", record)
        tell(f"{name}: done in {record['seconds']:.0f} s")
        return result

    def found(self, name: str, key: str) -> dict[str, Any] | None:
        record = self.record(name)
        return record["result"] if record and record["fingerprint"] == key else None

    def record(self, name: str) -> dict[str, Any] | None:
        path = self.root / f"{name}.json"
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text())
        except ValueError as error:
            raise SGPError(f"{path} is not a finished part ({error}): remove it, and it is made again") from None

    def times(self) -> dict[str, dict[str, float]]:
        """Seconds and CPU seconds of each part that is kept."""
        records = {p.stem: self.record(p.stem) for p in sorted(self.root.glob("*.json"))}
        return {n: {"seconds": r["seconds"], "cpu_seconds": r["cpu_seconds"]} for n, r in records.items() if r}


def write_json(path: Path, value: Any) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    beside.replace(path)


def environment() -> dict[str, Any]:
    """Machine and versions, for the record."""
    import torch

    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "versions": versions,
        "processor": _processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
