"""When to give a batch up: too many requests in a row failed, or too large a share of them."""

from __future__ import annotations

from collections import deque

from .completion import FailureKind

# failures that say something about the endpoint; a refusal or an overlong prompt says something about its prompt
COUNTED: tuple[FailureKind, ...] = ("bad_request", "rate_limit", "server", "timeout", "connection", "malformed")
IN_A_ROW, WINDOW, SHARE = 20, 100, 0.5


class Breaker:
    """Counts final outcomes of requests, not attempts: a storm of refusals that retries weather trips nothing."""

    def __init__(self) -> None:
        self._row = 0
        self._last: deque[bool] = deque(maxlen=WINDOW)

    def note(self, failure: FailureKind | None) -> str | None:
        """Takes one outcome (None: an answer) and says, where it is time to stop, why."""
        bad = failure in COUNTED
        self._row = self._row + 1 if bad else 0
        self._last.append(bad)
        if self._row >= IN_A_ROW:
            return f"{self._row} requests in a row failed"
        if len(self._last) == WINDOW and sum(self._last) > SHARE * WINDOW:
            return f"{sum(self._last)} of the last {WINDOW} requests failed"
        return None

    def reset(self) -> None:
        self._row = 0
        self._last.clear()
