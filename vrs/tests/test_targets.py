"""Distributions: their probabilities, their draws, and how they are put into words."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vrs.continuous import Continuous, Discretised
from vrs.decimals import decimal_text
from vrs.errors import VRSError
from vrs.phrasing import PHRASINGS, example_draws, opaque_words, outcome_labels
from vrs.targets import Bernoulli, Binomial, Categorical, Geometric, Poisson, Target, Words, simple_target, uniform_over

FINITE = [
    Bernoulli("0.3"),
    Bernoulli(0),
    Categorical([0.1, 0.2, 0.7]),
    Categorical([0.5, 0.5], ("red", "blue")),
    Binomial(5, 0.3),
    Poisson(2.5),
    Geometric(0.4),
    Discretised(stats.norm(1, 2), bins=7),
    Discretised(stats.expon(), bins=(0.5, 1.0)),
]


@pytest.mark.parametrize("target", FINITE, ids=repr)
def test_probabilities_and_draws_agree(target):
    assert isinstance(target, Target) and math.fsum(target.probabilities) == pytest.approx(1, abs=1e-12)
    assert [target.pmf(x) for x in target.support] == pytest.approx(target.probabilities)
    assert target.pmf("none") == 0
    n = 20_000
    counts = np.array([np.sum(target.sample(np.random.default_rng(1), n) == x) for x in target.support])
    assert counts.sum() == n
    assert (np.abs(counts - n * target.probabilities) <= 5 * np.sqrt(n * target.probabilities) + 1).all()
    assert target.describe() and repr(target) == repr(type(target)(**_fields(target)))


def _fields(target):
    names = {"Bernoulli": ["p"], "Categorical": ["weights", "outcomes"], "Binomial": ["trials", "p"]}
    names |= {"Poisson": ["rate"], "Geometric": ["p"], "Discretised": ["dist", "bins"]}
    return {name: getattr(target, name) for name in names[type(target).__name__]}


def test_families_are_scipy_s():
    assert Binomial(5, "0.3").probabilities == pytest.approx(stats.binom.pmf(range(6), 5, 0.3))
    poisson, geometric = Poisson(2.5), Geometric("0.4")
    assert poisson.tail_mass <= 1e-6 and poisson.support[0] == 0 and geometric.support[0] == 1
    assert poisson.probabilities == pytest.approx(stats.poisson.pmf(poisson.support, 2.5), rel=2e-6)
    bins = Discretised(stats.norm(0, 1), bins=(-1.0, 0.0, 1.0))
    assert bins.probabilities == pytest.approx(np.diff(stats.norm.cdf([-np.inf, -1, 0, 1, np.inf])))


def test_targets_that_differ_are_written_differently():
    """The name of a target decides the stream of its draws."""
    targets = [
        Discretised(stats.norm(0, 1), bins=(0.0,)),
        Discretised(stats.norm(0, 1), bins=(0.1,)),
        Continuous(stats.norm(0, 1), proposal=stats.t(3)),
        Continuous(stats.norm(0, 1), proposal=stats.t(4)),
        Bernoulli("0.30001"),
        Bernoulli("0.3"),
        Words("a coin of mine", ("heads", "tails")),
        Words("a coin of mine", ("h", "t")),
    ]
    assert len({repr(t) for t in targets}) == len(targets) and not any(" at 0x" in repr(t) for t in targets)


# -- words


@pytest.mark.parametrize(
    "name, p, words",
    [
        ("P1", "0.3", "a sample from the set {0, 1}, where the probability of 1 is 0.3"),
        ("P0", "0.3", "a sample from the set {0, 1}, where the probability of 0 is 0.7"),
        (
            "P10",
            "0.3",
            "a sample from the set {0, 1}, where the probability of 1 is 0.3 and the probability of 0 is 0.7",
        ),
        (
            "P01",
            "0.3",
            "a sample from the set {0, 1}, where the probability of 0 is 0.7 and the probability of 1 is 0.3",
        ),
        ("P1", 0, "a sample from the set {0, 1}, where the probability of 1 is 0.0"),
        ("P0", 0, "a sample from the set {0, 1}, where the probability of 0 is 1.0"),
        ("percent", "0.125", "a sample from the set {0, 1}: 87.5% of the time it is 0, 12.5% of the time it is 1"),
        ("odds", "0.6", "a sample from the set {0, 1}, where 0, 1 stand in the proportions 2 : 3"),
    ],
)
def test_the_phrasings_of_a_bernoulli(name, p, words):
    assert Bernoulli(p).describe(name) == words


@given(st.integers(0, 100))
def test_one_minus_p_comes_from_decimals(i):
    """Never 0.30000000000000004: both are told like str(round(p, 2))."""
    p = i / 100
    assert Bernoulli(p).describe("P1").endswith(f" is {round(p, 2)}")
    assert Bernoulli(p).describe("P0").endswith(f" is {round((100 - i) / 100, 2)}")
    assert Bernoulli(1 - (1 - p)).exact == Decimal(i) / 100


@pytest.mark.parametrize("name", PHRASINGS)
def test_every_phrasing_tells_a_bernoulli_and_its_labels(name):
    for p in ("0.25", "0", "1"):
        labels = outcome_labels(Bernoulli(p), name)
        text = Bernoulli(p).describe(name)
        assert len(set(labels)) == 2 and all(label in text for label in labels)
        assert not text.endswith(".")
    swapped = Bernoulli("0.25").describe(name, labels=outcome_labels(Bernoulli("0.25"), name, "swap"))
    assert swapped != Bernoulli("0.25").describe(name) or name in ("named",)


def test_more_outcomes_and_names():
    three = Categorical([0.2, 0.3, 0.5])
    assert three.describe("P01").endswith("of 0 is 0.2, the probability of 1 is 0.3 and the probability of 2 is 0.5")
    assert three.describe("P1").endswith("of 1 is 0.3 and the probability of 2 is 0.5")
    assert "1, 1" in Bernoulli("0.9").describe("in_context_draws")
    told = "a sample from the binomial distribution with 12 trials and success probability 0.25, a whole number"
    assert Binomial(12, "0.25").describe() == f"{told} from 0 to 12"
    assert "mean 1 and standard deviation 2" in Continuous(stats.norm(1, 2)).describe()
    assert Words("The toss of my coin.", ("heads", "tails")).describe() == "The toss of my coin"
    # what is possible is not told to be impossible
    assert "of 1 is 0.0000034," in Discretised(stats.norm(), bins=(-4.5, 0.0)).describe("P01")


def test_decimals_are_written_out():
    assert [decimal_text(Decimal(v)) for v in ("0", "1", "0.30", "1E-7")] == ["0.0", "1.0", "0.3", "0.0000001"]


def test_example_draws_are_exact_and_closed_under_relabelling():
    for ones in range(21):
        for pair in range(3):
            draws = example_draws(ones, 20, 2 * pair)
            assert sum(draws) == ones
            assert tuple(1 - d for d in draws) == example_draws(20 - ones, 20, 2 * pair + 1)
    assert len({example_draws(10, 20, o) for o in range(8)}) == 8


def test_opaque_words_are_the_same_everywhere():
    assert opaque_words(2, 0) == opaque_words(2, 0) != opaque_words(2, 1)
    assert len(set(opaque_words(64, 3))) == 64


def test_the_target_of_vrs_simple_inverts_the_acceptance():
    for i in range(101):
        p = simple_target(Decimal(i) / 100).p
        assert p / (1 - p) == pytest.approx(i / 100, abs=2e-4)
    assert simple_target(Fraction(1, 3)).exact == Decimal("0.25")


def test_uniform_proposals():
    assert uniform_over(Bernoulli("0.3")) == Bernoulli("0.5")
    assert uniform_over(Binomial(3, "0.5")).probabilities.tolist() == [0.25] * 4


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda: Bernoulli(1.5), r"p must be in \[0, 1\], not 1.5"),
        (lambda: Bernoulli(-0.1), r"p must be in \[0, 1\], not -0.1"),
        (lambda: Bernoulli(float("nan")), "p must be a finite number, not nan"),
        (lambda: Bernoulli("much"), "p must be a number, not 'much'"),
        (lambda: Bernoulli(True), "p must be a number, not True"),
        (lambda: Bernoulli("0.1234567890123"), "more than 12 decimals"),
        (lambda: Categorical([0.5, 0.6]), "sum to 1.1, and must sum to 1 within 1e-9"),
        (lambda: Categorical([]), "at least one probability"),
        (lambda: Categorical([0.5, 0.5], ("a",)), "1 outcomes and 2 probabilities"),
        (lambda: Categorical([0.5, 0.5], ("1", 1)), "has an outcome twice"),
        (lambda: Binomial(0, 0.5), "trials must be a whole number from 1"),
        (lambda: Binomial(2.5, 0.5), "trials must be a whole number from 1 to 99999, not 2.5"),
        (lambda: Poisson(0), "rate must be a finite number above 0"),
        (lambda: Poisson(1e9), "outcomes; at most"),
        (lambda: Poisson(1, tail=0.9), "tail must be between"),
        (lambda: Geometric(0), "no trial succeeds"),
        (lambda: Discretised(stats.norm(0, 1), bins=1), "bins must be a whole number from 2"),
        (lambda: Discretised(stats.norm(0, 1), bins=(1.0, 0.0)), "edges that rise"),
        (lambda: Discretised(stats.poisson(2), bins=3), "must be a frozen continuous distribution"),
        (lambda: Continuous(stats.norm(0, -1)), "parameters that scipy does not allow"),
        (lambda: Continuous(stats.norm), "must be a frozen continuous distribution"),
        (lambda: Words(" ", ("a", "b")), "needs a text"),
        (lambda: Words("coin", ("a", "a")), "two or more distinct outcomes"),
        (lambda: Words("coin", ("a", "b")).pmf("a"), "no numeric probabilities"),
        (lambda: uniform_over(Continuous(stats.norm())), "no uniform proposal"),
        (lambda: Bernoulli("0.5").describe("P7"), "phrasing must be one of P1"),
        (lambda: Categorical([0.2, 0.3, 0.5]).describe("heads_tails"), "describes two outcomes"),
        (lambda: Bernoulli("0.123").describe("in_context_draws"), "whole numbers of draws"),
        (lambda: Bernoulli("0.5").describe("P1", labels=("a", "a")), "distinct labels"),
        (lambda: Binomial(100, 0.5).describe("P01"), "names at most 64"),
        (lambda: Continuous(stats.norm()).describe("P1"), "told by its name"),
        (lambda: outcome_labels(Bernoulli("0.5"), "P1", "mirror"), "relabel must be one of off"),
        (lambda: outcome_labels(Continuous(stats.norm())), "have no labels"),
        (lambda: example_draws(21), "0 to 20 ones"),
        (lambda: opaque_words(0), "1 to 64"),
        (lambda: Bernoulli("0.5").sample(np.random.default_rng(), -1), "n must be a whole number"),
    ],
)
def test_refusals(make, sentence):
    with pytest.raises(VRSError, match=sentence) as raised:
        make()
    assert "\n" not in str(raised.value)
