"""Questions from a user's own folder of SVG files, whose truth is read off their pixels.

Without any model three kinds of facts are beyond doubt: the background's colour, which colour covers the most, which of
four is there (or is not), and how many separate patches of a colour there are where the patches stand well apart. A
vision model (vision_questions.py) asks more.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from . import pixels
from .colours import NAMES
from .errors import SGPError, sentence
from .icons import NUMBERS
from .questions import arranged
from .records import LETTERS, Item
from .render import RendererPool
from .svg_safe import Limits, parse_svg

SIZE = 384
SAFE = 0.02  # of the picture: less of a colour is not asked about, and more is not said to be missing


@dataclass
class Folder:
    """What a folder gave: items, why files were left out, and the repairs that files needed."""

    items: list[Item] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    repaired: dict[str, tuple[str, ...]] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)
    asked_nothing: list[str] = field(default_factory=list)


def from_folder(
    path: Path,
    seed: int = 0,
    limits: Limits | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Folder:
    """A verified question set of all .svg files below `path`.

    Raises:
        SGPError: no such folder, or no .svg file in it.
    """
    limits = limits or Limits()
    if not path.is_dir():
        raise SGPError(f"data.path must be a folder of .svg files, and {path} is none")
    files = sorted(p for p in path.rglob("*") if p.suffix.lower() == ".svg" and p.is_file() and not p.is_symlink())
    if not files:
        raise SGPError(f"{path} holds no .svg file")
    found = Folder()
    programs = []
    for file in files:
        name = str(file.relative_to(path))
        try:
            if file.stat().st_size > limits.bytes:
                raise SGPError(f"the program has {file.stat().st_size:,} bytes, and {limits.bytes:,} are allowed")
            program = parse_svg(file.read_bytes(), limits)
        except (SGPError, OSError) as error:
            found.refused[name] = sentence(error)
            continue
        programs.append((name, program))
        if program.repairs:
            found.repaired[name] = program.repairs
    with RendererPool() as pool:
        for start in range(0, len(programs), 32):
            part = programs[start : start + 32]
            for (name, program), png in zip(part, pool.png([p for _, p in part], SIZE), strict=True):
                if isinstance(png, SGPError):
                    found.refused[name] = sentence(png)
                    continue
                items = picture_questions(name, str(program), png, random.Random(f"{seed}/{name}"))
                if items:
                    found.pictures[name] = png
                    found.items += items
                else:
                    found.asked_nothing.append(name)
            if progress:
                progress(min(start + 32, len(programs)), len(programs))
    return found


def picture_questions(name: str, program: str, png: bytes, rng: random.Random) -> list[Item]:
    """Questions whose answers follow from the pixels; none about an empty picture."""
    import io

    image = Image.open(io.BytesIO(png)).convert("RGB")
    shares = pixels.colours(image, 0.0)
    ground = pixels.background(image)
    patches = pixels.patches(image)
    shown = {c: s for c, s in shares.items() if s >= SAFE and c != ground}
    absent = [c for c in NAMES if shares.get(c, 0.0) == 0.0]
    drafts: list[tuple[str, str, str, list[str]]] = []
    if not shown:
        return []
    if ground is not None and len(absent) >= 3:
        others = rng.sample([c for c in (*shown, *absent) if c != ground], 3)
        drafts.append(("Color", "What color is the background of the picture?", ground, [ground, *others]))
    ranked = sorted(shown, key=lambda c: shown[c], reverse=True)
    if len(ranked) >= 4 and shown[ranked[0]] >= 1.25 * shown[ranked[1]]:
        question = "Which of these colors covers the largest area, not counting the background?"
        drafts.append(("Color", question, ranked[0], [ranked[0], *rng.sample(ranked[1:], 3)]))
    if len(absent) >= 3:
        here = rng.choice(ranked)
        if here != "white":
            drafts.append(
                ("Color", "Which of these colors appears in the picture?", here, [here, *rng.sample(absent, 3)])
            )
    if len([c for c in ranked if c != "white"]) >= 3 and absent:
        there = rng.sample([c for c in ranked if c != "white"], 3)
        missing = rng.choice(absent)
        drafts.append(("Color", "Which of these colors does not appear in the picture?", missing, [missing, *there]))
    for colour, count in _countable(patches, shares, ground).items():
        low = max(1, count - rng.randint(0, 3))
        options = list(NUMBERS[low : low + 4])
        if len(options) == 4:
            question = f"How many separate {colour} areas does the picture have?"
            drafts.append(("Count", question, NUMBERS[count], options))
    letters = [LETTERS[i % 4] for i in range(len(drafts))]
    rng.shuffle(letters)
    return [
        Item(f"{name}-{i}", name, program, question, arranged(options, right, letter, rng), letter, category)
        for i, ((category, question, right, options), letter) in enumerate(zip(drafts, letters, strict=True))
    ]


def _countable(patches: list[pixels.Patch], shares: dict[str, float], ground: str | None) -> dict[str, int]:
    """Colours whose patches are all large and stand apart: nobody would count them otherwise."""
    counts: Counter[str] = Counter(p.colour for p in patches if p.colour != ground)
    found = {}
    for colour, n in counts.items():
        own = [p for p in patches if p.colour == colour]
        covered = sum(p.pixels for p in own) / (SIZE * SIZE)
        apart = all(_gap(a, b) > 0.03 * SIZE for i, a in enumerate(own) for b in own[:i])
        if n <= 6 and apart and min(p.pixels for p in own) > 0.004 * SIZE * SIZE and covered > 0.97 * shares[colour]:
            found[colour] = n
    return found


def _gap(a: pixels.Patch, b: pixels.Patch) -> float:
    """Between two boxes, along the axis where they are further apart."""
    return max(a.box[0] - b.box[2], b.box[0] - a.box[2], a.box[1] - b.box[3], b.box[1] - a.box[3])
