"""Accept/reject draws a second: vectorised as in simulate.py, against the loop that one would write."""

from __future__ import annotations

import random
import statistics
import time
from dataclasses import dataclass

from vrs.acceptors import ideal
from vrs.simulate import simulate
from vrs.targets import Bernoulli

FAIR, TARGET = Bernoulli("0.5"), Bernoulli("0.3")
PROPOSALS, LOOPED = 40_000_000, 400_000


@dataclass(frozen=True)
class Row:
    """A number, and the bound that it has to keep; None where it has none."""

    name: str
    value: float
    bound: float | None = None
    at_least: bool = True


def simulation(repeats: int) -> list[Row]:
    """Draws are proposals with their decisions; the two ways take turns, medians."""
    vectorised, looped = [], []
    for seed in range(repeats):
        accept = ideal(TARGET, FAIR)
        begun = time.process_time()
        found = simulate(FAIR, accept, n=100, samples=PROPOSALS // 140, rng=seed)
        vectorised.append(found.proposals / (time.process_time() - begun))
        looped.append(loop(0.3, seed))
    ours, theirs = statistics.median(vectorised), statistics.median(looped)
    return [
        Row("draws a CPU second, vectorised", ours, 5e7),
        Row("draws a CPU second, Python loop", theirs),
        Row("vectorised / Python loop", ours / theirs, 100.0),
    ]


def loop(p: float, seed: int, q: float = 0.5) -> float:
    """Draws a second of the plain loop of rejection sampling."""
    rng = random.Random(seed)
    M = max(p / q, (1 - p) / (1 - q))
    proposals = 0
    kept = []
    begun = time.process_time()
    while proposals < LOOPED:
        proposals += 1
        x = int(rng.random() < q)
        P, Q = (p, q) if x else (1 - p, 1 - q)
        if rng.random() < P / (M * Q):
            kept.append(x)
    seconds = time.process_time() - begun
    assert abs(sum(kept) / len(kept) - p) < 0.02
    return LOOPED / seconds
