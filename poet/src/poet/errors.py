"""The one error that the package raises on purpose."""

from __future__ import annotations

import math
from typing import Any


class PoetError(ValueError):
    """A refusal; its message is one sentence that says what is wrong, where, and what is allowed."""


def one_of(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed:
        raise PoetError(f"{name} must be one of {', '.join(map(str, allowed))}, not {value!r}")


def whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise PoetError(f"{name} must be a whole number of at least {least}, not {value!r}")


def number(
    name: str, value: Any, *, least: float | None = None, above: float | None = None, upto: float | None = None
) -> None:
    fits = (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and (least is None or value >= least)
        and (above is None or value > above)
        and (upto is None or value <= upto)
    )
    if not fits:
        bounds = [f"at least {least:g}"] if least is not None else [f"above {above:g}"] if above is not None else []
        bounds += [f"at most {upto:g}"] if upto is not None else []
        raise PoetError(f"{name} must be a finite number{' ' * bool(bounds)}{' and '.join(bounds)}, not {value!r}")


def truth(name: str, value: Any) -> None:
    if not isinstance(value, bool):
        raise PoetError(f"{name} must be true or false, not {value!r}")
