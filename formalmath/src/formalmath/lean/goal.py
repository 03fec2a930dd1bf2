"""A goal as Lean prints it: hypotheses with types, and the target after `⊢`."""

from __future__ import annotations

import re
from dataclasses import dataclass

HYPOTHESIS = re.compile(r"^(?P<names>\S+(?: \S+)*?) :\s(?P<type>.*)$", re.DOTALL)


@dataclass(frozen=True)
class Goal:
    """One goal. `hypotheses` pairs each name, in order, with its type (`x y : ℝ` gives two pairs)."""

    hypotheses: tuple[tuple[str, str], ...]
    target: str

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.hypotheses]


def parse_goal(text: str) -> Goal:
    """Reads Lean's print of a goal. A line that is indented belongs to the one before."""
    head, mark, target = text.partition("⊢ ")
    if not mark:
        return Goal((), text.strip())
    entries: list[str] = []
    for line in head.splitlines():
        if line.startswith(" ") and entries:
            entries[-1] += "\n" + line
        elif line.strip() and not line.startswith("case "):
            entries.append(line)
    pairs = []
    for entry in entries:
        if found := HYPOTHESIS.match(entry.strip()):
            pairs += [(name, found["type"].strip()) for name in found["names"].split(" ")]
    return Goal(tuple(pairs), target.strip())
