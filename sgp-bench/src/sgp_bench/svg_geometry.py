"""Euclidean motions of path data and of basic shapes: only numbers change, the picture moves exactly.

For an isometry M with linear part R (SGP-Bench §3.3 moves whole programs by SE(2)):

    absolute points   p -> M p            relative vectors   v -> R v
    H, V              -> L where R mixes the axes
    arcs              radii stay, the x axis turns with R, the sweep flips where R mirrors
    circle            its centre moves     rect, ellipse      -> polygon, path where R turns them
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from .matrix import Matrix, angle, apply
from .path_data import Command, parse_points, print_number, print_points
from .svg_safe import Element, length


def move_path(commands: Sequence[Command], m: Matrix) -> list[Command]:
    """Path data of the picture moved by `m`, command by command, relative ones kept relative.

    `m` must keep lengths (or scale all alike); the arcs' radii are multiplied by that scale.
    """
    a, b, c, d, e, f = m
    axes_stay = b == 0 and c == 0
    scale = math.hypot(a, b)
    turn = angle(m) if a * d - b * c > 0 else None
    moved: list[Command] = []
    position = _Position()
    for letter, v in commands:
        kind = letter.lower()
        if kind == "h" or kind == "v":
            new = _straight(letter, v, m, position, axes_stay)
        elif kind == "a":
            new = (letter, _arcs(letter, v, m, scale, turn))
        elif letter.isupper():
            new = (
                letter,
                [w for x, y in zip(v[::2], v[1::2], strict=True) for w in (a * x + c * y + e, b * x + d * y + f)],
            )
        else:
            new = (letter, [w for x, y in zip(v[::2], v[1::2], strict=True) for w in (a * x + c * y, b * x + d * y)])
            if letter == "m" and not moved:  # the first of all is absolute
                new[1][0] += e
                new[1][1] += f
        moved.append(new)
        position.advance(letter, v)
    return moved


class _Position:
    """Where the pen is, in the coordinates before the motion."""

    __slots__ = ("start", "x", "y")

    def __init__(self) -> None:
        self.x = self.y = 0.0
        self.start = (0.0, 0.0)

    def advance(self, letter: str, v: Sequence[float]) -> None:
        kind = letter.lower()
        if kind == "z":
            self.x, self.y = self.start
        elif kind == "h":
            self.x = v[-1] if letter == "H" else self.x + sum(v)
        elif kind == "v":
            self.y = v[-1] if letter == "V" else self.y + sum(v)
        elif letter.isupper():
            if kind == "m":
                self.start = (v[0], v[1])
            self.x, self.y = v[-2], v[-1]
        else:
            step = {"m": 2, "l": 2, "t": 2, "c": 6, "s": 4, "q": 4, "a": 7}[kind]
            if kind == "m":
                self.start = (self.x + v[0], self.y + v[1])
            self.x += sum(v[step - 2 :: step])
            self.y += sum(v[step - 1 :: step])


def _straight(letter: str, v: Sequence[float], m: Matrix, at: _Position, axes_stay: bool) -> Command:
    a, b, c, d, e, f = m
    horizontal = letter in "Hh"
    if axes_stay:
        factor, shift = (a, e) if horizontal else (d, f)
        return letter, [factor * x + (shift if letter.isupper() else 0.0) for x in v]
    if letter.islower():
        return "l", [w for x in v for w in ((a * x, b * x) if horizontal else (c * x, d * x))]
    points = [(x, at.y) if horizontal else (at.x, x) for x in v]
    return "L", [w for x, y in points for w in (a * x + c * y + e, b * x + d * y + f)]


def _arcs(letter: str, v: Sequence[float], m: Matrix, scale: float, turn: float | None) -> list[float]:
    a, b, c, d, e, f = m
    dx, dy = (e, f) if letter == "A" else (0.0, 0.0)
    out: list[float] = []
    for i in range(0, len(v), 7):
        rx, ry, phi, large, sweep, x, y = v[i : i + 7]
        if turn is None:  # a mirror: the axis of angle phi goes to the mirrored angle, and the sense turns round
            phi, sweep = angle(m) - phi, 1.0 - sweep
        elif rx != ry:
            phi += turn
        phi = (phi + 180) % 360 - 180 if abs(phi) > 180 else phi
        out += [scale * rx, scale * ry, phi, large, sweep, a * x + c * y + dx, b * x + d * y + dy]
    return out


def move_shape(element: Element, m: Matrix, decimals: int) -> Element | None:
    """A basic shape moved by the isometry `m`; None where its numbers do not allow it (percentages, other units)."""
    turned = m[1] != 0 or m[2] != 0
    values = {k: v for k in GEOMETRY[element.tag] if (v := _value(element, k)) is not None}
    if len(values) < len(GEOMETRY[element.tag]):
        return None
    if element.tag in ("polygon", "polyline"):
        points = parse_points(element.attributes.get("points", ""))
        moved = [w for x, y in zip(points[::2], points[1::2], strict=True) for w in apply(m, x, y)]
        return _with(element, points=print_points(moved, decimals))
    if element.tag == "line":
        x1, y1 = apply(m, values["x1"], values["y1"])
        x2, y2 = apply(m, values["x2"], values["y2"])
        return _numbered(element, decimals, x1=x1, y1=y1, x2=x2, y2=y2)
    dashed = turned and any("stroke-dasharray" in k + v for k, v in element.attributes.items())
    if element.tag == "circle" and not dashed:
        x, y = apply(m, values["cx"], values["cy"])
        return _numbered(element, decimals, cx=x, cy=y)
    if not turned and m[0] == 1 and m[3] == 1:
        across, down = ("cx", "cy") if element.tag in ("ellipse", "circle") else ("x", "y")
        return _numbered(element, decimals, **{across: values[across] + m[4], down: values[down] + m[5]})
    return as_path(element, m, decimals)


def as_path(element: Element, m: Matrix, decimals: int) -> Element | None:
    """A basic shape as the path that SVG 1.1 §9 says it is equal to, moved by `m`; a rect without radii as polygon."""
    from .path_data import print_path

    commands = outline(element)
    if commands is None:
        return None
    kept = {k: v for k, v in element.attributes.items() if k not in (*GEOMETRY[element.tag], "rx", "ry", "points")}
    if element.tag == "rect" and all(letter in "MLZ" for letter, _ in commands):
        corners = [w for letter, v in commands if letter in "ML" for w in v]
        moved = [w for x, y in zip(corners[::2], corners[1::2], strict=True) for w in apply(m, x, y)]
        return Element("polygon", {"points": print_points(moved, decimals)} | kept, element.children, element.text)
    data = print_path(move_path(commands, m), decimals)
    return Element("path", {"d": data} | kept, element.children, element.text)


def outline(element: Element) -> list[Command] | None:
    """A basic shape's outline as path commands; None where its numbers do not allow it."""
    values = {k: v for k in GEOMETRY[element.tag] if (v := _value(element, k)) is not None}
    if len(values) < len(GEOMETRY[element.tag]):
        return None
    if element.tag in ("polygon", "polyline"):
        points = parse_points(element.attributes.get("points", ""))
        if len(points) < 4:
            return None
        return [("M", points[:2]), ("L", points[2:])] + ([("Z", [])] if element.tag == "polygon" else [])  # type: ignore[list-item]
    if element.tag == "line":
        return [("M", [values["x1"], values["y1"]]), ("L", [values["x2"], values["y2"]])]
    if element.tag in ("circle", "ellipse"):
        x, y = values["cx"], values["cy"]
        rx, ry = (values["r"], values["r"]) if element.tag == "circle" else (values["rx"], values["ry"])
        turn = [[rx, ry, 0, 0, 1, x, y + ry], [rx, ry, 0, 0, 1, x - rx, y], [rx, ry, 0, 0, 1, x, y - ry]]
        return [("M", [x + rx, y]), ("A", [w for t in turn for w in t] + [rx, ry, 0, 0, 1, x + rx, y]), ("Z", [])]
    x, y, w, h = (values[k] for k in ("x", "y", "width", "height"))
    given = _value(element, "rx", -1.0), _value(element, "ry", -1.0)
    if given[0] is None or given[1] is None:
        return None
    rx, ry = (given[1] if given[0] < 0 else given[0]), (given[0] if given[1] < 0 else given[1])
    if rx <= 0 or ry <= 0:
        return [("M", [x, y]), ("L", [x + w, y, x + w, y + h, x, y + h]), ("Z", [])]
    rx, ry = min(rx, w / 2), min(ry, h / 2)
    corner = lambda px, py: ("A", [rx, ry, 0, 0, 1, px, py])  # noqa: E731
    return [
        ("M", [x + rx, y]),
        ("L", [x + w - rx, y]),
        corner(x + w, y + ry),
        ("L", [x + w, y + h - ry]),
        corner(x + w - rx, y + h),
        ("L", [x + rx, y + h]),
        corner(x, y + h - ry),
        ("L", [x, y + ry]),
        corner(x + rx, y),
        ("Z", []),
    ]


GEOMETRY = {
    "rect": ("x", "y", "width", "height"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
    "line": ("x1", "y1", "x2", "y2"),
    "polygon": (),
    "polyline": (),
}


def _value(element: Element, name: str, default: float = 0.0) -> float | None:
    text = element.attributes.get(name)
    return default if text is None else length(text)


def _with(element: Element, **changes: str) -> Element:
    return Element(element.tag, element.attributes | changes, element.children, element.text)


def _numbered(element: Element, decimals: int, **changes: float) -> Element:
    return _with(element, **{k: print_number(v, decimals) for k, v in changes.items()})


def swap_relative(commands: Sequence[Command]) -> list[Command]:
    """Absolute commands made relative and relative ones absolute; the curve stays as it is.

    The very first move stays absolute in effect either way.
    """
    swapped: list[Command] = []
    at = _Position()
    for letter, v in commands:
        kind = letter.lower()
        if kind == "z":
            swapped.append((letter, []))
            at.advance(letter, v)
            continue
        size = {"m": 2, "l": 2, "t": 2, "h": 1, "v": 1, "c": 6, "s": 4, "q": 4, "a": 7}[kind]
        out: list[float] = []
        sign = -1.0 if letter.isupper() else 1.0
        for i in range(0, len(v), size):
            part = list(v[i : i + size])
            if kind == "h":
                out.append(part[0] + sign * at.x)
            elif kind == "v":
                out.append(part[0] + sign * at.y)
            elif kind == "a":
                out += [*part[:5], part[5] + sign * at.x, part[6] + sign * at.y]
            else:
                out += [w + sign * (at.x if k % 2 == 0 else at.y) for k, w in enumerate(part)]
            if kind == "m" and i:  # what follows a move under its letter draws lines
                at.advance("L" if letter == "M" else "l", part)
            else:
                at.advance(letter, part)
        swapped.append((letter.swapcase(), out))
    return swapped
