"""95 % intervals: Wilson's for shares, the bootstrap over problems for everything else."""

from __future__ import annotations

import numpy as np

Z = 1.959963984540054


def wilson(k: int, n: int, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval for k of n; (0, 1) where n is 0."""
    if n == 0:
        return 0.0, 1.0
    p = k / n
    centre, half = p + z * z / (2 * n), z * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low, high = (centre - half) / (1 + z * z / n), (centre + half) / (1 + z * z / n)
    return max(0.0, float(low)), min(1.0, float(high))


def resampled_means(table: np.ndarray, draws: int, seed: int) -> np.ndarray:
    """Means over problems drawn with replacement, [draws, columns], as one product with a matrix of counts.

    Equal rows are counted together: a curve depends on c alone, so there are few distinct ones.
    """
    rows, inverse = np.unique(table, axis=0, return_inverse=True)
    shares = np.bincount(inverse.ravel(), minlength=len(rows)) / len(table)
    counts = np.random.default_rng(seed).multinomial(len(table), shares, size=draws)
    return counts @ rows / len(table)


def bootstrap(table: np.ndarray, draws: int = 10_000, seed: int = 0) -> np.ndarray:
    """Percentile intervals of the column means, [columns, 2]."""
    if not len(table):
        return np.tile([0.0, 1.0], (table.shape[1], 1))
    return np.percentile(resampled_means(table, draws, seed), [2.5, 97.5], axis=0).T


def two_proportions(k1: int, n1: int, k2: int, n2: int) -> float:
    """z of the difference of two independent shares, pooled."""
    p = (k1 + k2) / (n1 + n2)
    return float((k1 / n1 - k2 / n2) / np.sqrt(p * (1 - p) * (1 / n1 + 1 / n2)))
