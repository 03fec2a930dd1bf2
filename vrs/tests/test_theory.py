"""The theory: closed forms against tables, brute force, and 200 000 random cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vrs.acceptors import ACCEPTORS, acceptance_curve, acceptor_curve
from vrs.continuous import Continuous
from vrs.errors import VRSError
from vrs.metrics import expected_stvd, stvd, stvd_floor
from vrs.simulate import random_error_table, simulate
from vrs.targets import Bernoulli, Categorical
from vrs.theory import (
    acceptance,
    bound_prop1,
    bound_prop2,
    c_max,
    c_max_negative,
    exact_error,
    expected_proposals,
    fair_error,
    fair_sensitivity,
    improves,
    tv,
    vrs_distribution,
)

GRID = np.linspace(0, 1, 101)
HALF = Bernoulli("0.5")
CASES = 200_000

# acceptor: STVD exact, expected on 100 draws, mean acceptance
TABLE = {
    "ideal": (0.0, 3.114, 0.6913),
    "omits_m": (5.683, 6.294, 0.7475),
    "constant": (25.5, None, 0.5),
    "argmax": (24.5, None, None),
    "vrs_simple_omits_m": (11.369, 11.398, None),
}


@pytest.mark.parametrize("name", TABLE)
def test_theory_of_the_named_acceptors(name):
    exact, on_100_draws, accepted = TABLE[name]
    curve = acceptor_curve(name, GRID)
    assert stvd(curve, GRID) == pytest.approx(exact, abs=1e-3)
    if on_100_draws is not None:
        assert expected_stvd(curve, GRID, 100) == pytest.approx(on_100_draws, abs=1e-3)
    if accepted is not None:
        assert acceptance_curve(name, GRID)[:, 2].mean() == pytest.approx(accepted, abs=1e-4)


def test_theory_of_the_worst_error_without_m():
    error = np.abs(acceptor_curve("omits_m", GRID) - GRID)
    assert error.max() == pytest.approx(0.0858, abs=5e-5) and GRID[error.argmax()] in (0.21, 0.79)


def test_theory_of_the_floor():
    floor = stvd_floor(GRID, 100)
    assert floor.mean == pytest.approx(3.114, abs=1e-3) and floor.sd == pytest.approx(0.248, abs=2e-3)
    assert [floor.quantiles[q] for q in (0.05, 0.5, 0.95)] == pytest.approx([2.71, 3.11, 3.53], abs=0.015)
    # the 99 % band ends at 3.75
    assert floor.quantiles[0.995] == pytest.approx(3.75, abs=0.05)
    levels = {10: 9.976, 20: 7.023, 50: 4.422, 100: 3.114, 200: 2.207, 400: 1.563, 1000: 0.989}
    assert {n: stvd_floor(GRID, n).mean for n in levels} == pytest.approx(levels, abs=1e-3)


# STVD under errors U(−c, c): direct, VRS with A = 1 known, both wrong, a common error
ERRORS = {
    0.05: (2.47, 1.42, 1.47, 1.22),
    0.1: (4.85, 2.77, 2.88, 2.39),
    0.2: (9.38, 5.23, 5.55, 4.55),
    0.3: (13.59, 7.44, 8.03, 6.49),
}


def test_theory_of_random_errors():
    found = random_error_table(replicates=2000)
    for c, row in ERRORS.items():
        assert tuple(found[c].values()) == pytest.approx(row, rel=0.03)


def test_theory_of_proposals_and_sensitivity():
    assert expected_proposals(GRID, 100) == pytest.approx(15_200)
    assert fair_sensitivity(GRID).mean() == pytest.approx(0.587, abs=5e-4)
    assert c_max(np.array([0.25, 0.5, 1.0])) == pytest.approx([1 / 3, 1, 0])
    larger = np.maximum(GRID, 1 - GRID)
    assert c_max_negative(GRID) == pytest.approx(c_max(GRID) * (1 + larger))


# -- random cases, many at a time


def random_bernoulli(rng):
    """p, q, e0, e1 with A + e in [0, 1], (CASES,) each; and M, A0, A1."""
    p, q = rng.random(CASES), rng.uniform(0.02, 0.98, CASES)
    M = np.maximum(p / q, (1 - p) / (1 - q))
    A = np.stack([(1 - p) / (1 - q), p / q]) / M
    A_tilde = rng.random((2, CASES))
    return p, q, M, A, A_tilde - A


def brute_tv(p, q, A_tilde):
    weight = np.stack([1 - q, q]) * A_tilde
    return np.abs(weight[1] / weight.sum(0) - p)


def test_theory_of_the_exact_error_of_two_outcomes():
    p, q, M, A, e = random_bernoulli(np.random.default_rng(0))
    formula = M * np.abs((1 - p) * q * e[1] - p * (1 - q) * e[0]) / (1 + M * (q * e[1] + (1 - q) * e[0]))
    assert formula == pytest.approx(brute_tv(p, q, A + e), abs=1e-9)


def test_theory_of_propositions_1_and_2():
    p, q, M, A, e = random_bernoulli(np.random.default_rng(1))
    c = np.abs(e).max(0)
    small = M * c < 1
    assert small.sum() > 1000
    assert (brute_tv(p, q, A + e)[small] <= (M * c / (1 - M * c))[small] + 1e-9).all()
    # the uncertain state alone is wrong
    sure = A >= 1 - 1e-12
    e = np.where(sure, 0, e)
    c, q_hat = np.abs(e).max(0), np.where(sure, 0, np.stack([1 - q, q])).sum(0)
    share = M * c * q_hat
    small = share < 1
    assert (brute_tv(p, q, A + e)[small] <= (share / (1 - share))[small] + 1e-9).all()


def test_theory_of_the_fair_proposal():
    """TV = P'²|e|/(1 + P'e), never above |e|·P'; the limits of Cor. 1 and of its exact form."""
    rng = np.random.default_rng(2)
    p = rng.random(CASES)
    larger = np.maximum(p, 1 - p)
    least = (1 - larger) / larger  # A(x̂)
    e = rng.uniform(-least, 1 - least)
    one = p >= 0.5  # then x̂ = 0
    A_tilde = np.stack([np.where(one, least + e, 1), np.where(one, 1, least + e)])
    found = brute_tv(p, 0.5 + 0 * p, A_tilde)
    assert found == pytest.approx(fair_error(p, e), abs=1e-9)
    assert (found <= larger * np.abs(e) + 1e-12).all()
    # were e not bounded below, a negative one would gain exactly within the limit
    loose = rng.uniform(0, 1 / larger)
    gains = larger**2 * loose / (1 - larger * loose) < loose
    assert (gains == (loose < c_max_negative(p))).all()


# -- any state space


def simplex(size):
    return st.lists(st.floats(0.01, 1), min_size=size, max_size=size).map(lambda w: np.array(w) / sum(w))


@st.composite
def problems(draw):
    size = draw(st.integers(2, 8))
    P, Q = draw(simplex(size)), draw(simplex(size))
    A = acceptance(P, Q).values
    A_tilde = np.array(draw(st.lists(st.floats(0.01, 1), min_size=size, max_size=size)))
    return P, Q, np.asarray(A), A_tilde


@settings(max_examples=300, deadline=None)
@given(problems())
def test_theory_of_any_number_of_outcomes(problem):
    P, Q, A, A_tilde = problem
    M, e = acceptance(P, Q).M, A_tilde - A
    found = tv(vrs_distribution(P, Q, A_tilde), P)
    assert exact_error(P, Q, e) == pytest.approx(found, abs=1e-9)
    assert found <= bound_prop1(M, np.abs(e).max()) + 1e-9
    known = np.where(A >= 1 - 1e-12, 1, A_tilde)
    accept = acceptance(P, Q)
    c = float(np.abs(known - A).max())
    assert tv(vrs_distribution(P, Q, known), P) <= bound_prop2(M, c, accept.q_hat) + 1e-9


@settings(max_examples=100, deadline=None)
@given(problems(), st.floats(0.01, 1))
def test_theory_of_scale_invariance(problem, kappa):
    P, Q, A, _ = problem
    assert vrs_distribution(P, Q, kappa * A) == pytest.approx(P, abs=1e-12)


@settings(max_examples=100, deadline=None)
@given(st.floats(0, 1), st.floats(0.05, 0.95), st.floats(0.01, 1), st.floats(0.01, 1))
def test_theory_is_symmetric_under_exchange_of_0_and_1(p, q, a0, a1):
    there = vrs_distribution([1 - p, p], [1 - q, q], [a0, a1])
    back = vrs_distribution([p, 1 - p], [q, 1 - q], [a1, a0])
    assert there == pytest.approx(back[::-1], abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(problems(), st.integers(0, 2**32))
def test_theory_is_what_a_simulation_gives(problem, seed):
    P, Q, _, A_tilde = problem
    n = 20_000
    law = vrs_distribution(P, Q, A_tilde)
    found = simulate(Q, A_tilde, n, rng=seed)
    # 240 comparisons in the worst case: five standard deviations, and one for the rounding of few counts
    assert (np.abs(found.counts[0] - n * law) <= 5 * np.sqrt(n * law * (1 - law)) + 1).all()
    assert found.rate == pytest.approx(float(Q @ A_tilde), abs=5 / math.sqrt(n))


# -- acceptance


@pytest.mark.parametrize("p", [0, 0.1, 0.5, 0.7, 1])
@pytest.mark.parametrize("q", [0.2, 0.5, 0.9])
def test_acceptance_by_hand(p, q):
    found = acceptance(Bernoulli(p), Bernoulli(q))
    M = max(p / q, (1 - p) / (1 - q))
    assert pytest.approx(M) == found.M and found.rate == pytest.approx(1 / M)
    assert [found.A(0), found.A(1)] == pytest.approx([(1 - p) / (1 - q) / M, p / q / M])
    assert vrs_distribution(Bernoulli(p), Bernoulli(q), found.values) == pytest.approx([1 - p, p])
    # Cor. 1 in its general form
    q_hat = sum(share for share, a in zip((1 - q, q), found.values, strict=True) if a < 1)
    for c in (0.05, 0.4):
        assert improves(Bernoulli(p), Bernoulli(q), c) == (q_hat < 1 / (M * (1 + c)) - 1e-12)


def test_corollary_1_at_the_fair_proposal():
    for p in (0.1, 0.3, 0.45):
        limit = float(c_max(p))
        assert improves(Bernoulli(p), HALF, limit * 0.99) and not improves(Bernoulli(p), HALF, limit * 1.01)


@pytest.mark.parametrize(
    "P, Q, M",
    [
        (stats.norm(0, 1), stats.norm(0, 2), 2.0),
        (stats.norm(0, 1), stats.cauchy(0, 1), math.sqrt(2 * math.pi / math.e)),
        (stats.beta(2, 2), stats.uniform(0, 1), 1.5),
        (stats.beta(2, 5), stats.uniform(0, 1), stats.beta(2, 5).pdf(0.2)),
        (stats.expon(), stats.expon(scale=2), 2.0),
        (stats.uniform(0, 1), stats.uniform(-1, 4), 4.0),
    ],
)
def test_m_of_continuous_pairs(P, Q, M):
    found = acceptance(Continuous(P), Continuous(Q))
    assert pytest.approx(M, rel=1e-6) == found.M
    x = P.rvs(2000, random_state=1)
    accepted = np.array([found.A(v) for v in x])
    assert accepted == pytest.approx(P.pdf(x) / (found.M * Q.pdf(x)), rel=1e-6) and accepted.max() <= 1


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: acceptance(Bernoulli("0.3"), Bernoulli(0)), "never gives 1, which the target gives with prob.*0.3"),
        (lambda: acceptance(Bernoulli("0.3"), Bernoulli(1)), "never gives 0"),
        (lambda: acceptance(Categorical([0.5, 0.5, 0]), Categorical([0, 1, 0])), "M is infinite"),
        (lambda: acceptance(Continuous(stats.t(3)), Continuous(stats.norm())), "tail is lighter"),
        (lambda: acceptance(Continuous(stats.norm()), Continuous(stats.uniform(0, 1))), "has no density at"),
        (lambda: acceptance(Continuous(stats.norm()), HALF), "needs a continuous proposal"),
        (lambda: acceptance([0.5, 0.4], [0.5, 0.5]), "sum to 0.9"),
        (lambda: acceptance([0.5, 0.5], [1 / 3] * 3), "must have one support"),
        (lambda: vrs_distribution(HALF, HALF, [0, 0]), "never accepts"),
        (lambda: vrs_distribution(HALF, HALF, [0.5, 1.5]), r"must lie in \[0, 1\], not 1.5"),
        (lambda: exact_error(HALF, HALF, [0.5, 0]), r"A \+ e must lie in"),
        (lambda: bound_prop1(0.5, 0.1), "M must be at least 1"),
        (lambda: bound_prop2(1.5, 0.1, 1.5), "q_hat must be in"),
        (lambda: bound_prop1(1.5, float("nan")), "c must be at least 0"),
        (lambda: improves(HALF, HALF, 0), "nothing to improve"),
        (lambda: acceptor_curve("perfect", GRID), "acceptor must be one of ideal"),
        (lambda: acceptor_curve("ideal", [1.2]), r"in \[0, 1\]"),
        (lambda: acceptance(Bernoulli("0.5"), HALF).A(2), "is no outcome"),
    ],
)
def test_theory_refuses(make, sentence):
    with pytest.raises(VRSError, match=sentence) as raised:
        make()
    assert "\n" not in str(raised.value)


def test_bounds_are_infinite_where_they_say_nothing():
    assert bound_prop1(2, 0.5) == math.inf and bound_prop2(2, 0.5, 0.5) == 1.0


def test_acceptors_take_any_number_of_outcomes():
    P, Q = Categorical([0.1, 0.2, 0.7]), Categorical([0.3, 0.3, 0.4])
    assert set(ACCEPTORS) == {"ideal", "omits_m", "constant", "argmax"}
    assert ACCEPTORS["omits_m"](P, Q) == pytest.approx([1 / 3, 2 / 3, 1])
    assert ACCEPTORS["argmax"](P, Q).tolist() == [0, 0, 1]
    assert vrs_distribution(P, Q, ACCEPTORS["constant"](P, Q)) == pytest.approx(Q.probabilities)
