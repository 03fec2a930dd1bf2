"""SE(2) motions of whole programs, and controls that leave the picture where it is.

The numbers of a leaf under transforms T must change so that T·data' = M·T·data, that is data' = (T⁻¹ M T)·data. Where
T scales unevenly that is no isometry, and where a paint, clip or mask hangs on the element's box, its numbers cannot
say it: such an element is wrapped in a group with the motion as its transform, which is exact as well.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import SGPError
from .matrix import IDENTITY, Matrix, inverse, is_similarity, multiply, rotation, translation
from .path_data import parse_path, parse_transform, print_number, print_path, print_transform
from .svg_geometry import GEOMETRY, as_path, move_path, move_shape, swap_relative
from .svg_safe import SHAPES, Element, SvgProgram, parse_svg, references

CONTROLS = ("format", "syntax", "transform_attr")
DEFINED = ("defs", "symbol", "clipPath", "mask", "pattern", "marker", "linearGradient", "radialGradient", "style")


@dataclass(frozen=True, slots=True)
class Severity:
    """How far a motion goes. Shifts are shares of the canvas, angles degrees; `margin` enlarges the canvas."""

    shift: tuple[float, float]
    either_way: bool = False  # shifts to both sides
    turn: bool = False  # any angle about the middle of the canvas
    margin: float = 0.0  # of width and height, added on each side

    def __post_init__(self) -> None:
        if not 0 <= self.shift[0] <= self.shift[1] < 1 or not 0 <= self.margin <= 2:
            raise SGPError(f"a severity shifts by shares in [0, 1) and has a margin in [0, 2], not {self}")


SEVERITIES: Mapping[str, Severity] = {
    # what the published copies do: measured on all of them, always down and to the right
    "official": Severity((0.005, 0.01)),
    "visible": Severity((0.0, 0.1), either_way=True, margin=0.1),
    # a square turned about its middle sticks out by (√2 - 1)/2 = 21 %
    "se2": Severity((0.0, 0.1), either_way=True, turn=True, margin=0.32),
}


@dataclass(frozen=True, slots=True)
class Motion:
    """x' = matrix · x on a canvas that grows by `margin` on each side."""

    matrix: Matrix
    degrees: float = 0.0
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Perturbed:
    """The moved program. No point of its drawing is further than `max_error` user units from where it should be."""

    program: SvgProgram
    motion: Motion
    max_error: float


def draw_motion(severity: Severity, view_box: tuple[float, float, float, float], rng: random.Random) -> Motion:
    """A motion at random, for a canvas."""
    x, y, width, height = view_box
    sign = (lambda: rng.choice((-1, 1))) if severity.either_way else (lambda: 1)
    shift = translation(
        sign() * rng.uniform(*severity.shift) * width,
        sign() * rng.uniform(*severity.shift) * height,
    )
    degrees = rng.uniform(15, 345) if severity.turn else 0.0
    turn = rotation(degrees, x + width / 2, y + height / 2) if severity.turn else IDENTITY
    return Motion(multiply(shift, turn), degrees, severity.margin)


def perturb(program: SvgProgram | str, motion: Motion, decimals: int = 3) -> Perturbed:
    """The program whose picture is that of `program` moved by the motion.

    Raises:
        SGPError: decimals outside 0 to 12, a motion that is no isometry, or transforms in style sheets.
    """
    program = parse_svg(program) if isinstance(program, str) else program
    if not 0 <= decimals <= 12:
        raise SGPError(f"decimals must be in 0 to 12, not {decimals}")
    a, b, *_ = motion.matrix
    if not is_similarity(motion.matrix) or abs(math.hypot(a, b) - 1) > 1e-9:
        raise SGPError(f"a motion must turn and shift and do nothing else, not {motion.matrix}")
    mover = _Mover(motion.matrix, decimals, program.root)
    root = Element("svg", dict(program.root.attributes), mover.children(program.root, IDENTITY), program.root.text)
    if motion.margin:
        x, y, width, height = program.view_box
        grown = 1 + 2 * motion.margin
        box = (x - motion.margin * width, y - motion.margin * height, grown * width, grown * height)
        root.attributes["viewBox"] = " ".join(print_number(v, decimals) for v in box)
    moved = SvgProgram(root, program.repairs)
    return Perturbed(moved, motion, mover.error)


class _Mover:
    def __init__(self, m: Matrix, decimals: int, root: Element):
        self.m, self.decimals = m, decimals
        self.error = 0.0
        drawn: set[str] = set()
        self._drawn_ids(root, drawn)
        self.referred = {name for e in root for name in references(e)} & drawn
        self.by_id = {e.attributes["id"]: e for e in root if "id" in e.attributes}

    def _drawn_ids(self, element: Element, found: set[str]) -> None:
        for child in element.children:
            if child.tag not in DEFINED:
                if "id" in child.attributes:
                    found.add(child.attributes["id"])
                self._drawn_ids(child, found)

    def children(self, parent: Element, total: Matrix) -> list[Element]:
        moved = [self.element(child, total) for child in parent.children]
        if parent.tag == "svg" and self.referred:  # what is drawn and also used keeps an unmoved original in <defs>
            originals = []
            for name in sorted(self.referred):
                copy = self.by_id[name].copy()
                for e in copy:
                    if "id" in e.attributes:
                        e.attributes["id"] += "-unmoved"
                originals.append(copy)
            moved.insert(0, Element("defs", {}, originals))
        return moved

    def element(self, element: Element, parent: Matrix) -> Element:
        """An element whose ancestors' transforms multiply to `parent`, moved."""
        if element.tag in DEFINED or element.tag in ("title", "desc"):
            return element
        css = element.attributes.get("style", "")
        if "transform" in css or "transform-origin" in element.attributes:
            raise SGPError("transforms in style sheets are not moved: write them as transform attributes")
        own = parse_transform(element.attributes.get("transform", ""))
        total = multiply(parent, own)
        plain = element.tag in ("g", "a", "switch", *SHAPES)
        if not plain or not is_similarity(total) or references(element):
            return self.wrapped(element, parent)
        if element.tag not in SHAPES:
            return Element(element.tag, element.attributes, self.children(element, total), element.text)
        local = self.m if total == IDENTITY else _tidy(multiply(inverse(total), multiply(self.m, total)))
        scale = math.hypot(total[0], total[1])
        if element.tag == "path":
            commands = move_path(parse_path(element.attributes.get("d", "")), local)
            self.note(scale, _longest_relative_run(commands))
            data = print_path(commands, self.decimals)
            return Element("path", element.attributes | {"d": data}, element.children, element.text)
        self.note(scale, 0)
        moved = move_shape(element, local, self.decimals)
        return self.wrapped(element, parent) if moved is None else moved

    def wrapped(self, element: Element, parent: Matrix) -> Element:
        local = multiply(inverse(parent), multiply(self.m, parent))
        # coordinates of up to about a thousand units meet a matrix rounded four digits finer
        self.note(1.0, 0)
        inner = element
        if element.tag == "use" and set(references(element)) & self.referred:
            name = "xlink:href" if "xlink:href" in element.attributes else "href"
            inner = element.copy()
            inner.attributes[name] += "-unmoved"
        return Element("g", {"transform": print_transform(_tidy(local), self.decimals)}, [inner])

    def note(self, scale: float, steps: int) -> None:
        """Each printed number is off by half a unit of its last place; relative commands add theirs up."""
        self.error = max(self.error, scale * math.sqrt(2) * 0.5 * 10**-self.decimals * (steps + 1))


def _tidy(m: Matrix) -> Matrix:
    """Rounding noise of a product taken off, so that shifts stay shifts."""
    linear = tuple(round(v) + 0.0 if abs(v - round(v)) < 1e-12 else v for v in m[:4])
    return (*linear, m[4], m[5])  # type: ignore[return-value]


def _longest_relative_run(commands: list[tuple[str, list[float]]]) -> int:
    longest = run = 0
    per = {"m": 2, "l": 2, "t": 2, "h": 1, "v": 1, "c": 6, "s": 4, "q": 4, "a": 7}
    for letter, values in commands:
        if letter in "MLTCSQA":
            run = 0
        elif letter.lower() != "z":
            run += len(values) // per[letter.lower()]
            longest = max(longest, run)
    return longest


def control(program: SvgProgram | str, kind: str, decimals: int = 3) -> SvgProgram:
    """A program with other text and the same picture.

    `format` writes it as an HTML parser does (sorted attributes, indentation, open tags, `0` as `0.0`), but for the
    lower-case viewbox, which changes the picture; `syntax` swaps absolute and relative commands, makes shapes paths
    and dissolves groups; `transform_attr` puts all into one group with an identity that is written out.

    Raises:
        SGPError: another kind.
    """
    program = parse_svg(program) if isinstance(program, str) else program
    root = program.root.copy()
    if kind == "syntax":
        root.children = [e for child in root.children for e in _respelled(child, decimals)]
    elif kind == "transform_attr":
        inside = [c for c in root.children if c.tag not in DEFINED]
        outside = [c for c in root.children if c.tag in DEFINED]
        root.children = [*outside, Element("g", {"transform": "translate(0 0)"}, inside)]
    elif kind == "format":
        _reformat(root)
    else:
        raise SGPError(f"a control is one of {', '.join(CONTROLS)}, not {kind!r}")
    return SvgProgram(root, program.repairs)


def _reformat(root: Element) -> None:
    for element in root:
        element.attributes = dict(sorted(element.attributes.items()))
        if element.tag == "path" and "d" in element.attributes:
            commands = parse_path(element.attributes["d"])
            element.attributes["d"] = "".join(
                letter + ",".join(_long(v, flag=letter in "Aa" and i % 7 in (3, 4)) for i, v in enumerate(values))
                for letter, values in commands
            )


def _long(value: float, flag: bool = False) -> str:
    return f"{value:g}" if flag else repr(float(value))


def _respelled(element: Element, decimals: int) -> list[Element]:
    if element.tag in DEFINED:
        return [element]
    if element.tag == "path" and "d" in element.attributes:
        data = print_path(swap_relative(parse_path(element.attributes["d"])), decimals)
        return [Element("path", element.attributes | {"d": data}, element.children, element.text)]
    if element.tag in GEOMETRY:
        return [as_path(element, IDENTITY, decimals) or element]
    if element.tag == "g":
        inner = [e for child in element.children for e in _respelled(child, decimals)]
        if _dissolvable(element):
            passed = {k: v for k, v in element.attributes.items() if k not in ("id", "class")}
            return [_inheriting(e, passed) for e in inner]
        return [Element("g", element.attributes, inner, element.text)]
    return [element]


INHERITED = ("fill", "fill-rule", "fill-opacity", "stroke", "stroke-width", "stroke-linecap", "stroke-linejoin")


def _dissolvable(group: Element) -> bool:
    """A group whose attributes may stand on its children instead: nothing that acts on it as a whole."""
    return all(k in ("id", "transform", *INHERITED) for k in group.attributes)


def _inheriting(element: Element, passed: dict[str, str]) -> Element:
    attributes = {k: v for k, v in passed.items() if k != "transform"} | element.attributes
    if "transform" in passed:
        attributes["transform"] = (passed["transform"] + " " + element.attributes.get("transform", "")).strip()
    return Element(element.tag, attributes, element.children, element.text)
