"""Scripts as a user runs them, in processes forked from one that has imported the libraries already.

An import of torch, transformers and PEFT takes several seconds, more than what most of these tests then do.
"""

from __future__ import annotations

import multiprocessing
import os
import runpy
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAPER = Path(__file__).parents[1]

_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["torch", "peft", "bitsandbytes", "oftv2.experiment", "oftv2.report", "oftv2.sweep"])


@dataclass
class Ended:
    """What a process said, and how it ended (minus the signal where one killed it)."""

    returncode: int
    stdout: str
    stderr: str


class Running:
    """A process that runs `function(*arguments)` in `cwd`, with one thread."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, cwd: Path, said: Path, **environment: str):
        self.said = said
        environment = {"OMP_NUM_THREADS": "1", **environment}
        self.process = _context.Process(target=_child, args=(function, arguments, str(cwd), str(said), environment))
        self.process.start()

    def poll(self) -> int | None:
        return self.process.exitcode

    def kill(self) -> None:
        self.process.kill()

    def wait(self, timeout: float = 300) -> Ended:
        self.process.join(timeout)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"not done after {timeout:g} s")
        out, err = (Path(f"{self.said}.{stream}").read_text() for stream in ("out", "err"))
        return Ended(self.process.exitcode, out, err)


def start(script: str, *overrides: str, cwd: Path, said: Path) -> Running:
    """`python SCRIPT OVERRIDES...`; what it prints goes to `said` with the endings .out and .err."""
    return Running(_script, script, overrides, cwd=cwd, said=said)


def call(script: str, *overrides: str, cwd: Path, said: Path) -> Ended:
    return start(script, *overrides, cwd=cwd, said=said).wait()


def _script(script: str, overrides: tuple[str, ...]) -> None:
    sys.argv = [str(PAPER / script), *overrides]
    runpy.run_path(sys.argv[0], run_name="__main__")


def _child(function: Callable, arguments: tuple, cwd: str, said: str, environment: dict[str, str]) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server ignores it
    for number, stream in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{said}.{stream}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(environment)
    os.chdir(cwd)
    import torch

    torch.set_num_threads(1)
    function(*arguments)
