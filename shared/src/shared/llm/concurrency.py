"""How many calls may be under way at a time: a fixed number, or as many as the server bears."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Literal, Protocol

START, MOST = 8, 1024
COOL_DOWN_S = 15.0


class Gate(Protocol):
    limit: int

    def answered(self, running: int) -> None:
        """A call came back well while `running` calls, it included, were under way."""

    def refused(self) -> None:
        """A call was answered with "too many requests"."""


class Fixed:
    """Always the same number."""

    def __init__(self, limit: int) -> None:
        self.limit = limit

    def answered(self, running: int) -> None:
        pass

    def refused(self) -> None:
        pass


class Adaptive:
    """Grows while the server bears it.

    A round is as many good answers as the limit. A round without a refusal, in which at least 80 % of the limit were in
    use, doubles the limit until the first refusal ever, and adds 5 % after that. A refusal multiplies it by 0.8 and
    holds it for 15 s, in which further refusals, of calls sent before, change nothing.
    """

    def __init__(self, *, start: int = START, most: int = MOST, now: Callable[[], float] = time.monotonic) -> None:
        self.limit = start
        self._most, self._now = most, now
        self._good = self._used = 0
        self._refused = False
        self._held_until = -math.inf

    def answered(self, running: int) -> None:
        self._good += 1
        self._used = max(self._used, running)
        if self._good < self.limit:
            return
        if self._used >= 0.8 * self.limit and self._now() >= self._held_until:
            grown = math.ceil(self.limit * 1.05) if self._refused else 2 * self.limit
            self.limit = min(grown, self._most)
        self._good = self._used = 0

    def refused(self) -> None:
        self._good = self._used = 0
        if self._now() < self._held_until:
            return
        self._refused = True
        self._held_until = self._now() + COOL_DOWN_S
        self.limit = max(1, math.floor(self.limit * 0.8))


def gate(concurrency: int | Literal["adaptive"]) -> Gate:
    return Adaptive() if concurrency == "adaptive" else Fixed(concurrency)
