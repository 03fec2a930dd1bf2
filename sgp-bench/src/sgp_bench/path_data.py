"""Path data, point lists and transform lists: SVG 1.1 grammar to numbers and back.

    M 10,10 l 5,0 a 3 3 0 01 6,0 z   ->   [("M", [10, 10]), ("l", [5, 0]), ("a", [3, 3, 0, 0, 1, 6, 0]), ("z", [])]

A command keeps its letter and its repeats, so that what is printed has the shape of what was read. Renderers draw a
broken path as far as it goes; here it is refused, with the offset of the first character that does not fit.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from .errors import MalformedSvg, UnsafeSvg, quoted
from .matrix import IDENTITY, Matrix, multiply, rotation, translation

Command = tuple[str, list[float]]

LARGEST = 1e6  # of any number's magnitude
ARGUMENTS = {"m": 2, "l": 2, "h": 1, "v": 1, "c": 6, "s": 4, "q": 4, "t": 2, "a": 7, "z": 0}
# possessive throughout, so that no text takes more than linear time
NUMBER = r"[+-]?+(?:\d++\.?+\d*+|\.\d++)(?:[eE][+-]?+\d++)?+"
_NUMBER = re.compile(NUMBER)
_NUMBERS = re.compile(rf"\s*+(?:{NUMBER}(?:\s*+,?+\s*+{NUMBER})*+)?+\s*+")
_COMMAND = re.compile(r"([MmZzLlHhVvCcSsQqTtAa])([^MmZzLlHhVvCcSsQqTtAa]*+)")
_GAP = re.compile(r"\s*+,?+\s*+")
_ARC = tuple(
    re.compile(p) for p in (r"\+?+" + NUMBER[6:], r"\+?+" + NUMBER[6:], NUMBER, "[01]", "[01]", NUMBER, NUMBER)
)
_TRANSFORM = re.compile(r"\s*+,?+\s*+(matrix|translate|scale|rotate|skewX|skewY)\s*+\(([^()]*+)\)\s*+")
_TAKES = {"matrix": (6,), "translate": (1, 2), "scale": (1, 2), "rotate": (1, 3), "skewX": (1,), "skewY": (1,)}


def parse_path(text: str, where: str = "path data") -> list[Command]:
    """Commands of path data, repeats under one letter.

    Raises:
        MalformedSvg: text outside the grammar, with its offset.
        UnsafeSvg: a number that is not finite or above 1e6.
    """
    commands: list[Command] = []
    start = len(text) - len(text.lstrip())
    at = start
    for match in _COMMAND.finditer(text, start):
        if match.start() != at:
            break
        letter, arguments = match.groups()
        count = ARGUMENTS[letter.lower()]
        if not commands and letter not in "Mm":
            raise MalformedSvg(f"{where} must begin with M, and begins with {quoted(text[at : at + 8])}")
        if letter in "Aa":
            values = _arcs(text, match.start(2), match.end(), where)
        else:
            values = numbers(arguments, where, match.start(2))
        if (len(values) % count if count else len(values)) or (count and not values):
            raise MalformedSvg(
                f"{where}, offset {at}: {letter} takes {f'multiples of {count}' if count else 'no'} numbers, "
                f"and {len(values)} are given"
            )
        commands.append((letter, values))
        at = match.end()
    if at != len(text):
        raise MalformedSvg(f"{where}, offset {at}: {quoted(text[at : at + 12])} is no path command")
    return commands


def numbers(text: str, where: str = "numbers", offset: int = 0) -> list[float]:
    """Numbers apart by blanks and at most one comma.

    Raises:
        MalformedSvg: anything else in the text, with its offset.
        UnsafeSvg: a number that is not finite or above 1e6.
    """
    match = _NUMBERS.match(text)
    if match is None or match.end() != len(text):
        at = match.end() if match else 0
        raise MalformedSvg(f"{where}, offset {offset + at}: {quoted(text[at : at + 12])} is no number")
    return bounded([float(n) for n in _NUMBER.findall(text)], where)


def bounded(values: list[float], where: str) -> list[float]:
    if values and not (max(values) <= LARGEST and min(values) >= -LARGEST):
        raise UnsafeSvg(f"{where} holds a number that is not finite or is beyond {LARGEST:g}")
    return values


def _arcs(text: str, at: int, end: int, where: str) -> list[float]:
    """Flags of an arc are one digit each and need no gap after them: `a1 1 0 01.5.5`."""
    values: list[float] = []
    at = _GAP.match(text, at, end).end()  # type: ignore[union-attr]
    while at < end:
        for pattern in _ARC:
            match = pattern.match(text, at, end)
            if match is None:
                raise MalformedSvg(f"{where}, offset {at}: {quoted(text[at : at + 12])} does not fit an arc")
            values.append(float(match.group()))
            at = _GAP.match(text, match.end(), end).end()  # type: ignore[union-attr]
    return bounded(values, where)


def print_number(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def print_path(commands: Sequence[Command], decimals: int) -> str:
    """Path data with at most so many decimals; parsing it gives the commands back, rounded."""
    form = f"%.{decimals}f"
    parts = []
    for letter, values in commands:
        texts = [form % v for v in values]
        if decimals:
            texts = [t.rstrip("0").rstrip(".") if "." in t else t for t in texts]
        texts = ["0" if t == "-0" else t for t in texts]
        parts.append(letter + ("" if letter in "Zz" else " ".join(texts)))
    return "".join(parts)


def parse_points(text: str, where: str = "points") -> list[float]:
    """x0, y0, x1, y1, … of a polygon or polyline."""
    values = numbers(text, where)
    if len(values) % 2:
        raise MalformedSvg(f"{where}: {len(values)} numbers are no pairs")
    return values


def print_points(values: Sequence[float], decimals: int) -> str:
    texts = [print_number(v, decimals) for v in values]
    return " ".join(f"{x},{y}" for x, y in zip(texts[::2], texts[1::2], strict=True))


def parse_transform(text: str, where: str = "transform") -> Matrix:
    """The product of a transform list; the first stands outermost.

    Raises:
        MalformedSvg: an unknown function or a wrong number of arguments.
    """
    total, at = IDENTITY, 0
    while at < len(text.rstrip()):
        match = _TRANSFORM.match(text, at)
        if match is None:
            raise MalformedSvg(f"{where}, offset {at}: {quoted(text[at : at + 20])} is no transform")
        name, values = match.group(1), numbers(match.group(2), where, match.start(2))
        if len(values) not in _TAKES[name]:
            raise MalformedSvg(
                f"{where}: {name} takes {' or '.join(map(str, _TAKES[name]))} numbers, not {len(values)}"
            )
        total = multiply(total, _function(name, values))
        at = match.end()
    return total


def _function(name: str, v: Sequence[float]) -> Matrix:
    from math import radians, tan

    if name == "matrix":
        return (v[0], v[1], v[2], v[3], v[4], v[5])
    if name == "translate":
        return translation(v[0], v[1] if len(v) > 1 else 0.0)
    if name == "scale":
        return (v[0], 0.0, 0.0, v[-1], 0.0, 0.0)
    if name == "rotate":
        return rotation(v[0], *v[1:])
    if name == "skewX":
        return (1.0, 0.0, tan(radians(v[0])), 1.0, 0.0, 0.0)
    return (1.0, tan(radians(v[0])), 0.0, 1.0, 0.0, 0.0)


def print_transform(matrix: Matrix, decimals: int) -> str:
    a, b, c, d, e, f = matrix
    if (a, b, c, d) == (1, 0, 0, 1):
        return f"translate({print_number(e, decimals)} {print_number(f, decimals)})"
    # the linear part multiplies coordinates of up to some thousands, and wants as many digits more
    return "matrix({} {} {} {} {} {})".format(
        *(print_number(v, decimals + 4) for v in (a, b, c, d)), *(print_number(v, decimals + 1) for v in (e, f))
    )
