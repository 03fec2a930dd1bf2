"""Human review: one statement after another in a terminal, decisions in an append-only ledger (paper §3.3, Table 2)."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..errors import FormalMathError
from ..metrics.paired import cohen_kappa
from ..mini.mutations import KINDS

COST_PER_STATEMENT = 6.89  # USD, Table 2
KEYS = {"a": "accept", "r": "reject", "s": "skip", "q": "quit"}


@dataclass(frozen=True)
class Decision:
    """One annotator's word on one statement. `error` is one of Table 7's kinds, for a rejection."""

    item: str
    annotator: str
    decision: str
    error: str = ""
    note: str = ""
    seconds: float = 0.0
    by: str = "human"  # or "construction" where the truth is known


class Ledger:
    """Decisions in a JSON-lines file; nothing is ever changed in it, a later decision of one annotator counts."""

    def __init__(self, path: Path):
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def add(self, decision: Decision) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(decision), ensure_ascii=False) + "\n")

    def decisions(self) -> list[Decision]:
        if not self.path.exists():
            return []
        latest: dict[tuple[str, str], Decision] = {}
        for number, line in enumerate(self.path.read_text().splitlines(), 1):
            try:
                d = Decision(**json.loads(line))
            except (ValueError, TypeError):
                raise FormalMathError(f"{self.path}, line {number} is no decision") from None
            latest[d.item, d.annotator] = d
        return list(latest.values())

    def agreement(self) -> tuple[int, float]:
        """Items that two annotators decided, and Cohen's κ over them."""
        by_item: dict[str, list[Decision]] = defaultdict(list)
        for d in self.decisions():
            by_item[d.item].append(d)
        pairs = [sorted(ds, key=lambda d: d.annotator)[:2] for ds in by_item.values() if len(ds) >= 2]
        if not pairs:
            return 0, float("nan")
        return len(pairs), cohen_kappa([p[0].decision for p in pairs], [p[1].decision for p in pairs])

    def cost(self, hourly: float | None = None) -> dict[str, float]:
        """Statements, hours, and USD: by the paper's price a statement, or by an hourly wage."""
        found = self.decisions()
        hours = sum(d.seconds for d in found) / 3600
        return {
            "statements": len(found),
            "hours": hours,
            "usd": hourly * hours if hourly else COST_PER_STATEMENT * len(found),
        }


def show(item: Mapping[str, Any]) -> str:
    lines = [f"== {item['id']}", "", str(item.get("words", "")), "", str(item["lean"]), ""]
    for title, key in (("back-translations", "translations"), ("lints", "lints"), ("near misses", "near_misses")):
        if item.get(key):
            lines += [f"{title}:", *(f"  {line}" for line in item[key]), ""]
    return "\n".join(lines)


def review(
    queue: Iterable[Mapping[str, Any]],
    ledger: Ledger,
    annotator: str,
    ask: Callable[[str], str] = input,
    say: Callable[[str], None] = print,
) -> int:
    """Goes through a queue; returns how many statements were decided. Items that the annotator decided are left out."""
    done = {d.item for d in ledger.decisions() if d.annotator == annotator}
    count = 0
    kinds = list(KINDS)
    for item in queue:
        if item["id"] in done:
            continue
        say(show(item))
        begun = time.monotonic()
        key = ""
        while key not in KEYS:
            key = ask("[a]ccept  [r]eject  [s]kip  [q]uit: ").strip().lower()[:1]
        if KEYS[key] == "quit":
            break
        if KEYS[key] == "skip":
            continue
        error = ""
        if KEYS[key] == "reject":
            say("\n".join(f"  {i + 1} {KINDS[k]}" for i, k in enumerate(kinds)))
            while error == "":
                number = ask("error type: ").strip()
                if number.isdigit() and 1 <= int(number) <= len(kinds):
                    error = kinds[int(number) - 1]
        note = ask("note: ").strip()
        ledger.add(Decision(item["id"], annotator, KEYS[key], error, note, round(time.monotonic() - begun, 1)))
        count += 1
    return count


def read_queue(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise FormalMathError(f"cannot read the queue {path}: {error}") from None
