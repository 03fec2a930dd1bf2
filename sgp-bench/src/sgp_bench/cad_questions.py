"""Parts at random in the three CAD dialects, with questions whose answers follow from how they were made.

Numbers as options are four in a row, with the right one in each place equally often, so that the middle one is no
better a guess than any other.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from .cad import CadProgram, Command, Curve, Loop, extrudes, parse_cad
from .errors import SGPError
from .icons import NUMBERS
from .questions import arranged
from .records import LETTERS, Item
from .sketch import drawn, extent, facts

HINTS = {
    "deepcad": "SOL starts a loop; Line (x, y) and Arc (x, y, sweep, counter-clockwise flag) give the end point of a "
    "curve, and a loop begins at the end of its last curve; Circle (x, y, r) is a loop of its own. Ext (theta, phi, "
    "gamma, px, py, pz, s, e1, e2, operation, type) extrudes the loops since the last Ext, inner loops being holes. "
    "All "
    "numbers have 8 bits: 128 stands for 0 and 256 for 1, a radius or scale of 128 for 1, a sweep of 256 for a full "
    "turn.",
    "fusion": "add_sketch(plane, offset); add_line(sketch, x1, y1, x2, y2); add_arc(sketch, x1, y1, x2, y2, degrees); "
    "add_circle(sketch, x, y, r); add_extrude(sketch, distance, operation) extrudes the sketch along the normal of its "
    "plane. Closed curves inside the outline are holes.",
    "sketchgraphs": "Entities with construction=True are help lines and are not drawn. Constraints name the entities "
    "that they relate.",
}
OUTLINES = ("triangle", "rectangle", "pentagon", "hexagon", "octagon")
SIDES = {"triangle": 3, "rectangle": 4, "pentagon": 5, "hexagon": 6, "octagon": 8}


@dataclass(frozen=True, slots=True)
class Part:
    """A program and what is known of it: facts by name, and its exact volume (of 3D parts)."""

    program: CadProgram
    facts: dict[str, int | str]
    volume: float | None = None


def sample_part(rng: random.Random, dialect: str) -> Part:
    """A part at random in a dialect."""
    if dialect == "sketchgraphs":
        return _sketch(rng)
    if dialect not in ("deepcad", "fusion"):
        raise SGPError(f"a CAD dialect is deepcad, fusion or sketchgraphs, not {dialect!r}")
    return _plate(rng, dialect)


def _plate(rng: random.Random, dialect: str) -> Part:
    """A plate with through holes, pegs on it and blind pockets in it. In units of 1/128, which 8 bits hold exactly."""
    outline = rng.choice(OUTLINES)
    holes, pegs, pockets = rng.randint(1, 4), rng.randint(0, 2), rng.randint(0, 2)
    height = rng.choice((16, 20, 24, 40, 120))
    if outline == "rectangle":
        w, h = rng.choice(((90, 50), (50, 90), (80, 44), (60, 100)))
        corners = [(-w, -h), (w, -h), (w, h), (-w, h)]
    else:
        n, turn = SIDES[outline], rng.choice((0.25, 0.5, 0.75))
        angles = [2 * math.pi * (i + turn) / n for i in range(n)]
        corners = [(round(100 * math.cos(a)), round(100 * math.sin(a))) for a in angles]
    spots = rng.sample([(-24, -12), (0, -12), (24, -12), (-12, 14), (12, 14), (0, 1)][:5], 5)
    radii = [rng.randint(5, 9) for _ in spots]
    inner, rest = spots[:holes], spots[holes:]
    rises, deep = [rng.choice((10, 16, 30)) for _ in range(2)], [rng.choice((4, 6, 10)) for _ in range(2)]
    up, down = rest[:pegs], rest[pegs : pegs + pockets]
    pegs, pockets = len(up), len(down)
    plane = rng.choice(("XY", "XZ", "YZ")) if dialect == "fusion" else "XY"
    steps: list[tuple] = [
        (_polygon(corners), [(x, y, radii[i]) for i, (x, y) in enumerate(inner)], 0, height, "NewBody")
    ]
    steps += [(None, [(x, y, radii[holes + i])], height, rises[i], "Join") for i, (x, y) in enumerate(up)]
    steps += [(None, [(x, y, radii[holes + pegs + i])], height, -deep[i], "Cut") for i, (x, y) in enumerate(down)]
    program = _deepcad_text(steps) if dialect == "deepcad" else _fusion_text(steps, plane)
    unit = 1 / 128 if dialect == "deepcad" else 1.0
    sign = [1.0, *[1.0] * pegs, *[-1.0] * pockets]
    built = extrudes(program)
    volume = sum(s * e.area * (e.high - e.low) for s, e in zip(sign, built, strict=True))
    xs, ys = zip(*corners, strict=True)
    sizes = {"first": max(xs) - min(xs), "second": max(ys) - min(ys), "third": height + max([0, *rises[:pegs]])}
    axes = {"XY": "xyz", "XZ": "xzy", "YZ": "yzx"}[plane]
    extents = {a: v * unit for a, v in zip(axes, sizes.values(), strict=True)}
    known: dict[str, int | str] = {
        "outline": outline, "edges": SIDES[outline], "holes": holes, "pegs": pegs, "pockets": pockets,
        "extrusions": 1 + pegs + pockets, "curved": holes + pegs + pockets,
    }  # fmt: skip
    ranked = sorted(extents, key=lambda a: extents[a], reverse=True)
    if extents[ranked[0]] > 1.1 * extents[ranked[1]]:
        known["longest"] = ranked[0]
    if extents[ranked[2]] < 0.9 * extents[ranked[1]]:
        known["shortest"] = ranked[2]
    return Part(program, known, volume)


def _polygon(corners: Sequence[tuple[int, int]]) -> Loop:
    return Loop(tuple(Curve((float(x), float(y))) for x, y in (*corners[1:], corners[0])))


def _deepcad_text(steps: Sequence[tuple]) -> CadProgram:
    commands: list[Command] = []
    for outline, circles, base, height, operation in steps:
        if outline is not None:
            commands.append(Command("SOL"))
            commands += [Command("Line", (c.end[0] + 128, c.end[1] + 128)) for c in outline.curves]
        for x, y, r in circles:
            commands += [Command("SOL"), Command("Circle", (x + 128.0, y + 128.0, float(r)))]
        low, high = (base, base + height) if height > 0 else (base + height, base)
        numbers = [128.0] * 5 + [128.0 + low, 128.0, 128.0 + high - low, 128.0]
        commands.append(Command("Ext", (*numbers, operation, "OneSided")))
    return CadProgram("deepcad", (*commands, Command("EOS")))


def _fusion_text(steps: Sequence[tuple], plane: str) -> CadProgram:
    commands: list[Command] = []
    for i, (outline, circles, base, height, operation) in enumerate(steps, 1):
        name = f"s{i}"
        commands.append(Command("add_sketch", (plane, float(base)), name))
        if outline is not None:
            start = outline.curves[-1].end
            for c in outline.curves:
                commands.append(Command("add_line", (name, *start, *c.end)))
                start = c.end
        commands += [Command("add_circle", (name, float(x), float(y), float(r))) for x, y, r in circles]
        commands.append(Command("add_extrude", (name, float(height), operation)))
    return CadProgram("fusion", tuple(commands))


def _sketch(rng: random.Random) -> Part:
    """An outline of lines with circles in it, help lines through it, and the constraints that hold."""
    outline = rng.choice(OUTLINES)
    n, circles, helps = SIDES[outline], rng.randint(1, 4), rng.randint(1, 4)
    if outline == "rectangle":
        w, h = rng.choice(((60, 30), (30, 60), (50, 36), (36, 50)))
        corners = [(-w, -h), (w, -h), (w, h), (-w, h)]
    else:
        angles = [2 * math.pi * (i + rng.choice((0.25, 0.5))) / n for i in range(n)] if n == 4 else [
            2 * math.pi * (i + 0.25) / n for i in range(n)
        ]  # fmt: skip
        corners = [(round(60 * math.cos(a)), round(60 * math.sin(a))) for a in angles]
    lines = [
        Command("Line", (_pair(a), _pair(b)), f"l{i}")
        for i, (a, b) in enumerate(zip(corners, [*corners[1:], corners[0]], strict=True), 1)
    ]
    spots = rng.sample([(-12, -8), (0, -8), (12, -8), (-7, 7), (7, 7)], circles)
    rounds = [Command("Circle", (_pair(s), float(rng.randint(2, 5))), f"c{i}") for i, s in enumerate(spots, 1)]
    aids = [
        Command("Line", (_pair((-70, y)), _pair((70, y))), f"h{i}", construction=True)
        for i, y in enumerate(rng.sample(range(-20, 21, 4), helps), 1)
    ]
    entities = [*lines, *rounds, *aids]
    rng.shuffle(entities)
    constraints = [Command("Coincident", (f"l{i}", f"l{i % n + 1}")) for i in range(1, n + 1)]
    constraints += [Command("Horizontal", (f"h{i}",)) for i in range(1, helps + 1)]
    program = CadProgram("sketchgraphs", (*entities, *constraints))
    counted = facts(program)
    width, height = extent(program)
    known: dict[str, int | str] = {
        "outline": outline, "lines": counted["Line"], "circles": counted["Circle"], "helps": counted["construction"],
    }  # fmt: skip
    largest = max(float(c.arguments[1]) for c in drawn(program) if c.name == "Circle")  # type: ignore[arg-type]
    known["radius"] = int(largest)
    known["wider"] = "wider than high" if width > 1.1 * height else "higher than wide" if height > 1.1 * width else ""
    return Part(program, {k: v for k, v in known.items() if v != ""})


def _pair(p: tuple[float, float]) -> tuple[float, float]:
    return float(p[0]), float(p[1])


ASKED = {
    "holes": "How many round holes go all the way through the part?",
    "pegs": "How many round pegs stand on the plate?",
    "pockets": "How many round pockets are sunk into the plate without going through it?",
    "extrusions": "How many extrusions is the part made by?",
    "edges": "How many straight edges does the outline of the plate have?",
    "curved": "How many cylindrical faces does the part have, a peg, a pocket and a hole having one each?",
    "lines": "How many straight lines are drawn?",
    "circles": "How many circles are drawn?",
    "radius": "What is the radius of the largest circle?",
}


def cad_items(part: Part, rng: random.Random, group: str, count: int = 1) -> list[Item]:
    """Questions about a part, `count` of those it allows."""
    dialect = part.program.dialect
    text = str(part.program)
    if parse_cad(text, dialect) != part.program:
        raise SGPError("a part's text must read back as the part")
    category = {"deepcad": "3D", "fusion": "3Dcomplex", "sketchgraphs": "2D"}[dialect]
    drafts: list[tuple[str, str, Sequence[str]]] = []
    for name, question in ASKED.items():
        if name in part.facts:
            value = int(part.facts[name])
            low = max(0, value - rng.randint(0, 3))
            drafts.append((question, NUMBERS[value], NUMBERS[low : low + 4]))
    outline = str(part.facts["outline"])
    others = rng.sample([o for o in OUTLINES if o != outline], 3)
    drafts.append(
        (
            f"Which shape is the outline of the {'plate' if dialect != 'sketchgraphs' else 'drawing'}?",
            outline,
            [outline, *others],
        )
    )
    for name in ("longest", "shortest"):
        if name in part.facts:
            axes = ("x", "y", "z", "none, all three are alike")
            drafts.append((f"Along which axis is the part {name}?", str(part.facts[name]), axes))
    if "wider" in part.facts:
        forms = ("wider than high", "higher than wide", "as wide as high", "it has no size")
        drafts.append(("How does the width of the drawing compare to its height?", str(part.facts["wider"]), forms))
    items = []
    for i, (question, right, options) in enumerate(rng.sample(drafts, min(count, len(drafts)))):
        letter = rng.choice(LETTERS)
        items.append(
            Item(
                f"{group}-{i}",
                group,
                text,
                question,
                arranged(options, right, letter, rng),
                letter,
                category,
                kind="cad2d" if dialect == "sketchgraphs" else "cad3d",
                hint=HINTS[dialect],
                about=dialect,
            )
        )
    return items
