"""The client over the fake backend: order, draws, what is sent once, what is kept, what is refused."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from dataclasses import replace

import pytest

from shared.llm import (
    LLM,
    Completion,
    Failure,
    Limits,
    Prices,
    Request,
    RequestError,
    Sampling,
    Stopped,
    open_llm,
    user,
)
from shared.llm.backend import CallError, Capabilities
from shared.llm.backends.fake import Bernoulli, Fake, rambling
from shared.llm.cache import Cache
from shared.llm.probe import independence_probe


def ask(text: str = "Say.", draw: int = 0, **sampling) -> Request:
    return Request((user(text),), Sampling(**sampling), draw=draw)


def shout(request: Request) -> str:
    return request.messages[-1].text.upper() + str(request.draw)


def client(respond=shout, **settings) -> LLM:
    own = {name: settings.pop(name) for name in ("latency", "batch", "malformed", "capabilities") if name in settings}
    return LLM(Fake(respond, **own), **settings)


def texts(results) -> list[str]:
    assert all(isinstance(r, Completion) for r in results), [r for r in results if not r.ok][:2]
    return [r.text for r in results]


both_kinds = pytest.mark.parametrize("batch", [1, 7])


# results


@both_kinds
def test_results_come_in_the_order_of_the_requests(batch):
    with client(batch=batch, latency=lambda request, text: 0.03 / (1 + request.draw)) as llm:
        assert texts(llm.complete([ask(draw=d) for d in range(20)])) == [f"SAY.{d}" for d in range(20)]
        assert llm.complete([]) == [] and texts(llm.complete(ask(draw=d) for d in range(3)))[2] == "SAY.2"


@both_kinds
def test_as_completed_tells_the_place(batch):
    with client(batch=batch, latency=lambda request, text: 0.1 if request.draw == 0 else 0.0) as llm:
        pairs = list(llm.as_completed([ask(draw=d) for d in range(5)]))
    assert {place: result.text for place, result in pairs} == {d: f"SAY.{d}" for d in range(5)}
    if batch == 1:
        assert pairs[-1][0] == 0  # the slow one, though it was asked first


def test_callers_with_an_event_loop():
    async def run():
        with client(latency=0.01) as llm:
            ticks = 0

            async def tick():
                nonlocal ticks
                while True:
                    ticks += 1
                    await asyncio.sleep(0.001)

            ticking = asyncio.create_task(tick())
            whole = await llm.acomplete([ask(draw=d) for d in range(4)])
            pairs = [pair async for pair in llm.aas_completed(ask(draw=d) for d in range(4))]
            ticking.cancel()
            return whole, pairs, ticks

    whole, pairs, ticks = asyncio.run(run())
    assert texts(whole) == [f"SAY.{d}" for d in range(4)] and len(pairs) == 4 and ticks > 3


def test_requests_of_a_generator_are_drawn_as_there_is_room():
    drawn = 0

    def requests():
        nonlocal drawn
        for d in range(200):
            drawn += 1
            yield ask(draw=d)

    done = 0
    with client(latency=0.001, limits=Limits(concurrency=4)) as llm:
        for _ in llm.as_completed(requests()):
            done += 1
            assert drawn - done <= 2 * 4
    assert done == drawn == 200


def test_failure_of_one_request_leaves_the_others():
    def respond(request):
        return CallError("too_long", "too long") if request.draw == 3 else shout(request)

    with client(respond) as llm:
        results = llm.complete([ask(draw=d) for d in range(6)])
    assert [r.ok for r in results] == [True, True, True, False, True, True]
    assert isinstance(results[3], Failure) and results[3].kind == "too_long" and results[3].attempts == 1


@both_kinds
def test_defect_of_a_backend_comes_out_and_the_client_lives_on(batch):
    def respond(request):
        if request.draw == 3:
            raise ZeroDivisionError("a defect")
        return shout(request)

    with client(respond, batch=batch) as llm:
        with pytest.raises(ZeroDivisionError, match="a defect"):
            llm.complete([ask(draw=d) for d in range(6)])
        assert texts(llm.complete([ask(draw=d) for d in (0, 1, 2)])) == ["SAY.0", "SAY.1", "SAY.2"]


def test_caller_who_leaves_early_leaves_nothing_behind():
    with client(latency=0.002, limits=Limits(concurrency=2)) as llm:
        for _ in llm.as_completed([ask(draw=d) for d in range(100)]):
            break
        time.sleep(0.05)
        assert llm.stats().calls < 10
        assert texts(llm.complete([ask(draw=99)])) == ["SAY.99"]  # and what was dropped can be asked again


def test_closed_client_refuses():
    llm = client()
    llm.complete([ask()])
    llm.close()
    llm.close()
    with pytest.raises(RequestError, match="the client is closed"):
        llm.complete([ask()])
    client().close()  # and one that never sent anything


# what is sent once


def test_draws_of_one_prompt_are_distinct_rows_and_come_back_in_order(tmp_path):
    coin = Bernoulli(lambda request: 0.5)
    requests = [ask("Flip.", d) for d in range(100)]
    with client(coin, cache=tmp_path / "c.sqlite") as llm:
        first = texts(llm.complete(requests))
        assert llm.backend.calls == 100
    assert 30 < Counter(first)["1"] < 70
    with client(coin, cache=tmp_path / "c.sqlite") as llm:
        assert texts(llm.complete(requests)) == first and llm.backend.calls == 0
        (group,) = llm._store.groups()
        assert group.count == 100


def test_equal_requests_under_way_are_sent_once():
    with client(latency=0.02, prices=Prices(1, 1)) as llm:
        results = llm.complete([ask() for _ in range(10)] + [replace(ask(), tag="mine")])
        assert llm.backend.calls == 1 and len(set(texts(results))) == 1
        kinds = Counter(r.source.kind for r in results)
        assert kinds == {"live": 1, "cache": 10}  # it was paid for once, and is counted once
        assert llm.stats().cost == pytest.approx(results[0].cost)


def test_equal_requests_of_two_threads_are_sent_once():
    with client(latency=0.02) as llm:
        found = {}

        def run(name):
            found[name] = texts(llm.complete([ask(draw=d) for d in range(30)]))

        threads = [threading.Thread(target=run, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert llm.backend.calls == 30 and len({tuple(f) for f in found.values()}) == 1


def test_batch_that_waits_for_another_ones_request_survives_its_leaving():
    with client(latency=0.05, limits=Limits(concurrency=1)) as llm:
        leaving = llm.as_completed([ask(draw=d) for d in range(8)])
        next(leaving)
        found = []
        staying = threading.Thread(target=lambda: found.extend(llm.complete([ask(draw=d) for d in range(8)])))
        staying.start()
        time.sleep(0.02)
        leaving.close()
        staying.join(10)
        assert texts(found) == [f"SAY.{d}" for d in range(8)]


def test_results_do_not_depend_on_concurrency_or_order():
    coin = Bernoulli(lambda request: 0.3)
    requests = [ask("Flip.", d) for d in range(64)]
    found = set()
    for concurrency in (1, 8, 64):
        with client(coin, latency=lambda r, text: 0.004 * (text == "1"), limits=Limits(concurrency=concurrency)) as llm:
            found.add(tuple(texts(llm.complete(requests))))
    assert len(found) == 1


# the cache


def test_cached_batch_starts_nothing(tmp_path):
    requests = [ask(draw=d) for d in range(5)]
    with client(cache=tmp_path / "c.sqlite") as llm:
        llm.complete(requests)
    with client(cache=tmp_path / "c.sqlite") as llm:
        results = llm.complete(requests)
        assert {r.source.kind for r in results} == {"cache"} and llm._engine._thread is None
        assert (llm.stats().calls, llm.stats().cached) == (0, 5)


@pytest.mark.parametrize(
    ("mode", "first", "second"), [("read_write", 1, 0), ("read_only", 1, 1), ("refresh", 1, 1), ("off", 1, 1)]
)
def test_modes(tmp_path, mode, first, second):
    Cache(tmp_path / "c.sqlite").close()
    sent = []
    for _ in range(2):
        with client(cache=tmp_path / "c.sqlite", cache_mode=mode) as llm:
            llm.complete([ask()])
            sent.append(llm.backend.calls)
    assert sent == [first, second]
    kept = Cache(tmp_path / "c.sqlite").groups()
    assert bool(kept) == (mode in ("read_write", "refresh"))


def test_refresh_replaces_and_read_only_reads(tmp_path):
    path = tmp_path / "c.sqlite"

    def texts_of(said: str, mode: str) -> list[str]:
        backend = Fake("test_llm_client:shout")
        backend._respond = lambda request: said
        with LLM(backend, cache=path, cache_mode=mode) as llm:
            return texts(llm.complete([ask()]))

    assert texts_of("one", "read_write") == ["one"]
    assert texts_of("two", "refresh") == ["two"]
    assert texts_of("three", "read_only") == ["two"] == texts_of("four", "read_write")


def test_open_cache_of_two_clients_stays_open(tmp_path):
    with_two = Cache(tmp_path / "c.sqlite")
    for calls in (1, 0):
        with client(cache=with_two) as llm:
            llm.complete([ask()])
            assert llm.backend.calls == calls
    assert with_two.groups()[0].count == 1


def test_refusals_and_cut_answers_are_kept_and_failures_are_not(tmp_path):
    kinds = {
        0: Completion("I will not.", "refusal"),
        1: Completion("and so o", "length"),
        2: CallError("server", "down"),
    }
    for calls in (3, 1):
        with client(lambda request: kinds[request.draw], cache=tmp_path / "c.sqlite") as llm:
            llm.backend._rule = "kinds"
            results = llm.complete([ask(draw=d) for d in range(3)])
            assert llm.backend.calls == calls
            assert [getattr(r, "finish", r.ok) for r in results] == ["refusal", "length", False]


def test_uncached_batch_leaves_the_cache_alone(tmp_path):
    with client(cache=tmp_path / "c.sqlite") as llm:
        for _ in range(2):
            llm.complete([ask(), ask()], cached=False)
        assert llm.backend.calls == 4 and llm._store.groups() == []


def test_salt_asks_anew(tmp_path):
    for salt, calls in (("", 1), ("a", 1), ("a", 0)):
        with client(cache=tmp_path / "c.sqlite", salt=salt) as llm:
            llm.complete([ask()])
            assert llm.backend.calls == calls


def test_cache_that_cannot_be_written_ends_the_batch(tmp_path):
    from shared.llm import RecordingError

    llm = client(cache=tmp_path / "c.sqlite")
    llm._store._db.execute("DROP TABLE completions")
    with pytest.raises(RecordingError, match=r"c\.sqlite cannot be read: no such table"):
        llm.complete([ask()])
    llm._store.get_many = lambda keys: {}
    with pytest.raises(RecordingError, match=r"c\.sqlite cannot be written: no such table"):
        llm.complete([ask()])
    llm.close()


# what is refused before the first call


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ask(top_k=3), "request 1: fake takes no sampling.top_k"),
        (ask(temperature=0.5), "request 1: fake takes no sampling.temperature"),
        (ask(max_tokens=9), "request 1: fake takes no sampling.max_tokens"),
        (ask(stop=("a",)), "request 1: fake takes no sampling.stop"),
        (ask(seed=0), "request 1: fake takes no sampling.seed"),
        (ask(reasoning_effort="low"), "request 1: fake takes no sampling.reasoning_effort"),
        (ask(extra={"a": 1}), "request 1: fake takes no sampling.extra"),
        (ask(logprobs=0), "request 1: fake takes no sampling.logprobs"),
        (replace(ask(), prefix="So"), "request 1: fake takes no prefix"),
        (replace(ask(), choices=("a", "b")), "request 1: fake takes no choices"),
        (Request((user("a"),), schema={"type": 7}), "request 1: the schema is no JSON schema: at type"),
        ("Say.", "request 1 is a str, not a Request"),
    ],
)
def test_what_the_backend_cannot_do_is_refused_before_the_first_call(request_, message):
    none = Capabilities(
        temperature=False, top_p=False, stop=False, max_tokens=False, extra=False, system=False, images=False
    )
    with client(capabilities=none) as llm, pytest.raises(RequestError, match=message):
        llm.complete([ask(), request_])
    assert llm.backend.calls == 0


def test_more_logprobs_than_there_are():
    with client() as llm, pytest.raises(RequestError, match="at most 20 alternatives a token"):
        llm.complete([ask(logprobs=21)])


def test_one_request_that_is_no_list():
    with client() as llm, pytest.raises(RequestError, match="put the one request into a list"):
        llm.complete(ask())


# beside the batches


def test_choice_logprobs():
    with client(Bernoulli(lambda request: 0.25)) as llm:
        found = llm.choice_logprobs(ask(draw=7), ("0", "1"))
        assert found == pytest.approx({"0": -0.2877, "1": -1.3863}, abs=1e-4)
    with client(capabilities=Capabilities(choices=True)) as llm, pytest.raises(RequestError, match="tells no log-prob"):
        llm.choice_logprobs(ask(), ("0", "1"))


def test_estimate_makes_no_call(tmp_path):
    requests = [ask("four words are here", d, max_tokens=10) for d in range(5)]
    with client(cache=tmp_path / "c.sqlite", prices=Prices(1e6, 2e6)) as llm:
        llm.complete(requests[:2])
        found = llm.estimate(requests)
        assert (found.requests, found.cached, found.calls, found.prompt_tokens, found.completion_tokens) == (
            5,
            2,
            3,
            12,
            30,
        )
        assert found.cost == 12 + 60 and llm.backend.calls == 2
        assert llm.estimate([ask()]).completion_tokens is None and llm.estimate([ask()]).cost is None


def test_summary_counts(tmp_path, capsys):
    with client(cache=tmp_path / "c.sqlite", prices=Prices(1e6, 1e6), progress=True) as llm:
        llm.complete([ask(draw=d) for d in range(3)])
        llm.complete([ask(draw=d) for d in range(4)])
        summary = llm.summary()
    assert (summary["requests"], summary["calls"], summary["cached"], summary["cost"]) == (7, 4, 3, 8.0)
    assert '"backend": "fake"' in capsys.readouterr().err


# independence


def test_probe_tells_identical_repeated_and_independent_draws():
    with client(lambda request: "Once upon a time.") as llm:
        found = independence_probe(llm)
        assert found.verdict == "identical" and "sampling.seed" in found.sentence
    with client(lambda request: f"Story {min(request.draw, 5)}") as llm:
        found = independence_probe(llm)
        assert (found.verdict, found.distinct, found.n) == ("repeats", 6, 8)
    with client(rambling) as llm:
        assert independence_probe(llm).verdict == "independent"


def test_probe_leaves_the_cache_out(tmp_path):
    with client(cache=tmp_path / "c.sqlite") as llm:
        assert independence_probe(llm).verdict == "independent"
        independence_probe(llm)
        assert llm.backend.calls == 16 and llm._store.groups() == []


def test_probe_needs_answers():
    from shared.llm import ModelError

    with client(lambda request: CallError("refused", "no stories")) as llm:
        with pytest.raises(ModelError, match="0 of 8 answers, too few to compare: no stories"):
            independence_probe(llm)
        with pytest.raises(RequestError, match="at least 2 draws"):
            independence_probe(llm, n=1)


# the fake


def test_fake_draws_depend_on_seed_request_and_draw():
    coin = Bernoulli(lambda request: 0.5)
    requests = [ask("Flip.", d) for d in range(40)]
    with client(coin) as llm, LLM(Fake(coin, seed=1)) as other, client(coin, batch=16) as batched:
        assert texts(llm.complete(requests)) == texts(llm.complete(requests[::-1], cached=False))[::-1]
        assert texts(llm.complete(requests)) == texts(batched.complete(requests)) != texts(other.complete(requests))


def test_fake_tells_its_rules_apart_and_no_address():
    def half(p: float) -> float:
        return p / 2

    rules = (Bernoulli(len), Bernoulli(len, half), Bernoulli(len, labels=("F", "T")), shout, rambling)
    told = [Fake(rule).identity()["respond"] for rule in rules]
    assert len(set(told)) == len(rules) and not any("0x" in rule for rule in told)


def test_fake_malformed_share():
    with client(Bernoulli(lambda request: 1.0), malformed=0.25) as llm:
        bad = sum(t != "1" for t in texts(llm.complete([ask("Flip.", d) for d in range(400)])))
        assert 60 < bad < 140


def test_fake_of_settings_names_its_rule(tmp_path):
    settings = {"backend": "fake", "options": {"respond": "test_llm_client:shout"}}
    with open_llm(settings, cache_dir=tmp_path, progress=False) as llm:
        assert texts(llm.complete([ask()])) == ["SAY.0"] and llm.name == "fake"
    assert (tmp_path / "completions.sqlite").is_file()


# stopping


@both_kinds
def test_what_no_request_survives_stops_the_batch_and_keeps_what_is_done(tmp_path, batch):
    def respond(request):
        return (
            CallError("bad_request", "no such key", 401, stops="credentials") if request.draw == 30 else shout(request)
        )

    path = tmp_path / "c.sqlite"
    with client(respond, cache=path, batch=batch, limits=Limits(concurrency=2)) as llm:
        with pytest.raises(Stopped, match="no such key; what was answered until then is kept") as stopped:
            llm.complete([ask(draw=d) for d in range(1000)])
        assert stopped.value.reason == "credentials" and llm.backend.calls < 50
        assert llm._store.groups()[0].count >= 30


def test_twenty_failures_in_a_row_stop_a_batch():
    with client(lambda request: CallError("server", "down"), limits=Limits(attempts=1, concurrency=1)) as llm:
        with pytest.raises(Stopped, match="20 requests in a row failed, the last one so: down") as stopped:
            llm.complete([ask(draw=d) for d in range(100)])
        assert stopped.value.reason == "failures" and llm.backend.calls == 20


def test_more_than_half_of_the_last_hundred_stop_a_batch():
    def respond(request):
        return CallError("server", "down") if request.draw % 5 < 3 else shout(request)

    with client(respond, limits=Limits(attempts=1, concurrency=1)) as llm:
        with pytest.raises(Stopped, match="60 of the last 100 requests failed"):
            llm.complete([ask(draw=d) for d in range(1000)])
        assert llm.backend.calls == 101  # the hundredth was answered, and an answer stops nothing


def test_refusals_of_prompts_stop_nothing():
    with client(lambda request: CallError("refused", "no"), limits=Limits(concurrency=1)) as llm:
        assert {r.kind for r in llm.complete([ask(draw=d) for d in range(150)])} == {"refused"}
