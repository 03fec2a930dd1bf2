"""Two provers on the same problems: exact McNemar, the paired bootstrap, and Holm's correction over a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest


@dataclass(frozen=True)
class McNemar:
    """Problems that only the first or only the second solves, and the exact two-sided p."""

    only_first: int
    only_second: int
    p: float


def mcnemar(a: Sequence[bool] | np.ndarray, b: Sequence[bool] | np.ndarray) -> McNemar:
    """Exact: under equality the discordant problems fall to either side alike."""
    x, y = np.asarray(a, bool), np.asarray(b, bool)
    first, second = int((x & ~y).sum()), int((~x & y).sum())
    return McNemar(first, second, float(binomtest(first, first + second).pvalue) if first + second else 1.0)


def paired_difference(a: np.ndarray, b: np.ndarray, draws: int = 10_000, seed: int = 0) -> tuple[float, float, float]:
    """Mean of a − b over problems, with the bootstrap's 95 % interval."""
    d = np.asarray(a, float) - np.asarray(b, float)
    values, counts = np.unique(d, return_counts=True)
    picks = np.random.default_rng(seed).multinomial(len(d), counts / len(d), size=draws)
    low, high = np.percentile(picks @ values / len(d), [2.5, 97.5])
    return float(d.mean()), float(low), float(high)


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values, in the order given."""
    order = np.argsort(ps)
    adjusted, running = np.empty(len(ps)), 0.0
    for rank, place in enumerate(order):
        running = max(running, (len(ps) - rank) * ps[place])
        adjusted[place] = min(1.0, running)
    return adjusted.tolist()


def fleiss_kappa(counts: np.ndarray) -> float:
    """Fleiss' κ of [items, categories] counts with as many votes on each item; 1 where all agree always."""
    counts = np.asarray(counts, float)
    raters = counts[0].sum()
    if raters < 2:
        return float("nan")
    shares = counts.sum(0) / counts.sum()
    expected = float((shares**2).sum())
    observed = float(((counts * (counts - 1)).sum(1) / (raters * (raters - 1))).mean())
    return 1.0 if expected == 1 else (observed - expected) / (1 - expected)


def cohen_kappa(a: Sequence[str], b: Sequence[str]) -> float:
    """Cohen's κ of two annotators over the same items."""
    names = sorted({*a, *b})
    table = np.zeros((len(names), len(names)))
    for x, y in zip(a, b, strict=True):
        table[names.index(x), names.index(y)] += 1
    table /= table.sum()
    expected = float((table.sum(0) * table.sum(1)).sum())
    return 1.0 if expected == 1 else float((np.trace(table) - expected) / (1 - expected))


def roc(scores: Sequence[float], labels: Sequence[bool]) -> tuple[np.ndarray, np.ndarray, float]:
    """False and true positive rates over all thresholds, and the area (ties count half)."""
    s, y = np.asarray(scores, float), np.asarray(labels, bool)
    order = np.argsort(-s, kind="stable")
    cut = np.append(np.flatnonzero(np.diff(s[order])), len(s) - 1)
    tp, fp = np.cumsum(y[order])[cut], np.cumsum(~y[order])[cut]
    tpr = np.concatenate(([0.0], tp / max(1, y.sum())))
    fpr = np.concatenate(([0.0], fp / max(1, (~y).sum())))
    return fpr, tpr, float(np.trapezoid(tpr, fpr))
