"""From the command line to the library: Hydra, one sentence for every refusal, tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import SepLLMError
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

    from shared.llm import ModelError

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print over several lines
    composed: list[Any] = []  # stays empty after --help and --cfg

    @hydra.main(version_base=None, config_path=str(conf), config_name=config_name)
    def main(config: Any) -> None:
        composed.append(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))

    try:
        main()
        for config in composed:
            body(Settings.from_mapping(config))
    except (SepLLMError, ModelError, HydraException, OmegaConfBaseException) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        cause = str(error.__cause__ or "").strip().splitlines()
        detail = f" ({cause[0]})" if cause and isinstance(error, HydraException) else ""
        print(f"{config_name}: {lines[0] if lines else type(error).__name__}{detail}", file=sys.stderr)
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        print(f"{config_name}: interrupted; what was done is saved, and the same command goes on", file=sys.stderr)
        sys.exit(INTERRUPTED)


def check_place(settings: Settings) -> None:
    """Refuse an output_dir that cannot be written, before anything is computed."""
    existing = settings.output_dir.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise SepLLMError(f"output_dir {settings.output_dir} cannot be written: {existing} is not a writable folder")


def tell(text: str) -> None:
    """Print, in the first process of a distributed run only."""
    if os.environ.get("RANK", "0") == "0":
        print(text, flush=True)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table for a terminal."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [names, *([shown(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(names))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table for the report."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = ["| " + " | ".join(names) + " |", "| " + " | ".join("---" for _ in names) + " |"]
    return "\n".join(lines + ["| " + " | ".join(shown(row.get(n)) for n in names) + " |" for row in rows])


def shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and value >= 10000 else str(value)
