"""The recorded request most like a missing one, and what keeps them apart: mostly a changed prompt or setting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

SHOWN = 3  # differences that are told
AROUND = 24  # characters shown of two texts where they part


class Difference(NamedTuple):
    place: str  # such as sampling.temperature
    asked: Any
    recorded: Any

    def __str__(self) -> str:
        texts = isinstance(self.asked, str) and isinstance(self.recorded, str)
        if texts and max(len(self.asked), len(self.recorded)) > AROUND:
            at = _alike(self.asked, self.recorded)
            begin = max(0, at - AROUND // 3)
            asked, recorded = (text[begin : begin + AROUND] for text in (self.asked, self.recorded))
            return f"{self.place} from character {at} on (asked {asked!r}, recorded {recorded!r})"
        return f"{self.place} (asked {_short(self.asked)}, recorded {_short(self.recorded)})"


def nearest(asked: Mapping[str, Any], recorded: Iterable[tuple[str, Mapping[str, Any]]]) -> str:
    """A clause such as "the nearest one there, 3f2a…, differs in draw (asked 8, recorded 7)".

    The nearest has the fewest differing fields, and of those with equally many the texts that begin and end most alike.
    """
    best: tuple[tuple[int, int], str, list[Difference]] | None = None
    own = _flat(asked)
    for key, request in recorded:
        found = differences(own, _flat(request))
        rank = (len(found), sum(_distance(d) for d in found))
        if best is None or rank < best[0]:
            best = (rank, key, found)
    if best is None:
        return "it holds none"
    _, key, found = best
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return f"the nearest one there, {key[:12]}, differs in {', '.join(map(str, found[:SHOWN]))}{more}"


def differences(asked: Mapping[str, Any], recorded: Mapping[str, Any]) -> list[Difference]:
    """Of two requests as `_flat` gives them, field by field."""
    places = list(dict.fromkeys((*asked, *recorded)))
    return [
        Difference(p, asked.get(p), recorded.get(p))
        for p in places
        if p not in asked or p not in recorded or asked[p] != recorded[p]
    ]


def _flat(value: Any, place: str = "") -> dict[str, Any]:
    """Place -> value of everything inside that is no mapping or list itself."""
    if isinstance(value, Mapping) and value:
        items = [(f"{place}.{name}" if place else str(name), inner) for name, inner in value.items()]
    elif isinstance(value, list) and value:
        items = [(f"{place}[{i}]", inner) for i, inner in enumerate(value)]
    else:
        return {place: value}
    return {p: v for name, inner in items for p, v in _flat(inner, name).items()}


def _distance(found: Difference) -> int:
    """Characters of the longer text that lie between the common beginning and the common end of both."""
    if isinstance(found.asked, int | float) and isinstance(found.recorded, int | float):
        return min(1000, int(abs(found.asked - found.recorded)))
    if not isinstance(found.asked, str) or not isinstance(found.recorded, str):
        return 1000
    at = _alike(found.asked, found.recorded)
    rest = (found.asked[at:], found.recorded[at:])
    return max(map(len, rest)) - _alike(rest[0][::-1], rest[1][::-1])


def _alike(one: str, other: str) -> int:
    """How many characters two texts begin with alike."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
