"""A request on its way: who waits for it, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue

from .completion import Result, Usage
from .request import Request

Item = list[tuple[int, Result]] | BaseException


class Run:
    """One batch as its caller sees it: results come in lists of (token, result), and an exception ends the batch.

    `fresh` keeps the cache out of it: everything is sent, nothing is kept. `notify` is called, in another thread, when
    something has come.
    """

    def __init__(self, *, fresh: bool = False, notify: Callable[[], None] | None = None) -> None:
        self.fresh = fresh
        self.gone = False  # nobody waits any more
        self.stopped: BaseException | None = None  # why it gets no more results
        self._outbox: SimpleQueue[Item] = SimpleQueue()
        self._notify = notify

    def put(self, item: Item) -> None:
        self._outbox.put(item)
        if self._notify is not None:
            self._notify()

    def get(self, timeout: float | None = None) -> Item | None:
        """The next item, None when none comes in time; a timeout of 0 does not wait."""
        try:
            return self._outbox.get(timeout != 0, timeout or None)
        except Empty:
            return None


@dataclass(slots=True, eq=False)
class Job:
    """One key that is asked for, by one batch or several."""

    key: str
    request: Request
    waiting: list[tuple[Run, int]]
    fresh: bool = False
    attempts: int = 0
    looked_up: float = 0.0  # monotonic seconds, when the cache was last asked
    usage: Usage = field(default_factory=Usage)  # of attempts that failed
    cost: float | None = None

    @property
    def wanted(self) -> bool:
        return any(not run.gone for run, _ in self.waiting)


@dataclass(frozen=True, slots=True)
class Done:
    job: Job
    result: Result


@dataclass(frozen=True, slots=True)
class Ended:
    """No more results for these batches, and for those that wait for these jobs. Goes through the committer, after all
    results before it."""

    error: BaseException
    runs: tuple[Run, ...]
    jobs: tuple[Job, ...] = ()
