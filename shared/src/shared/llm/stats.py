"""What a client did so far: requests, calls, tokens, money."""

from __future__ import annotations

import threading
from dataclasses import asdict, dataclass, field
from typing import Any

from .completion import Completion, Result, Usage
from .prices import Prices


@dataclass(frozen=True, slots=True)
class Stats:
    """Counts of one client.

    `calls` are attempts that were sent, `retries` those of them that followed a failed one. Tokens and cost are those
    of the calls made here; what came from a cache or a recording was paid for earlier. `cost` is in USD, None without
    prices; `unpriced` calls told no usage, so that their cost is not in it.
    """

    requests: int = 0  # answered, in whatever way
    calls: int = 0
    cached: int = 0
    replayed: int = 0
    failed: int = 0
    retries: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None
    unpriced: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Tally:
    """The counts as they grow, from several threads."""

    def __init__(self, prices: Prices | None) -> None:
        self._prices = prices
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(("requests", "calls", "cached", "replayed", "failed", "retries", "unpriced"), 0)
        self._tokens: list[int | None] = [None, None, None, None]  # as in Usage
        self._cost = 0.0

    def sent(self, *, again: bool) -> None:
        with self._lock:
            self._counts["calls"] += 1
            self._counts["retries"] += again

    def spent(self, usage: Usage) -> float | None:
        """Counts a call's usage; its cost in USD where that is known."""
        cost = self._prices.cost(usage) if self._prices else None
        with self._lock:
            for i, tokens in enumerate((usage.prompt, usage.cached_prompt, usage.completion, usage.reasoning)):
                if tokens is not None:
                    self._tokens[i] = (self._tokens[i] or 0) + tokens
            self._cost += cost or 0.0
            self._counts["unpriced"] += cost is None and self._prices is not None
        return cost

    def handed_on(self, results: list[Result]) -> None:
        with self._lock:
            counts = self._counts
            counts["requests"] += len(results)
            for result in results:
                if not isinstance(result, Completion):
                    counts["failed"] += 1
                elif result.source.kind == "cache":
                    counts["cached"] += 1
                elif result.source.kind == "replay":
                    counts["replayed"] += 1

    def stats(self) -> Stats:
        with self._lock:
            cost = self._cost if self._prices else None
            return Stats(**self._counts, usage=Usage(*self._tokens), cost=cost)
