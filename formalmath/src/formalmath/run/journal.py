"""Results of many small steps, each kept as soon as it is there: JSON lines by key."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any


class Journal:
    """A dictionary in a file that only grows. A torn last line (after a kill) is cut off."""

    def __init__(self, path: Path, resume: bool = True):
        self.path = path
        self.known: dict[str, Any] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if not resume:
            path.unlink(missing_ok=True)
        if path.exists():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]
            if len(whole) != len(data):
                path.write_bytes(whole)
            for line in whole.splitlines():
                record = json.loads(line)
                self.known[record["key"]] = record["value"]

    def add(self, key: str, value: Any) -> None:
        self.known[key] = value
        with self.path.open("a") as file:
            file.write(json.dumps({"key": key, "value": value}, ensure_ascii=False) + "\n")

    def fill(self, keys: Iterable[str], make: Callable[[list[str]], Iterator[tuple[str, Any]]]) -> dict[str, Any]:
        """All values, those that are missing made by `make`, which gives (key, value) pairs as they come."""
        wanted = list(dict.fromkeys(keys))
        missing = [k for k in wanted if k not in self.known]
        if missing:
            for key, value in make(missing):
                self.add(key, value)
        return {k: self.known[k] for k in wanted}
