"""Requests and tokens a minute: when the next call may begin."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Spaces calls out so that a rate holds over any stretch longer than a second's worth of it.

    One clock a rate: each call moves it on by its share of a minute, and may begin when the clock is at most
    `burst` seconds ahead of the present.
    """

    def __init__(
        self,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        *,
        burst: float = 1.0,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rates = (requests_per_minute, tokens_per_minute)
        self._clocks = [0.0, 0.0]
        self._burst, self._now = burst, now

    @property
    def limited(self) -> bool:
        return self._rates != (None, None)

    def wait(self, tokens: float) -> float:
        """Seconds until a call of so many tokens may begin; it is counted as begun then."""
        now = self._now()
        delay = 0.0
        for i, (rate, amount) in enumerate(zip(self._rates, (1.0, tokens), strict=True)):
            if rate is None:
                continue
            clock = max(self._clocks[i], now - self._burst)
            delay = max(delay, clock - now)
            self._clocks[i] = clock + amount * 60.0 / rate
        return delay
