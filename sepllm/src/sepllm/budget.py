"""How much of the past a policy keeps, and the window that keeps the same."""

from __future__ import annotations

import torch
from torch import Tensor

from .mask import lives_of, visible_keys
from .policy import Policy, WindowPolicy
from .separators import SeparatorSet


def kept_keys(policy: Policy, separators: SeparatorSet, ids: Tensor, first: int = 0, layers: int = 1) -> float:
    """Mean number of keys that a query sees, over the queries from position `first` on and all layers.

    Args:
        ids: Int64[B, T] without padding.
    """
    marks = separators.lut(ids.device)[ids]
    windows = policy.windows(layers, len(policy.heads or (1,)))
    means = {n: float(visible_keys(lives_of(policy, marks, n))[:, first:].float().mean()) for n in set(windows)}
    return sum(means[n] for n in windows) / len(windows)


def kept_share(policy: Policy, separators: SeparatorSet, ids: Tensor, first: int = 0, layers: int = 1) -> float:
    """r.KV: kept keys over all earlier keys, for the queries from `first` on."""
    seen = torch.arange(first, ids.shape[1], dtype=torch.float64).mean() + 1
    return kept_keys(policy, separators, ids, first, layers) / float(seen)


def matched(policy: Policy, separators: SeparatorSet, ids: Tensor, first: int = 0, layers: int = 1) -> WindowPolicy:
    """StreamingLLM's choice (initial tokens and window) that keeps as many keys as `policy` does on these texts.

    The window is whole, so the match is within half a token.
    """
    goal = kept_keys(policy, separators, ids, first, layers)
    nothing = SeparatorSet.nothing(separators.vocabulary)
    sizes = range(1, ids.shape[1] + 1)
    # kept keys grow with the window: bisect for the first that keeps at least the goal, then take the nearer of two
    low, high = 0, len(sizes) - 1
    while low < high:
        middle = (low + high) // 2
        if kept_keys(WindowPolicy(a=policy.a, n=sizes[middle]), nothing, ids, first) < goal:
            low = middle + 1
        else:
            high = middle
    near = [WindowPolicy(a=policy.a, n=n) for n in {sizes[low], max(1, sizes[low] - 1)}]
    return min(near, key=lambda w: abs(kept_keys(w, nothing, ids, first) - goal))
