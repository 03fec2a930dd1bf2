"""From the command line to the library: Hydra, one sentence for every refusal, tables, parts that are made once."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import FormalMathError
from .settings import Settings

REFUSED, INTERRUPTED = 2, 130


def run(body: Callable[[Settings], None], config_name: str, conf: Path) -> None:
    """Compose the configuration, check it, and call `body` with it. Ends the process.

    Exit codes: 0, 2 after a refusal (one sentence on stderr), 130 after Ctrl-C.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from shared.llm.errors import ModelError, RecordingError, RequestError, Stopped

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print over several lines
    composed: list[Any] = []

    @hydra.main(version_base=None, config_path=str(conf), config_name=config_name)
    def main(config: Any) -> None:
        composed.append(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))

    refusals = (FormalMathError, ModelError, RecordingError, RequestError, HydraException, OmegaConfBaseException)
    try:
        main()
        for config in composed:
            settings = Settings.from_mapping(config)
            check_place(settings)
            body(settings)
    except refusals as error:
        print(f"{config_name}: {one_sentence(error)}", file=sys.stderr)
        sys.exit(REFUSED)
    except Stopped as error:
        print(f"{config_name}: {error}", file=sys.stderr)
        sys.exit(INTERRUPTED if error.reason == "cancelled" else REFUSED)
    except KeyboardInterrupt:
        print(f"{config_name}: interrupted; what was done is kept, and the same command goes on", file=sys.stderr)
        sys.exit(INTERRUPTED)


def one_sentence(error: BaseException) -> str:
    """The first line of an error, with the cause's where Hydra only says that it failed."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    cause = str(error.__cause__ or "").strip()
    if cause and text.startswith(("Could not override", "Error merging")):
        text = f"{text.rstrip('.')} ({cause.splitlines()[0]})"
    if text.startswith("In '") and len(lines) > 1:
        text = " ".join(lines[:2])
    return text


def check_place(settings: Settings) -> None:
    """Refuse an `output_dir` that cannot be written, before anything is done."""
    existing = settings.output_dir.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise FormalMathError(
            f"output_dir {settings.output_dir} cannot be written: {existing} is not a writable folder"
        )


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table for a terminal."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([shown(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and value >= 10000 else str(value)


class Parts:
    """Results of the parts of a run, each made once: `parts/<name>.json` with the key of what shaped it."""

    def __init__(self, folder: Path, resume: bool):
        self.folder, self.resume = folder, resume
        self.seconds: dict[str, float] = {}

    def make(self, name: str, shape: Any, measure: Callable[[], Any]) -> Any:
        """The result of a part, from its file where the shape is the same, else measured and written."""
        key = hashlib.sha256(json.dumps(shape, sort_keys=True, default=str).encode()).hexdigest()[:16]
        path = self.folder / f"{name}.json"
        if self.resume and path.is_file():
            try:
                record = json.loads(path.read_text())
            except ValueError:
                record = {}
            if record.get("key") == key:
                self.seconds[name] = record["seconds"]
                return record["result"]
        begun, cpu = time.perf_counter(), time.process_time()
        result = measure()
        record = {
            "key": key,
            "seconds": round(time.perf_counter() - begun, 2),
            "cpu_seconds": round(time.process_time() - cpu, 2),
        }
        record["result"] = json.loads(json.dumps(result, default=_plain))
        write(path, json.dumps(record, ensure_ascii=False))
        self.seconds[name] = record["seconds"]
        return record["result"]


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if hasattr(value, "item"):
        return value.item()
    return str(value)


def write(path: Path, text: str) -> None:
    """A file whole or not at all."""
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_text(text)
        beside.replace(path)
    except OSError as error:
        raise FormalMathError(f"{path} cannot be written: {error.strerror}") from None
