"""The fixed question set that a large model was asked once, blind: its items, prompts and files.

Frozen: the recording holds answers to exactly these prompts (a test asks for every one of them). Made of 70 questions
about programs in the icon dialect, 14 a category; 16 of them again after a shift, after a turn and a shift, and in
other text; 12 CAD questions, 10 digits, and 10 questions beside the program of another scene.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from shared.llm import Request, open_llm

from .cad_questions import cad_items, sample_part
from .evaluate import Results, evaluate
from .mnist import digit_items
from .perturb import SEVERITIES, control, draw_motion, perturb
from .prompts import messages
from .questions import make_questions, relettered
from .records import CATEGORIES, LETTERS, Item, read_items
from .scenes import sample_scene
from .svg_safe import parse_svg

SEED = "recorded-1"
EACH, PERTURBED, CAD, DIGITS = 14, 16, 4, 10
VERSIONS = ("visible", "se2", "format")


def recorded_items() -> list[Item]:
    """All 150, the same on every machine."""
    originals = _originals()
    items = list(originals)
    still = [i for i in originals if i.invariant["r"] and i.invariant["t"]]
    chosen = [i for c in CATEGORIES for i in [j for j in still if j.category == c][:4]][:PERTURBED]
    for item in chosen:
        items += [
            moved_item(item, version, random.Random(f"{SEED}/{item.question_id}/{version}")) for version in VERSIONS
        ]
    for dialect in ("deepcad", "fusion", "sketchgraphs"):
        rng = random.Random(f"{SEED}/{dialect}")
        for number in range(CAD):
            items += cad_items(sample_part(rng, dialect), rng, f"rec-{dialect}-{number}")
    items += digit_items(DIGITS, seed=1)
    return items + _shuffled(originals)


def moved_item(item: Item, version: str, rng: random.Random, decimals: int = 2) -> Item:
    """The same question beside the program after a motion of a severity, or in other text (a control)."""
    if version in SEVERITIES:
        program = parse_svg(item.program)
        motion = draw_motion(SEVERITIES[version], program.view_box, rng)
        text = str(perturb(program, motion, decimals).program)
    else:
        text = str(control(item.program, version, decimals))
    return replace(item, program=text, version=version)


def requests(items: list[Item]) -> list[Request]:
    """What is sent: the benchmark's own prompt, nothing about sampling."""
    return [Request(messages(item, "paper"), tag=item.key) for item in items]


def _originals() -> list[Item]:
    found: dict[str, list[Item]] = {c: [] for c in CATEGORIES}

    def add(category: str, count: int, layout: str, keep: Callable[[Item], bool] = lambda i: True) -> None:
        rng = random.Random(f"{SEED}/{category}/{layout}")
        while count:
            scene = sample_scene(rng, layout, "icon")
            items = [i for i in make_questions(scene, rng, [category], f"rec-{scene.digest}") if keep(i)]
            if items:
                found[category].append(rng.choice(items))
                count -= 1

    add("Semantics", EACH, "icon")
    add("Count", 10, "counts")
    add("Count", EACH - 10, "icon")
    add("Color", 9, "distinct")
    add("Color", EACH - 9, "icon")
    add("Shape", EACH, "distinct")
    add("Reasoning", 7, "distinct")
    add("Reasoning", 4, "mirror")
    add("Reasoning", EACH - 11, "icon")
    rng = random.Random(f"{SEED}/letters")
    return [
        relettered(item, LETTERS[(number + start) % 4])
        for start, items in enumerate(found.values())
        for number, item in enumerate(rng.sample(items, len(items)))
    ]


def _shuffled(originals: list[Item]) -> list[Item]:
    """Color and Shape questions about plain scenes, each beside the program of the next one."""
    plain = [i for c in ("Color", "Shape") for i in [j for j in originals if j.category == c and not j.about][-5:]]
    return [replace(i, program=plain[(n + 1) % len(plain)].program, version="shuffled") for n, i in enumerate(plain)]


FOLDER = Path(__file__).with_name("recording")
ITEMS, ANSWERS = FOLDER / "items.jsonl", FOLDER / "answers.jsonl"


def frozen_items() -> list[Item]:
    """The items as they were when their prompts were answered."""
    return read_items(ITEMS)[0]


def replayed() -> Results | None:
    """What the recorded model answered; None while there is no recording.

    Raises:
        RecordingError: a prompt that the recording lacks.
    """
    if not ANSWERS.is_file():
        return None
    items = frozen_items()
    with open_llm({"backend": "replay", "recording": str(ANSWERS)}, progress=False) as llm:
        results = evaluate(items, llm, "generate")
        header = llm.backend.recording.header  # type: ignore[attr-defined]
    about = {**results.about, "source": header.source, "date": header.date, "settings": header.settings}
    return Results(results.items, results.answers, about)
