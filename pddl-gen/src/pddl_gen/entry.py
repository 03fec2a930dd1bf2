"""From the command line to the library: Hydra, and one sentence for every refusal."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .errors import PDDLGenError

REFUSED, INTERRUPTED = 2, 130


def run(body: Callable[[Mapping[str, Any]], None], name: str, conf: Path) -> None:
    """Composes the configuration and calls `body` with it. Exit codes: 0, 2 after a refusal, 130 after Ctrl-C."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from shared.llm import ModelError, RecordingError, RequestError, Stopped

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra then raises what it would print over several lines
    composed: list[Any] = []

    @hydra.main(version_base=None, config_path=str(conf), config_name=name)
    def main(config: Any) -> None:
        composed.append(OmegaConf.to_container(config, resolve=True, throw_on_missing=True))

    try:
        main()
        for config in composed:
            body(checked(config))
    except (PDDLGenError, HydraException, OmegaConfBaseException, ModelError, RecordingError, RequestError) as error:
        print(f"{name}: {sentence(error)}", file=sys.stderr)
        sys.exit(REFUSED)
    except Stopped as error:
        print(f"{name}: stopped: {error}; what came until then is in the ledger", file=sys.stderr)
        sys.exit(REFUSED)
    except KeyboardInterrupt:
        print(f"{name}: interrupted; what was done is saved, and the same command goes on", file=sys.stderr)
        sys.exit(INTERRUPTED)


def sentence(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def checked(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings, with what Hydra does not check.

    Raises:
        PDDLGenError: a value outside its range.
    """
    strands = config["strands"]
    allowed = ("recorded", "simulated", "live", "run")
    if not isinstance(strands, list) or not strands or any(s not in allowed for s in strands):
        raise PDDLGenError(f"strands must be a list of {', '.join(allowed)}, not {strands!r}")
    whole = {
        "workers": (1, 256),
        "simulated.trials": (1, 10**6),
        "simulated.rounds": (0, 100),
        "live.samples": (1, 1000),
    }
    whole |= {"live.max_tokens": (16, 4096), "evaluation.seconds": (1, 10**6), "evaluation.memory_mb": (256, 10**7)}
    whole |= {"evaluation.state_cap": (1, 10**8), "evaluation.expansions": (1, 10**9), "seed": (0, 2**31)}
    for name, (low, high) in whole.items():
        value: Any = config
        for part in name.split("."):
            value = value[part]
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise PDDLGenError(f"{name} must be a whole number in [{low}, {high}], not {value!r}")
    out = Path(str(config["output_dir"])).absolute()
    place = out
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise PDDLGenError(f"output_dir {config['output_dir']} cannot be written: {place} is not a writable folder")
    return config
