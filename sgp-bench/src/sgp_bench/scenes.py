"""Procedural scenes: what is drawn is known, so every question about it has a known answer.

Three layouts, each for the questions that it can hold without giving the answer away on its surface:

    distinct   4 to 6 objects of different kinds and colours on a coloured ground   Color, Shape, Reasoning
    counts     7 or 8 objects, in unequal numbers of kinds and colours                Count
    mirror     objects mirrored at one axis, at both, or at none                    Reasoning
    icon       one composite object (icons.py)                                      Semantics, Color, Count, Reasoning

What a question offers is always exchangeable given the program: all four options occur alike, and which of them is
asked for is drawn at the end. Then no rule that reads the program without the question beats chance (questions.py).
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, replace

from .colours import NAMES, shade
from .errors import SGPError
from .icons import ICONS, Icon
from .matrix import Matrix
from .path_data import print_number
from .shapes import KINDS, Object
from .svg_safe import Element, print_svg

LAYOUTS = ("distinct", "counts", "mirror", "icon")
DIALECTS = ("primitive", "path", "icon")
SYMMETRIES = ("only about a vertical line", "only about a horizontal line", "about both lines", "about neither line")


@dataclass(frozen=True, slots=True)
class Scene:
    """Objects in drawing order on a square canvas from 0 to `canvas`; `ground` is the colour behind them."""

    layout: str
    dialect: str
    canvas: float
    objects: tuple[Object, ...]
    ground: tuple[str, str] | None = None  # name and shade
    symmetry: str | None = None
    icon: Icon | None = None

    def program(self) -> str:
        """The program s. The icon dialect has what real icon files have: no xmlns, groups, paint in style."""
        decimals = 0 if self.dialect == "primitive" else 1
        body = [o.element(self.dialect, decimals) for o in self.objects]
        if self.icon is not None:
            body = self.icon.elements(self.dialect, decimals)
        if self.ground is not None:
            full = print_number(self.canvas, 0)
            fill = self.ground[1]
            if self.dialect == "primitive":
                ground = Element("rect", {"fill": fill, "width": full, "height": full})
            else:
                paint = {"style": f"fill:{fill};"} if self.dialect == "icon" else {"fill": fill}
                ground = Element("path", {"d": f"M0 0H{full}V{full}H0Z"} | paint)
            body.insert(0, ground)
        box = f"0 0 {self.canvas:g} {self.canvas:g}"
        if self.dialect == "icon":
            half = len(body) // 2
            body = [Element("g", {}, body[:half]), Element("g", {}, body[half:]), Element("g")]
            return print_svg(Element("svg", {"id": "Layer_1", "version": "1.1", "viewBox": box}, body))
        # the easy dialect spares a small model the namespace, as the published programs do
        space = {} if self.dialect == "primitive" else {"xmlns": "http://www.w3.org/2000/svg"}
        return print_svg(Element("svg", {**space, "viewBox": box}, body))

    def moved(self, m: Matrix) -> Scene:
        """The scene after a motion of its picture: questions about places are then answered anew."""
        return replace(self, objects=tuple(o.moved(m) for o in self.objects))

    @property
    def digest(self) -> str:
        """Of the program; two sets are disjoint where their digests are."""
        return hashlib.sha256(self.program().encode()).hexdigest()[:16]

    def description(self) -> str:
        """A sentence an object, top to bottom as drawn: the target of forward instruction tuning."""
        if self.icon is not None:
            return self.icon.description()
        ground = f"The background is {self.ground[0]}. " if self.ground else ""
        parts = [f"{article(o.colour)} {o.kind} in the {self.place(o)}" for o in self.objects]
        return f"{ground}There are {len(parts)} shapes: {'; '.join(parts)}."

    def place(self, o: Object) -> str:
        column = ("left", "middle", "right")[min(2, max(0, int(3 * o.x / self.canvas)))]
        row = ("top", "middle", "bottom")[min(2, max(0, int(3 * o.y / self.canvas)))]
        return "middle" if row == column == "middle" else f"{row} {column}"


def sample_scene(rng: random.Random, layout: str = "distinct", dialect: str = "primitive") -> Scene:
    """A scene at random.

    Raises:
        SGPError: an unknown layout or dialect.
    """
    if layout not in LAYOUTS or dialect not in DIALECTS:
        raise SGPError(f"a layout is one of {LAYOUTS}, a dialect one of {DIALECTS}, not {layout!r} and {dialect!r}")
    canvas = 512.0 if dialect == "icon" else 100.0
    if layout == "icon":
        icon = rng.choice(tuple(ICONS.values()))(rng, canvas, lambda name: _fill(name, dialect, rng))
        return Scene(layout, dialect, canvas, (), icon=icon)
    if layout == "mirror":
        return _mirror(rng, dialect, canvas)
    if layout == "counts":
        kinds, colours = _unequal(rng)
        return Scene(layout, dialect, canvas, _placed(rng, canvas, dialect, kinds, colours))
    count = rng.choice((4, 5)) if dialect == "primitive" else rng.choice((5, 6))
    kinds, (ground, *colours) = rng.sample(KINDS, count), rng.sample(NAMES, count + 1)
    objects = _placed(rng, canvas, dialect, kinds, colours)
    return Scene(layout, dialect, canvas, objects, ground=(ground, _fill(ground, dialect, rng)))


def _fill(name: str, dialect: str, rng: random.Random) -> str:
    """Written as the name in the easy dialect, as a shade in hexadecimal digits in the others."""
    return name if dialect == "primitive" else shade(name, rng)


def article(word: str) -> str:
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


# numbers of equal kinds, and of equal colours: together four different ones
UNEQUAL = (
    ((4, 2, 1), (3, 2, 2)),
    ((4, 2, 1), (3, 3, 1)),
    ((4, 2, 1), (3, 2, 1, 1)),
    ((5, 2, 1), (3, 3, 2)),
)


def _unequal(rng: random.Random) -> tuple[list[str], list[str]]:
    """Kinds and colours of the objects of a scene for counting, in random order."""
    numbers = list(rng.choice(UNEQUAL))
    rng.shuffle(numbers)
    found = []
    for names, counts in zip((KINDS, NAMES), numbers, strict=True):
        chosen = rng.sample(names, len(counts))
        found.append([name for name, n in zip(chosen, counts, strict=True) for _ in range(n)])
        rng.shuffle(found[-1])
    return found[0], found[1]


def _placed(
    rng: random.Random, canvas: float, dialect: str, kinds: list[str], colours: list[str]
) -> tuple[Object, ...]:
    """One object a cell of a jittered 3 × 3 grid, in an order that has nothing to do with their places."""
    cell = canvas / 3
    cells = rng.sample(range(9), len(kinds))
    # sizes a clear step apart, so that the largest and the smallest are beyond doubt
    ladder = [0.16 + 0.26 * i / max(1, len(kinds) - 1) for i in range(len(kinds))]
    rng.shuffle(ladder)
    fills = {name: _fill(name, dialect, rng) for name in colours}
    objects = []
    for kind, colour, where, share in zip(kinds, colours, cells, ladder, strict=True):
        size = share * cell
        room = cell / 2 - size - 0.02 * cell
        x = (where % 3 + 0.5) * cell + rng.uniform(-room, room)
        y = (where // 3 + 0.5) * cell + rng.uniform(-room, room)
        if dialect != "icon":
            x, y, size = round(x), round(y), max(4, round(size))
        objects.append(Object(kind, colour, fills[colour], x, y, size))
    return tuple(objects)


def _mirror(rng: random.Random, dialect: str, canvas: float) -> Scene:
    """Four objects alike: mirrored in both lines, in pairs in one of them, or in pairs through the middle. Nothing but
    their places tells which."""
    symmetry, half = rng.choice(SYMMETRIES), canvas / 2
    kind, colour = rng.choice(("circle", "ellipse", "square")), rng.choice(NAMES)
    fill, size = _fill(colour, dialect, rng), rng.uniform(0.045, 0.058) * canvas
    # bands far enough apart that no two copies meet
    near, far = rng.uniform(0.13, 0.2), rng.uniform(0.32, 0.38)
    other_near, other_far = rng.uniform(0.13, 0.2), rng.uniform(0.32, 0.38)
    (sx, sy), (tx, ty) = rng.choice((((1, 1), (-1, -1)), ((1, -1), (-1, 1)), ((1, 1), (1, 1))))
    first, second = (sx * near, sy * far), (tx * other_far, ty * other_near)
    mirrored = {
        SYMMETRIES[0]: lambda x, y: [(x, y), (-x, y)],
        SYMMETRIES[1]: lambda x, y: [(x, y), (x, -y)],
        SYMMETRIES[2]: lambda x, y: [(x, y), (-x, y), (x, -y), (-x, -y)],
        SYMMETRIES[3]: lambda x, y: [(x, y), (-x, -y)],
    }[symmetry]
    places = mirrored(*first) if symmetry == SYMMETRIES[2] else [*mirrored(*first), *mirrored(*second)]
    if dialect != "icon":
        size = round(size)
    objects = []
    for x, y in places:
        x, y = (round(v * canvas, 1 if dialect == "icon" else 0) for v in (x, y))
        objects.append(Object(kind, colour, fill, half + x, half + y, size))
    rng.shuffle(objects)
    return Scene("mirror", dialect, canvas, tuple(objects), symmetry=symmetry)
