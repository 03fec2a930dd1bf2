"""What is seen of a batch while it runs: a bar on a terminal, a line every half minute elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any, TextIO

from .stats import Stats

PERIOD_S = 30.0
REFRESH_S = 1.0


class Progress:
    """Progress of one batch on stderr. `total` is None where the number of requests is not known beforehand.

    A batch that ends within the first half minute leaves no line where stderr is no terminal.
    """

    def __init__(
        self, enabled: bool, name: str, total: int | None, before: Stats, stream: TextIO | None = None
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._name, self._total, self._before = name, total, before
        self._enabled = enabled
        self._begun = self._told = time.monotonic()
        self._done = 0
        self._bar: Any = None
        self.period: float | None = None  # seconds between two calls of `show`, None for never
        if enabled:
            self.period = REFRESH_S if self._stream.isatty() else PERIOD_S

    def advance(self, count: int, stats: Stats) -> None:
        self._done += count
        if self._enabled:
            self.show(stats)

    def show(self, stats: Stats) -> None:
        if not self._enabled:
            return
        if self._stream.isatty():
            if self._bar is None:
                from tqdm import tqdm

                self._bar = tqdm(
                    total=self._total, desc=self._name, unit="", leave=False, file=self._stream, dynamic_ncols=True
                )
            self._bar.n = self._done
            self._bar.set_postfix_str(self._counts(stats), refresh=False)
            self._bar.update(0)
        elif time.monotonic() - self._told >= PERIOD_S:
            self._told = time.monotonic()
            of = "" if self._total is None else f" of {self._total}"
            print(f"{self._name}: {self._done}{of}, {self._counts(stats)}{self._eta()}", file=self._stream, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def _counts(self, stats: Stats) -> str:
        """Counts of this batch; tokens a second of the completions."""
        before = self._before
        counts = [
            f"{getattr(stats, name) - getattr(before, name)} {name}"
            for name in ("cached", "replayed", "failed", "retries")
            if getattr(stats, name) > getattr(before, name)
        ]
        written = (stats.usage.completion or 0) - (before.usage.completion or 0)
        if written:
            counts.append(f"{written / max(1e-9, time.monotonic() - self._begun):.0f} tok/s")
        if stats.cost is not None:
            counts.append(f"${stats.cost - (before.cost or 0.0):.4f}")
        return ", ".join(counts) or "all live"

    def _eta(self) -> str:
        if self._total is None or not self._done:
            return ""
        left = (time.monotonic() - self._begun) / self._done * (self._total - self._done)
        return f", about {left / 60:.0f} min left" if left >= 60 else f", about {left:.0f} s left"
