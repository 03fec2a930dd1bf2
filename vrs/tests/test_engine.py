"""The accept loop: index order, redraws, the cap, and the same result whatever the concurrency and latency."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standin import StandIn, coin

from shared.llm.completion import Failure
from shared.llm.messages import user
from vrs.asking import Ask, draw_number
from vrs.engine import Engine
from vrs.errors import VRSError
from vrs.ledger import Ledger
from vrs.parse import Reading
from vrs.stream import Outcome, Stream


def read(text):
    return Reading({"T": 1, "F": 0}[text]) if text in ("T", "F") else Reading(reason="none")


def question(text, x=None, **kwargs):
    return Ask((user(text),), read, x=x, **kwargs)


def accept_trial(rng):
    x = int(rng.integers(2))
    (accepted,) = yield (question(f"accept {x}?", x),)
    return Outcome((x,) if accepted else (), x=x, bits=1.0)


def two_step_trial(rng):
    x = int(rng.integers(2))
    first, second = yield question(f"first of {x}", x), question(f"second of {x}", x)
    if not first and not second:
        return Outcome((), x=x)
    (last,) = yield (question("last", x),)
    return Outcome((x, last), x=x)


def stream(n=20, trial=accept_trial, **kwargs):
    return Stream({"sampler": "test", "target": "t"}, trial, n, **{"seed": 7, **kwargs})


def accepting(a0, a1, malformed=0.0):
    return coin(lambda r: a1 if "1" in r.messages[0].text else a0, labels=("F", "T"), malformed=malformed)


def lines(ledger):
    return [dict(line) for line in ledger.calls()]


LATENCIES = {
    "equal": lambda r, text: 1.0,
    "exponential": lambda r, text: random.Random(r.draw).expovariate(1),
    "slow zeros": lambda r, text: random.Random(r.draw).expovariate(1 if "1" in r.messages[0].text else 1 / 3),
    "slow accepts": lambda r, text: 10.0 if text == "T" else 0.1,
    "a straggler": lambda r, text: 1000.0 if r.draw % 17 == 0 else 1.0,
    "ever faster": lambda r, text: 1.0 / (1 + (r.draw >> 15) % (1 << 20)),
}


@pytest.mark.parametrize("law", LATENCIES)
@pytest.mark.parametrize("trial", [accept_trial, two_step_trial])
def test_latency_and_concurrency_change_nothing(law, trial):
    reference = None
    for concurrency in (1, 2, 3, 8, 64):
        llm = StandIn(accepting(0.9, 0.4, malformed=0.2), LATENCIES[law], concurrency)
        ledger = Ledger()
        found = Engine().run([stream(60, trial, rate=0.6)], llm, ledger)[0], lines(ledger)
        reference = reference or found
        assert found == reference


@settings(max_examples=60, deadline=None)
@given(
    concurrency=st.integers(1, 64),
    seed=st.integers(0, 2**32),
    n=st.integers(1, 40),
    accept=st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)),
    malformed=st.floats(0, 0.5),
    latency=st.randoms(use_true_random=False),
)
def test_the_sample_is_that_of_one_call_after_another(concurrency, seed, n, accept, malformed, latency):
    """A speculative run and one with a single open proposal draw the same values from the same proposals."""
    answer = accepting(*accept, malformed=malformed)
    times = {}
    fast = StandIn(answer, lambda r, t: times.setdefault(r.draw, latency.random() ** 4), concurrency)
    one = Engine(sequential=True).run([stream(n, seed=seed)], StandIn(answer), None)[0]
    many = Engine().run([stream(n, seed=seed)], fast, None)[0]
    assert many.values == one.values
    assert many.accepted_index == one.accepted_index
    assert many.proposals[: len(one.proposals)] == one.proposals
    assert many.decisions[: len(one.decisions)] == one.decisions
    assert many.outside_bits == one.outside_bits
    assert one.unused_calls == 0
    assert many.calls - many.unused_calls == one.calls


def test_completion_order_would_be_biased_and_index_order_is_not():
    """Equal acceptance, latency Exp(1) for x = 1 and Exp(3) for x = 0: the first to arrive are 68 % ones."""
    shares, arrivals = [], []
    for seed in range(40):
        llm = StandIn(
            lambda r: "T",
            lambda r, t, s=seed: random.Random(r.draw + s).expovariate(3 if "1?" in r.messages[0].text else 1),
            400,
        )
        ledger = Ledger()
        found = Engine().run([stream(400, seed=seed)], llm, ledger)[0]
        arrived = [line["x"] for line in ledger._calls.values()][:100]
        arrivals.append(np.mean(arrived))
        shares.append(np.mean(found.values[:100]))
    assert np.mean(arrivals) > 0.6
    assert abs(np.mean(shares) - 0.5) < 4 * 0.5 / math.sqrt(4000)


def test_streams_together_are_as_each_alone():
    answer = accepting(0.3, 0.8, malformed=0.1)
    streams = [stream(n, seed=n) for n in (1, 5, 30)]
    together = Engine().run(streams, StandIn(answer, concurrency=8), None)
    alone = [Engine().run([s], StandIn(answer), None)[0] for s in streams]
    assert together == alone


def test_no_two_calls_share_prompt_and_draw():
    llm = StandIn(accepting(0.5, 0.5, malformed=0.4), concurrency=8)
    Engine().run([stream(40, seed=s) for s in range(20)], llm, None)
    seen = [(r.messages[0].text, r.draw) for r in llm.calls]
    assert len(set(seen)) == len(seen)


def test_draw_numbers_are_distinct_and_below_two_to_the_63():
    largest = draw_number((1 << 28) - 1, (1 << 20) - 1, (1 << 12) - 1, 7)
    assert largest == (1 << 63) - 1
    places = [(s, i, t, r) for s in (0, 1, 2**28 - 1) for i in (0, 9) for t in (0, 5) for r in range(8)]
    assert len({draw_number(*place) for place in places}) == len(places)
    with pytest.raises(VRSError, match="a draw's index must lie in"):
        draw_number(0, 1 << 20, 0, 0)


def test_a_malformed_reply_is_drawn_again_three_times_and_then_rejected():
    llm = StandIn(lambda r: "?" if "1" in r.messages[0].text else "T", concurrency=4)
    ledger = Ledger()
    found = Engine().run([stream(10)], llm, ledger)[0]
    assert set(found.values) == {0}
    ones = [i for i, x in enumerate(found.proposals) if x == 1]
    assert all(found.decisions[i] == "malformed" for i in ones)
    by_x = {x: (calls, bad) for x, calls, bad in found.malformed_by_x}
    assert by_x[1][0] == by_x[1][1] >= 4 * len(ones) and by_x[0][1] == 0
    assert found.malformed == by_x[1][1]
    draws = [line["draw"] for line in ledger.calls()]
    assert len(set(draws)) == len(draws)
    none = Engine(redraws=0).run([stream(10)], StandIn(llm.answer), None)[0]
    assert none.values == found.values and none.malformed == none.decisions.count("malformed")


def test_a_question_that_is_not_required_is_answered_none():
    def trial(rng):
        (value,) = yield (question("anything", required=False),)
        return Outcome((-1 if value is None else value,))

    found = Engine(redraws=1).run([stream(3, trial)], StandIn(lambda r: "?"), None)[0]
    assert found.values == (-1, -1, -1) and found.calls == 6


def test_a_model_that_never_accepts_ends_with_a_flag():
    llm = StandIn(lambda r: "F", concurrency=8)
    found = Engine().run([stream(5, M=1.6, rate=1 / 1.6)], llm, None)[0]
    assert found.values == () and not found.complete
    assert len(found.proposals) == len(llm.calls) == math.ceil(20 * 1.6 * 5)
    assert "partial: 0 of 5 draws after 160 proposals" in found.flags[0]


def test_a_proposal_with_several_values_gives_the_first_of_them():
    def trial(rng):
        yield (question("some"),)
        return Outcome((1, 2, 3))

    found = Engine().run([stream(7, trial, rate=3.0)], StandIn(lambda r: "T"), None)[0]
    assert found.values == (1, 2, 3, 1, 2, 3, 1)
    assert found.accepted_index == (0, 0, 0, 1, 1, 1, 2)
    assert found.calls == 3


def test_proposals_that_ask_nothing_cost_no_call():
    def trial(rng):
        x = int(rng.integers(2))
        if x:
            return Outcome((1,), x=1)
        (accepted,) = yield (question("zero?", 0),)
        return Outcome((0,) if accepted else (), x=0)

    llm = StandIn(coin(0.5, labels=("F", "T")))
    found = Engine().run([stream(50, trial, rate=0.75)], llm, None)[0]
    assert len(found.values) == 50
    assert found.calls == len(llm.calls) == sum(x == 0 for x in found.proposals)


@pytest.mark.parametrize("concurrency", [1, 7])
def test_further_draws_go_on_at_the_next_index(concurrency):
    answer = accepting(0.7, 0.5)
    whole = Engine(sequential=True).run([stream(30)], StandIn(answer), None)[0]
    first = Engine(sequential=True).run([stream(12)], StandIn(answer, concurrency=concurrency), None)[0]
    rest = Engine(sequential=True).run([stream(18, first_index=first.next_index)], StandIn(answer), None)[0]
    assert first.values + rest.values == whole.values
    assert first.accepted_index + rest.accepted_index == whole.accepted_index


def test_few_calls_are_unused():
    """Over the paper's grid at a true coin's rates, at most a tenth of all calls goes unused."""
    calls = unused = 0
    for i in range(101):
        p = i / 100
        M = 2 * max(p, 1 - p)
        a1, a0 = min(1, p / (1 - p) if p < 1 else 1), min(1, (1 - p) / p if p > 0 else 1)
        found = Engine().run([stream(100, seed=i, M=M, rate=1 / M)], StandIn(accepting(a0, a1)), None)[0]
        calls, unused = calls + found.calls, unused + found.unused_calls
        assert len(found.values) == 100
    assert unused / calls < 0.1
    assert abs((calls - unused) / 15_200 - 1) < 0.02


def test_a_call_that_fails_for_a_while_is_tried_in_the_next_waves():
    failed = {}

    def answer(request):
        tries = failed[request.draw] = failed.get(request.draw, 0) + 1
        return Failure("timeout", "no reply") if request.draw % 3 == 0 and tries < 3 else "T"

    ledger = Ledger()
    found = Engine().run([stream(12)], StandIn(answer, concurrency=4), ledger)[0]
    assert found.complete and found.calls == len(ledger)
    with pytest.raises(VRSError, match=r"calls failed \(timeout: no reply\)"):
        Engine(retries=1).run([stream(12, seed=8)], StandIn(answer), None)


def test_after_a_failure_the_other_answers_are_kept(tmp_path):
    path = tmp_path / "ledger.jsonl"
    broken = StandIn(lambda r: Failure("bad_request", "no such field") if "0" in r.messages[0].text else "T")
    with Ledger(path) as ledger, pytest.raises(VRSError, match=r"bad_request: no such field.*second run goes on"):
        Engine().run([stream(20)], broken, ledger)
    whole = StandIn(lambda r: "T")
    with Ledger(path) as ledger:
        found = Engine().run([stream(20)], whole, ledger)[0]
    assert found == Engine().run([stream(20)], StandIn(lambda r: "T"), None)[0]
    assert all("0" in r.messages[0].text for r in whole.calls) and len(whole.calls) < 20


def test_a_refusal_is_a_malformed_reply():
    def answer(request):
        return Failure("refused", "cannot help with that") if "1" in request.messages[0].text else "T"

    found = Engine().run([stream(5)], StandIn(answer), None)[0]
    assert set(found.values) == {0} and found.malformed > 0


@pytest.mark.parametrize(
    "change, sentence",
    [
        ({"n": 0}, "must be a whole number from 1, not 0"),
        ({"n": 2.5}, "must be a whole number from 1, not 2.5"),
        ({"M": math.inf}, "finite M"),
        ({"first_index": -1}, "first_index must be"),
        ({"n": 60_000}, "ask for fewer"),
    ],
)
def test_refusals(change, sentence):
    with pytest.raises(VRSError, match=sentence):
        Engine().run([stream(**change)], StandIn(lambda r: "T"), None)


def test_a_stream_given_twice_is_refused():
    with pytest.raises(VRSError, match="two of the streams are the same one"):
        Engine().run([stream(5), stream(6)], StandIn(lambda r: "T"), None)


@pytest.mark.parametrize("change", [{"redraws": 8}, {"redraws": -1}, {"margin": -1.0}, {"cap": 0.5}])
def test_engine_refuses(change):
    with pytest.raises(VRSError, match="engine"):
        Engine(**change)
