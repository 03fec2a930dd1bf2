"""pass@K as the released evaluation computes it: 50 draws of K of n samples without replacement, averaged.

Problems with fewer than K samples leave the mean at that K.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SIZES = (*range(1, 3200, 5), 32, 64, 128, 328, 648, 1024, 2048, 3200)


def monte_carlo(
    accepted: Sequence[np.ndarray], ks: Sequence[int], simulations: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error over simulations, for each K.

    Args:
        accepted: a boolean array of samples for each problem.
        ks: sizes.
        simulations: draws.
    """
    means, errors = [], []
    for k in ks:
        taken = [a for a in accepted if len(a) >= k]
        rounds = [
            np.mean([a[rng.choice(len(a), k, replace=False)].any() for a in taken]) if taken else np.nan
            for _ in range(simulations)
        ]
        means.append(np.mean(rounds))
        errors.append(np.std(rounds, ddof=1) / np.sqrt(simulations))
    return np.array(means), np.array(errors)
