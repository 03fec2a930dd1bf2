"""Vectorised rejection sampling: its draws are those of the law, and its tables those of the theory."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from vrs.acceptors import ideal
from vrs.errors import VRSError
from vrs.simulate import completion_order_bias, random_error_table, simulate
from vrs.targets import Bernoulli, Categorical
from vrs.theory import vrs_distribution

HALF = Bernoulli("0.5")


@pytest.mark.parametrize(
    "Q, A",
    [
        (HALF, [0.2, 0.9]),
        (Bernoulli("0.9"), [1.0, 0.05]),
        (HALF, [0.0, 1.0]),
        (Categorical([0.2, 0.3, 0.5]), [0.5, 0.0, 0.9]),
    ],
)
def test_samples_follow_the_law_independently(Q, A):
    law = vrs_distribution(Q, Q, A)
    found = simulate(Q, A, n=50, samples=4000, rng=3)
    assert found.counts.shape == (4000, len(A)) and (found.counts.sum(1) == 50).all()
    ones = found.counts[:, -1]
    # not the mean alone: the counts of samples are binomial
    observed = np.bincount(np.minimum(ones, 50), minlength=51)
    expected = 4000 * stats.binom.pmf(np.arange(51), 50, law[-1])
    often = expected > 5
    if often.sum() > 1:
        rest = [[o[often].sum(), o[~often].sum()] for o in (observed, expected)]
        chi = ((observed[often] - expected[often]) ** 2 / expected[often]).sum()
        assert stats.chi2.sf(chi, often.sum()) > 1e-4 and rest[0][1] < 60
    assert (found.accepted <= found.proposed).all()
    assert found.rate == pytest.approx(float(np.asarray(A) @ Q.probabilities), abs=0.01)
    assert found.proposed / found.proposals == pytest.approx(Q.probabilities, abs=0.01)


def test_an_ideal_acceptor_gives_the_target_and_the_paper_s_proposals():
    P = Bernoulli("0.3")
    found = simulate(HALF, ideal(P, HALF), n=100, samples=20_000, rng=1)
    assert found.shares[:, 1].mean() == pytest.approx(0.3, abs=4 * (0.21 / 2_000_000) ** 0.5)
    # 1.4 proposals a draw, M for p = 0.3; whole chunks are drawn, so some are left over
    assert found.proposals / 2_000_000 == pytest.approx(1.4, rel=0.04)


def test_a_seed_repeats_a_simulation():
    one, two = (simulate(HALF, [0.3, 0.6], 10, 20, rng=9) for _ in range(2))
    assert (one.counts == two.counts).all() and (one.counts != simulate(HALF, [0.3, 0.6], 10, 20, rng=8).counts).any()


def test_completion_order_is_biased_and_index_order_is_not():
    completion, index = completion_order_bias(replicates=2000)
    assert completion == pytest.approx(0.68, abs=0.01) and index == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: simulate(HALF, [0.5], 5), "A_tilde must be 2 numbers"),
        (lambda: simulate(HALF, [0.5, 1.5], 5), r"numbers in \[0, 1\]"),
        (lambda: simulate(HALF, [0.5, 0.5], 0), "n and samples must be at least 1"),
        (lambda: simulate(HALF, [0, 0], 5), "needs too many"),
        (lambda: simulate(HALF, [1e-9, 0], 10_000), "needs too many"),
        (lambda: random_error_table((1.5,)), "the error levels must be in"),
        (lambda: completion_order_bias(n=500), "n must be from 1 to 160"),
    ],
)
def test_refusals(make, sentence):
    with pytest.raises(VRSError, match=sentence):
        make()
