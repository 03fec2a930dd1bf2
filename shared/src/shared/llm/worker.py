"""One thread of our own for calls that block: unlike an executor's it holds up neither Ctrl-C nor the end of Python."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """Does one call after another, always in the same thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.busy = False
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def do(self, call: Callable[..., T], *arguments: Any) -> T:
        """What the call returns or raises. Cancelling the wait does not end the call."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(set_outcome: Callable[[Any], None], outcome: Any) -> None:
            if not future.done():
                set_outcome(outcome)

        def job() -> None:
            try:
                outcome, use = call(*arguments), future.set_result
            except BaseException as error:
                outcome, use = error, future.set_exception  # type: ignore[assignment]
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, use, outcome)

        self._inbox.put(job)
        return await future

    def close(self) -> None:
        """Ends the thread after the call that it is at."""
        self._inbox.put(None)

    def _work(self) -> None:
        while (job := self._inbox.get()) is not None:
            self.busy = True
            job()
            self.busy = False
