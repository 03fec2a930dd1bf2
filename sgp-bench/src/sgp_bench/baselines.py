"""What can be guessed without understanding: from the program's surface, or from the options alone.

A surface rule looks for the options' words in the program's text (tags, attribute values) and knows nothing of the
question. Ties are broken evenly, so a rule scores the expected share of right answers, not a draw of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from .colours import name_of, rgb_of
from .records import LETTERS, Item, folded

# what a shape's word looks like in a program
TAGS = {"square": "rect", "rectangle": "rect", "triangle": "polygon", "pentagon": "polygon", "star": "polygon",
        "cross": "polygon", "heart": "path"}  # fmt: skip
_WORD = re.compile(r"#[0-9a-fA-F]{6}\b|[A-Za-z]+")
RULES = ("elimination", "most frequent", "first mentioned", "last mentioned")


def surface(item: Item) -> dict[str, float]:
    """The expected score of each rule on an item."""
    words = _words(item.program)
    places = {o: [i for i, w in enumerate(words) if w == _token(o)] for o in map(folded, item.options)}
    right = folded(item.right)
    scores: dict[str, Callable[[list[int]], float]] = {
        "elimination": lambda p: 1.0 if p else 0.0,
        "most frequent": len,
        "first mentioned": lambda p: -p[0] if p else -1e9,
        "last mentioned": lambda p: p[-1] if p else -1e9,
    }
    found = {}
    for rule, score in scores.items():
        values = {o: score(p) for o, p in places.items()}
        best = [o for o, v in values.items() if v == max(values.values())]
        found[rule] = (right in best) / len(best)
    return found


def _words(program: str) -> list[str]:
    """Words of a program in order; hexadecimal colours by the name of what they look like."""
    return [(name_of(rgb_of(w)) or w) if w[0] == "#" else w.lower() for w in _WORD.findall(program)]


def _token(option: str) -> str:
    return TAGS.get(option, option)


class Prior:
    """The commonest right answer among those offered, learned from other questions (of the same category)."""

    def __init__(self, items: Sequence[Item]):
        self.counts: dict[str, Counter[str]] = {}
        for item in items:
            self.counts.setdefault(item.category, Counter())[folded(item.right)] += 1

    def __call__(self, item: Item) -> float:
        """The expected score on an item."""
        known = self.counts.get(item.category, Counter())
        values = [known[folded(o)] for o in item.options]
        best = [letter for letter, v in zip(LETTERS, values, strict=True) if v == max(values)]
        return (item.answer in best) / len(best)
