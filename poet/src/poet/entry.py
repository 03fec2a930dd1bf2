"""From the command line to the library: Hydra, one sentence for every refusal, tables."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import PoetError
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

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print over several lines
    composed: list[Any] = []  # stays empty after --help and --cfg

    @hydra.main(version_base=None, config_path=str(conf), config_name=config_name)
    def main(config: Any) -> None:
        composed.append(OmegaConf.to_container(config, resolve=True))

    try:
        main()
        for config in composed:
            body(Settings.from_mapping(config))
    except (PoetError, HydraException, OmegaConfBaseException) as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        print(f"{config_name}: {' '.join(lines[:2]) if lines else type(error).__name__}", file=sys.stderr)
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        print(f"{config_name}: interrupted; what was done is saved, and the same command goes on", file=sys.stderr)
        sys.exit(INTERRUPTED)


def check_place(settings: Settings) -> None:
    """Refuse a run that could not be done here, before anything is written.

    Raises:
        PoetError: no such device, `output_dir` cannot be written, or its disk is too full.
    """
    import torch

    launch = settings.launch
    if launch.device == "cuda" and not torch.cuda.is_available():
        raise PoetError("launch asks for a GPU and torch sees none: use launch=cpu, or a machine with a GPU")
    if launch.strategy == "shard" and "RANK" not in os.environ:
        raise PoetError("launch.strategy=shard shares weights out among processes: start with accelerate launch")
    existing = settings.output_dir.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise PoetError(f"output_dir {settings.output_dir} cannot be written: {existing} is not a writable folder")
    free = shutil.disk_usage(existing).free / 2**30
    if free < launch.free_disk_gb:
        raise PoetError(
            f"{existing} has {free:.1f} GiB free, and launch.free_disk_gb asks for {launch.free_disk_gb:g}: "
            "free some space, or give another output_dir"
        )
    if launch.threads is not None:
        torch.set_num_threads(launch.threads)
    from transformers.utils import logging

    logging.disable_progress_bar()  # it says nothing on files of a second


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


def shown(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) and value >= 10000 else str(value)
