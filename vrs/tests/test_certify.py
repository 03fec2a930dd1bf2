"""Certificates: the plan's error is below what was asked, in at least the stated share of trials."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from oracle import Oracle, leaning

from vrs import certify
from vrs.coin import Coin
from vrs.errors import VRSError
from vrs.targets import Bernoulli, Binomial, Categorical, uniform_over
from vrs.theory import acceptance
from vrs.windows import Window, direct_way, hybrid_way, way_bound, way_error
from vrs.wording import Worded

FORCED = Worded(forced=True)


@dataclass
class Flipped:
    """A coin with a known curve; `flips` counts what was asked, and no draw is made twice."""

    curve: object
    rng: np.random.Generator
    estimator: str = "count"

    def __post_init__(self):
        self.flips, self.seen = 0, set()

    def flip(self, a, n, first_draw=0):
        asked = {(a, i) for i in range(first_draw, first_draw + n)}
        assert not asked & self.seen
        self.seen |= asked
        self.flips += n
        values = (self.rng.random(n) < self.curve(a)).astype(int).tolist()
        return SimpleNamespace(values=tuple(values), next_draw=first_draw + n)


def true_tv(plan, target, curve):
    """TV of what the plan would draw."""
    if plan.sampler == "factory":
        return 0.0
    if plan.sampler in ("direct", "inversion"):
        return abs(curve(plan.levels[0]) - target.p)
    way = hybrid_way(target, plan.proposal, 0.05, 1.0)
    return way_error(target, way, {level: curve(level) for level in plan.levels})


@pytest.mark.parametrize("p", ["0.3", "0.72"])
@pytest.mark.parametrize(
    "curve", [lambda a: min(1, a + 0.06), lambda a: 0.15 + 0.75 * a, lambda a: a**2], ids=["off", "leaning", "square"]
)
def test_at_most_one_in_twenty_certificates_is_wrong(p, curve):
    """1000 trials in all six cases together, each with fresh flips."""
    target, wrong, trials = Bernoulli(p), 0, 170
    for seed in range(trials):
        coin = Flipped(curve, np.random.default_rng(seed))
        plan = certify(coin, target, tv=0.05, confidence=0.95, budget=3000)
        assert plan.certified and plan.tv <= 0.05 + 1e-12 and plan.spent == coin.flips <= 3000
        wrong += true_tv(plan, target, curve) > 0.05
    assert wrong / trials <= 0.05


def test_the_cheapest_way_that_holds_is_taken():
    target = Bernoulli("0.3")
    rng = np.random.default_rng(1)
    # a true coin: rejection sampling with code's decisions needs fewer calls than direct sampling
    assert certify(Flipped(lambda a: a, rng), target).sampler in ("vrs_hybrid", "adaptive_q")
    assert certify(Flipped(lambda a: a, rng), target, samplers=("direct", "factory")).sampler == "direct"
    # a coin that is stuck: nothing but the factory is left, at 2/(b(1 − b)) calls
    stuck = certify(Flipped(lambda a: 0.7, rng), target, samplers=("direct", "vrs_hybrid", "factory"))
    assert stuck.sampler == "factory" and stuck.tv == 0 and stuck.calls == pytest.approx(2 / 0.21, rel=0.5)
    assert "exact if calls are independent" in stuck.sentence
    # a monotone coin far from true is inverted
    bent = certify(Flipped(lambda a: 0.1 + 0.8 * a**3, rng), target, samplers=("direct", "inversion"))
    assert bent.sampler == "inversion" and abs(0.1 + 0.8 * bent.levels[0] ** 3 - 0.3) < 0.05


def test_where_nothing_holds_the_plan_says_what_was_tried():
    # of a coin that always shows 1 nothing nearer than Q itself can be made, 0.05 from this target
    plan = certify(Flipped(lambda a: 1.0, np.random.default_rng(1)), Bernoulli("0.3"), tv=0.04, budget=2000)
    assert not plan.certified and plan.sampler is None and plan.spent <= 2000
    assert "factory shows one side only" in plan.sentence and "direct needs" in plan.sentence
    poor = certify(
        Flipped(lambda a: a, np.random.default_rng(1)), Bernoulli("0.3"), tv=0.01, budget=100, samplers=("direct",)
    )
    assert "neither shown nor refuted" in poor.sentence


def test_an_exact_coin_needs_no_flips():
    """Against the sampler's own exact distribution."""
    from vrs.samplers import SAMPLERS

    llm = Oracle(leaning).client()
    for p in ("0.1", "0.35", "0.6", "0.85"):
        target = Bernoulli(p)
        plan = certify(Coin(llm, FORCED), target, tv=0.06)
        assert plan.certified and all(m.flips == 0 and m.low == m.high for m in plan.measured)
        if plan.sampler in ("direct", "vrs_hybrid", "adaptive_q"):
            made = SAMPLERS[plan.sampler](llm, question=FORCED)
            assert abs(made.exact(target).pmf[1] - target.p) == pytest.approx(plan.tv, abs=1e-3)
            assert plan.tv <= 0.06


def test_a_model_s_client_is_flipped_and_draws_are_not_used_again():
    llm = Oracle().client(concurrency=16)
    plan = certify(llm, Bernoulli("0.3"), tv=0.1, budget=2000)
    assert plan.certified and plan.next_draw > 0
    draws = [r.draw for r in llm.calls]
    assert len(set(draws)) == len(draws)


@pytest.mark.parametrize("target", [Categorical([0.1, 0.2, 0.3, 0.4]), Binomial(4, "0.3")], ids=["K-ary", "binomial"])
def test_more_outcomes_are_certified_by_proposition_2(target):
    plan = certify(Flipped(lambda a: min(1.0, a + 0.01), np.random.default_rng(2)), target, tv=0.1, budget=50_000)
    assert plan.sampler in ("vrs_hybrid", "adaptive_q") and plan.tv <= 0.1
    assert true_tv(plan, target, lambda a: min(1.0, a + 0.01)) <= plan.tv


@pytest.mark.parametrize("p", [0.1, 0.3, 0.5, 0.8])
@pytest.mark.parametrize("tv", [0.01, 0.05, 0.2])
def test_windows_end_where_the_error_is_reached(p, tv):
    target = Bernoulli(p)
    for way in (direct_way(target, tv), hybrid_way(target, uniform_over(target), tv, 1.0)):
        for window in way.windows:
            assert window.holds(window.wanted)
            for end in (window.low, window.high):
                error = way_error(target, way, {window.level: end})
                assert error == pytest.approx(tv, abs=1e-9) if 0 < end < 1 else error <= tv + 1e-9
            bands = {window.level: (window.low, window.high)}
            assert way_bound(target, way, bands) <= tv + 1e-9
    assert acceptance(target, uniform_over(target)).M >= 1


def test_a_window_asks_the_level_that_a_prompt_tells():
    assert Window.around(3 / 7, 0.1, 0.1).level == 0.4286


@pytest.mark.parametrize(
    "kwargs, sentence",
    [
        ({"tv": 0}, "tv, the error allowed, must be between 0 and 0.5"),
        ({"tv": float("nan")}, "not nan"),
        ({"confidence": 1}, "confidence must be between 0 and 1"),
        ({"budget": 99}, "budget must be a whole number of calls from 100"),
        ({"samplers": ()}, "at least one sampler"),
        ({"samplers": ("vrs",)}, "certify knows the samplers direct"),
    ],
)
def test_refusals(kwargs, sentence):
    coin = Flipped(lambda a: a, np.random.default_rng(0))
    with pytest.raises(VRSError, match=sentence):
        certify(coin, Bernoulli("0.5"), **kwargs)
    with pytest.raises(VRSError, match="finite list of probabilities"):
        certify(coin, "coin")
