"""Keys: every field that decides an answer changes them, and nothing else does."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from dataclasses import fields, replace
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import png

from shared.llm import LLM, Image, Message, Request, RequestError, Sampling, Text, system, user
from shared.llm.backends.fake import Fake
from shared.llm.backends.openai import OpenAI
from shared.llm.key import canonical, key_material, question, question_key, request_key

IDENTITY = {"backend": "openai", "base_url": "https://a/v1", "model": "m"}
BASE = Request((system("Be."), user("Say.", Image(png()))), Sampling(temperature=0.5))

# another value for each field; the tests that read the classes' fields fail where one is missing here
SAMPLING = {
    "temperature": 0.7,
    "top_p": 0.9,
    "top_k": 5,
    "min_p": 0.1,
    "max_tokens": 10,
    "stop": ("\n",),
    "seed": 3,
    "reasoning_effort": "low",
    "logprobs": 2,
    "extra": {"a": [1]},
}
REQUEST = {
    "messages": (user("Say."),),
    "sampling": Sampling(),
    "draw": 1,
    "prefix": "So",
    "choices": ("a", "b"),
    "schema": {"type": "object"},
}
UNKEYED = {"tag"}


@pytest.mark.parametrize("name", [f.name for f in fields(Sampling)])
def test_every_field_of_sampling_is_keyed(name):
    changed = replace(BASE, sampling=replace(BASE.sampling, **{name: SAMPLING[name]}))
    assert request_key(IDENTITY, changed) != request_key(IDENTITY, BASE)


@pytest.mark.parametrize("name", [f.name for f in fields(Request)])
def test_every_field_of_a_request_is_keyed_but_the_tag(name):
    changed = replace(BASE, **{name: REQUEST.get(name, "mine")})
    assert (request_key(IDENTITY, changed) == request_key(IDENTITY, BASE)) == (name in UNKEYED)


def test_all_of_a_message_is_keyed():
    variants = [
        Message("system", ("Say.",)),
        user("Say."),
        user("Say", "."),
        user("Say.", Image(png())),
        user(Image(png()), "Say."),
        user("Say.", Image(png(2))),
        user("Say.", Image(png(), detail="low")),
        user("Say.", Image(png(), identity="clip 7, frame 3")),
        user("Say.", Image(png(), identity="clip 7, frame 4")),
    ]
    assert len({request_key(IDENTITY, Request((m,))) for m in variants}) == len(variants)
    assert {f.name for f in fields(Message)} == {"role", "parts"} and {f.name for f in fields(Text)} == {"text"}
    assert {f.name for f in fields(Image)} == {"data", "media_type", "detail", "identity"}


def test_picture_with_an_identity_is_known_by_it_alone():
    one, other = (Request((user(Image(png(shade), identity="clip 7")),)) for shade in (10, 11))
    assert request_key(IDENTITY, one) == request_key(IDENTITY, other)


def test_backend_and_salt_are_keyed():
    keys = {request_key(IDENTITY | changed, BASE) for changed in ({}, {"model": "n"}, {"base_url": "https://b/v1"})}
    assert len(keys | {request_key(IDENTITY, BASE, "salt"), request_key({}, BASE)}) == 5


def test_what_is_not_said_is_null_in_the_key():
    asked = question(Request("Say."))
    assert set(asked["sampling"]) == {f.name for f in fields(Sampling)} and asked["sampling"]["temperature"] is None
    assert set(asked) == {f.name for f in fields(Request)} - UNKEYED and asked["prefix"] is None


def test_keys_are_those_of_other_machines():
    """Recordings are kept under such keys, and nothing may change them: SHA-256 of the JSON written down here."""
    request = Request((system("Be brief."), user("Größe?")), Sampling(temperature=1, stop=("\n",)), draw=7, prefix="So")
    text = (
        '{"backend":%s,"choices":null,"draw":7,"format":1,"messages":[{"parts":[{"text":"Be brief."}],"role":"system"},'
        '{"parts":[{"text":"Gr\\u00f6\\u00dfe?"}],"role":"user"}],"prefix":"So","salt":"%s","sampling":{"extra":{},'
        '"logprobs":null,"max_tokens":null,"min_p":null,"reasoning_effort":null,"seed":null,"stop":["\\n"],'
        '"temperature":1.0,"top_k":null,"top_p":null},"schema":null}'
    )
    identity = '{"backend":"openai","base_url":"https://a/v1","model":"m"}'
    assert question_key(question(request)) == hashlib.sha256((text % ("{}", "")).encode()).hexdigest()
    assert request_key(IDENTITY, request, "s") == hashlib.sha256((text % (identity, "s")).encode()).hexdigest()


def test_key_is_the_same_in_another_process_and_needs_no_library():
    code = (
        "from shared.llm import Request, user\nfrom shared.llm.key import request_key\n"
        "import sys; print(request_key({'a': 1}, Request((user('Say.'),)))); "
        "assert not {'torch', 'transformers', 'openai'} & set(sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert found == request_key({"a": 1}, Request("Say."))


def test_equal_settings_have_one_key():
    def key(**sampling):
        return request_key(IDENTITY, Request("Say.", Sampling(**sampling)))

    assert key(temperature=1) == key(temperature=1.0) and key(stop="a") == key(stop=["a"])
    assert key(extra={"a": (1, {"b": 2}), "c": 0}) == key(extra=MappingProxyType({"c": 0, "a": [1, {"b": 2}]}))
    assert request_key(IDENTITY, Request("Say.")) == request_key(IDENTITY, Request((Message("user", ("Say.",)),)))


def test_values_that_json_has_not():
    for value in (float("nan"), {1, 2}, object()):
        with pytest.raises(RequestError, match="must hold JSON values alone"):
            request_key(IDENTITY, Request("Say.", Sampling(extra={"a": value})))


def test_what_decides_no_answer_is_not_in_the_key(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "sk-0123456789abcdef")
    keys = {
        LLM(backend, **settings)._key(replace(BASE, tag=tag))
        for backend, settings, tag in (
            (OpenAI("m", base_url="https://a/v1"), {}, ""),
            (OpenAI("m", base_url="https://a/v1/", api_key_env="SOME_KEY"), {}, "mine"),
            (OpenAI("m", base_url="https://a/v1?version=2", max_tokens_field="max_completion_tokens"), {}, ""),
            (OpenAI("m", base_url="https://a/v1", on_text=print), {"progress": True, "cache_mode": "off"}, ""),
        )
    }
    assert len(keys) == 1
    assert keys != {LLM(OpenAI("m", base_url="https://b/v1"))._key(BASE), LLM(Fake())._key(BASE)}


simple = st.text(max_size=8, alphabet=st.characters(exclude_categories=["Cs"]))


@given(one=simple, other=simple, draws=st.tuples(st.integers(0, 3), st.integers(0, 3)))
def test_keys_are_equal_exactly_where_the_questions_are(one, other, draws):
    first, second = (Request((user(t),), draw=d) for t, d in zip((one, other), draws, strict=True))
    assert (request_key(IDENTITY, first) == request_key(IDENTITY, second)) == (question(first) == question(second))


@given(one=simple, other=simple)
def test_texts_cannot_be_moved_between_parts_unseen(one, other):
    split, joined = Request((user(one, other),)), Request((user(one + other),))
    assert request_key(IDENTITY, split) != request_key(IDENTITY, joined)


def test_canonical_json_is_ascii_without_blanks():
    text = canonical(key_material(IDENTITY, Request("Größe\n")))
    assert text.isascii() and ": " not in text and json.loads(text)["messages"][0]["parts"] == [{"text": "Größe\n"}]
