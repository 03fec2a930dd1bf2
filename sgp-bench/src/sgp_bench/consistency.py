"""Do the answers stay when the picture moves?

With a_ik the answer to question i beside version k of its program (k = 1 the original), the paper's consistency is

    C = 1/N Σ_i max_v |{k : a_ik = v}| / K

A model that never answers scores 1 by it, one that always says A as well, and independent uniform guessing scores
0.4697 for K = 6 (`chance_rate`). Therefore it stands here beside the rate among answered, the rate that the model's own
answer frequencies would give to independent draws, a κ corrected for that, and the share that is right in all versions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement
from math import factorial

import numpy as np

from .errors import SGPError
from .records import LETTERS
from .statistics import Paired, bootstrap, compare

Answers = Sequence[Sequence[str | None]]  # a question a row, a version a column, the original first


@dataclass(frozen=True, slots=True)
class Consistency:
    """Of N questions in K versions. Intervals are 95 %, by a bootstrap over programs."""

    questions: int
    versions: int
    rate: float  # the paper's, an unread answer counted as an answer of its own
    rate_interval: tuple[float, float]
    answered: float | None  # the paper's, among the questions that have an answer in every version
    chance: float  # what independent draws from the model's own answer frequencies score
    kappa: float | None  # (rate - chance) / (1 - chance)
    all_right: float  # right in every version
    accuracy: tuple[float, ...]  # of each version
    flips: float  # share of (question, moved version) pairs whose answer is not the original's
    drop: Paired  # original against the mean of the moved versions, by question


def consistency(answers: Answers, right: Sequence[str], groups: Sequence[str], seed: int = 0) -> Consistency:
    """All figures for one set of versions.

    Raises:
        SGPError: rows of unequal length, fewer than two versions, or rows that do not pair.
    """
    versions = {len(row) for row in answers}
    if len(versions) != 1 or (k := versions.pop()) < 2 or len(answers) != len(right) != len(groups):
        raise SGPError("consistency needs two versions or more of every question")
    each = np.array([agreement(row) for row in answers])
    correct = np.array([[a == r for a in row] for row, r in zip(answers, right, strict=True)], dtype=float)
    full = [row for row in answers if all(a is not None for a in row)]
    chance = chance_rate(_marginals(answers), k)
    spread = bootstrap(each[:, None], groups, seed)[:, 0]
    low, high = np.quantile(spread, [0.025, 0.975])
    mean = float(each.mean())
    return Consistency(
        len(answers),
        k,
        mean,
        (float(low), float(high)),
        float(np.mean([agreement(row) for row in full])) if full else None,
        chance,
        (mean - chance) / (1 - chance) if chance < 1 - 1e-12 else None,
        float(correct.all(axis=1).mean()),
        tuple(correct.mean(axis=0).tolist()),
        float(np.mean([[a != row[0] for a in row[1:]] for row in answers])),
        compare(correct[:, 0].tolist(), correct[:, 1:].mean(axis=1).tolist(), groups, seed),
    )


def agreement(row: Sequence[str | None]) -> float:
    """Share of the commonest answer; None counts as an answer, as in the paper's code."""
    return Counter(row).most_common(1)[0][1] / len(row)


def chance_rate(probabilities: Mapping[str | None, float], versions: int) -> float:
    """Expected agreement of `versions` independent draws, by summing over all outcomes up to order."""
    values, p = list(probabilities), list(probabilities.values())
    total = 0.0
    for outcome in combinations_with_replacement(range(len(values)), versions):
        counts = Counter(outcome)
        ways = factorial(versions)
        chance = 1.0
        for index, n in counts.items():
            ways //= factorial(n)
            chance *= p[index] ** n
        total += ways * chance * max(counts.values()) / versions
    return total


def uniform_chance(versions: int) -> float:
    """0.4697 for 6 versions: what guessing A to D at random scores."""
    return chance_rate(dict.fromkeys(LETTERS, 0.25), versions)


def _marginals(answers: Answers) -> dict[str | None, float]:
    counts = Counter(a for row in answers for a in row)
    total = sum(counts.values())
    return {value: n / total for value, n in counts.items()}
