"""From the command line to the library: Hydra, one sentence for every refusal, tables."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import OFTError
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

    # Hydra then raises what it would print over several lines.
    os.environ["HYDRA_FULL_ERROR"] = "1"

    composed: list[Any] = []  # stays empty after --help and --cfg

    @hydra.main(version_base=None, config_path=str(conf), config_name=config_name)
    def main(config: Any) -> None:
        composed.append(OmegaConf.to_container(config, resolve=True))

    try:
        main()
        # Outside Hydra, which would print lines of its own about an exception.
        for config in composed:
            body(Settings.from_mapping(config))
    except (OFTError, HydraException, OmegaConfBaseException) as error:
        print(f"{config_name}: {one_sentence(error)}", file=sys.stderr)
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        print(f"{config_name}: interrupted; what was done is saved, and the same command goes on", file=sys.stderr)
        sys.exit(INTERRUPTED)


def one_sentence(error: BaseException) -> str:
    """The first line of an error that names something, with the cause's where Hydra only says that it failed."""
    cause = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else type(error).__name__
    if cause is not None and text.startswith(("Could not override", "Error merging")):
        detail = str(cause).strip().splitlines()[0] if str(cause).strip() else ""
        text = f"{text.rstrip('.')} ({detail})" if detail else text
    if text.startswith("In '") and len(lines) > 1:
        text = " ".join(lines[:2])
    return text


def check_place(settings: Settings) -> None:
    """Refuse a run that could not be done here, before anything is written.

    Raises:
        OFTError: no such device, `output_dir` cannot be written, or its disk is too full.
    """
    import torch

    launch = settings.launch
    if launch.device == "cuda" and not torch.cuda.is_available():
        raise OFTError("launch asks for a GPU and torch sees none: use launch=cpu, or a machine with a GPU")
    if launch.strategy == "shard" and "RANK" not in os.environ:
        raise OFTError("launch.strategy=shard shares weights out among processes: start with accelerate launch")
    existing = settings.output_dir.absolute()
    while not existing.exists():
        existing = existing.parent
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OFTError(f"output_dir {settings.output_dir} cannot be written: {existing} is not a writable folder")
    free = shutil.disk_usage(existing).free / 2**30
    if free < launch.free_disk_gb:
        raise OFTError(
            f"{existing} has {free:.1f} GiB free, and launch.free_disk_gb asks for {launch.free_disk_gb:g}: "
            "free some space, or give another output_dir"
        )
    if launch.threads is not None:
        torch.set_num_threads(launch.threads)


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
