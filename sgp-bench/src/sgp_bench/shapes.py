"""The nine kinds of objects: their outlines, and the element that draws each in three dialects."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from .matrix import Matrix, apply
from .path_data import Command, print_number, print_path, print_points
from .svg_geometry import move_path, outline
from .svg_safe import Element

KINDS = ("circle", "ellipse", "square", "rectangle", "triangle", "pentagon", "star", "cross", "heart")
WIDE = {"ellipse": 1.6, "rectangle": 1.7}  # width over height


@dataclass(frozen=True, slots=True)
class Object:
    """One object: middle, half of its larger extent, and colour (a name, with the shade that is written)."""

    kind: str
    colour: str
    fill: str
    x: float
    y: float
    size: float

    @property
    def extent(self) -> tuple[float, float]:
        """Half width and half height of its box."""
        return self.size, self.size / WIDE.get(self.kind, 1.0)

    @property
    def area(self) -> float:
        """In square units."""
        w, h = self.extent
        if self.kind in ("circle", "ellipse"):
            return math.pi * w * h
        if self.kind == "heart":
            return 2.8508 * self.size**2  # of the unit heart below, by Green's theorem
        if (p := self.corners()) is None:
            return 4 * w * h
        return abs(sum(p[i] * p[(i + 3) % len(p)] - p[(i + 2) % len(p)] * p[i + 1] for i in range(0, len(p), 2))) / 2

    def moved(self, m: Matrix) -> Object:
        """Its middle moved; kinds whose box turns keep their size."""
        x, y = apply(m, self.x, self.y)
        return replace(self, x=x, y=y)

    def corners(self) -> list[float] | None:
        """x0, y0, x1, y1, … of the kinds that are polygons."""
        x, y, s = self.x, self.y, self.size
        if self.kind == "triangle":
            return [x, y - s, x + s, y + s, x - s, y + s]
        if self.kind == "pentagon":
            return _ring(x, y, [s] * 5)
        if self.kind == "star":
            return _ring(x, y, [s, 0.4 * s] * 5)
        if self.kind == "cross":
            t = s / 3
            steps = [(-t, -s), (t, -s), (t, -t), (s, -t), (s, t), (t, t), (t, s), (-t, s), (-t, t), (-s, t), (-s, -t)]
            return [w for dx, dy in [*steps, (-t, -t)] for w in (x + dx, y + dy)]
        return None

    def element(self, dialect: str, decimals: int) -> Element:
        """What draws it: `primitive` the shape's own tag, otherwise a path, so that no tag tells the kind."""
        paint = {"style": f"fill:{self.fill};"} if dialect == "icon" else {"fill": self.fill}
        if dialect != "primitive" or self.kind == "heart":
            return Element("path", {"d": print_path(self.commands(), decimals)} | paint)
        return self._primitive(decimals, paint)

    def _primitive(self, decimals: int, paint: dict[str, str]) -> Element:
        def number(value: float) -> str:
            return print_number(value, decimals)

        w, h = self.extent
        if self.kind == "circle":
            return Element("circle", paint | {"cx": number(self.x), "cy": number(self.y), "r": number(self.size)})
        if self.kind == "ellipse":
            place = {"cx": number(self.x), "cy": number(self.y), "rx": number(w), "ry": number(h)}
            return Element("ellipse", paint | place)
        if self.kind in ("square", "rectangle"):
            place = {"x": number(self.x - w), "y": number(self.y - h), "width": number(2 * w), "height": number(2 * h)}
            return Element("rect", paint | place)
        return Element("polygon", paint | {"points": print_points(self.corners() or [], decimals)})

    def commands(self) -> list[Command]:
        """Its outline as path commands."""
        if self.kind == "heart":
            return move_path(HEART, (self.size, 0.0, 0.0, self.size, self.x, self.y))
        if (corners := self.corners()) is not None:
            return [("M", corners[:2]), ("L", corners[2:]), ("Z", [])]
        found = outline(self._primitive(6, {}))
        assert found is not None
        return found


# a unit heart about its middle: two lobes and a point
HEART: list[Command] = [
    ("M", [0.0, 1.0]),
    ("C", [-0.5, 0.6, -1.0, 0.25, -1.0, -0.3]),
    ("C", [-1.0, -0.75, -0.75, -1.0, -0.5, -1.0]),
    ("C", [-0.25, -1.0, -0.08, -0.85, 0.0, -0.6]),
    ("C", [0.08, -0.85, 0.25, -1.0, 0.5, -1.0]),
    ("C", [0.75, -1.0, 1.0, -0.75, 1.0, -0.3]),
    ("C", [1.0, 0.25, 0.5, 0.6, 0.0, 1.0]),
    ("Z", []),
]


def _ring(x: float, y: float, radii: list[float]) -> list[float]:
    points = []
    for i, r in enumerate(radii):
        turn = 2 * math.pi * i / len(radii) - math.pi / 2
        points += [x + r * math.cos(turn), y + r * math.sin(turn)]
    return points
