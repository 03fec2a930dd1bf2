"""From answers to the numbers of a report: by category, with intervals, chance and baselines beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from .baselines import RULES, Prior, surface
from .evaluate import Results
from .records import CAD_CATEGORIES, CATEGORIES
from .statistics import compare, smoothed

ORDER = ("all", *CATEGORIES, *CAD_CATEGORIES, "MNIST", "SVG")


def chance(results: Results) -> float:
    """Mean of one over the number of options."""
    return float(np.mean([1 / (len(i.options) or 10) for i in results.items]))


def by_category(results: Results, mode: str = "strict") -> dict[str, dict[str, Any]]:
    """Name -> accuracy with both intervals, n, programs, chance; `all` is the micro average, the paper's."""
    parts = (
        {"all": results, **results.categories()}
        if len(results.categories()) > 1
        else {"all": results} | results.categories()
    )
    rows = {name: asdict(part.rate(mode)) | {"chance": chance(part)} for name, part in parts.items()}
    return dict(sorted(rows.items(), key=lambda r: ORDER.index(r[0]) if r[0] in ORDER else len(ORDER)))


def macro(rows: Mapping[str, Mapping[str, Any]]) -> float:
    """Mean over categories."""
    return float(np.mean([r["value"] for name, r in rows.items() if name != "all"]))


def modes(results: Results) -> dict[str, Any]:
    """Official and strict accuracy side by side, with what went wrong."""
    found = {mode: asdict(results.rate(mode)) for mode in ("official", "strict")}
    if any(a.extracted for a in results.answers):
        found["extracted by a model"] = asdict(results.rate("extracted"))
    return {**found, "troubles": results.troubles()}


def baselines(results: Results, prior: Prior | None = None) -> dict[str, list[float]]:
    """Expected scores by item: the four surface rules, and the no-program prior.

    Without questions to learn it from, the prior of an item comes from the items of the other programs.
    """
    items = [i for i in results.items if i.options]
    found: dict[str, list[float]] = {rule: [] for rule in RULES}
    found["no program"] = []
    everything = None if prior else Prior(items)
    for item in items:
        for rule, score in surface(item).items():
            found[rule].append(score)
        if prior is not None:
            found["no program"].append(prior(item))
        else:
            assert everything is not None
            own = [i for i in items if i.group == item.group]
            for i in own:  # leave the item's own program out
                everything.counts[i.category][_right(i)] -= 1
            found["no program"].append(everything(item))
            for i in own:
                everything.counts[i.category][_right(i)] += 1
    return found


def _right(item: Any) -> str:
    return " ".join(item.right.casefold().split())


def against_baselines(
    results: Results, each: Sequence[Mapping[str, float]], mode: str = "strict"
) -> dict[str, dict[str, Any]]:
    """By category: the best baseline on these very questions, and the gain over it with a paired interval."""
    right = results.right(mode)
    rows: dict[str, dict[str, Any]] = {}
    names = {"all": list(range(len(right)))}
    for n, item in enumerate(results.items):
        names.setdefault(item.category, []).append(n)
    for name, places in names.items():
        scores = {rule: float(np.mean([each[n][rule] for n in places])) for rule in each[0]}
        best = max(scores, key=scores.__getitem__)
        groups = [results.items[n].group for n in places]
        gain = compare([each[n][best] for n in places], [right[n] for n in places], groups)
        rows[name] = {"scores": scores, "best": best, "gain": asdict(gain), "shown": gain.interval[0] > 0}
    return dict(sorted(rows.items(), key=lambda r: ORDER.index(r[0]) if r[0] in ORDER else len(ORDER)))


def by_length(results: Results, mode: str = "strict", bins: int = 4) -> list[dict[str, float]]:
    """Accuracy against the program's length in characters: difficulty strata."""
    if len(results.items) < 4 * bins:
        return []
    rows = smoothed(results.right(mode), [len(i.program) for i in results.items], bins)
    return [{"characters": x, "accuracy": y, "n": n} for x, y, n in rows]
