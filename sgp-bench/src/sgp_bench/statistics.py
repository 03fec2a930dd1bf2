"""How sure an accuracy is, and a difference of two, when several questions share a program."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .errors import SGPError

Z95 = 1.959963984540054
RESAMPLES = 2000


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of n, with Wilson's 95 % interval and that of a bootstrap over programs."""

    value: float
    n: int
    wilson: tuple[float, float]
    cluster: tuple[float, float]
    clusters: int


@dataclass(frozen=True, slots=True)
class Paired:
    """Two models (or times) on the same questions: mean of second - first, its 95 % interval by a bootstrap over
    programs, and McNemar's exact p with the questions that only one of them answers."""

    difference: float
    interval: tuple[float, float]
    only_first: int
    only_second: int
    p: float
    n: int

    @property
    def excludes_zero(self) -> bool:
        return self.interval[0] > 0 or self.interval[1] < 0


def wilson(successes: float, count: int, z: float = Z95) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927)."""
    if count == 0:
        return 0.0, 1.0
    share = successes / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def rate(right: Sequence[float], groups: Sequence[str], seed: int = 0) -> Rate:
    """The share of right answers. `groups` names the program of each question."""
    if not right:
        raise SGPError("a rate needs at least one question")
    values = np.asarray(right, dtype=float)
    cluster = bootstrap(values[:, None], groups, seed)[:, 0]
    low, high = np.quantile(cluster, [0.025, 0.975])
    mean = float(values.mean())
    return Rate(mean, len(values), wilson(values.sum(), len(values)), (float(low), float(high)), len(set(groups)))


def bootstrap(
    values: Float[np.ndarray, "n k"], groups: Sequence[str], seed: int = 0, resamples: int = RESAMPLES
) -> Float[np.ndarray, "resamples k"]:
    """Means of k columns over resampled programs, questions of a program kept together."""
    if len(values) != len(groups):
        raise SGPError(f"{len(values)} values and {len(groups)} programs do not pair")
    _, index = np.unique(np.asarray(groups), return_inverse=True)
    clusters = int(index.max()) + 1
    sums = np.zeros((clusters, values.shape[1]))
    np.add.at(sums, index, values)
    counts = np.bincount(index, minlength=clusters).astype(float)
    draws = np.random.default_rng(seed).multinomial(clusters, np.full(clusters, 1 / clusters), size=resamples)
    return (draws @ sums) / (draws @ counts)[:, None]


def compare(first: Sequence[float], second: Sequence[float], groups: Sequence[str], seed: int = 0) -> Paired:
    """Paired comparison on the same questions.

    Raises:
        SGPError: scores that do not pair.
    """
    if len(first) != len(second) or len(first) != len(groups) or not len(first):
        raise SGPError(f"paired scores must be of the same questions, not of {len(first)} and {len(second)}")
    a, b = np.asarray(first, dtype=float), np.asarray(second, dtype=float)
    spread = bootstrap((b - a)[:, None], groups, seed)[:, 0]
    low, high = np.quantile(spread, [0.025, 0.975])
    only_first, only_second = int((a > b).sum()), int((b > a).sum())
    return Paired(float((b - a).mean()), (float(low), float(high)), only_first, only_second,
                  mcnemar(only_first, only_second), len(a))  # fmt: skip


def mcnemar(only_first: int, only_second: int) -> float:
    """Exact two-sided p (McNemar 1947): each discordant question is a fair coin under the null."""
    discordant = only_first + only_second
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1)) / 2**discordant
    return min(1.0, 2 * tail)


def smoothed(values: Sequence[float], x: Sequence[float], bins: int) -> list[tuple[float, float, int]]:
    """(median x, mean value, n) in bins of equal numbers along x: accuracy against program length."""
    order = np.argsort(np.asarray(x), kind="stable")
    parts = [p for p in np.array_split(order, bins) if len(p)]
    return [
        (float(np.median(np.asarray(x)[p])), float(np.asarray(values, dtype=float)[p].mean()), len(p)) for p in parts
    ]
