"""Distances, intervals, tests and confidence sequences, against closed forms, scipy and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle
from scipy import stats

from vrs import metrics
from vrs.continuous import Continuous
from vrs.errors import VRSError
from vrs.metrics.floor import mean_deviation
from vrs.samplers import Direct
from vrs.targets import Bernoulli, Binomial, Categorical

GRID = np.linspace(0, 1, 101)


def test_stvd_by_hand():
    p_hat = [0.1, 0.5, 1.0]
    assert metrics.stvd(p_hat, [0, 0.5, 1]) == pytest.approx(0.1)
    assert metrics.mean_tv(p_hat, [0, 0.5, 1]) == pytest.approx(0.1 / 3)
    assert metrics.worst_tv(p_hat, [0, 0.5, 1]) == (pytest.approx(0.1), 0.0)
    assert metrics.bias(p_hat, [0, 0.5, 1]).tolist() == pytest.approx([0.1, 0, 0])
    # a coin stuck at one half, scaled to the other grid, does not compare
    assert metrics.stvd(0 * GRID + 0.5, GRID) == pytest.approx(25.5)
    assert metrics.stvd([0.5] * 21, np.linspace(0, 1, 21)) * 101 / 21 == pytest.approx(26.45, abs=5e-3)


@settings(max_examples=100, deadline=None)
# below 1e-300 scipy's binomial itself overflows
@given(st.floats(1e-300, 1) | st.just(0.0), st.integers(1, 300))
def test_the_mean_deviation_is_de_moivre_s(p, n):
    x = np.arange(n + 1)
    direct = float((stats.binom.pmf(x, n, p) * np.abs(x / n - p)).sum())
    assert float(mean_deviation(p, n)) == pytest.approx(direct, abs=1e-9)


def test_the_floor_against_simulation_and_expected_stvd():
    floor = metrics.stvd_floor(GRID, 20)
    rng = np.random.default_rng(3)
    found = np.abs(rng.binomial(20, GRID, (20_000, 101)) / 20 - GRID).sum(1)
    assert floor.mean == pytest.approx(found.mean(), abs=4 * found.std() / math.sqrt(20_000))
    assert floor.sd == pytest.approx(found.std(), rel=0.03)
    assert metrics.expected_stvd(GRID, GRID, 20) == pytest.approx(floor.mean)
    assert floor.p_value(0) == 1 and floor.p_value(50) == pytest.approx(1 / 20_001)
    assert floor.z(floor.mean + 2 * floor.sd) == pytest.approx(2)
    # p-values of perfect coins are uniform
    p_values = [floor.p_value(v) for v in found[:500]]
    assert stats.kstest(p_values, "uniform").pvalue > 1e-3


def test_the_unbiased_square_is_zero_for_a_perfect_coin_and_the_error_of_another():
    rng = np.random.default_rng(4)
    for p_tilde in (GRID, 0.2 + 0.5 * GRID):
        draws = rng.binomial(7, p_tilde, (20_000, 101)) / 7
        found = [metrics.unbiased_squared(d, GRID, 7) for d in draws[:4000]]
        error = ((p_tilde - GRID) ** 2).sum()
        assert np.mean(found) == pytest.approx(error, abs=4 * np.std(found) / math.sqrt(4000))


def test_intervals_are_scipy_s():
    for k, n in ((0, 5), (3, 5), (5, 5), (40, 100), (1, 1000)):
        for method, ours in (("wilson", metrics.wilson), ("exact", metrics.clopper_pearson)):
            theirs = stats.binomtest(k, n).proportion_ci(0.9, method=method)
            assert [float(end) for end in ours(k, n, 0.9)] == pytest.approx([theirs.low, theirs.high], abs=1e-9)


def test_the_g_test_and_holm():
    found = metrics.g_test([30, 0, 5], 100, [0.3, 0.0, 0.0])
    assert found.tolist() == [1, 1, 0]
    (p,) = metrics.g_test([40], 100, [0.3])
    assert p == pytest.approx(stats.power_divergence([40, 60], [30, 70], lambda_=0).pvalue)
    counts = metrics.g_test_counts([10, 20, 70], [0.1, 0.3, 0.6])
    assert counts == pytest.approx(stats.power_divergence([10, 20, 70], [10, 30, 60], lambda_=0).pvalue)
    assert metrics.g_test_counts([1, 1], [1.0, 0.0]) == 0.0
    assert metrics.holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])


def test_divergences():
    P, Q = [0.2, 0.8], [0.5, 0.5]
    assert metrics.hellinger(P, Q) ** 2 == pytest.approx(1 - sum(math.sqrt(a * b) for a, b in zip(P, Q, strict=True)))
    assert metrics.kl(P, Q) == pytest.approx(stats.entropy(P, Q)) and metrics.kl([0.5, 0.5], [1, 0]) == math.inf
    assert metrics.js(P, Q) == pytest.approx(metrics.js(Q, P)) and metrics.js([1, 0], [0, 1]) == pytest.approx(
        math.log(2)
    )
    assert metrics.chi_squared(P, Q) == pytest.approx(0.36)
    # a half is added to each outcome: nothing drawn is not proof that nothing can be
    assert metrics.kl_from_counts([0, 10], [0.1, 0.9]) < math.inf
    assert metrics.kl_from_counts([0, 10], [0.0, 1.0]) == 0
    # Pinsker
    assert metrics.tv(P, Q) ** 2 <= metrics.kl(P, Q) / 2


def test_monotonicity():
    assert metrics.monotonicity([0, 0.3, 0.3, 1]) == 1 and metrics.monotonicity([0.5, 0.5]) == 1
    assert metrics.monotonicity([1, 0.6, 0]) == 0
    assert 0 < metrics.monotonicity([0, 0.6, 0.4, 1]) < 1


def test_distances_of_ordered_targets():
    rng = np.random.default_rng(5)
    normal = Continuous(stats.norm(0, 1))
    sample = rng.normal(size=200)
    assert metrics.kolmogorov_smirnov(sample, normal).p_value == pytest.approx(stats.kstest(sample, "norm").pvalue)
    assert metrics.cramer_von_mises(sample + 0.5, normal).p_value < 1e-3
    target = Binomial(6, "0.3")
    # uniform p-values under the target, in so far as steps allow: at most α rejections
    rejected = [metrics.kolmogorov_smirnov(target.sample(rng, 50), target).p_value <= 0.1 for _ in range(200)]
    assert np.mean(rejected) <= 0.1 + 4 * math.sqrt(0.09 / 200)
    assert metrics.cramer_von_mises(Binomial(6, "0.6").sample(rng, 50), target).p_value < 1e-3
    for bad, sentence in (([], "at least one"), ([7.5], "7.5 is no outcome"), (["a"], "list of numbers")):
        with pytest.raises(VRSError, match=sentence):
            metrics.kolmogorov_smirnov(bad, target)
    with pytest.raises(VRSError, match="have no order"):
        metrics.kolmogorov_smirnov([1], Categorical([0.5, 0.5], ("a", "b")))


def test_dependence():
    alternating = metrics.dependence([0, 1] * 50)
    assert alternating.runs == 100 and alternating.lag1 < -0.98 and alternating.p_value < 1e-9
    rng = np.random.default_rng(6)
    p_values = [metrics.dependence(rng.integers(0, 2, 300)).p_value for _ in range(400)]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.04)
    assert math.isnan(metrics.dependence([1, 1, 1]).lag1)


# -- confidence sequences


@pytest.mark.parametrize("p", [0.02, 0.3, 0.5, 0.97])
def test_the_confidence_sequence_holds_the_mean_at_all_times(p):
    """Over 1500 sequences of 400 draws the mean ever leaves the band in at most 10 % of them, and 4 sigma."""
    draws = np.random.default_rng(7).random((1500, 400)) < p
    ones = draws.cumsum(1)
    wealth = metrics.log_wealth(p, ones, np.arange(1, 401) - ones)
    missed = (wealth >= -math.log(0.1)).any(1).mean()
    assert missed <= 0.1 + 4 * math.sqrt(0.09 / 1500)


def test_the_band_is_where_the_wealth_is_small():
    low, high = metrics.confidence_band([0, 3, 50], [0, 3, 120], 0.9)
    assert (low[0], high[0]) == (0, 1) and high[1] == 1
    limit = -math.log(0.1)
    assert float(metrics.log_wealth(low[2], 50, 70)) == pytest.approx(limit)
    assert float(metrics.log_wealth(high[2], 50, 70)) == pytest.approx(limit)


def test_the_wealth_is_a_martingale_of_mean_one():
    """Exactly, by summation over all sequences of 12 draws."""
    n, p = 12, 0.3
    ones = np.arange(n + 1)
    law = stats.binom.pmf(ones, n, p)
    assert float(law @ np.exp(metrics.log_wealth(p, ones, n - ones))) == pytest.approx(1)


def test_a_sequence_of_draws_narrows_and_says_when_to_stop():
    band = metrics.ConfidenceSequence(0.95)
    widths = [(band.update([i % 2]), band.width)[1] for i in range(300)]
    assert widths == sorted(widths, reverse=True) and not band.narrower_than(0.1) and band.narrower_than(0.3)
    whole = metrics.ConfidenceSequence(0.95)
    whole.update([i % 2 for i in range(300)])
    assert (whole.low, whole.high) == pytest.approx((band.low, band.high))


def test_sampling_stops_when_the_band_is_narrow():
    llm = Oracle().client(concurrency=8)
    found, band = Direct(llm).sample_until(Bernoulli("0.2"), 0.15, rng=3)
    assert band.width < 0.15 and band.low <= found.p_hat() <= band.high and band.n == len(found.values)
    # no call is repeated by looking again, and a longer sample begins with the shorter
    assert len(llm.calls) == found.calls
    short, wide = Direct(llm).sample_until(Bernoulli("0.2"), 0.15, most=60, rng=3)
    assert len(short.values) == 60 and wide.width > 0.15 and found.values[:60] == short.values
    with pytest.raises(VRSError, match="other outcomes than 0 and 1"):
        Direct(llm).sample_until(Binomial(3, "0.5"), 0.1)


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: metrics.stvd([], []), "the grid of p is empty"),
        (lambda: metrics.stvd([0.5], [1.5]), r"p must be in \[0, 1\], not 1.5"),
        (lambda: metrics.stvd([float("nan")], [0.5]), "a measured share must be in"),
        (lambda: metrics.stvd([0.5, 0.5], [0.5]), "for a grid of"),
        (lambda: metrics.stvd([0.5]), "or a calibration curve"),
        (lambda: metrics.stvd_floor(GRID, 0), "must be a whole number from 1, not 0"),
        (lambda: metrics.stvd_floor(GRID, 2.5), "not 2.5"),
        (lambda: metrics.stvd_floor(GRID, [1, 2]), "one for each of the 101 values"),
        (lambda: metrics.unbiased_squared([0.5], [0.5], 1), "from 2, not 1"),
        (lambda: metrics.wilson(5, 3), "from 0 to the number of draws"),
        (lambda: metrics.wilson(1, 3, 1.0), "confidence must be between 0 and 1"),
        (lambda: metrics.g_test([5], 3, [0.5]), "from 0 to the number of draws"),
        (lambda: metrics.holm([1.5]), r"numbers in \[0, 1\]"),
        (lambda: metrics.kl([0.5, 0.5], [1 / 3] * 3), "must have one support"),
        (lambda: metrics.monotonicity([]), "at least one finite number"),
        (lambda: metrics.dependence([2, 1]), "two zeros and ones"),
        (lambda: metrics.confidence_band(3, 2), "from 0 to the number of draws"),
        (lambda: metrics.ConfidenceSequence(0), "confidence must be between"),
        (lambda: metrics.ConfidenceSequence().update([2]), "must be 0 or 1"),
        (lambda: metrics.ConfidenceSequence().narrower_than(0), r"delta must be in \(0, 1\]"),
    ],
)
def test_refusals(make, sentence):
    with pytest.raises(VRSError, match=sentence):
        make()
