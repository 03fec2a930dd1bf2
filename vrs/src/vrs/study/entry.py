"""From the command line to the library: Hydra, one sentence for every refusal, tables."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shared.llm.errors import ModelError, RecordingError, RequestError, Stopped

from ..errors import VRSError
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

    if int(os.environ.get("RANK", "0")) > 0:
        # a launcher of several processes is asked for one run: the first of them makes it
        return
    # Hydra then raises what it would print over several lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    composed: list[Any] = []  # stays empty after --help and --cfg

    @hydra.main(version_base=None, config_path=str(conf), config_name=config_name)
    def main(config: Any) -> None:
        composed.append(OmegaConf.to_container(config, resolve=True))

    refusals = (VRSError, ModelError, RecordingError, RequestError, HydraException, OmegaConfBaseException)
    try:
        main()
        for config in composed:
            body(Settings.from_mapping(config))
    except refusals as error:
        print(f"{config_name}: {one_sentence(error)}", file=sys.stderr)
        sys.exit(REFUSED)
    except Stopped as error:
        print(f"{config_name}: {error}", file=sys.stderr)
        sys.exit(INTERRUPTED if error.reason == "cancelled" else REFUSED)
    except KeyboardInterrupt:
        print(f"{config_name}: interrupted; what was answered is kept, and the same command goes on", file=sys.stderr)
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
