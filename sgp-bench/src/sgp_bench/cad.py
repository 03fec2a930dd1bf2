"""CAD programs in three dialects, read by one small grammar and never run.

The benchmark's CAD subsets come from three sources with a syntax each (SGP-Bench §3.1). Their public formats:

    deepcad       SOL / Line (x, y) / Arc (x, y, alpha, f) / Circle (x, y, r) / Ext (11 numbers and words) / EOS
                  8-bit numbers, 128 is zero; a loop begins where its last curve ends (DeepCAD, Table 1)
    fusion        s1 = add_sketch(XY, 0) / add_line(s1, x1, y1, x2, y2) / add_arc / add_circle / add_extrude
                  as in the Fusion 360 Gallery reconstruction set
    sketchgraphs  l1 = Line(start=(0, 0), end=(40, 0)) / Circle / Arc / Point and constraints between entities
                  with construction geometry that is not drawn

The text that the published set prints was not available; a program is kept as its raw text beside what is read.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from .errors import CadError, quoted

DIALECTS = ("deepcad", "fusion", "sketchgraphs")
MOST_COMMANDS, MOST_CHARACTERS, LARGEST = 500, 64_000, 1e6
OPERATIONS = ("NewBody", "Join", "Cut", "Intersect")
EXTENTS = ("OneSided", "Symmetric", "TwoSided")
PLANES = ("XY", "XZ", "YZ")
CONSTRAINTS = {
    "Coincident": 2, "Horizontal": 1, "Vertical": 1, "Parallel": 2, "Perpendicular": 2, "Tangent": 2, "Equal": 2,
    "Concentric": 2, "Midpoint": 2, "Distance": 3, "Length": 2, "Radius": 2, "Diameter": 2,
}  # fmt: skip
# name -> kinds of its arguments: n number, w word, p point; a capital word must be one of the set
GRAMMAR: Mapping[str, Mapping[str, str]] = {
    "deepcad": {"SOL": "", "EOS": "", "Line": "nn", "Arc": "nnnn", "Circle": "nnn", "Ext": "nnnnnnnnnww"},
    "fusion": {
        "add_sketch": "wn",
        "add_line": "wnnnn",
        "add_arc": "wnnnnn",
        "add_circle": "wnnn",
        "add_extrude": "wnw",
    },
    "sketchgraphs": {"Point": "p", "Line": "pp", "Circle": "pn", "Arc": "pnnn"}
    | {name: "w" * min(n, 2) + "n" * (n - 2) for name, n in CONSTRAINTS.items()}
    | {"Length": "wn", "Radius": "wn", "Diameter": "wn"},
}
KEYWORDS = {  # what an argument may be called; `construction` marks help lines
    "Point": ("at",), "Line": ("start", "end"), "Circle": ("center", "radius"),
    "Arc": ("center", "radius", "start_angle", "end_angle"),
}  # fmt: skip
_TOKEN = re.compile(r"\s*+(?:(-?+(?:\d++\.?+\d*+|\.\d++)(?:[eE][+-]?+\d++)?+)|([A-Za-z_][A-Za-z0-9_]*+)|([(),=]))")

Value = float | str | tuple[float, float]


@dataclass(frozen=True, slots=True)
class Command:
    name: str
    arguments: tuple[Value, ...] = ()
    target: str = ""  # what it is called, for later commands
    construction: bool = False


@dataclass(frozen=True, slots=True)
class CadProgram:
    dialect: str
    commands: tuple[Command, ...] = ()

    def __str__(self) -> str:
        return "\n".join(_print(c, self.dialect) for c in self.commands)


def parse_cad(text: str, dialect: str) -> CadProgram:
    """Reads a program, one command a line.

    Raises:
        CadError: another dialect, more than 500 commands, or a line outside the grammar, with its number.
    """
    if dialect not in GRAMMAR:
        raise CadError(f"a CAD dialect is one of {', '.join(DIALECTS)}, not {dialect!r}")
    if len(text) > MOST_CHARACTERS:
        raise CadError(f"the program has {len(text):,} characters, and {MOST_CHARACTERS:,} are allowed")
    commands: list[Command] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        if len(commands) >= MOST_COMMANDS:
            raise CadError(f"line {number}: more than {MOST_COMMANDS} commands")
        commands.append(_Line(line, number, dialect).command())
    if not commands:
        raise CadError("the program is empty")
    return CadProgram(dialect, tuple(commands))


class _Line:
    """Recursive descent over one line: [target =] name [( argument, ... )]."""

    def __init__(self, line: str, number: int, dialect: str):
        self.number, self.dialect = number, dialect
        self.tokens: list[tuple[str, str]] = []
        at = 0
        end = len(line.rstrip())
        while at < end:
            match = _TOKEN.match(line, at)
            if match is None:
                raise self.error(f"{quoted(line[at : at + 12])} is no number, word or bracket")
            kind = ("number", "word", "mark")[match.lastindex - 1]  # type: ignore[operator]
            self.tokens.append((kind, match.group(match.lastindex)))  # type: ignore[arg-type]
            at = match.end()
        self.at = 0

    def error(self, why: str) -> CadError:
        return CadError(f"line {self.number}: {why}")

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ("end", "")

    def take(self, kind: str, text: str = "") -> str:
        found = self.peek()
        if found[0] != kind or (text and found[1] != text):
            raise self.error(f"{text or 'a ' + kind} is expected, not {quoted(found[1] or 'the end of the line')}")
        self.at += 1
        return found[1]

    def command(self) -> Command:
        target = ""
        if self.peek(1) == ("mark", "="):
            target = self.take("word")
            self.take("mark", "=")
        name = self.take("word")
        grammar = GRAMMAR[self.dialect]
        if name not in grammar:
            raise self.error(f"{quoted(name)} is no command of {self.dialect}; its commands are {', '.join(grammar)}")
        arguments, construction = self.arguments(name) if self.peek() == ("mark", "(") else ((), False)
        if self.peek()[0] != "end":
            raise self.error(f"{quoted(self.peek()[1])} stands after the command")
        shape = "".join("n" if isinstance(a, float) else "p" if isinstance(a, tuple) else "w" for a in arguments)
        if shape != grammar[name]:
            words = {"n": "number", "p": "point", "w": "word"}
            wanted = ", ".join(words[c] for c in grammar[name]) or "nothing"
            raise self.error(f"{name} takes {wanted}, not {', '.join(words[c] for c in shape) or 'nothing'}")
        return Command(name, arguments, target, construction)

    def arguments(self, name: str) -> tuple[tuple[Value, ...], bool]:
        self.take("mark", "(")
        found: list[Value] = []
        construction = False
        while self.peek() != ("mark", ")"):
            if found or construction:
                self.take("mark", ",")
            if self.peek(1) == ("mark", "="):
                key = self.take("word")
                self.take("mark", "=")
                if key == "construction" and self.dialect == "sketchgraphs":
                    construction = self.take("word") == "True"
                    continue
                names = KEYWORDS.get(name, ())
                if key not in names or names.index(key) != len(found):
                    raise self.error(f"{name} has no argument {quoted(key)} here")
            found.append(self.value())
        self.take("mark", ")")
        return tuple(found), construction

    def value(self) -> Value:
        if self.peek()[0] == "word":
            return self.take("word")
        if self.peek() == ("mark", "("):
            self.take("mark", "(")
            x = self.value_number()
            self.take("mark", ",")
            y = self.value_number()
            self.take("mark", ")")
            return (x, y)
        return self.value_number()

    def value_number(self) -> float:
        value = float(self.take("number"))
        if not abs(value) <= LARGEST:
            raise self.error(f"a number is beyond {LARGEST:g}")
        return value


def _print(command: Command, dialect: str) -> str:
    if not command.arguments:
        return command.name
    names = KEYWORDS.get(command.name, ()) if dialect == "sketchgraphs" else ()
    texts = [_shown(a) for a in command.arguments]
    texts = [f"{n}={t}" for n, t in zip(names, texts, strict=True)] if names else texts
    texts += ["construction=True"] if command.construction else []
    gap = " " if dialect == "deepcad" else ""
    return f"{command.target + ' = ' if command.target else ''}{command.name}{gap}({', '.join(texts)})"


def _shown(value: Value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, tuple):
        return f"({value[0]:.10g}, {value[1]:.10g})"
    return f"{value:.10g}"


# -- geometry: every dialect's programs as extrusions of loops


@dataclass(frozen=True, slots=True)
class Curve:
    """From where the curve before it ended to `end`; `sweep` in degrees, counter-clockwise positive, 0 for a line."""

    end: tuple[float, float]
    sweep: float = 0.0


@dataclass(frozen=True, slots=True)
class Loop:
    """A closed run of curves that begins at the last one's end, or a circle (middle, radius)."""

    curves: tuple[Curve, ...] = ()
    circle: tuple[float, float, float] | None = None

    @property
    def edges(self) -> int:
        return 1 if self.circle else len(self.curves)

    @property
    def area(self) -> float:
        """Exact, arcs as arcs (Green's theorem)."""
        if self.circle:
            return math.pi * self.circle[2] ** 2
        total = 0.0
        start = self.curves[-1].end
        for c in self.curves:
            total += (start[0] * c.end[1] - c.end[0] * start[1]) / 2
            if c.sweep:
                t = math.radians(c.sweep)
                radius = math.dist(start, c.end) / (2 * abs(math.sin(t / 2)))
                total += radius**2 / 2 * (t - math.sin(t))
            start = c.end
        return abs(total)

    def points(self, per_turn: int = 128) -> list[tuple[float, float]]:
        """A polygon with its corners on the curves."""
        if self.circle:
            x, y, r = self.circle
            turns = (2 * math.pi * i / per_turn for i in range(per_turn))
            return [(x + r * math.cos(t), y + r * math.sin(t)) for t in turns]
        found = []
        start = self.curves[-1].end
        for c in self.curves:
            found += _along(start, c, per_turn) if c.sweep else [c.end]
            start = c.end
        return found


def _along(start: tuple[float, float], c: Curve, per_turn: int) -> list[tuple[float, float]]:
    t = math.radians(c.sweep)
    mx, my = (start[0] + c.end[0]) / 2, (start[1] + c.end[1]) / 2
    dx, dy = c.end[0] - start[0], c.end[1] - start[1]
    height = 1 / (2 * math.tan(t / 2)) if abs(abs(t) - math.pi) > 1e-12 else 0.0
    x, y = mx - dy * height, my + dx * height
    steps = max(1, round(abs(t) / (2 * math.pi) * per_turn))
    a = math.atan2(start[1] - y, start[0] - x)
    r = math.dist(start, (x, y))
    return [(x + r * math.cos(a + t * i / steps), y + r * math.sin(a + t * i / steps)) for i in range(1, steps)] + [
        c.end
    ]


@dataclass(frozen=True, slots=True)
class Extrude:
    """Loops in a plane (the first is the outline, the others are holes), swept from `low` to `high` along its normal.

    `axes`: origin, x axis, y axis of the plane in space.
    """

    loops: tuple[Loop, ...]
    axes: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
    low: float
    high: float
    operation: str

    @property
    def area(self) -> float:
        return self.loops[0].area - sum(h.area for h in self.loops[1:])


def extrudes(program: CadProgram) -> list[Extrude]:
    """What a 3D program builds, in order.

    Raises:
        CadError: an open loop, an unknown plane or operation, an extrusion of nothing or without height.
    """
    if program.dialect == "deepcad":
        found = list(_deepcad(program))
    elif program.dialect == "fusion":
        found = list(_fusion(program))
    else:
        raise CadError("a sketchgraphs program is a sketch and builds no solid")
    if not found:
        raise CadError("the program extrudes nothing")
    for number, e in enumerate(found, 1):
        if e.operation not in OPERATIONS:
            raise CadError(f"extrusion {number}: the operation is one of {', '.join(OPERATIONS)}, not {e.operation!r}")
        if not e.high - e.low > 1e-9:
            raise CadError(f"extrusion {number} has no height")
        if not e.area > 1e-9:
            raise CadError(f"extrusion {number} has a profile without area")
    return found


def _deepcad(program: CadProgram) -> Iterator[Extrude]:
    """Numbers q of 8 bits mean (q - 128)/128; radii, scale and sweep count from 0 (q/128, and q/256 of a turn)."""
    loops: list[Loop] = []
    curves: list[Curve] | None = None

    def closed() -> None:
        if curves:
            if len(curves) == 1 or (len(curves) == 2 and not any(c.sweep for c in curves)):
                raise CadError("a loop needs three lines, two curves with an arc, or a circle")
            loops.append(Loop(tuple(curves)))

    for c in program.commands:
        v = c.arguments
        if c.name == "SOL":
            closed()
            curves = []
        elif c.name == "EOS":
            break
        elif curves is None:
            raise CadError(f"{c.name} stands before the first SOL")
        elif c.name == "Line":
            curves.append(Curve((_centred(v[0]), _centred(v[1]))))
        elif c.name == "Arc":
            sweep = float(v[2]) / 256 * 360 * (1 if v[3] else -1)  # type: ignore[arg-type]
            if not 0 < abs(sweep) < 360:
                raise CadError("an arc turns by more than 0 and less than 360 degrees")
            curves.append(Curve((_centred(v[0]), _centred(v[1])), sweep))
        elif c.name == "Circle":
            closed()
            curves = []
            loops.append(Loop(circle=(_centred(v[0]), _centred(v[1]), float(v[2]) / 128)))  # type: ignore[arg-type]
        else:
            closed()
            curves = None
            if not loops:
                raise CadError("Ext closes a profile, and there is none")
            theta, phi, gamma, px, py, pz = (_centred(x) for x in v[:6])
            scale, e1, e2 = float(v[6]) / 128, _centred(v[7]), _centred(v[8])  # type: ignore[arg-type]
            operation, kind = str(v[9]), str(v[10])
            if kind not in EXTENTS:
                raise CadError(f"an extent is one of {', '.join(EXTENTS)}, not {kind!r}")
            low, high = {"OneSided": (0.0, e1), "Symmetric": (-e1, e1), "TwoSided": (-e2, e1)}[kind]
            axes = ((px, py, pz), *_euler(theta * math.pi, phi * math.pi, gamma * math.pi))
            scaled = tuple(_scaled(loop, scale) for loop in loops)
            yield Extrude(scaled, axes, min(low, high), max(low, high), operation)
            loops = []


def _centred(value: Value) -> float:
    return (float(value) - 128) / 128  # type: ignore[arg-type]


def _scaled(loop: Loop, s: float) -> Loop:
    if loop.circle:
        x, y, r = loop.circle
        return Loop(circle=(s * x, s * y, s * r))
    return Loop(tuple(Curve((s * c.end[0], s * c.end[1]), c.sweep) for c in loop.curves))


def _euler(theta: float, phi: float, gamma: float) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """x and y axis of a plane turned by gamma about z, then theta about y, then phi about z.

    The normal is (sin θ cos φ, sin θ sin φ, cos θ), so that θ, φ are its polar angles. Angles near multiples of a
    quarter turn are read as such: 8 bits hold them exactly.
    """
    ct, st, cp, sp, cg, sg = (round(f(a), 12) for a in (theta, phi, gamma) for f in (math.cos, math.sin))
    x = (cp * ct * cg - sp * sg, sp * ct * cg + cp * sg, -st * cg)
    y = (-cp * ct * sg - sp * cg, -sp * ct * sg + cp * cg, st * sg)
    return x, y


FUSION_PLANES = {
    "XY": ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)),
    "XZ": ((1.0, 0.0, 0.0), (0.0, 0.0, 1.0), (0.0, -1.0, 0.0)),
    "YZ": ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)),
}


def _fusion(program: CadProgram) -> Iterator[Extrude]:
    """Sketches keep their edges; closed runs of them become loops, the one with the largest area the outline."""
    sketches: dict[str, tuple[str, float, list[tuple[tuple[float, float], Curve]], list[Loop]]] = {}
    for c in program.commands:
        v = c.arguments
        if c.name == "add_sketch":
            if v[0] not in FUSION_PLANES:
                raise CadError(f"a sketch plane is one of {', '.join(FUSION_PLANES)}, not {v[0]!r}")
            sketches[c.target] = (str(v[0]), float(v[1]), [], [])  # type: ignore[arg-type]
            continue
        if v[0] not in sketches:
            raise CadError(f"{c.name} names the sketch {quoted(v[0])}, which was not added")
        plane, offset, edges, circles = sketches[v[0]]  # type: ignore[index]
        n = [float(x) for x in v[1:] if isinstance(x, float)]
        if c.name == "add_line":
            edges.append(((n[0], n[1]), Curve((n[2], n[3]))))
        elif c.name == "add_arc":
            edges.append(((n[0], n[1]), Curve((n[2], n[3]), n[4])))
        elif c.name == "add_circle":
            circles.append(Loop(circle=(n[0], n[1], n[2])))
        else:
            loops = sorted([*_chained(edges), *circles], key=lambda loop: -loop.area)
            if not loops:
                raise CadError(f"add_extrude takes the sketch {quoted(v[0])}, which is empty")
            x, y, normal = FUSION_PLANES[plane]
            origin = tuple(offset * w for w in normal)
            low, high = sorted((0.0, n[0]))
            if plane == "XZ":  # x × z points to -y, and distances count along +y
                low, high = -high, -low
                origin = (0.0, offset, 0.0)
            yield Extrude(tuple(loops), (origin, x, y), low, high, str(v[2]))  # type: ignore[arg-type]


def _chained(edges: list[tuple[tuple[float, float], Curve]]) -> list[Loop]:
    loops: list[Loop] = []
    run: list[Curve] = []
    first: tuple[float, float] | None = None
    for start, curve in edges:
        if first is None:
            first = start
        elif math.dist(run[-1].end, start) > 1e-6:
            raise CadError("the edges of a sketch must follow one another: one begins where none ended")
        run.append(curve)
        if math.dist(curve.end, first) <= 1e-6:
            loops.append(Loop(tuple(run)))
            run, first = [], None
    if run:
        raise CadError("a sketch has an open run of edges")
    return loops
