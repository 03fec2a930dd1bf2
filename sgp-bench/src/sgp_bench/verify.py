"""Checks of a question before it is asked: the picture shows something, and its pixels give the same answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from PIL import Image

from . import pixels
from .icons import NUMBERS
from .questions import PLURAL
from .records import Item
from .render import render

SIZE = 400  # pixels, enough to tell the kinds of the smallest shapes


class Seen:
    """A picture with what its pixels tell, found once for all questions about it."""

    def __init__(self, image: Image.Image):
        self.empty = image.convert("L").getextrema() == (255, 255)
        self.ground = pixels.background(image)
        self.patches = [p for p in pixels.patches(image) if p.colour != self.ground]
        self.kinds = [pixels.kind(p) for p in self.patches]


def problems(item: Item, seen: Seen | None = None) -> list[str]:
    """What is wrong with an item as its picture shows it; empty where nothing is, or nothing can be checked.

    Pixels decide Color, Count and Shape questions about separate upright shapes; other questions are only checked for
    a picture that is not empty.
    """
    if item.kind not in ("svg", "mnist"):
        return []
    seen = seen or Seen(render(item.program, SIZE))
    found = ["the picture is empty"] if seen.empty else []
    answer = answer_from_pixels(item, seen)
    if answer is not None and answer != item.right:
        found.append(f"the pixels say {answer!r}, and the answer is {item.right!r}")
    return found


def answer_from_pixels(item: Item, seen: Seen) -> str | None:
    """The answer of a question about plain shapes, from the picture alone; None for others."""
    words = item.question.rstrip("?").split()
    if item.about:
        return None
    if item.question == "What color is the background?":
        return seen.ground
    pairs = list(zip(seen.patches, seen.kinds, strict=True))
    if item.category == "Color" and item.question.startswith("What color is the "):
        return _only([p.colour for p, k in pairs if k == words[-1]])
    if item.category == "Shape" and item.question.startswith("Which shape is "):
        return _only([k for p, k in pairs if p.colour == words[-1]])
    if item.category == "Count" and item.question.startswith("How many "):
        counts = Counter(PLURAL.get(k, f"{k}s") for k in seen.kinds) + Counter(f"{p.colour} shapes" for p, _ in pairs)
        return NUMBERS[counts[" ".join(words[2:-2])]]
    return None


def _only(found: Sequence[str]) -> str:
    return found[0] if len(found) == 1 else f"{len(found)} candidates"
