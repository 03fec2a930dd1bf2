"""2D sketches: what their drawn entities are, as numbers and as lines."""

from __future__ import annotations

import math
from collections import Counter

from .cad import CadProgram, Command
from .errors import CadError

ENTITIES = ("Point", "Line", "Circle", "Arc")


def drawn(program: CadProgram) -> list[Command]:
    """Entities that are no construction geometry."""
    return [c for c in program.commands if c.name in ENTITIES and not c.construction]


def facts(program: CadProgram) -> Counter[str]:
    """How many entities of each name are drawn, how many are construction, how many constraints there are."""
    counts = Counter(c.name for c in drawn(program))
    counts["construction"] = sum(c.construction for c in program.commands)
    counts["constraints"] = sum(c.name not in ENTITIES for c in program.commands)
    return counts


def strokes(program: CadProgram, per_turn: int = 96) -> list[list[tuple[float, float]]]:
    """Every drawn entity as a run of points.

    Raises:
        CadError: nothing is drawn, or a radius is not positive.
    """
    lines: list[list[tuple[float, float]]] = []
    for c in drawn(program):
        if c.name == "Line":
            lines.append([c.arguments[0], c.arguments[1]])  # type: ignore[list-item]
        elif c.name in ("Circle", "Arc"):
            (x, y), r = c.arguments[0], c.arguments[1]  # type: ignore[misc, str-unpack]
            if not r > 0:  # type: ignore[operator]
                raise CadError(f"{c.name} {c.target} has the radius {r}, which must be positive")
            begin, end = (0.0, 360.0) if c.name == "Circle" else (float(c.arguments[2]), float(c.arguments[3]))  # type: ignore[arg-type]
            end += 360 * math.ceil((begin - end) / 360) if end < begin else 0
            steps = max(2, round(abs(end - begin) / 360 * per_turn))
            turns = [math.radians(begin + (end - begin) * i / steps) for i in range(steps + 1)]
            lines.append([(x + r * math.cos(t), y + r * math.sin(t)) for t in turns])  # type: ignore[operator]
    if not lines:
        raise CadError("the sketch draws nothing")
    return lines


def extent(program: CadProgram) -> tuple[float, float]:
    """Width and height of what is drawn."""
    points = [p for line in strokes(program, 720) for p in line]
    xs, ys = zip(*points, strict=True)
    return max(xs) - min(xs), max(ys) - min(ys)
