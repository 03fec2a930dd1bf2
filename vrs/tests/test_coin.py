"""The model as a coin: three estimators of one probability, and flips that go on where they stopped."""

from __future__ import annotations

import math
import random
import re
import warnings

import numpy as np
import pytest
from oracle import Oracle, told
from standin import StandIn

from vrs.coin import Coin
from vrs.errors import VRSError
from vrs.in_context import InContext
from vrs.ledger import Ledger
from vrs.scoring import scores
from vrs.targets import Bernoulli
from vrs.wording import Worded


def thinking(p_of, *, malformed=0.0):
    """A model that reasons before it answers: its reasoning is one of three, and the answer depends on it.

    Held to its slot after a reasoning it tells the probability that this reasoning leads to.
    """
    moods = {"low": 0.2, "even": 0.5, "high": 0.9}

    def chance(mood, p):
        return min(1.0, max(0.0, p_of(p) + (moods[mood] - np.mean(list(moods.values()))) * 0.5))

    def answer(request):
        rng = random.Random(f"{request.messages[-1].text}/{request.draw}")
        if rng.random() < malformed:
            return "I cannot say."
        mood = rng.choice(list(moods))
        p = told(request.messages[-1].text)["1"]
        return f"Explanations: the mood is {mood}.\nOutput: {int(rng.random() < chance(mood, p))}"

    def chances(request):
        mood = re.search(r"the mood is (\w+)", request.prefix)[1]
        p = chance(mood, told(request.messages[-1].text)["1"])
        return {"0": 0.8 * (1 - p), "1": max(0.8 * p, 1e-12)}

    return StandIn(answer, chances=chances)


def test_the_three_estimators_agree():
    free = thinking(lambda p: 0.3 + 0.4 * p)
    rb = Coin(free, Worded(), estimator="rao_blackwell", n=400).probability("0.5")
    count = Coin(free, Worded(), estimator="count", n=400).probability("0.5")
    assert rb.p == pytest.approx(0.5, abs=4 * rb.se) and count.p == pytest.approx(0.5, abs=4 * count.se)
    assert rb.mass == pytest.approx(0.8) and math.isnan(count.mass)
    exact = Coin(Oracle(lambda p: 0.3 + 0.4 * p).client()).probability("0.5")
    assert exact.p == pytest.approx(0.5) and exact.se == 0 and exact.mass == pytest.approx(0.9)


def test_rao_blackwell_is_unbiased_and_varies_less_than_counting():
    """Over 200 repetitions of 20 replies each: equal means, and the smaller variance."""
    free = thinking(lambda p: p)
    estimates = {
        estimator: [Coin(free, Worded(), estimator=estimator, n=20, seed=s).probability("0.4").p for s in range(200)]
        for estimator in ("rao_blackwell", "count")
    }
    rb, count = estimates["rao_blackwell"], estimates["count"]
    for values in (rb, count):
        assert abs(np.mean(values) - 0.4) < 4 * np.std(values) / math.sqrt(200)
    assert np.var(rb) < 0.3 * np.var(count)
    # the standard error that one estimate states is the spread of many
    assert Coin(free, Worded(), estimator="rao_blackwell", n=20).probability("0.4").se == pytest.approx(
        np.std(rb), rel=0.5
    )


def test_replies_that_never_reach_the_slot_are_counted():
    found = Coin(thinking(lambda p: p, malformed=0.3), Worded(), estimator="rao_blackwell", n=300).probability("0.4")
    assert found.malformed == pytest.approx(90, abs=32) and found.p == pytest.approx(0.4, abs=0.05)
    with pytest.raises(VRSError, match="none of 100 replies reached the answer's slot"):
        Coin(thinking(lambda p: p, malformed=1.0), Worded(), estimator="rao_blackwell").probability("0.4")


def test_levels_are_scored_in_one_batch():
    batches = []
    llm = Oracle().client()
    ask = llm.as_completed
    llm.as_completed = lambda requests: batches.append(len(requests := list(requests))) or ask(requests)
    coin = Coin(llm, InContext(relabel="swap"))
    levels = [f"{i / 20:.2f}" for i in range(21)]
    found = coin.probabilities(levels)
    assert len(batches) == 1 and batches[0] <= 168
    assert [e.p for e in found] == pytest.approx([float(a) for a in levels])
    coin.probabilities(levels)
    assert len(batches) == 1


def test_flips_are_numbered():
    llm = Oracle(malformed=0.2).client(concurrency=8)
    coin = Coin(llm, Worded(), estimator="count", seed=4)
    whole = coin.flip("0.3", 60)
    first = coin.flip("0.3", 25)
    rest = coin.flip("0.3", 35, first_draw=first.next_draw)
    assert first.values + rest.values == whole.values
    assert coin.flip("0.3", 60) == whole
    assert Coin(llm, Worded(), estimator="count", seed=5).flip("0.3", 60).values != whole.values
    assert whole.p == np.mean(whole.values)


def test_a_second_coin_reads_the_ledger(tmp_path):
    for again in (False, True):
        llm = Oracle().client()
        with Ledger(tmp_path / "ledger.jsonl") as ledger:
            coin = Coin(llm, ledger=ledger)
            coin.probabilities(["0.2", "0.7"])
            coin.flip("0.2", 30)
        assert (llm.calls == []) is again


def test_a_small_mass_is_told_and_a_tiny_one_refused():
    with pytest.warns(UserWarning, match=r"below 0.5 together, in one 0.2"):
        Coin(Oracle(mass=0.2).client()).probability("0.5")
    tiny = Oracle(lambda p: 0.4, mass=0.005).client()
    with pytest.raises(VRSError, match="force=true scores it all the same"):
        Coin(tiny).probability("0.5")
    with pytest.warns(UserWarning):
        forced = Coin(tiny, force=True).probability("0.5")
    assert forced.p == pytest.approx(0.4) and forced.mass == pytest.approx(0.005)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Coin(Oracle(mass=0.6).client()).probability("0.5")


def test_equal_questions_are_scored_once():
    llm = Oracle().client()
    ask = Worded(forced=True).ways(Bernoulli("0.3"))[0][1]
    found = scores(llm, [ask] * 50)
    assert len(llm.calls) == 1 and len(found) == 50


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda llm: Coin(llm, estimator="guess"), "exact, rao_blackwell, count, not 'guess'"),
        (lambda llm: Coin(llm, n=0), "n must be at least 1"),
        (lambda llm: Coin(llm).probabilities([]), "no level"),
        (lambda llm: Coin(llm).probability("1.5"), r"must be in \[0, 1\]"),
        (lambda llm: Coin(llm, Worded()).probability("0.5"), "set forced=true"),
        (
            lambda llm: Coin(llm, Worded(forced=True), estimator="rao_blackwell").probability("0.5"),
            "use the estimator exact",
        ),
        (lambda llm: Coin(StandIn(lambda r: "0")).probability("0.5"), "use the estimator count"),
    ],
)
def test_refusals(make, sentence):
    with pytest.raises(VRSError, match=sentence):
        make(Oracle().client())
