"""Rates with their uncertainty."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """The Wilson 95 % interval of a rate; (0, 1) without trials."""
    if not n:
        return 0.0, 1.0
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimator 1 - C(n - c, k) / C(n, k), for c of n right.

    Raises:
        ValueError: k above n.
    """
    if not 0 < k <= n or not 0 <= c <= n:
        raise ValueError(f"pass@k needs 0 < k <= n and 0 <= c <= n, not n={n}, c={c}, k={k}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def paired_bootstrap(
    groups: Mapping[str, Sequence[tuple[float, float]]], seed: int = 0, draws: int = 2000
) -> tuple[float, float, float]:
    """Mean difference (second minus first) over pairs, and its 95 % interval when whole groups are drawn anew."""
    names = sorted(groups)
    rng = random.Random(seed)

    def mean(chosen: Sequence[str]) -> float:
        pairs = [p for name in chosen for p in groups[name]]
        return sum(b - a for a, b in pairs) / len(pairs) if pairs else 0.0

    drawn = sorted(mean([rng.choice(names) for _ in names]) for _ in range(draws)) if names else [0.0]
    return mean(names), drawn[int(0.025 * (len(drawn) - 1))], drawn[int(0.975 * (len(drawn) - 1))]
