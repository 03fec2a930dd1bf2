"""How hard a client may press: calls at a time, attempts, times, rates and money."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from .errors import RequestError

# name -> (least allowed, whether the least itself is allowed)
BOUNDS: dict[str, tuple[float, bool]] = {
    "attempts": (1, True),
    "retry_s": (0, True),
    "first_wait_s": (0, True),
    "longest_wait_s": (0, True),
    "connect_s": (0, False),
    "idle_s": (0, False),
    "total_s": (0, False),
    "grace_s": (0, True),
    "requests_per_minute": (0, False),
    "tokens_per_minute": (0, False),
    "max_calls": (0, True),
    "max_cost": (0, True),
    "max_tokens_total": (0, True),
    "assumed_tokens": (1, True),
}
WHOLE = ("attempts", "max_calls", "max_tokens_total", "assumed_tokens")


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one client. Times are in seconds, money in USD; None means no limit.

    Raises:
        RequestError: a value outside its range.
    """

    concurrency: int | Literal["adaptive"] = 8  # calls at a time
    attempts: int = 6  # of one request, the first included
    retry_s: float = 600.0  # in which all attempts of one request begin
    first_wait_s: float = 0.5  # upper end of the random wait before the second attempt; it doubles each time,
    longest_wait_s: float = 60.0  # up to this; what the server asks for goes before both, up to 300 s
    connect_s: float = 5.0
    idle_s: float | None = None  # longest silence of an answer under way; giving it turns streaming on
    total_s: float = 900.0  # longest duration of an attempt
    grace_s: float = 5.0  # what calls under way get after Ctrl-C
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    max_calls: int | None = None  # attempts count, as a failed one may be billed
    max_cost: float | None = None
    max_tokens_total: int | None = None  # prompts and completions
    assumed_tokens: int | None = None  # longest completion, for budgets, where a request sets no max_tokens

    def __post_init__(self) -> None:
        c = self.concurrency
        if c != "adaptive" and (not isinstance(c, int) or isinstance(c, bool) or not 1 <= c <= 4096):
            raise RequestError(f"limits.concurrency must be 'adaptive' or a whole number in [1, 4096], not {c!r}")
        optional = {f.name for f in fields(self) if f.default is None}
        for name, (least, included) in BOUNDS.items():
            value = getattr(self, name)
            if value is None and name in optional:
                continue
            kind: Any = int if name in WHOLE else (int, float)
            number = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
            if not number or not (value >= least if included else value > least):
                what = "a whole number" if name in WHOLE else "a finite number"
                raise RequestError(
                    f"limits.{name} must be {what} {'from' if included else 'above'} {least}, not {value!r}"
                )


def limits_from(settings: Mapping[str, Any] | None) -> Limits:
    """Limits from a config mapping; what is not given keeps its default.

    Raises:
        RequestError: a field that Limits has not, or a value outside its range.
    """
    settings = dict(settings or {})
    known = [f.name for f in fields(Limits)]
    if unknown := [name for name in settings if name not in known]:
        raise RequestError(f"limits has no field {unknown[0]!r}; its fields are {', '.join(known)}")
    return Limits(**settings)
