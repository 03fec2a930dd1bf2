"""How sure a score is, and a difference of two scores on the same problems."""

from __future__ import annotations

import math
from collections.abc import Sequence

Z95 = 1.959963984540054  # of the normal distribution, for 95 %


def wilson(successes: float, count: int, z: float = Z95) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927): `successes` of `count`."""
    share = successes / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % interval of a mean: Wilson's for zeros and ones, else the normal one."""
    count = len(values)
    mean = sum(values) / count
    if all(value in (0, 1) for value in values):
        return wilson(sum(values), count)
    if count < 2:
        return mean, mean
    error = math.sqrt(sum((v - mean) ** 2 for v in values) / (count - 1) / count)
    return mean - Z95 * error, mean + Z95 * error


def mcnemar(first: Sequence[float], second: Sequence[float]) -> tuple[int, int, float]:
    """(only the first right, only the second right, exact two-sided p) on the same problems (McNemar 1947).

    Under the null each discordant problem is a fair coin, so p is a binomial tail, doubled.
    """
    if len(first) != len(second):
        raise ValueError(f"paired scores must be of the same problems, not of {len(first)} and {len(second)}")
    only_first = sum(1 for a, b in zip(first, second, strict=True) if a > b)
    only_second = sum(1 for a, b in zip(first, second, strict=True) if b > a)
    discordant = only_first + only_second
    tail = sum(math.comb(discordant, k) for k in range(min(only_first, only_second) + 1)) / 2**discordant
    return only_first, only_second, min(1.0, 2 * tail)


def paired_difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """Mean of first - second over the same problems, with its 95 % interval (normal, from the paired differences)."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    count = len(differences)
    mean = sum(differences) / count
    if count < 2:
        return mean, mean, mean
    error = math.sqrt(sum((d - mean) ** 2 for d in differences) / (count - 1) / count)
    return mean, mean - Z95 * error, mean + Z95 * error


def ratio(first: Sequence[float], second: Sequence[float]) -> tuple[float, float, float]:
    """Ratio of two medians with the range that the quartiles of both allow (all values where there are few)."""
    low1, mid1, high1 = quartiles(first)
    low2, mid2, high2 = quartiles(second)
    return mid1 / mid2, low1 / high2, high1 / low2


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile; of fewer than eight values the extremes."""
    ordered = sorted(values)
    middle = (ordered[(len(ordered) - 1) // 2] + ordered[len(ordered) // 2]) / 2
    if len(ordered) < 8:
        return ordered[0], middle, ordered[-1]
    return ordered[len(ordered) // 4], middle, ordered[-1 - len(ordered) // 4]
