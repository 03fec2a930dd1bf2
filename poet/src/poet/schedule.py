"""Learning rate and clipping over the run (POET App. E; the clip ramp is the official code's)."""

from __future__ import annotations

import math

RAMP_STEPS = 10


def cosine(step: int, steps: int, warmup: int = 0, final_share: float = 0.01) -> float:
    """The factor on the peak learning rate in step 0, 1, ... of `steps`."""
    if step < warmup:
        return (step + 1) / warmup
    along = (step - warmup) / max(1, steps - warmup)
    return final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * min(1.0, along)))


def clip_value(step: int, clip: float, merge_every: int | None, ramp_until: int) -> float:
    """Largest gradient norm in step 0, 1, ...: after each merge it rises from a tenth to the whole over ten steps, in
    steps before `ramp_until` and not in the first interval."""
    if not merge_every or step >= ramp_until or step < merge_every:
        return clip
    since = step % merge_every
    return clip * min(1.0, 0.1 + 0.9 * since / RAMP_STEPS)
