"""Rejection sampling by simulation, many proposals at a time.

A proposal and its decision have a joint law on 2K cells: x is proposed and accepted, Q(x)Ã(x), or proposed and turned
away, Q(x)(1 − Ã(x)). One uniform number picks the cell, so a draw costs a random number and a few comparisons.
Proposals form one long stream in index order; a sample is the next n accepted values of it, which is what the
sequential method gives, and nothing accepted is thrown away.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import VRSError
from .theory import Distribution, probabilities_of

Array = NDArray[np.float64]

CHUNK = 1 << 16  # proposals at a time: the working set stays in the caches
MOST_PROPOSALS = 1 << 40
ERROR_LEVELS = (0.05, 0.1, 0.2, 0.3)


@dataclass(frozen=True)
class Simulated:
    """`counts` is how often each outcome is in each sample, (samples, K); `proposed` and `accepted` are totals by x,
    (K,), over all proposals that were made."""

    counts: NDArray[np.int64]
    proposed: NDArray[np.int64]
    accepted: NDArray[np.int64]

    @property
    def shares(self) -> Array:
        """p̃ of each outcome in each sample, (samples, K)."""
        return self.counts / self.counts.sum(axis=1, keepdims=True)

    @property
    def proposals(self) -> int:
        return int(self.proposed.sum())

    @property
    def rate(self) -> float:
        """The share of proposals that were accepted."""
        return float(self.accepted.sum() / self.proposed.sum())


def simulate(
    Q: Distribution, A_tilde: ArrayLike, n: int, samples: int = 1, *, rng: np.random.Generator | int = 0
) -> Simulated:
    """`samples` samples of n accepted values each, with proposals from Q and the acceptance probabilities Ã, (K,).

    Raises:
        VRSError: n or samples below 1, Ã outside [0, 1] or of another length, or an acceptor that accepts so rarely
            that more than 2^40 proposals are expected.
    """
    q, _ = probabilities_of(Q)
    a = np.asarray(A_tilde, dtype=np.float64)
    if a.shape != q.shape or not ((a >= 0) & (a <= 1)).all():
        raise VRSError(f"A_tilde must be {len(q)} numbers in [0, 1]")
    if n < 1 or samples < 1:
        raise VRSError(f"n and samples must be at least 1, not {n} and {samples}")
    rate = float(q @ a)
    if rate <= 0 or n * samples / rate > MOST_PROPOSALS:
        raise VRSError(f"an acceptor that accepts {rate:g} of all proposals needs too many of them to simulate")
    raw = np.random.SFC64(rng if isinstance(rng, int) else int(rng.integers(1 << 63)))
    return (_binary if len(q) == 2 else _general)(q, a, n, samples, raw)


def random_error_table(
    levels: Sequence[float] = ERROR_LEVELS, replicates: int = 2000, points: int = 101, seed: int = 0
) -> Mapping[float, Mapping[str, float]]:
    """Expected STVD where every decision has an error e ~ U(−c, c), clipped to [0, 1], with Q = Bern(½).

    For each c: `direct` (p̃ = p + e), `vrs` (e = 0 where A = 1), `vrs_both` (an error of its own at each x) and
    `vrs_common` (the same error at both).

    Raises:
        VRSError: a level outside [0, 1], or fewer than one replicate.
    """
    if replicates < 1 or points < 2 or not all(0 <= c <= 1 for c in levels):
        raise VRSError("the error levels must be in [0, 1], with at least one replicate and two points of the grid")
    p = np.linspace(0, 1, points)
    larger = np.maximum(p, 1 - p)
    A = np.stack([(1 - p) / larger, p / larger])  # A(0), A(1); Q cancels
    unsure = A < 1
    table = {}
    for c in levels:
        rng = np.random.default_rng(seed)
        e = rng.uniform(-c, c, (replicates, 2, points))
        at_unsure = np.where(unsure, e, 0.0)
        table[c] = {
            "direct": _mean_stvd(np.clip(p + e[:, 1], 0, 1), p),
            "vrs": _mean_stvd(_ones(A + at_unsure), p),
            "vrs_both": _mean_stvd(_ones(A + e), p),
            "vrs_common": _mean_stvd(_ones(A + e[:, :1]), p),
        }
    return table


def completion_order_bias(
    n: int = 100,
    calls: int = 400,
    latency: tuple[float, float] = (3.0, 1.0),
    rate: float = 0.5,
    replicates: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """(p̃ of the first n accepted in order of completion, in order of index) for a fair target.

    All calls start together and x = 0 and x = 1 are accepted alike; only their latencies differ, exponential with the
    given means. The first is far from ½ and the second is not: why samples are taken in index order.
    """
    if not 1 <= n <= calls * rate * 0.8:
        raise VRSError(f"n must be from 1 to {int(calls * rate * 0.8)}, so that {calls} calls give n accepted values")
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 2, (replicates, calls))
    accepted = rng.random((replicates, calls)) < rate
    finished = rng.exponential(np.array(latency)[x])
    finished[~accepted] = np.inf
    by_completion = np.take_along_axis(x, np.argsort(finished, axis=1)[:, :n], axis=1)
    by_index = np.take_along_axis(x, np.argsort(~accepted, axis=1, kind="stable")[:, :n], axis=1)
    return float(by_completion.mean()), float(by_index.mean())


def _ones(A_tilde: Array) -> Array:
    """The share of ones among the accepted at Q = Bern(½); nothing accepted counts as a coin stuck at ½."""
    a = np.clip(A_tilde, 0, 1)
    total = a.sum(axis=-2)
    return np.divide(a[..., 1, :], total, out=np.full(total.shape, 0.5), where=total > 0)


def _mean_stvd(p_hat: Array, p: Array) -> float:
    return float(np.abs(p_hat - p).sum(axis=-1).mean())


def _binary(q: Array, a: Array, n: int, samples: int, raw: np.random.SFC64) -> Simulated:
    """[0, yes) accepts a 1, [yes, any) accepts a 0, [any, ones) turns a 1 away, and the rest turns a 0 away.

    Numbers are 32 raw bits, so that probabilities are rounded to 2^-32; 0 and 1 stay what they are.
    """
    yes, any_, ones = (round(float(v) * 2.0**32) for v in (q[1] * a[1], q @ a, q @ a + q[1] * (1 - a[1])))
    wanted = n * samples
    kept = np.empty(wanted + CHUNK, dtype=bool)
    had = made = proposed_one = accepted_one = 0
    while had < wanted:
        u = raw.random_raw(CHUNK // 2).view(np.uint32)
        one = u < yes
        # several times as fast as indexing by the mask
        taken = np.compress(u < any_, one)
        kept[had : had + len(taken)] = taken
        had += len(taken)
        made += CHUNK
        found = int(np.count_nonzero(one))
        accepted_one += found
        proposed_one += found + int(np.count_nonzero(u < ones)) - len(taken)
    counts = np.add.reduce(kept[:wanted].reshape(samples, n), axis=1, dtype=np.int64)
    return Simulated(
        np.stack([n - counts, counts], axis=1),
        np.array([made - proposed_one, proposed_one]),
        np.array([had - accepted_one, accepted_one]),
    )


def _general(q: Array, a: Array, n: int, samples: int, raw: np.random.SFC64) -> Simulated:
    size = len(q)
    edges = np.cumsum(np.concatenate([q * a, q * (1 - a)]))
    # rounding may leave the last edge below 1, and a cell of no width must not be hit there
    edges[np.flatnonzero(np.diff(edges, prepend=0.0) > 0)[-1] :] = np.inf
    rng = np.random.Generator(raw)
    wanted = n * samples
    kept = np.empty(wanted + CHUNK, dtype=np.int64)
    cells = np.zeros(2 * size, dtype=np.int64)
    had = 0
    while had < wanted:
        cell = np.searchsorted(edges, rng.random(CHUNK), side="right")
        cells += np.bincount(cell, minlength=2 * size)
        taken = cell[cell < size]
        kept[had : had + len(taken)] = taken
        had += len(taken)
    sample = np.repeat(np.arange(samples), n)
    counts = np.bincount(sample * size + kept[:wanted], minlength=samples * size).reshape(samples, size)
    return Simulated(counts, cells[:size] + cells[size:], cells[:size].copy())
