"""Retries, rates, budgets, concurrency and Ctrl-C: what a client may do, and when it stops."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tenacity import RetryCallState

from shared.llm import LLM, Limits, Prices, Request, RequestError, Sampling, Stopped, Usage, user
from shared.llm.backend import CallError
from shared.llm.backends.fake import Fake
from shared.llm.breaker import Breaker
from shared.llm.budget import Amount, Budget, Spent
from shared.llm.concurrency import Adaptive, Fixed, gate
from shared.llm.pace import Pace
from shared.llm.retry import LONGEST_ASKED_S, Wait


def ask(draw: int = 0, text: str = "Say.", **sampling) -> Request:
    return Request((user(text),), Sampling(**sampling), draw=draw)


def shout(request: Request) -> str:
    return f"SAY.{request.draw}"


class Flaky:
    """Fails the first `times` attempts at every request."""

    def __init__(self, times: int, **error) -> None:
        self.times, self.error = times, {"kind": "server", "message": "down", "retry": True, **error}
        self.attempts: dict[int, int] = {}

    def __call__(self, request: Request):
        self.attempts[request.draw] = self.attempts.get(request.draw, 0) + 1
        return CallError(**self.error) if self.attempts[request.draw] <= self.times else shout(request)


QUICK = Limits(first_wait_s=0.001)
both_kinds = pytest.mark.parametrize("batch", [1, 4])


# retries


@both_kinds
def test_attempts_are_counted_and_bounded(batch):
    with LLM(Fake(Flaky(2), batch=batch), limits=QUICK) as llm:
        results = llm.complete([ask(d) for d in range(5)])
        assert [r.attempts for r in results] == [3] * 5 and llm.stats().retries == 10 and llm.stats().calls == 15
    with LLM(Fake(Flaky(9), batch=batch), limits=Limits(first_wait_s=0.001, attempts=4)) as llm:
        (failure,) = llm.complete([ask()])
        assert (failure.kind, failure.message, failure.attempts) == ("server", "down", 4) and llm.backend.calls == 4


@both_kinds
def test_what_retries_cannot_mend_is_not_tried_again(batch):
    with LLM(Fake(Flaky(9, kind="bad_request", retry=False), batch=batch), limits=QUICK) as llm:
        assert llm.complete([ask()])[0].attempts == 1 and llm.backend.calls == 1


def test_server_says_how_long_to_wait():
    with LLM(Fake(Flaky(1, kind="rate_limit", retry_after=0.3)), limits=QUICK) as llm:
        begun = time.monotonic()
        assert llm.complete([ask()])[0].ok
        assert time.monotonic() - begun >= 0.3


def test_waits_are_random_under_a_doubling_bound():
    def wait(attempt: int, error: CallError) -> float:
        state = RetryCallState(None, None, (), {})
        state.attempt_number = attempt
        state.set_exception((CallError, error, None))
        return Wait(Limits())(state)

    waits = {n: [wait(n, CallError("server", "", retry=True)) for _ in range(300)] for n in (1, 2, 5, 12)}
    for n, bound in ((1, 0.5), (2, 1.0), (5, 8.0), (12, 60.0)):
        assert 0 <= min(waits[n]) < 0.1 * bound and 0.9 * bound < max(waits[n]) <= bound
    asked = [wait(5, CallError("rate_limit", "", retry=True, retry_after=10.0)) for _ in range(100)]
    assert min(asked) >= 10 and max(asked) <= 11
    assert wait(1, CallError("rate_limit", "", retry=True, retry_after=9e9)) <= 1.1 * LONGEST_ASKED_S


def test_no_wait_goes_beyond_the_time_of_a_request():
    limits = Limits(retry_s=0.2)
    with LLM(Fake(Flaky(9, retry_after=60.0)), limits=limits) as llm:
        begun = time.monotonic()
        (failure,) = llm.complete([ask()])
        assert failure.attempts == 1 and time.monotonic() - begun < 5


def test_attempt_that_takes_too_long():
    with LLM(Fake(shout, latency=30), limits=Limits(total_s=0.05, attempts=2, first_wait_s=0)) as llm:
        (failure,) = llm.complete([ask()])
    assert (failure.kind, failure.attempts) == ("timeout", 2) and "within 0.05 s (limits.total_s)" in failure.message


# the breaker


def test_breaker_counts_final_outcomes_of_the_endpoint_alone():
    breaker = Breaker()
    assert all(breaker.note(kind) is None for kind in ["server"] * 19 + [None] + ["timeout"] * 19)
    assert breaker.note("connection") == "20 requests in a row failed"
    breaker.reset()
    assert all(breaker.note(kind) is None for kind in ["refused", "too_long"] * 200)
    breaker.reset()
    outcomes = [breaker.note("server" if i % 2 else None) for i in range(100)]
    assert outcomes == [None] * 100 and breaker.note("server") == "51 of the last 100 requests failed"


def test_storm_that_retries_weather_trips_nothing():
    with LLM(Fake(Flaky(2, kind="rate_limit")), limits=QUICK) as llm:
        assert all(r.ok for r in llm.complete([ask(d) for d in range(60)]))


# rates


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 50)), max_size=60))
def test_rates_hold_over_every_stretch(steps):
    """In any t seconds there begin at most rate·(t + the burst) calls and tokens, but for the call that begins last."""
    clock = Clock()
    pace = Pace(120, 600, now=clock)
    begun: list[tuple[float, int]] = []
    for pause, tokens in steps:
        clock.now += pause
        delay = pace.wait(tokens)
        assert delay >= 0
        begun.append((clock.now + delay, tokens))
    begun.sort()
    for i in range(len(begun)):
        for j in range(i, len(begun)):
            stretch = begun[j][0] - begun[i][0] + 1.0
            assert j - i <= 2 * stretch + 1e-6
            assert sum(tokens for _, tokens in begun[i:j]) <= 10 * stretch + 1e-6


def test_client_keeps_the_rate():
    with LLM(Fake(shout), limits=Limits(requests_per_minute=1200, concurrency=64)) as llm:
        begun = time.monotonic()
        llm.complete([ask(d) for d in range(30)])
        assert time.monotonic() - begun > 0.4  # 30 at 20 a second, 20 of them at once


# concurrency


def test_adaptive_gate_grows_until_it_is_refused():
    clock = Clock()
    gate_ = Adaptive(now=clock)

    def round_of(used: float) -> int:
        limit = gate_.limit
        for _ in range(limit):
            gate_.answered(int(used * limit))
        return gate_.limit

    assert gate_.limit == 8 and [round_of(1.0) for _ in range(3)] == [16, 32, 64]
    assert round_of(0.5) == 64  # it grows only where it is used
    gate_.refused()
    gate_.refused()  # of the same storm
    assert gate_.limit == 51 == round_of(1.0)
    clock.now += 16
    assert [round_of(1.0) for _ in range(2)] == [54, 57]
    for _ in range(300):
        round_of(1.0)
    assert gate_.limit == 1024
    for _ in range(60):
        clock.now += 16
        gate_.refused()
    assert gate_.limit == 1


def test_gate_of_a_setting():
    assert isinstance(gate("adaptive"), Adaptive) and isinstance(gate(3), Fixed)
    now, most = 0, 0

    def latency(request: Request, text: str) -> float:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        return 0.002

    class Counted(Fake):
        async def complete(self, request: Request):
            nonlocal now
            try:
                return await super().complete(request)
            finally:
                now -= 1

    with LLM(Counted(shout, latency=latency), limits=Limits(concurrency=5)) as llm:
        llm.complete([ask(d) for d in range(50)])
    assert most == 5


# budgets


@both_kinds
def test_never_a_call_more_than_allowed(batch, tmp_path):
    path = tmp_path / "c.sqlite"
    limits = Limits(max_calls=50, concurrency=16)
    with LLM(Fake(shout, batch=batch, latency=0.001), limits=limits, cache=path) as llm:
        with pytest.raises(Stopped, match="limits.max_calls = 50 is reached: 50 calls were made") as stopped:
            llm.complete([ask(d) for d in range(200)])
        assert stopped.value.reason == "budget" and llm.backend.calls == 50
        with pytest.raises(Stopped):
            llm.complete([ask(999)])
        assert llm.backend.calls == 50
    with LLM(Fake(shout, batch=batch), limits=Limits(max_calls=0), cache=path) as llm:
        kept = llm._store.groups()[0].count
        assert kept == 50 and all(r.ok for r in llm.complete([ask(d) for d in range(50)]))


def test_failed_attempts_count():
    with LLM(Fake(Flaky(9)), limits=Limits(max_calls=7, first_wait_s=0.001)) as llm:
        with pytest.raises(Stopped, match="max_calls = 7"):
            llm.complete([ask(d) for d in range(4)])
        assert llm.backend.calls == 7


def test_burst_cannot_overshoot_the_money():
    """Every call may cost 16 + 2·24 units and costs 1 + 2·2; the budget is never passed, and is used up."""
    prices = Prices(1e6, 2e6)
    limits = Limits(max_cost=400.0, concurrency=64)
    with LLM(Fake(lambda request: "two words", latency=0.001), limits=limits, prices=prices) as llm:
        with pytest.raises(Stopped, match=r"limits.max_cost = 400.0 USD leaves no room for the next call"):
            llm.complete([ask(d, max_tokens=24) for d in range(1000)])
        spent = llm.stats().cost
    worst = Budget(limits, prices).worst(ask(max_tokens=24)).cost
    assert 400 - worst < spent <= 400


@settings(max_examples=60, deadline=None)
@given(
    limit=st.integers(0, 3000),
    calls=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 30), st.booleans()), max_size=40),
    width=st.integers(1, 10),
)
def test_budget_is_never_passed_whatever_comes_back(limit, calls, width):
    limits = Limits(max_tokens_total=limit, assumed_tokens=30)
    budget = Budget(limits, None)
    request = ask(text="")
    worst = budget.worst(request).tokens
    under_way: list[Amount] = []
    used = 0
    for prompt, completion, told in calls:
        if len(under_way) == width:
            budget.settle(under_way.pop(0), Usage(min(prompt, worst - 30), completion=completion) if told else Usage())
            used += min(prompt, worst - 30) + completion if told else worst
        try:
            if budget.reserve(amount := budget.worst(request)):
                under_way.append(amount)
        except Spent:
            pass
        assert budget.used.tokens == used and used + worst * len(under_way) <= max(limit, 0)


def test_budget_gives_back_what_was_not_used():
    budget = Budget(Limits(max_tokens_total=100), None)
    request = Request((user("a"),), Sampling(max_tokens=30))
    amount = budget.worst(request)
    assert amount.tokens == 1 + 16 + 16 + 30 and budget.reserve(amount) and not budget.reserve(amount)
    budget.settle(amount, Usage(5, completion=5))
    assert budget.used == Amount(1, 10, 0.0) and budget.reserve(amount)
    budget.settle(amount, None)  # nothing was billed
    assert budget.used == Amount(2, 10, 0.0)
    budget.settle(amount if budget.reserve(amount) else None, Usage())  # not told: at its worst
    assert budget.used.tokens == 10 + amount.tokens
    with pytest.raises(Spent):
        budget.reserve(amount)


def test_budget_that_needs_a_bound_or_a_price():
    with pytest.raises(RequestError, match="limits.max_cost needs prices"):
        LLM(Fake(), limits=Limits(max_cost=1))
    with LLM(Fake(), limits=Limits(max_tokens_total=10)) as llm:
        with pytest.raises(RequestError, match="request 0: limits.max_tokens_total needs the longest completion"):
            llm.complete([ask()])


# Ctrl-C


@pytest.fixture
def control_c():
    """A rule for the fake that presses Ctrl-C at its fourth call, and, after so many seconds, again. A parent may have
    Ctrl-C ignored, so its handler is set."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timers: list[threading.Timer] = []

    def press(*after: float):
        def respond(request: Request) -> str:
            if request.draw == 3:
                for seconds in (0.0, *after):
                    timers.append(threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)))
                    timers[-1].start()
            return shout(request)

        return respond

    yield press
    for timer in timers:
        timer.cancel()
        timer.join()
    signal.signal(signal.SIGINT, before)


@both_kinds
def test_control_c_keeps_what_is_under_way(tmp_path, control_c, batch):
    path = tmp_path / "c.sqlite"
    llm = LLM(Fake(control_c(), latency=0.5, batch=batch), limits=Limits(concurrency=4), cache=path)
    with pytest.raises(KeyboardInterrupt, match="100 requests were interrupted; what was answered is kept"):
        llm.complete([ask(d) for d in range(100)])
    assert llm.backend.calls == 4 and llm._store.groups()[0].count == 4
    assert llm.complete([ask(d) for d in (0, 1, 2, 3, 4)])[4].ok and llm.backend.calls == 5  # and goes on from there
    llm.close()


def test_control_c_waits_for_no_more_than_the_grace(control_c):
    llm = LLM(Fake(control_c(), latency=3600), limits=Limits(grace_s=0.2, concurrency=4))
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        llm.complete([ask(d) for d in range(100)])
    llm.close()
    assert time.monotonic() - begun < 60 and llm.backend.calls == 4


def test_model_at_a_long_batch_does_not_hold_up_the_end(control_c):
    """As one in this process would, which gives its memory back only between two batches."""
    lock, ended = threading.Lock(), threading.Event()

    class Slow(Fake):
        def complete_many(self, requests):
            super().complete_many(requests)
            with lock:
                ended.wait(60)
                return []

        async def close(self):
            with lock:
                pass

    llm = LLM(Slow(control_c(), batch=4), limits=Limits(grace_s=0.2))
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        llm.complete([ask(d) for d in range(100)])
    llm.close()
    assert time.monotonic() - begun < 50
    ended.set()


def test_second_control_c_does_not_wait(control_c):
    llm = LLM(Fake(control_c(0.4), latency=3600), limits=Limits(grace_s=3000))
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        llm.complete([ask(d) for d in range(100)])
    llm.close()
    assert time.monotonic() - begun < 60


def test_closing_cuts_short_what_another_stop_waits_for():
    """A spent budget waits for calls under way; who closes the client waits for its grace alone."""
    limits = Limits(max_calls=1, grace_s=0.1)
    llm = LLM(Fake(shout, latency=3600), limits=limits)
    begun = time.monotonic()
    ends: list[Stopped] = []

    def wait() -> None:
        with pytest.raises(Stopped) as stopped:
            llm.complete([ask(d) for d in range(3)])
        ends.append(stopped.value)

    waiting = threading.Thread(target=wait)
    waiting.start()
    time.sleep(0.2)
    llm.close()
    waiting.join(20)
    assert ends and time.monotonic() - begun < 60
