"""One process of the stock Lean REPL, driven over plain pipes from an event loop.

A request is a JSON object and a blank line; an answer is pretty-printed JSON and a blank line. The process gets its
own session, so that everything it started dies with it, limits on address space and CPU, and its stderr drained.
Anything that is not one answer to one question (silence, garbage, two answers at once, an answer over the size limit)
raises ReplFault, after which the process is not used again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ANSWER_LIMIT = 32 << 20
STDERR_KEPT = 4096
CHUNK = 1 << 18


class ReplFault(Exception):
    """The REPL did not do what a REPL does. `kind` is timeout, memory, crash or garbage."""

    def __init__(self, kind: str, message: str):
        super().__init__(message)
        self.kind = kind


class ReplProcess:
    """A REPL behind two pipes. One question at a time.

    Args:
        command: the program and its arguments.
        cwd: where it runs; for Lean's own project the folder of `lake env`.
        env: its environment; None for a copy of ours without credentials.
        limit: bytes of its address space (it must exceed the mapped Mathlib, 8 GiB or more); None for no limit.
    """

    def __init__(
        self,
        command: Sequence[str],
        cwd: Path | str | None = None,
        env: Mapping[str, str] | None = None,
        limit: int | None = None,
    ):
        self.command, self.cwd, self.limit = list(command), cwd, limit
        self.env = dict(env) if env is not None else clean_environment()
        self.process: subprocess.Popen[bytes] | None = None
        self.uses = 0
        self._buffer = bytearray()
        self._scanned = 0
        self._waiting: asyncio.Future[bytes] | None = None
        self._stderr = b""
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Raises: ReplFault, if the program cannot be run."""
        self._loop = asyncio.get_running_loop()
        try:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.env,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise ReplFault("crash", f"cannot run {self.command[0]}: {error.strerror}") from None
        if self.limit is not None and sys.platform == "linux":
            with contextlib.suppress(OSError, ProcessLookupError):
                resource.prlimit(self.process.pid, resource.RLIMIT_AS, (self.limit, self.limit))
        assert self.process.stdin and self.process.stdout and self.process.stderr
        self._in, self._out, self._err = (
            f.fileno() for f in (self.process.stdin, self.process.stdout, self.process.stderr)
        )
        for fd in (self._in, self._out, self._err):
            os.set_blocking(fd, False)
        self._loop.add_reader(self._out, self._readable)
        self._loop.add_reader(self._err, self._drain)
        self._buffer.clear()
        self._scanned = self.uses = 0

    async def ask(self, command: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """The answer to one command.

        Raises:
            ReplFault: none in time, or something else than one answer.
        """
        if not self.alive:
            raise ReplFault(self._death(), f"the REPL is not running{self._last_words()}")
        if self._buffer.strip():
            raise ReplFault("garbage", "the REPL spoke without being asked")
        assert self._loop is not None
        self._buffer.clear()
        self._scanned = 0
        self.uses += 1
        self._waiting = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._give_up, seconds)
        try:
            self._send(json.dumps(command, ensure_ascii=False).encode(errors="replace") + b"\n\n")
            raw = await self._waiting
        finally:
            timer.cancel()
            self._waiting = None
        try:
            answer = json.loads(raw)
        except (ValueError, RecursionError):
            raise ReplFault("garbage", f"the REPL answers {raw[:80]!r}") from None
        if not isinstance(answer, dict):
            raise ReplFault("garbage", "the REPL's answer is no object")
        return answer

    def _give_up(self, seconds: float) -> None:
        self._fail(ReplFault("timeout", f"no answer within {seconds:g} s"))

    def _fail(self, fault: ReplFault) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(fault)

    def _send(self, data: bytes) -> None:
        try:
            sent = os.write(self._in, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._fail(ReplFault(self._death(), f"the REPL closed its input{self._last_words()}"))
            return
        if sent < len(data):
            rest = memoryview(data)[sent:]
            assert self._loop is not None
            self._loop.add_writer(self._in, self._more, rest)

    def _more(self, rest: memoryview) -> None:
        assert self._loop is not None
        self._loop.remove_writer(self._in)
        self._send(bytes(rest))

    def _readable(self) -> None:
        try:
            data = os.read(self._out, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            assert self._loop is not None
            self._loop.remove_reader(self._out)
            self._fail(ReplFault(self._death(), f"the REPL ended{self._last_words()}"))
            return
        buffer = self._buffer
        buffer += data
        if len(buffer) > ANSWER_LIMIT:
            buffer.clear()
            self._fail(ReplFault("garbage", f"the answer is over {ANSWER_LIMIT >> 20} MiB"))
            return
        if self._waiting is None or self._waiting.done():
            return
        if buffer[:1] == b"\n":  # blank lines before an answer
            del buffer[: len(buffer) - len(buffer.lstrip(b"\n"))]
        end = buffer.find(b"\n\n", max(0, self._scanned - 1))
        self._scanned = len(buffer)
        if end < 0:
            return
        raw = bytes(buffer[:end])
        del buffer[: end + 2]
        if buffer.strip():
            self._fail(ReplFault("garbage", "two answers to one question"))
        elif raw.strip():
            self._waiting.set_result(raw)

    def _drain(self) -> None:
        try:
            data = os.read(self._err, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            assert self._loop is not None
            self._loop.remove_reader(self._err)
        self._stderr = (self._stderr + data)[-STDERR_KEPT:]

    def _death(self) -> str:
        """Why the process ended: memory or crash."""
        if self.process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(0.2)
            self._drain_last()
        text = self._stderr.lower()
        out = any(word in text for word in (b"out of memory", b"bad_alloc", b"cannot allocate", b"memory exhausted"))
        return (
            "memory"
            if out or (self.process and self.process.returncode in (-signal.SIGKILL, 137) and self.limit)
            else "crash"
        )

    def _drain_last(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stderr = (self._stderr + os.read(self._err, CHUNK))[-STDERR_KEPT:]

    def _last_words(self) -> str:
        text = self._stderr.decode(errors="replace").strip().splitlines()
        return f": {text[-1][:200]}" if text else ""

    def pss(self) -> int | None:
        """Proportional share of the resident memory: memory-mapped Mathlib is shared out among the workers."""
        import psutil

        if self.process is None:
            return None
        try:
            return psutil.Process(self.process.pid).memory_full_info().pss
        except (psutil.Error, AttributeError):
            return None

    def kill(self) -> None:
        """Ends the process and all that it started, at once."""
        if self.process is None:
            return
        if self._loop is not None and not self._loop.is_closed():
            for fd in (self._out, self._err):
                self._loop.remove_reader(fd)
            self._loop.remove_writer(self._in)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        self.process = None
        self._fail(ReplFault("crash", "the REPL was killed"))


SECRETS = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL")


def clean_environment() -> dict[str, str]:
    """Our environment without what looks like a credential: a proof runs with it."""
    return {k: v for k, v in os.environ.items() if not any(s in k.upper() for s in SECRETS)}
