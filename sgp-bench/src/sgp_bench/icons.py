"""Eight composite icons, each drawn from named parts, with what can be asked about it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from .colours import NAMES
from .matrix import IDENTITY
from .path_data import print_number, print_points
from .svg_geometry import as_path
from .svg_safe import Element

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
MOODS = ("smiling", "frowning", "neutral", "surprised")
Fill = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Icon:
    """`colours`: part -> name, in drawing order; `count`: what is repeated, and how often; `told`: a further fact
    (question, answer, alternatives, whether turning the picture keeps it)."""

    name: str
    parts: tuple[Element, ...]
    colours: dict[str, str]
    count: tuple[str, int] | None = None
    told: tuple[str, str, tuple[str, ...], bool] | None = None

    def elements(self, dialect: str, decimals: int) -> list[Element]:
        if dialect == "primitive":
            return [p.copy() for p in self.parts]
        drawn = [as_path(p, IDENTITY, decimals) if p.tag != "path" else p.copy() for p in self.parts]
        for p in drawn:
            assert p is not None
            if dialect == "icon":
                p.attributes = {k: v for k, v in p.attributes.items() if k not in PAINT} | {
                    "style": "".join(f"{k}:{v};" for k, v in p.attributes.items() if k in PAINT)
                }
        return drawn  # type: ignore[return-value]

    def description(self) -> str:
        parts = ", ".join(f"the {part} {'are' if part in SEVERAL else 'is'} {c}" for part, c in self.colours.items())
        count = f" The number of {self.count[0]} is {NUMBERS[self.count[1]]}." if self.count else ""
        told = f" {self.told[1].capitalize()}." if self.told else ""
        return f"The picture shows a {self.name}: {parts}.{count}{told}"


SEVERAL = ("walls", "windows", "fruits", "wheels", "eyes", "buttons", "bars")
PAINT = ("fill", "stroke", "stroke-width", "stroke-linecap")


class _Pen:
    """Draws parts in a unit square that is put somewhere on the canvas."""

    def __init__(self, rng: random.Random, canvas: float, fill: Fill, parts: int):
        self.rng, self.whole = rng, canvas == 100
        self.scale = canvas * rng.uniform(0.7, 0.9)
        self.x, self.y = (rng.uniform(0, canvas - self.scale) for _ in range(2))
        if self.whole:
            self.scale, self.x, self.y = round(self.scale), round(self.x), round(self.y)
        self.names = rng.sample(NAMES, parts)
        self.fills = {name: fill(name) for name in self.names}
        self.parts: list[Element] = []
        self.colours: dict[str, str] = {}

    def number(self, v: float) -> str:
        return print_number(v, 0 if self.whole else 1)

    def paint(self, part: str, stroke: float = 0.0) -> dict[str, str]:
        name = self.colours.setdefault(part, self.names[len(self.colours) % len(self.names)])
        fill = self.fills[name]
        if not stroke:
            return {"fill": fill}
        return {"fill": "none", "stroke": fill, "stroke-width": self.number(stroke * self.scale)}

    def rect(self, part: str, x: float, y: float, w: float, h: float) -> None:
        place = {"x": self.x + x * self.scale, "y": self.y + y * self.scale}
        place |= {"width": w * self.scale, "height": h * self.scale}
        self.parts.append(Element("rect", self.paint(part) | {k: self.number(v) for k, v in place.items()}))

    def circle(self, part: str, x: float, y: float, r: float) -> None:
        place = {"cx": self.x + x * self.scale, "cy": self.y + y * self.scale, "r": r * self.scale}
        self.parts.append(Element("circle", self.paint(part) | {k: self.number(v) for k, v in place.items()}))

    def polygon(self, part: str, *points: tuple[float, float]) -> None:
        flat = [w for x, y in points for w in (self.x + x * self.scale, self.y + y * self.scale)]
        self.parts.append(Element("polygon", self.paint(part) | {"points": print_points(flat, 0 if self.whole else 1)}))

    def line(self, part: str, x1: float, y1: float, x2: float, y2: float, width: float) -> None:
        place = {"x1": self.x + x1 * self.scale, "y1": self.y + y1 * self.scale}
        place |= {"x2": self.x + x2 * self.scale, "y2": self.y + y2 * self.scale}
        self.parts.append(Element("line", self.paint(part, width) | {k: self.number(v) for k, v in place.items()}))

    def curve(self, part: str, x1: float, y1: float, mx: float, my: float, x2: float, y2: float, width: float) -> None:
        p = [self.number(self.x + v * self.scale) if i % 2 == 0 else self.number(self.y + v * self.scale)
             for i, v in enumerate((x1, y1, mx, my, x2, y2))]  # fmt: skip
        data = f"M{p[0]} {p[1]}Q{p[2]} {p[3]} {p[4]} {p[5]}"
        self.parts.append(Element("path", self.paint(part, width) | {"d": data}))

    def done(self, name: str, **facts: object) -> Icon:
        return Icon(name, tuple(self.parts), dict(self.colours), **facts)  # type: ignore[arg-type]


def house(rng: random.Random, canvas: float, fill: Fill) -> Icon:
    pen, windows = _Pen(rng, canvas, fill, 4), rng.randint(1, 4)
    pen.rect("walls", 0.1, 0.4, 0.8, 0.6)
    pen.polygon("roof", (0.0, 0.42), (0.5, 0.0), (1.0, 0.42))
    pen.rect("door", 0.42, 0.72, 0.16, 0.28)
    for x, y in ((0.18, 0.5), (0.66, 0.5), (0.18, 0.75), (0.66, 0.75))[:windows]:
        pen.rect("windows", x, y, 0.16, 0.14)
    return pen.done("house", count=("windows", windows))


def tree(rng: random.Random, canvas: float, fill: Fill) -> Icon:
    pen, apples = _Pen(rng, canvas, fill, 4), rng.randint(1, 4)
    pen.rect("ground", 0.0, 0.92, 1.0, 0.08)
    pen.rect("trunk", 0.42, 0.6, 0.16, 0.34)
    pen.circle("crown", 0.5, 0.35, 0.35)
    for x, y in ((0.38, 0.2), (0.64, 0.28), (0.36, 0.46), (0.6, 0.52))[:apples]:
        pen.circle("fruits", x, y, 0.05)
    return pen.done("tree", count=("fruits on the tree", apples))


def car(rng: random.Random, canvas: float, fill: Fill) -> Icon:
    pen = _Pen(rng, canvas, fill, 4)
    pen.polygon("cabin", (0.2, 0.5), (0.32, 0.25), (0.68, 0.25), (0.82, 0.5))
    pen.rect("body", 0.0, 0.48, 1.0, 0.24)
    pen.rect("window", 0.36, 0.31, 0.26, 0.15)
    pen.circle("wheels", 0.22, 0.74, 0.11)
    pen.circle("wheels", 0.78, 0.74, 0.11)
    return pen.done("car")


def face(rng: random.Random, canvas: float, fill: Fill) -> Icon:
    pen, mood = _Pen(rng, canvas, fill, 4), rng.choice(MOODS)
    pen.circle("head", 0.5, 0.5, 0.5)
    pen.polygon("nose", (0.5, 0.45), (0.56, 0.6), (0.44, 0.6))
    pen.circle("eyes", 0.32, 0.36, 0.07)
    pen.circle("eyes", 0.68, 0.36, 0.07)
    if mood == "surprised":
        pen.circle("mouth", 0.5, 0.76, 0.09)
    else:
        bend = {"smiling": 0.92, "frowning": 0.58, "neutral": 0.74}[mood]
        pen.curve("mouth", 0.3, 0.74, 0.5, bend, 0.7, 0.74, 0.06)
    question = "Which word describes the expression of the face?"
    return pen.done("face", told=(question, mood, MOODS, True))


def snowman(rng: random.Random, canvas: float, fill: Fill) -> Icon:
    pen, buttons = _Pen(rng, canvas, fill, 4), rng.randint(1, 4)
    pen.circle("body", 0.5, 0.72, 0.28)
    pen.circle("head", 0.5, 0.3, 0.17)
    pen.rect("hat", 0.33, 0.1, 0.34, 0.05)
    pen.rect("hat", 0.39, 0.0, 0.22, 0.11)
    for i in range(buttons):
        pen.circle("buttons", 0.5, 0.54 + 0.11 * i, 0.03)
    return pen.done("snowman", count=("buttons", buttons))


def clock(rng: random.Random, canvas: float, fill: Fill) -> Icon:
    pen, hour, quarter = _Pen(rng, canvas, fill, 4), rng.randint(1, 12), rng.randint(0, 3)
    pen.circle("rim", 0.5, 0.5, 0.5)
    pen.circle("dial", 0.5, 0.5, 0.43)
    h, m = math.radians(30 * hour + 7.5 * quarter), math.radians(90 * quarter)
    pen.line("hour hand", 0.5, 0.5, 0.5 + 0.2 * math.sin(h), 0.5 - 0.2 * math.cos(h), 0.06)
    pen.line("minute hand", 0.5, 0.5, 0.5 + 0.36 * math.sin(m), 0.5 - 0.36 * math.cos(m), 0.03)
    time = f"{hour}:{15 * quarter:02d}"
    # two hours with two quarters each: no option stands out beside the others
    other = rng.choice([n for n in range(1, 13) if n != hour])
    beside = rng.choice([n for n in range(4) if n != quarter])
    alternatives = tuple(f"{h}:{15 * m:02d}" for h in (hour, other) for m in (quarter, beside))
    question = "What time does the clock show, with twelve at the top?"
    return pen.done("clock", told=(question, time, alternatives, False))


def traffic_light(rng: random.Random, canvas: float, fill: Fill) -> Icon:
    pen = _Pen(rng, canvas, fill, 5)
    pen.rect("post", 0.45, 0.7, 0.1, 0.3)
    pen.rect("box", 0.3, 0.0, 0.4, 0.74)
    for i, part in enumerate(("upper lamp", "middle lamp", "lower lamp")):
        pen.circle(part, 0.5, 0.14 + 0.23 * i, 0.1)
    return pen.done("traffic light")


def flag(rng: random.Random, canvas: float, fill: Fill) -> Icon:
    stripes = rng.randint(2, 5)
    pen = _Pen(rng, canvas, fill, 4)
    pen.rect("pole", 0.08, 0.06, 0.06, 0.94)
    pen.rect("cloth", 0.14, 0.06, 0.82, 0.5)
    for i in range(stripes - 1):
        pen.rect("bars", 0.14, 0.06 + 0.5 * (2 * i + 1) / (2 * stripes - 1), 0.82, 0.5 / (2 * stripes - 1))
    pen.circle("knob at the top", 0.11, 0.06, 0.06)
    return pen.done("flag", count=("horizontal bars on the cloth", stripes - 1))


ICONS: dict[str, Callable[[random.Random, float, Fill], Icon]] = {
    "house": house,
    "tree": tree,
    "car": car,
    "face": face,
    "snowman": snowman,
    "clock": clock,
    "traffic light": traffic_light,
    "flag": flag,
}
