"""From the command line to the library: Hydra, one sentence for every refusal, tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import SGPError, sentence
from .settings import Settings

REFUSED, INTERRUPTED = 2, 130


def run(body: Callable[[Settings], None], name: str, conf: Path) -> None:
    """Compose the configuration, check it, and call `body` with it. Ends the process.

    Exit codes: 0, 2 after a refusal (one sentence on stderr), 130 after Ctrl-C.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException

    from shared.llm import ModelError, RecordingError, RequestError, Stopped

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print over several lines
    composed: list[Any] = []  # stays empty after --help and --cfg

    @hydra.main(version_base=None, config_path=str(conf), config_name=name)
    def main(config: Any) -> None:
        composed.append(config)

    refusals = (SGPError, ModelError, RecordingError, RequestError, Stopped, HydraException, OmegaConfBaseException)
    try:
        main()
        for config in composed:  # outside Hydra, which would print lines of its own about an exception
            plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
            settings = Settings.from_mapping(plain)  # type: ignore[arg-type]
            _check_place(settings.output_dir)
            body(settings)
    except MissingMandatoryValue as error:
        print(f"{name}: {error.full_key} must be given, as {error.full_key}=VALUE", file=sys.stderr)
        sys.exit(REFUSED)
    except refusals as error:
        print(f"{name}: {_first(error)}", file=sys.stderr)
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        print(f"{name}: interrupted; what was done is saved, and the same command goes on", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    if text.startswith(("Could not override", "Error merging", "In '")) and len(lines) > 1:
        text = " ".join(lines[:2])
    return sentence(text, 600)


def _check_place(folder: Path) -> None:
    existing = folder.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise SGPError(f"output_dir {folder} cannot be written: {existing} is not a writable folder")


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


def tell(text: str) -> None:
    """Print, in the first process of a distributed run only."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)
