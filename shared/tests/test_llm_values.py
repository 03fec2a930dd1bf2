"""Messages, pictures, sampling, requests, completions and settings: what they hold, and what they refuse."""

from __future__ import annotations

import base64
import json
from dataclasses import FrozenInstanceError, fields

import pytest
from pictures import jpeg, png, webp

from shared.llm import (
    LLM,
    Completion,
    Image,
    Limits,
    Message,
    ModelError,
    Prices,
    Request,
    RequestError,
    Sampling,
    Source,
    Text,
    Usage,
    open_llm,
    user,
)
from shared.llm.backends.fake import Fake
from shared.llm.completion import TokenLogprob
from shared.llm.limits import limits_from
from shared.llm.prices import completion_bound, picture_bound, prices_from, prompt_bound
from shared.llm.request import sampling_from

# pictures


@pytest.mark.parametrize(
    ("data", "media_type", "size"),
    [
        (png(), "image/png", (2, 1)),
        (jpeg(), "image/jpeg", (3, 5)),
        (webp(b"VP8X", 300, 500), "image/webp", (300, 500)),
        (webp(b"VP8L", 300, 500), "image/webp", (300, 500)),
        (webp(b"VP8 ", 300, 500), "image/webp", (300, 500)),
    ],
)
def test_pictures_are_known_by_their_first_bytes(tmp_path, data, media_type, size):
    (tmp_path / "picture").write_bytes(data)
    picture = Image.read(tmp_path / "picture", detail="low")
    assert (picture.media_type, picture.size, picture.detail) == (media_type, size, "low")
    head, _, body = picture.data_uri().partition(",")
    assert head == f"data:{media_type};base64" and base64.b64decode(body) == data


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Image("https://example.org/a.png"), "addresses on the web are not fetched"),
        (lambda: Image(b"GIF89a" + bytes(40)), "no PNG, JPEG or WebP, not image/png"),
        (lambda: Image(png(), "image/jpeg"), "the picture's bytes are image/png, not image/jpeg"),
        (lambda: Image(png(), "image/gif"), "media_type must be one of image/png, image/jpeg, image/webp"),
        (lambda: Image(png(), detail="huge"), "detail must be one of"),
        (lambda: Image(png()[:8] + bytes(8) + bytes(16)), "0×0 pixels: each side must be 1 to 16384"),
        (lambda: Image(webp(b"VP8X", 16_385, 9), "image/webp"), "16385×9 pixels: each side must be 1 to 16384"),
        (lambda: Image(webp(b"VP8X", 16_384, 4097), "image/webp"), "at most 67,108,864 in all"),
        (lambda: Image(jpeg() + bytes(20 << 20)), "over the limit of 20,971,520"),
        (lambda: Image(b""), "no PNG, JPEG or WebP"),
        (lambda: Image.read("/no/such/picture.png"), "cannot read the picture /no/such/picture.png: No such file"),
        (lambda: Image.read(__file__), "is no PNG, JPEG or WebP picture"),
    ],
)
def test_pictures_that_are_refused(make, message):
    with pytest.raises(RequestError, match=message):
        make()


def test_a_picture_prints_its_digest_and_not_its_bytes():
    assert repr(Image(png())) == f"Image(image/png, {len(png())} bytes, {Image(png()).digest[:12]})"
    assert "clip 7" in repr(Image(png(), identity="clip 7"))


def test_picture_tokens_are_bounded_from_above():
    small, large = (Request((user("?", Image(png(width=w, height=w))),)) for w in (10, 1400))
    assert picture_bound(small) == 1500 and picture_bound(large) == 100 * 100


# messages, sampling, requests


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Message("robot", (Text("a"),)), "role must be one of system, user, assistant, not 'robot'"),
        (lambda: Message("user", ()), "at least one part"),
        (lambda: Message("user", (3,)), "at least one part, each Text or Image"),
        (lambda: Message("system", (Image(png()),)), "pictures belong in a user's message"),
        (lambda: Text(3), "text must be a string, not int"),
        (lambda: Text("a\ud83d"), "half of a surrogate pair at character 1"),
        (lambda: Request(()), "at least one Message"),
        (lambda: Request(({"role": "user"},)), "at least one Message"),
        (lambda: Request("a", draw=-1), "draw must be a whole number from 0, not -1"),
        (lambda: Request("a", draw=1.0), "draw must be a whole number"),
        (lambda: Request("a", choices=("a",)), "two or more distinct texts"),
        (lambda: Request("a", choices=("a", "a")), "two or more distinct texts"),
        (lambda: Request("a", choices=("a", "")), "two or more distinct texts"),
        (lambda: Request("a", schema=[1]), "schema must be a mapping"),
        (lambda: Request("a", schema={}, choices=("a", "b")), "choices or a schema, not both"),
        (lambda: Sampling(temperature=-0.1), r"temperature must be in \[0, 100\], not -0.1"),
        (lambda: Sampling(temperature=float("nan")), "temperature must be in"),
        (lambda: Sampling(temperature="1"), "temperature must be in"),
        (lambda: Sampling(top_p=0), r"top_p must be in \(0, 1\], not 0"),
        (lambda: Sampling(top_k=2.5), "top_k must be a whole number in"),
        (lambda: Sampling(max_tokens=0), "max_tokens must be a whole number in"),
        (lambda: Sampling(max_tokens=True), "max_tokens must be a whole number in"),
        (lambda: Sampling(seed=0.5), "seed must be a whole number in"),
        (lambda: Sampling(stop=("",)), "stop must be texts, none of them empty"),
        (lambda: Sampling(extra=[1]), "extra must be a mapping"),
        (lambda: Sampling(extra={"n": 8}), "extra may not hold 'n': it is set by the client"),
        (lambda: Sampling(reasoning_effort="huge"), "reasoning_effort must be one of"),
        (
            lambda: sampling_from({"temprature": 1}),
            "sampling has no field 'temprature'; its fields are temperature, top_p",
        ),
        (
            lambda: Limits(concurrency=0),
            r"limits.concurrency must be 'adaptive' or a whole number in \[1, 4096\], not 0",
        ),
        (lambda: Limits(attempts=0), "limits.attempts must be a whole number from 1, not 0"),
        (lambda: Limits(total_s=0), "limits.total_s must be a finite number above 0, not 0"),
        (lambda: Limits(idle_s=float("inf")), "limits.idle_s must be a finite number above 0"),
        (lambda: limits_from({"max_call": 1}), "limits has no field 'max_call'"),
        (lambda: Prices(-1, 1), "prices.input must be USD for a million tokens, from 0, not -1"),
        (lambda: prices_from({"input": 1}), "prices lacks 'output'"),
        (lambda: prices_from({"imput": 1}), "prices has no field 'imput'"),
    ],
)
def test_values_that_are_refused(make, message):
    with pytest.raises(RequestError, match=message):
        make()


def test_ways_to_write_a_request():
    assert Request("Say.") == Request(user("Say.")) == Request([user("Say.")]) == Request((Message("user", "Say."),))
    assert user("a", Image(png()), "b").text == "ab" and len(user("a", Image(png())).images) == 1
    assert Sampling(stop="\n").stop == ("\n",)
    with pytest.raises(FrozenInstanceError):
        Request("Say.").draw = 3


def test_an_unknown_price_is_none_and_never_nothing():
    assert prices_from(None) is None and prices_from({"input": None, "output": None}) is None
    prices = Prices(1, 10, cached=0.1)
    assert prices.cost(Usage(prompt=1_000_000, cached_prompt=400_000, completion=100_000)) == pytest.approx(1.64)
    assert prices.cost(Usage(prompt=5)) is None
    with LLM(Fake()) as llm:
        assert llm.complete([Request("Say.")])[0].cost is None and llm.stats().cost is None


def test_bounds_hold_for_texts_of_many_bytes():
    request = Request((user("漢字" * 50),), Sampling(max_tokens=9), prefix="é")
    assert prompt_bound(request) >= 300 + 2 and completion_bound(request, 4) == 9
    assert completion_bound(Request("a"), None) is None and completion_bound(Request("a"), 4) == 4
    assert completion_bound(Request("a", choices=("ja", "nein")), None) == 5


def test_completion_goes_through_json_and_back():
    completion = Completion(
        "Größe",
        "length",
        "I think",
        Usage(1, 2, 3, 4),
        (TokenLogprob("G", -0.5, (("G", -0.5), ("K", -1.5))), TokenLogprob("röße", -0.1)),
        {"a": -1.0},
        "m-2025",
        Source("live", "openai", "m", "2025-01-01T00:00:00+00:00", "words"),
        3,
        0.25,
        0.001,
        "id-7",
        {"a": [1, None]},
    )
    assert set(completion.to_json()) == {f.name for f in fields(Completion)}
    assert Completion.from_json(json.loads(json.dumps(completion.to_json()))) == completion
    plain = Completion("a", source=Source("live", "b", "c", "d"))
    assert Completion.from_json(json.loads(json.dumps(plain.to_json()))) == plain
    assert Usage(1) + Usage(2, completion=3) == Usage(3, None, 3, None)


# settings


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({}, RequestError, "llm.backend must be one of openai, transformers, vllm, replay, fake, not None"),
        (
            {"backend": "fake", "modle": "a"},
            RequestError,
            "llm has no setting 'modle'; its settings are backend, model",
        ),
        ({"backend": "fake", "base_url": "x"}, RequestError, "llm.base_url is a setting of the backend openai"),
        ({"backend": "fake", "recording": "x"}, RequestError, "llm.recording is a setting of the backend replay"),
        ({"backend": "fake", "cache": {"file": "x"}}, RequestError, "llm.cache has no setting 'file'"),
        ({"backend": "fake", "cache": "x"}, RequestError, "llm.cache must be a mapping, not 'x'"),
        ({"backend": "fake", "cache": {"mode": "on"}}, RequestError, "cache_mode must be one of read_write, read_only"),
        (
            {"backend": "fake", "options": {"sead": 1}},
            RequestError,
            "llm.options do not fit the backend fake: .*'sead'",
        ),
        ({"backend": "fake", "options": {"respond": "a"}}, ModelError, "respond must name a function as 'module:func"),
        ({"backend": "fake", "options": {"malformed": 2}}, ModelError, r"malformed must be a share in \[0, 1\]"),
        ({"backend": "fake", "capabilities": {"tools": True}}, RequestError, "llm.capabilities has no setting 'tools'"),
        ({"backend": "fake", "capabilities": {"seed": 1}}, RequestError, "llm.capabilities.seed must be true or false"),
        ({"backend": "fake", "capabilities": {"logprobs": True}}, RequestError, "logprobs must be a whole number"),
        ({"backend": "fake", "limits": {"max_cost": 1}}, RequestError, "limits.max_cost needs prices"),
        ({"backend": "openai"}, ModelError, "llm.model must be the name of a model, not None"),
        ({"backend": "replay"}, RequestError, "llm.recording must be the path of a recording, and is not set"),
        ({"backend": "openai", "model": "m", "base_url": "a"}, ModelError, "base_url must be an address such as"),
        ({"backend": "openai", "model": "m", "base_url": "http://a.org/v1"}, ModelError, "plain http to a.org"),
        ({"backend": "openai", "model": "m", "base_url": "https://u:p@a.org/v1"}, ModelError, "may not hold a name"),
        ({"backend": "openai", "model": "m", "options": {"server": "x"}}, ModelError, "server must be one of openai"),
    ],
)
def test_settings_that_are_refused(settings, error, message):
    with pytest.raises(error, match=message):
        open_llm(settings, progress=False)


def test_settings_of_every_kind_of_mapping(tmp_path):
    from collections import OrderedDict

    settings = OrderedDict(
        backend="fake",
        sampling=OrderedDict(temperature=1, stop=["a"]),
        limits=OrderedDict(concurrency="adaptive"),
        capabilities={"logprobs": None, "seed": False},
        prices={"input": 1, "output": 2},
        cache={"mode": False},  # YAML's bare off
        options={"seed": 3},
    )
    with open_llm(settings, cache_dir=tmp_path, progress=False) as llm:
        assert llm.sampling == Sampling(temperature=1.0, stop=("a",)) and llm.limits.concurrency == "adaptive"
        assert llm.capabilities.logprobs is None and not llm.capabilities.seed and llm.prices == Prices(1, 2)
        llm.complete([Request("Say.")])
    assert list(tmp_path.iterdir()) == []


def test_plain_http_is_for_loopback_alone_unless_allowed():
    for url in ("http://localhost:1/v1", "http://127.0.0.1:1/v1", "http://[::1]:1/v1"):
        open_llm({"backend": "openai", "model": "m", "base_url": url}, progress=False).close()
    allowed = {"backend": "openai", "model": "m", "base_url": "http://a.org/v1", "allow_http": True}
    open_llm(allowed, progress=False).close()
