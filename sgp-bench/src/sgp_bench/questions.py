"""Questions about scenes, their options, and which motions leave their answers alone.

Options come from the scene itself, occur in it alike, and only then one of them is made the right one by what is asked:
given the program, all four are equally likely. So whatever a rule finds on the program's surface (which option occurs,
occurs most, first or last; baselines.py) is right in a quarter of the cases, and a gain over that comes from reading
program and question together.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from .errors import SGPError
from .icons import ICONS, NUMBERS, SEVERAL
from .records import LETTERS, Item
from .scenes import SYMMETRIES, Scene
from .shapes import Object

BOTH = {"t": True, "r": True}
SHIFT_ONLY = {"t": True, "r": False}
Draft = tuple[str, str, str, Sequence[str], dict[str, bool]]  # category, question, right answer, options, invariance

EXTREMES: dict[str, Callable[[Object], float]] = {
    "leftmost": lambda o: -o.x,
    "rightmost": lambda o: o.x,
    "topmost": lambda o: -o.y,
    "lowest": lambda o: o.y,
    "largest": lambda o: o.area,
    "smallest": lambda o: -o.area,
}
PLURAL = {"cross": "crosses"}


def make_questions(
    scene: Scene, rng: random.Random, categories: Iterable[str] | None = None, group: str | None = None
) -> list[Item]:
    """All questions that the scene's layout holds, of the categories asked for; letters are drawn evenly."""
    wanted = set(categories) if categories is not None else None
    group = group or scene.digest
    drafts = {"distinct": _distinct, "counts": _counts, "mirror": _mirror, "icon": _icon}[scene.layout](scene, rng)
    drafts = [d for d in drafts if wanted is None or d[0] in wanted]
    program = scene.program()
    # every letter equally often, as far as the number of questions allows
    start = rng.randrange(4)
    letters = [LETTERS[(start + i) % 4] for i in range(len(drafts))]
    rng.shuffle(letters)
    items = []
    for number, (draft, letter) in enumerate(zip(drafts, letters, strict=True)):
        category, question, right, options, invariant = draft
        items.append(
            Item(
                f"{group}-{number}",
                group,
                program,
                question,
                arranged(options, right, letter, rng),
                letter,
                category,
                invariant=invariant,
                about=scene.icon.name if scene.icon else "",
            )
        )
    return items


def arranged(options: Sequence[str], right: str, letter: str, rng: random.Random) -> tuple[str, ...]:
    """The options in random order, the right one under `letter`.

    Raises:
        SGPError: not four distinct options with the right one among them.
    """
    others = [o for o in options if o != right]
    if len(others) != 3 or len(set(options)) != 4:
        raise SGPError(f"four distinct options with {right!r} among them are needed, not {tuple(options)}")
    rng.shuffle(others)
    others.insert(LETTERS.index(letter), right)
    return tuple(others)


def relettered(item: Item, letter: str) -> Item:
    """The item with its right option exchanged with the one under `letter`."""
    options = list(item.options)
    here, there = LETTERS.index(item.answer), LETTERS.index(letter)
    options[here], options[there] = options[there], options[here]
    return replace(item, options=tuple(options), answer=letter)


def _distinct(scene: Scene, rng: random.Random) -> list[Draft]:
    assert scene.ground is not None
    entities: list[tuple[str, str]] = [("background", scene.ground[0]), *((o.kind, o.colour) for o in scene.objects)]
    drafts: list[Draft] = []
    for asked in _asked(entities, 2, rng):
        chosen = [asked, *rng.sample([e for e in entities if e != asked], 3)]
        what = "the background" if asked[0] == "background" else f"the {asked[0]}"
        drafts.append(("Color", f"What color is {what}?", asked[1], [c for _, c in chosen], BOTH))
    for kind, colour in _asked([(o.kind, o.colour) for o in scene.objects], 2, rng):
        others = [o.kind for o in scene.objects if o.kind != kind]
        options = [kind, *rng.sample(others, 3)]
        drafts.append(("Shape", f"Which shape is {colour}?", kind, options, BOTH))
    return drafts + _relations(scene, rng, 2)


def _asked(entities: Sequence[tuple[str, str]], count: int, rng: random.Random) -> list[tuple[str, str]]:
    return rng.sample(list(entities), count)


def _relations(scene: Scene, rng: random.Random, count: int) -> list[Draft]:
    """Which colour is the leftmost, the largest, the nearest to another: only where the answer is beyond doubt."""
    drafts: list[Draft] = []
    for word in rng.sample(list(EXTREMES), len(EXTREMES)):
        right = extreme(scene, word)
        if right is None or len(drafts) == count:
            continue
        options = [right.colour, *rng.sample([o.colour for o in scene.objects if o is not right], 3)]
        invariant = BOTH if word in ("largest", "smallest") else SHIFT_ONLY
        drafts.append(("Reasoning", f"What color is the {word} shape?", right.colour, options, invariant))
    return drafts


def extreme(scene: Scene, word: str) -> Object | None:
    """The object that is most so; None where the second is too near (of sizes: by area and by box)."""
    order = sorted(scene.objects, key=EXTREMES[word], reverse=True)
    if word in ("largest", "smallest"):
        sign = 1 if word == "largest" else -1
        ahead = all(sign * (f(order[0]) - f(o)) >= 0.15 * f(order[0]) for o in order[1:] for f in (_area, _box))
        return order[0] if ahead else None
    lead = EXTREMES[word](order[0]) - EXTREMES[word](order[1])
    return order[0] if lead >= 0.05 * scene.canvas else None


def _area(o: Object) -> float:
    return o.area


def _box(o: Object) -> float:
    return o.extent[0] * o.extent[1]


def _counts(scene: Scene, rng: random.Random) -> list[Draft]:
    """How many of a kind or a colour. The scene has exactly four different numbers, and they are the options."""
    by_value: dict[int, list[str]] = {}
    for what, n in counts(scene).items():
        by_value.setdefault(n, []).append(what)
    options = [NUMBERS[v] for v in sorted(by_value)]
    drafts: list[Draft] = []
    for value in rng.sample(sorted(by_value), 3):
        what = rng.choice(sorted(by_value[value]))
        drafts.append(("Count", f"How many {what} are there?", NUMBERS[value], options, BOTH))
    return drafts


def counts(scene: Scene) -> dict[str, int]:
    """How many there are of every kind and every colour."""
    kinds = Counter(o.kind for o in scene.objects)
    colours = Counter(o.colour for o in scene.objects)
    return {PLURAL.get(k, f"{k}s"): n for k, n in kinds.items()} | {f"{c} shapes": n for c, n in colours.items()}


def _mirror(scene: Scene, rng: random.Random) -> list[Draft]:
    question = "About which line through the middle of the picture is the drawing its own mirror image?"
    assert scene.symmetry is not None
    return [("Reasoning", question, scene.symmetry, SYMMETRIES, SHIFT_ONLY)]


def _icon(scene: Scene, rng: random.Random) -> list[Draft]:
    icon = scene.icon
    assert icon is not None
    others = rng.sample([name for name in ICONS if name != icon.name], 3)
    drafts: list[Draft] = [("Semantics", "What does the picture show?", icon.name, [icon.name, *others], BOTH)]
    parts = list(icon.colours.items())
    part, colour = rng.choice(parts)
    if len({c for _, c in parts}) >= 4:
        options = [colour, *rng.sample(sorted({c for _, c in parts} - {colour}), 3)]
        verb = "are" if part in SEVERAL else "is"
        question = f"What color {verb} the {part} of the {icon.name}?"
        drafts.append(("Color", question, colour, options, BOTH))
    if icon.count is not None:
        what, n = icon.count
        drafts.append(("Count", f"How many {what} are there?", NUMBERS[n], NUMBERS[1:5], BOTH))
    if icon.told is not None:
        question, right, alternatives, turns = icon.told
        category = "Reasoning" if icon.name == "clock" else "Semantics"
        drafts.append((category, question, right, alternatives, BOTH if turns else SHIFT_ONLY))
    return drafts


def answered_anew(item: Item, scene: Scene) -> Item | None:
    """The item for a scene after a motion: the same question, options and order, with the letter that is now right.

    None where the answer is no longer beyond doubt, or no option has it.
    """
    for word in EXTREMES:
        if f"the {word} shape" in item.question:
            found = extreme(scene, word)
            if found is None or found.colour not in item.options:
                return None
            return replace(item, answer=LETTERS[item.options.index(found.colour)])
    return item if item.invariant["r"] else None
