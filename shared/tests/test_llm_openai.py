"""The OpenAI-compatible backend against a server that misbehaves: a real one, on loopback."""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest
from endpoint import CUT, Endpoint, chat, delta, failed, reply, stream
from pictures import png

from shared.llm import (
    LLM,
    Completion,
    Failure,
    Image,
    Limits,
    ModelError,
    Request,
    RequestError,
    Sampling,
    Stopped,
    Usage,
    independence_probe,
    open_llm,
    system,
    user,
)
from shared.llm.backends.http_errors import retry_after
from shared.llm.backends.openai import OpenAI
from shared.llm.backends.servers import narrowed, server_of

KEY = "sk-planted-0123456789abcdefghij"
QUICK = {"first_wait_s": 0.001}


def client(
    server: Endpoint, *, server_kind: str = "vllm", model: str = "m", cache: Path | None = None, **limits
) -> LLM:
    backend = OpenAI(model, base_url=server.url, server=server_kind)
    return LLM(backend, limits=Limits(**{**QUICK, **limits}), cache=cache)


def ask(draw: int = 0, text: str = "Say.", **sampling) -> Request:
    return Request((user(text),), Sampling(**sampling), draw=draw)


def one(answer, request: Request | None = None, **settings):
    """What comes of one request, and the calls that the server saw."""
    with Endpoint(answer) as server, client(server, **settings) as llm:
        (result,) = llm.complete([request or ask()])
        return result, server.calls


def first(*bad, then=None):
    """Answers the first calls badly, one after another, and the others well."""
    good = reply(chat()) if then is None else then
    return lambda call: bad[call.number] if call.number < len(bad) else good


# good replies


def test_all_of_a_reply_is_read():
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 5,
        "prompt_tokens_details": {"cached_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }
    content = [
        {"token": "fi", "logprob": -0.5, "top_logprobs": [{"token": "fi", "logprob": -0.5}]},
        {"token": "ne", "logprob": -1},
    ]
    body = {**chat(reasoning_content="well"), "usage": usage}
    body["choices"][0]["logprobs"] = {"content": content}
    result, calls = one(lambda call: reply(body), ask(logprobs=1))
    assert (result.text, result.finish, result.reasoning) == ("fine", "stop", "well")
    assert result.usage == Usage(9, 4, 5, 2) and result.model_reported == "m-2025" and result.request_id == "chat-1"
    assert [(t.token, t.logprob, t.top) for t in result.tokens] == [("fi", -0.5, (("fi", -0.5),)), ("ne", -1.0, ())]
    assert result.source.kind == "live" and result.source.model == "m" and result.attempts == 1
    assert 0 < result.latency_s < 60 and calls[0].path == "/v1/chat/completions"


def test_what_is_not_set_is_not_sent():
    _, (call,) = one(lambda call: reply(chat()))
    assert call.body == {"model": "m", "messages": [{"role": "user", "content": "Say."}]}
    assert "authorization" not in call.headers or call.headers["authorization"] == "Bearer none"
    assert not [name for name in call.headers if name.startswith("x-stainless-") and name != "x-stainless-raw-response"]


def test_all_of_a_request_is_sent():
    sampling = Sampling(0.5, 0.9, 40, 0.05, 100, ("\n", "x"), 7, "low", 3, {"repetition_penalty": 1.1})
    messages = (system("Be."), user("What?", Image(png(), detail="low")))
    request = Request(messages, sampling, prefix="It is")
    _, (call,) = one(lambda call: reply(chat(logprobs=None)), request)
    assert call.body["messages"] == [
        {"role": "system", "content": "Be."},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What?"},
                {"type": "image_url", "image_url": {"url": Image(png()).data_uri(), "detail": "low"}},
            ],
        },
        {"role": "assistant", "content": "It is"},
    ]
    rest = {name: value for name, value in call.body.items() if name not in ("model", "messages")}
    assert rest == {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "max_tokens": 100,
        "stop": ["\n", "x"],
        "seed": 7,
        "reasoning_effort": "low",
        "logprobs": True,
        "top_logprobs": 3,
        "repetition_penalty": 1.1,
        "add_generation_prompt": False,
        "continue_final_message": True,
    }


def test_choices_and_schema_are_the_servers_where_it_can():
    _, (call,) = one(lambda call: reply(chat("T")), replace(ask(), choices=("T", "F")))
    assert call.body["structured_outputs"] == {"choice": ["T", "F"]}
    schema = {"type": "object", "required": ["a"]}
    result, (call,) = one(lambda call: reply(chat('{"a": 1}')), replace(ask(), schema=schema))
    assert call.body["response_format"]["json_schema"]["schema"] == schema and result.data == {"a": 1}


def test_address_with_a_query_and_the_field_of_max_tokens(tmp_path):
    with Endpoint() as server:
        settings = {"backend": "openai", "model": "m", "base_url": f"{server.url}/?api-version=7"}
        settings |= {"options": {"max_tokens_field": "max_completion_tokens"}}
        with open_llm(settings, progress=False) as llm:
            assert llm.complete([ask(max_tokens=5)])[0].ok
    assert server.calls[0].path == "/v1/chat/completions?api-version=7"
    assert server.calls[0].body["max_completion_tokens"] == 5


# bad replies that are tried again

BROKEN = {
    "no JSON": reply(b"<html>oops</html>"),
    "half of its JSON": reply(json.dumps(chat()).encode()[:40]),
    "half of its body": [b'HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n{"choices": [', CUT],
    "nothing": reply(b""),
    "empty choices": reply({**chat(), "choices": []}),
    "no choices": reply({"id": "a"}),
    "no message": reply({"choices": [{"index": 0}]}),
    "a list": reply([1, 2]),
    "an error object": reply({"error": {"message": "overloaded", "code": 503}}),
    "an error text": reply({"error": "overloaded"}),
    "a closed connection": [CUT],
    "500": failed(500),
    "502 by a proxy": reply(b"<html>bad gateway</html>", 502),
    "503": failed(503),
    "408": failed(408),
    "409": failed(409),
    "429": failed(429),
}


@pytest.mark.parametrize("bad", BROKEN.values(), ids=BROKEN.keys())
def test_broken_reply_is_tried_again(bad):
    result, calls = one(first(bad, bad))
    assert isinstance(result, Completion) and (result.text, result.attempts, len(calls)) == ("fine", 3, 3)


KINDS = {
    "no JSON": "malformed",
    "half of its body": "malformed",
    "nothing": "malformed",
    "empty choices": "malformed",
    "an error object": "server",
    "a closed connection": "connection",
    "502 by a proxy": "server",
    "408": "timeout",
    "429": "rate_limit",
}


@pytest.mark.parametrize(("name", "kind"), KINDS.items())
def test_broken_reply_that_stays_is_a_failure(name, kind):
    result, calls = one(lambda call: BROKEN[name], attempts=2)
    assert isinstance(result, Failure) and (result.kind, result.attempts, len(calls)) == (kind, 2, 2)
    assert (
        result.message.startswith(("m at 127.0.0.1", "cannot reach m at 127.0.0.1")) and "<html>" not in result.message
    )


def test_retry_after_is_obeyed():
    """429 with a wait, by the clock of the server; that it is exceeded by a tenth at most is a test of Wait."""
    for headers in ({"retry-after": "0.5"}, {"retry-after-ms": "500", "retry-after": "900"}):
        result, calls = one(first(failed(429, headers=headers)))
        assert result.ok and 0.5 <= calls[1].time - calls[0].time < 60


def test_ways_to_say_when_to_come_back():
    now = 1_700_000_000.0
    for headers, seconds in (
        ({}, None),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:30 GMT"}, 10.0),
        ({"retry-after": "Tue, 14 Nov 2000 22:13:30 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-3"}, None),
        ({"retry-after-ms": "20", "retry-after": "7"}, 0.02),
        ({"x-ratelimit-reset-requests": "1m30s"}, 90.0),
        ({"x-ratelimit-reset-tokens": "6ms"}, 0.006),
        ({"x-ratelimit-reset-requests": "2h0m1.5s", "x-ratelimit-reset-tokens": "3"}, 7201.5),
        ({"x-ratelimit-reset-requests": "60", "x-ratelimit-remaining-requests": "12"}, None),
        ({"x-ratelimit-reset-requests": "60", "x-ratelimit-remaining-requests": "0"}, 60.0),
        ({"x-ratelimit-reset-requests": str(now + 4)}, 4.0),
        ({"x-ratelimit-reset-requests": str(int((now + 4) * 1000))}, 4.0),
        ({"x-ratelimit-reset-requests": "whenever"}, None),
    ):
        assert retry_after(headers, now) == (None if seconds is None else pytest.approx(seconds)), headers


def test_storm_of_429_is_weathered():
    """A third of all calls is refused; every request is answered, and none is lost or answered twice."""
    with Endpoint(lambda call: failed(429) if call.number % 3 == 0 else reply(chat(call.text))) as server:
        with client(server, concurrency="adaptive", attempts=12) as llm:
            results = llm.complete([ask(d, f"n{d}") for d in range(60)])
    assert [r.text for r in results] == [f"n{d}" for d in range(60)]
    assert llm.stats().retries == len(server.calls) - 60 >= 30


# bad replies that are not


@pytest.mark.parametrize(
    ("status", "error", "kind", "words"),
    [
        (
            400,
            {"message": "Unsupported parameter", "param": "temperature"},
            "bad_request",
            "set by sampling.temperature",
        ),
        (400, {"message": "'max_tokens' is not supported with this model"}, "bad_request", "options.max_tokens_field"),
        (422, {"message": "extra inputs are not permitted: top_logprobs"}, "bad_request", "set by sampling.logprobs"),
        (400, {"message": "maximum context length is 4096 tokens"}, "too_long", "4096"),
        (413, {"message": "too large"}, "too_long", "too large"),
        (400, {"message": "blocked", "code": "content_filter"}, "refused", "blocked"),
        (404, {"message": "Not Found"}, "bad_request", "is base_url right, with its /v1?"),
        (400, {"message": "x" * 5000}, "bad_request", "..."),
    ],
)
def test_request_that_cannot_succeed_fails_at_once(status, error, kind, words):
    result, calls = one(lambda call: failed(status, **error))
    assert isinstance(result, Failure) and (result.kind, result.status, result.attempts) == (kind, status, 1)
    assert words in result.message and len(result.message) < 500 and len(calls) == 1


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (401, {"message": "Incorrect API key"}, "credentials"),
        (403, {"message": "no access"}, "credentials"),
        (429, {"message": "You exceeded your current quota", "code": "insufficient_quota"}, "quota"),
        (402, {"message": "Payment required"}, "quota"),
        (404, {"message": "The model `m` does not exist", "code": "model_not_found"}, "model"),
        (400, {"message": "Invalid model: m"}, "model"),
    ],
)
def test_what_no_request_survives_stops_everything(status, error, reason):
    with Endpoint(lambda call: failed(status, **error)) as server, client(server, concurrency=8) as llm:
        with pytest.raises(Stopped) as stopped:
            llm.complete([ask(d) for d in range(10_000)])
        assert 1 <= len(server.calls) <= 8
        assert stopped.value.reason == reason and error["message"] in str(stopped.value)


def test_redirects_are_not_followed():
    with Endpoint() as elsewhere, Endpoint() as server:
        server.answer = lambda call: reply(b"", 308, {"location": f"{elsewhere.url}/chat/completions"})
        with client(server) as llm, pytest.raises(Stopped, match="redirects to http://127.0.0.1.*: set base_url to it"):
            llm.complete([ask()])
        assert elsewhere.calls == []


def test_nobody_listens():
    with socket.socket() as placeholder:
        placeholder.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{placeholder.getsockname()[1]}/v1"
        with LLM(OpenAI("m", base_url=url), limits=Limits(attempts=2, **QUICK)) as llm:
            (failure,) = llm.complete([ask()])
    assert (failure.kind, failure.attempts) == ("connection", 2) and failure.message.startswith("cannot reach m at")


def test_endpoint_that_is_down_ends_the_batch():
    with Endpoint(lambda call: failed(503)) as server, client(server, attempts=1, concurrency=2) as llm:
        with pytest.raises(Stopped, match="20 requests in a row failed, the last one so: m at .* answered 503: no"):
            llm.complete([ask(d) for d in range(1000)])
        assert len(server.calls) <= 21


# outcomes of the experiment


def test_reasoning_without_an_answer_is_a_completion():
    result, _ = one(lambda call: reply(chat(None, finish="length", reasoning_content="hm, hm")))
    assert (result.text, result.reasoning, result.finish) == ("", "hm, hm", "length")
    result, _ = one(lambda call: reply(chat(None, reasoning="hm")))
    assert (result.text, result.reasoning) == ("", "hm")


def test_refusals_and_cut_answers_are_completions(tmp_path):
    answers = [
        reply(chat(None, refusal="I cannot.")),
        reply(chat("so f", finish="length")),
        reply(chat("", finish="content_filter")),
    ]
    with Endpoint(lambda call: answers[int(call.text)]) as server:
        for _ in range(2):
            with client(server, cache=tmp_path / "c.sqlite") as llm:
                found = llm.complete([ask(text=str(n)) for n in range(3)])
                assert [(r.text, r.finish) for r in found] == [
                    ("I cannot.", "refusal"),
                    ("so f", "length"),
                    ("", "refusal"),
                ]
        assert len(server.calls) == 3


def test_texts_in_parts_and_halves_of_characters():
    result, _ = one(lambda call: reply(chat([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}])))
    assert result.text == "ab"
    body = json.dumps(chat("TEXT")).replace("TEXT", "x\\ud83d\\ude00 \\ud83d").encode()
    result, _ = one(lambda call: reply(body))
    assert result.text == "x😀 �" and result.text.encode()


def test_usage_that_is_not_told_or_makes_no_sense():
    assert one(lambda call: reply(chat(usage=None)))[0].usage == Usage()
    assert one(lambda call: reply(chat(usage=(-1, "many"))))[0].usage == Usage()


@pytest.mark.parametrize("logprobs", [None, {"content": []}, {"content": [{"token": "a"}]}, {"content": None}])
def test_logprobs_that_were_asked_for_and_dropped_are_an_error(logprobs):
    body = chat()
    body["choices"][0]["logprobs"] = logprobs
    result, calls = one(lambda call: reply(body), ask(logprobs=0))
    assert isinstance(result, Failure) and "was asked for log-probabilities and sent none" in result.message
    assert len(calls) == 1 and result.usage == Usage(7, completion=3)  # and were paid for


# streams


def test_streamed_answer_is_the_whole_one():
    pieces = [delta(role="assistant"), delta("fi"), delta("ne"), delta(finish="stop")]
    usage = {"id": "s-1", "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    result, (call,) = one(lambda call: stream(*pieces, usage), ask(max_tokens=3000))
    whole, _ = one(lambda call: reply(chat()))
    assert replace(result, latency_s=0, source=whole.source, request_id=None) == replace(
        whole, latency_s=0, request_id=None
    )
    assert call.body["stream"] is True and call.body["stream_options"] == {"include_usage": True}


def test_streaming_is_for_long_answers_for_watched_ones_and_for_readers():
    with Endpoint(lambda call: stream(delta("a", "stop")) if call.body.get("stream") else reply(chat())) as server:
        for limits, sampling, streams in (
            ({}, {}, False),
            ({}, {"max_tokens": 2000}, False),
            ({}, {"max_tokens": 2001}, True),
            ({"idle_s": 5.0}, {}, True),
        ):
            with client(server, **limits) as llm:
                assert llm.complete([ask(**sampling)])[0].ok
            assert server.calls[-1].body.get("stream", False) == streams
        heard = []
        backend = OpenAI("m", base_url=server.url, on_text=lambda request, piece: heard.append((request.draw, piece)))
        with LLM(backend) as llm:
            llm.complete([ask(4)])
        assert heard == [(4, "a")]


def test_duplicated_chunks_count_once():
    role, end = delta("", role="assistant"), delta(finish="stop")
    usage = {"choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 3}}
    events = [role, role, delta("fi"), delta("ne"), end, end, delta("fine"), usage, usage]
    result, _ = one(lambda call: stream(*events), ask(max_tokens=3000))
    assert (result.text, result.usage) == ("fine", Usage(7, completion=3))


def test_stream_with_reasoning_refusal_logprobs_and_comments():
    entry = {"token": "fine", "logprob": -0.1}
    good = delta("fine", "stop")
    good["choices"][0]["logprobs"] = {"content": [entry]}
    events = [b": keep-alive\n\n", b"event: x\n", delta(reasoning_content="h"), delta(reasoning_content="m"), good]
    result, _ = one(lambda call: stream(*events), ask(max_tokens=3000, logprobs=0))
    assert (result.text, result.reasoning, result.tokens[0].logprob) == ("fine", "hm", -0.1)
    result, _ = one(lambda call: stream(delta(refusal="No."), delta(finish="stop")), ask(max_tokens=3000))
    assert (result.text, result.finish) == ("No.", "refusal")


BROKEN_STREAMS = {
    "cut in the middle": stream(delta("fi"), done=False, cut=True),
    "ended before its end": stream(delta("fi"), done=False),
    "done before its end": stream(delta("fi")),
    "empty": stream(),
    "a torn event": stream(delta("fi"), b'data: {"choices": [{"del\n\n', done=False, cut=True),
    "an error in between": stream(delta("fi"), {"error": {"message": "worker died", "code": 500}}),
    "an error at once": failed(500),
    "JSON instead": reply({"error": {"message": "overloaded"}}),
}


@pytest.mark.parametrize("bad", BROKEN_STREAMS.values(), ids=BROKEN_STREAMS.keys())
def test_broken_stream_is_tried_again(bad):
    good = stream(delta("fi"), delta("ne"), delta(finish="stop"))
    result, calls = one(first(bad, then=good), ask(max_tokens=3000))
    assert isinstance(result, Completion), result
    assert (result.text, result.attempts, len(calls)) == ("fine", 2, 2)


def test_slow_answer_lives_as_long_as_it_writes():
    """Longer than the longest silence, in pieces that come sooner than that."""
    events = [x for piece in "abcdefgh" for x in (delta(piece), 0.2)]
    result, calls = one(lambda call: stream(*events, delta(finish="stop")), idle_s=1.2)
    assert result.text == "abcdefgh" and len(calls) == 1 and result.latency_s > 1.5


def test_silence_ends_an_attempt():
    stalled = stream(delta("a"), 30.0, delta(finish="stop"))
    begun = time.monotonic()
    result, _ = one(first(stalled, then=stream(delta("b", "stop"))), idle_s=0.2)
    assert (result.text, result.attempts) == ("b", 2) and time.monotonic() - begun < 20
    result, _ = one(lambda call: [30.0], idle_s=0.1, attempts=1)
    assert result.kind == "timeout" and "was silent for too long (limits.idle_s)" in result.message


def test_whole_time_ends_an_attempt_that_writes_for_ever():
    endless = stream(*[x for _ in range(600) for x in (delta("a"), 0.05)])
    result, _ = one(lambda call: endless, idle_s=5.0, total_s=0.4, attempts=1)
    assert result.kind == "timeout" and "no whole answer within 0.4 s (limits.total_s)" in result.message
    result, _ = one(lambda call: [30.0], total_s=0.2, attempts=1)
    assert result.kind == "timeout"


# concurrency


def test_no_more_calls_at_a_time_than_allowed():
    with Endpoint(lambda call: [0.02, *reply(chat())]) as server, client(server, concurrency=6) as llm:
        assert all(r.ok for r in llm.complete([ask(d) for d in range(40)]))
        assert server.most == 6
        assert len({call.headers["host"] for call in server.calls}) == 1


def test_never_a_fifty_first_call():
    with Endpoint(lambda call: failed(500) if call.number % 4 == 0 else [0.002, *reply(chat())]) as server:
        with client(server, max_calls=50, concurrency=16) as llm, pytest.raises(Stopped, match="max_calls = 50"):
            llm.complete([ask(d) for d in range(500)])
        assert len(server.calls) == 50


def test_server_that_always_says_the_same_is_found_out():
    with Endpoint() as server, client(server) as llm:
        found = independence_probe(llm)
        assert found.verdict == "identical" and "caching proxy" in found.sentence
        assert len(server.calls) == 8 and server.calls[0].body["max_tokens"] == 60


# schema: parse, validate, repair

SCHEMA = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": False}


def enforced_here(server: Endpoint, cache: Path | None = None, **settings) -> LLM:
    return LLM(OpenAI("m", base_url=server.url, server="other"), limits=Limits(**QUICK), cache=cache, **settings)


def test_answer_that_breaks_the_schema_is_repaired(tmp_path):
    said = ["n is 3", '{"n": "3"}', '```json\n{"n": 3}\n```']
    with Endpoint(lambda call: reply(chat(said[len(call.body["messages"]) // 2]))) as server:
        for hits in (3, 3):  # each round is kept: the second run asks nothing
            with enforced_here(server, tmp_path / "c.sqlite", record=tmp_path / "r.jsonl") as llm:
                (result,) = llm.complete([replace(ask(), schema=SCHEMA)])
                assert result.data == {"n": 3} and result.text == said[2] and len(server.calls) == hits
                assert result.usage == Usage(21, completion=9) and result.attempts == 3
        assert "response_format" not in server.calls[0].body
        turns = server.calls[2].body["messages"]
        assert [t["role"] for t in turns] == ["user", "assistant", "user", "assistant", "user"]
        assert (
            "the answer is not JSON" in turns[2]["content"]
            and "at n: '3' is not of type 'integer'" in turns[4]["content"]
        )
    with open_llm({"backend": "replay", "recording": str(tmp_path / "r.jsonl")}, progress=False) as llm:
        assert llm.complete([replace(ask(), schema=SCHEMA)])[0].data == {"n": 3}


def test_answer_that_is_never_right_is_a_failure_with_its_bill():
    with Endpoint(lambda call: reply(chat("no"))) as server, enforced_here(server) as llm:
        good, bad = llm.complete([ask(), replace(ask(1), schema=SCHEMA)])
        assert good.ok and isinstance(bad, Failure) and bad.kind == "malformed" and len(server.calls) == 4
        assert "no answer of 3 satisfies the schema" in bad.message and bad.usage == Usage(21, completion=9)


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ('{"n": 1, "m": 2}', "Additional properties are not allowed"),
        ('{"n": NaN}', "NaN is no JSON number"),
        ("[" * 100_000, "not JSON"),
        ('{"n": 1} and more', "not JSON"),
        ('{"n": ' + "1" * 5000 + "}", "not JSON|."),
        ("", "not JSON"),
        ("x" * (1 << 20) + "y", "over the limit of 1,048,576"),
    ],
)
def test_answers_that_are_no_such_json(answer, problem):
    from shared.llm.structured import parse

    parsed = parse(answer, SCHEMA)
    assert parsed.data is None or parsed.problem
    import re

    assert re.search(problem, parsed.problem or "")


def test_schema_fetches_nothing():
    with Endpoint(lambda call: reply(chat("{}"))) as server, enforced_here(server) as llm:
        schema = {"properties": {"a": [{"$ref": f"{server.url}/schema.json"}][0]}}
        with pytest.raises(
            RequestError, match=r"request 0: the schema refers to 'http://.*/schema.json': .* within it"
        ):
            llm.complete([replace(ask(), schema=schema)])
        assert server.calls == []
        with pytest.raises(RequestError, match="the schema refers to what it does not hold"):
            llm.complete([replace(ask(), schema={"$ref": "#/$defs/absent"})])
        inner = {"$ref": "#/$defs/n", "$defs": {"n": {"type": "object"}}}
        assert llm.complete([replace(ask(), schema=inner)])[0].data == {}


# servers


def test_server_is_told_by_its_address_and_narrowed_by_its_model():
    addresses = {
        "https://api.openai.com/v1": "openai",
        "https://openrouter.ai/api/v1": "openrouter",
        "http://localhost:11434/v1": "ollama",
        "https://api.openai.com.evil.org/v1": "other",
    }
    assert {url: server_of(url) for url in addresses} == addresses
    assert narrowed("openai", "gpt-4.1-nano").capabilities.temperature
    for model in ("o3", "o4-mini", "gpt-5-nano"):
        capabilities = narrowed("openai", model).capabilities
        assert not capabilities.temperature and capabilities.logprobs is None and capabilities.reasoning_effort
    assert narrowed("openai", "gpt-5-chat-latest").capabilities.temperature
    assert OpenAI("m")._max_tokens_field == "max_completion_tokens" and OpenAI("m")._key_env == "OPENAI_API_KEY"
    assert OpenAI("m", base_url="https://a.org/v1")._key_env is None


# the key


def test_planted_key_is_written_nowhere(tmp_path, monkeypatch, capfd, caplog):
    """A server that echoes the key in every way it can, with all logging on."""
    monkeypatch.setenv("PLANTED", KEY)
    monkeypatch.chdir(tmp_path)
    log = logging.FileHandler(tmp_path / "log.txt")
    for name in ("", "openai", "httpx2", "httpcore2", "httpx", "httpcore", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    logging.getLogger().addHandler(log)

    def answer(call):
        assert call.headers["authorization"] == f"Bearer {KEY}"
        said = call.text
        if said == "echo":
            return reply({**chat(f"it is {KEY}", reasoning=f"key {KEY}"), "id": KEY, "model": KEY})
        if said == "stream":
            return stream(delta(KEY[:9]), delta(KEY[9:], "stop"))
        if said == "500":
            return failed(500, f"bad {KEY}")
        return failed(401 if said == "401" else 400, f"you sent {call.headers['authorization']}", code=KEY)

    shown = []
    try:
        with Endpoint(answer) as server:
            settings = {
                "backend": "openai",
                "model": "m",
                "base_url": server.url,
                "api_key_env": "PLANTED",
                "cache": {"path": str(tmp_path / "c.sqlite")},
                "record": str(tmp_path / "r.jsonl"),
                "limits": {"attempts": 2, "first_wait_s": 0.001},
            }
            with open_llm(settings) as llm:
                requests = [ask(text=text) for text in ("echo", "500", "400")] + [ask(text="stream", max_tokens=3000)]
                results = llm.complete(requests)
                assert [r.ok for r in results] == [True, False, False, True]
                assert results[0].text == "it is [redacted]" == results[0].text and results[3].text == "[redacted]"
                shown += [repr(llm), repr(llm.backend), repr(results), str(llm.summary()), repr(vars(llm.backend))]
                with pytest.raises(Stopped) as stopped:
                    llm.complete([ask(text="401")])
                shown += [repr(stopped.value), repr(stopped.value.__cause__), repr(stopped.value.__context__)]
                for leaking in (ask(text=f"my key is {KEY}"), ask(text="a", extra={"key": KEY})):
                    with pytest.raises(RequestError, match="holds the API key itself"):
                        llm.complete([leaking])
                assert not any(KEY in call.text for call in server.calls)
            main_ = __import__("shared.llm.cli", fromlist=["main"]).main
            assert main_(["cache", "export", str(tmp_path / "c.sqlite"), str(tmp_path / "e.jsonl")]) == 0
            assert main_(["cache", "stats", str(tmp_path / "c.sqlite")]) == 0
    finally:
        logging.getLogger().removeHandler(log)
        log.close()
    captured = capfd.readouterr()
    shown += [captured.out, captured.err, caplog.text]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"c.sqlite", "r.jsonl", "e.jsonl", "log.txt"} <= {path.name for path in files}
    assert len((tmp_path / "log.txt").read_text()) > 1000  # there was something to leak
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path
    for text in shown:
        assert KEY not in text


def test_key_that_is_not_set(monkeypatch):
    monkeypatch.delenv("ABSENT", raising=False)
    with Endpoint() as server:
        with LLM(OpenAI("m", base_url=server.url, api_key_env="ABSENT")) as llm:
            with pytest.raises(Stopped, match="the environment variable ABSENT, which api_key_env names, is not set"):
                llm.complete([ask()])
            assert server.calls == []
            monkeypatch.setenv("ABSENT", "EMPTY")  # as for a server that asks for none
            assert llm.complete([ask(text="EMPTY")])[0].ok
            assert server.calls[0].headers["authorization"] == "Bearer EMPTY"


def test_proxy_of_the_environment_is_for_other_machines(monkeypatch):
    with Endpoint() as proxy, Endpoint() as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with client(server) as llm:
            assert llm.complete([ask()])[0].ok and (len(server.calls), len(proxy.calls)) == (1, 0)
        with LLM(
            OpenAI("m", base_url="http://elsewhere.example/v1", allow_http=True), limits=Limits(attempts=1)
        ) as llm:
            assert llm.complete([ask()])[0].ok
        assert proxy.calls[0].path == "http://elsewhere.example/v1/chat/completions"


def test_package_that_is_not_installed(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "openai", None)
    with Endpoint() as server, client(server) as llm:
        with pytest.raises(ModelError, match="needs the package openai, which is not installed"):
            llm.complete([ask()])
    assert os.environ.get("OPENAI_BASE_URL") is None
