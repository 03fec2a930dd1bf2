"""A model in this process: draws that depend on nothing beside them, choices, identity, refusals."""

from __future__ import annotations

import asyncio
import copy
import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_causal_lm import needs_default
from tiny_llm import SPECIAL, TEMPLATE, byte_tokenizer, tiny_lm

from shared.llm import ModelError
from shared.llm.backend import CallError
from shared.llm.backends.transformers import Local
from shared.llm.choices import pick, probabilities
from shared.llm.completion import Completion
from shared.llm.errors import RequestError
from shared.llm.generation import Draw, Generator
from shared.llm.key import request_key
from shared.llm.messages import Image, assistant, system, user
from shared.llm.request import Request, Sampling
from shared.llm.scoring import Scored, Scorer
from shared.llm.seeds import draw_generator

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8) + (1).to_bytes(4, "big") * 2


@pytest.fixture(scope="module")
def lm():
    return tiny_lm("llama")


@pytest.fixture
def local(lm):
    return Local.of(lm, byte_tokenizer(), name="tiny", max_tokens=12)


@pytest.fixture
def endless(lm):
    """The same, without an end token."""
    return Local.of(lm, byte_tokenizer(endless=True), name="tiny", max_tokens=12)


@pytest.fixture(scope="module")
def smollm():
    return Local()


def ask(text: str = "Say.", draw: int = 0, **sampling) -> Request:
    return Request(text, Sampling(**sampling), draw=draw)


def coin(text: str = "Flip.", draw: int = 0, **sampling) -> Request:
    return Request(text, Sampling(**sampling), draw=draw, choices=("0", "1"))


def texts(answers) -> list[str]:
    assert all(isinstance(a, Completion) for a in answers), answers
    return [a.text for a in answers]


def calls_of(lm, run) -> list[tuple[int, int]]:
    """The (rows, columns) of every call of the model while `run` runs."""
    shapes: list[tuple[int, int]] = []

    def note(module, args, kwargs):
        shapes.append(tuple(kwargs["input_ids"].shape))

    hook = lm.register_forward_pre_hook(note, with_kwargs=True)
    try:
        run()
    finally:
        hook.remove()
    return shapes


# draws


@torch.inference_mode()
def slow_text(lm, tokenizer, local, request: Request) -> tuple[str, str]:
    """What a draw has to be: one row, no cache, float64, the same uniform numbers."""
    double = copy.deepcopy(lm).double()
    key = request_key(local.identity(), replace(request, draw=0, tag=""))
    random = draw_generator(key, request.draw)
    tokens = list(local.prompting.tokens([local.prompting.text(request.messages, request.prefix)])[0])
    begin = len(tokens)
    for _ in range(request.sampling.max_tokens or 12):
        logits = double(input_ids=torch.tensor([tokens])).logits[0, -1].numpy()
        token = pick(np.cumsum(probabilities(logits, request.sampling)), random.random())
        tokens.append(token)
        if token == tokenizer.eos_token_id:
            return tokenizer.decode(tokens[begin:], skip_special_tokens=True), "stop"
    return tokenizer.decode(tokens[begin:], skip_special_tokens=True), "length"


@pytest.mark.parametrize("make", ["llama", "neox", "qwen2", "mistral"])
def test_text_is_that_of_one_row_without_cache(make):
    lm, tokenizer = tiny_lm(make), byte_tokenizer()
    local = Local.of(lm, tokenizer, name="tiny", max_tokens=12)
    requests = [ask("Say."), ask("Say.", 1), ask("Say it twice.", temperature=0.5), ask("No.", top_k=3, min_p=0.2)]
    requests += [ask("Say.", 2, top_p=0.6), replace(ask("Go on.", 3), prefix="I go")]
    answers = local.complete_many(requests)
    assert [(a.text, a.finish) for a in answers] == [slow_text(lm, tokenizer, local, r) for r in requests]


def test_a_draw_is_the_same_in_any_company(local, lm):
    requests = [ask(text, draw) for text in ("Say.", "Say something longer.", "No.") for draw in range(5)]
    together = texts(local.complete_many(requests))
    alone = [texts(local.complete_many([r]))[0] for r in requests]
    narrow = Local.of(lm, byte_tokenizer(), name="tiny", max_tokens=12, batch=4)
    assert alone == together == texts(narrow.complete_many(requests[::-1]))[::-1]


def test_draws_and_seeds_differ(endless, lm):
    draws = texts(endless.complete_many([ask(draw=d) for d in range(30)]))
    assert len(set(draws)) == 30
    other = Local.of(lm, byte_tokenizer(endless=True), name="tiny", max_tokens=12, seed=1)
    assert set(draws).isdisjoint(texts(other.complete_many([ask(draw=d) for d in range(30)])))
    assert set(draws).isdisjoint(texts(endless.complete_many([ask(draw=d, seed=7) for d in range(30)])))
    assert texts(endless.complete_many([replace(ask(), tag="mine")])) == draws[:1]


def test_draws_of_one_prompt_share_its_reading_and_finished_rows_leave(local, lm):
    requests = [ask(draw=d, max_tokens=1 + d // 2) for d in range(8)]
    answers = []
    shapes = calls_of(lm, lambda: answers.extend(local.complete_many(requests)))
    length = len(local.prompting.tokens([local.prompting.text(requests[0].messages)])[0])
    assert shapes[0] == (1, length)
    written = [a.usage.completion for a in answers]
    assert shapes[1:] == [(sum(n > step for n in written), 1) for step in range(1, max(written))]
    assert all(a.usage.prompt == length for a in answers)


def test_rows_are_bounded(lm):
    local = Local.of(lm, byte_tokenizer(), name="tiny", max_tokens=3, batch=4)
    shapes = calls_of(lm, lambda: local.complete_many([ask(f"Say {i}.") for i in range(10)]))
    assert max(rows for rows, _ in shapes) == 4


def test_greedy_is_that_of_transformers(local, lm):
    tokenizer = byte_tokenizer()
    for text in ("Say.", "Once upon a time"):
        prompt = local.prompting.tokens([local.prompting.text((user(text),))])[0]
        expected = lm.generate(
            torch.tensor([prompt]),
            do_sample=False,
            max_new_tokens=12,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=0,
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        )[0, len(prompt) :]
        (answer,) = local.complete_many([ask(text, draw=3, temperature=0)])
        assert answer.text == tokenizer.decode(expected, skip_special_tokens=True)
        assert texts(local.complete_many([ask(text, top_k=1)])) == [answer.text]


# ends of a completion


def test_end_token_ends_a_completion(lm):
    eager = copy.deepcopy(lm)
    with torch.no_grad():
        eager.lm_head.weight[byte_tokenizer().eos_token_id] *= 6
    local = Local.of(eager, byte_tokenizer(), name="tiny", max_tokens=40)
    answers = local.complete_many([ask(draw=d, logprobs=0) for d in range(20)])
    ended = [a for a in answers if a.finish == "stop"]
    assert ended and all("<end>" not in a.text for a in answers)
    assert all(a.usage.completion == len(a.tokens) and a.tokens[-1].token == "<end>" for a in ended)


def test_stop_texts_end_a_completion(endless):
    answers = endless.complete_many([ask(draw=d, max_tokens=40, stop=("a", "5", "no such text")) for d in range(20)])
    assert not any("a" in a.text or "5" in a.text for a in answers)
    assert {a.finish for a in answers} == {"stop", "length"} or all(a.finish == "stop" for a in answers)
    assert all(a.usage.completion == 40 for a in answers if a.finish == "length")


def test_stop_text_across_tokens_cuts_where_it_first_stands(local):
    # greedy, so that a sampling with another key writes the same
    whole = local.complete_many([ask(temperature=0, max_tokens=40)])[0].text
    stop = whole[7:10]
    (cut,) = local.complete_many([ask(temperature=0, max_tokens=40, stop=(stop,))])
    assert (cut.text, cut.finish) == (whole[: whole.index(stop)], "stop")
    assert cut.usage.completion < 40


def test_length_is_bounded_by_request_backend_and_window(endless):
    answers = endless.complete_many([ask(max_tokens=5), ask(), ask("x" * 130, max_tokens=100)])
    assert [a.finish for a in answers] == ["length"] * 3
    assert [a.usage.completion for a in answers[:2]] == [5, 12]
    assert answers[2].usage.prompt + answers[2].usage.completion == 160  # the model's window


def test_token_logprobs_of_a_completion_are_those_of_scoring(lm):
    prompt = (1, 2, 3)
    draw = Draw(prompt, Sampling(temperature=0.5, top_k=40, logprobs=3), 20, np.random.default_rng(0))
    Generator(lm, byte_tokenizer())([draw])
    (expected,) = Scorer(lm)([Scored((*prompt, *draw.tokens), len(prompt))])
    assert [t.logprob for t in draw.logprobs] == pytest.approx(expected.tolist(), abs=1e-4)
    for t in draw.logprobs:
        assert len(t.top) == 3 and list(t.top) == sorted(t.top, key=lambda pair: -pair[1])
        assert t.logprob <= t.top[0][1]


# choices


def test_choice_draws_follow_their_probabilities(local):
    n = 4000
    for sampling in ({}, {"temperature": 2.0}):
        answers = local.complete_many([coin(draw=d, **sampling) for d in range(n)])
        p = np.array(list(answers[0].choice_logprobs.values())) / sampling.get("temperature", 1)
        p = np.exp(p) / np.exp(p).sum()
        ones = Counter(texts(answers))["1"]
        assert abs(ones - n * p[1]) < 4.5 * math.sqrt(n * p[0] * p[1])


def test_choice_logprobs_are_over_the_whole_vocabulary(local, lm):
    (answer,) = local.complete_many([coin()])
    prompt = local.prompting.tokens([local.prompting.text(coin().messages)])[0]
    with torch.inference_mode():
        row = copy.deepcopy(lm).double()(input_ids=torch.tensor([prompt])).logits[0, -1].log_softmax(-1)
    ids = byte_tokenizer().convert_tokens_to_ids(["0", "1"])
    assert list(answer.choice_logprobs) == ["0", "1"]
    assert list(answer.choice_logprobs.values()) == pytest.approx(row[ids].tolist(), abs=1e-4)
    assert sum(math.exp(v) for v in answer.choice_logprobs.values()) < 0.9


def test_longer_choices_are_scored_by_all_their_tokens(local):
    request = replace(coin(), choices=("yes", "no", "yellow"), prefix="I say ")
    (answer,) = local.complete_many([request])
    text = local.prompting.text(request.messages, request.prefix)
    for choice, value in answer.choice_logprobs.items():
        (own,) = local._score([(local.prompting.tokens([text + choice])[0], len(local.prompting.tokens([text])[0]))])
        assert value == pytest.approx(own.sum(), abs=1e-4)
    assert answer.usage.completion == len(answer.text)


def test_draws_of_one_prompt_cost_one_reading(local, lm):
    first = calls_of(lm, lambda: local.complete_many([coin(draw=d) for d in range(50)]))
    length = len(local.prompting.tokens([local.prompting.text(coin().messages)])[0])
    trial = sum(rows * columns for rows, columns in first) - length  # whether the model reads tries is tried once
    later = calls_of(lm, lambda: local.complete_many([coin(draw=d, temperature=0.3) for d in range(50, 99)]))
    assert first[-1] == (1, length) and trial < 40 and later == []


def test_choice_draw_is_the_same_in_any_company(local, lm):
    requests = [coin(text, d) for text in ("Flip.", "Flip it again.") for d in range(40)]
    together = texts(local.complete_many(requests))
    fresh = Local.of(lm, byte_tokenizer(), name="tiny", max_tokens=12)
    assert together == [texts(fresh.complete_many([r]))[0] for r in requests[::-1]][::-1]
    assert len(set(together[:40])) == 2 and together[:40] != together[40:]


def test_memory_of_choices_is_bounded(local):
    local._weigher.size = 3
    local.complete_many([coin(f"Flip {i}.") for i in range(8)])
    assert len(local._weigher) == 3


def test_choices_temperature_zero_and_logprobs(local):
    answers = local.complete_many([coin(draw=d, temperature=0, logprobs=0) for d in range(20)])
    best = max(answers[0].choice_logprobs, key=answers[0].choice_logprobs.get)
    assert set(texts(answers)) == {best}
    assert [t.token for t in answers[0].tokens] == [best]
    assert answers[0].tokens[0].logprob == pytest.approx(answers[0].choice_logprobs[best])


def test_kinds_of_request_may_be_mixed(local):
    requests = [ask(), coin(), ask(draw=1), coin(draw=1), ask("y" * 500), replace(coin(), choices=("a", "ab"))]
    answers = local.complete_many(requests)
    assert [a.choice_logprobs is not None for a in answers[:4]] == [False, True, False, True]
    assert isinstance(answers[4], CallError) and answers[4].kind == "too_long"
    assert "are over the 160 that tiny reads" in answers[4].message
    assert isinstance(answers[5], CallError) and "'a' is how 'ab' begins" in answers[5].message


# prompts


def test_chat_prompt_is_the_template_with_an_opened_answer(local):
    messages = (user("Hi"), assistant("Yes?"), user("Flip."))
    text = local.prompting.text(messages, "Output: ")
    assert text == "<user>Hi<end><assistant>Yes?<end><user>Flip.<end><assistant>Output: "
    first = local.prompting.tokens([text])[0][0]
    assert byte_tokenizer().convert_ids_to_tokens(first) == "<user>"


def test_plain_prompt(lm):
    local = Local.of(lm, byte_tokenizer(template=None, beginning=True), name="tiny", chat=False, max_tokens=3)
    text = local.prompting.text((user("0 1 1"), user("0")), " 1")
    assert text == "0 1 1\n\n0 1"
    tokens = local.prompting.tokens([text])[0]
    assert tokens[0] == byte_tokenizer().convert_tokens_to_ids("<user>") and len(tokens) == 1 + len(text)
    (answer,) = local.complete_many([ask("0 1 1 0")])
    assert answer.usage.prompt == 8


def test_prefix_is_no_part_of_the_completion(local):
    bare, led = local.complete_many([ask(temperature=0, max_tokens=8), replace(ask(temperature=0), prefix="x")])
    (forced,) = local.complete_many([replace(ask(temperature=0, max_tokens=7), prefix=bare.text[0])])
    assert bare.text[1:] == forced.text and not led.text.startswith("xx")


@pytest.mark.parametrize(
    ("tokenizer", "request_", "message"),
    [
        (byte_tokenizer(), Request((system("Be."), user("Hi"))), "refuses the messages: no system turns here"),
        (byte_tokenizer(template=None), ask(), "tiny has no chat template: chat=false"),
        (byte_tokenizer(), Request(user("What?", Image(PNG))), "tiny reads no pictures"),
        (byte_tokenizer(), Request("Hi", schema={"type": "object"}), "takes no schema"),
        (byte_tokenizer(), ask(reasoning_effort="low"), "takes no reasoning_effort"),
    ],
)
def test_requests_that_cannot_be_answered(lm, tokenizer, request_, message):
    local = Local.of(lm, tokenizer, name="tiny", max_tokens=3)
    (answer,) = local.complete_many([request_])
    assert isinstance(answer, CallError) and answer.kind == "bad_request" and not answer.retry
    with pytest.raises(CallError, match=message):
        asyncio.run(local.complete(request_))


def test_one_refusal_leaves_the_others(local):
    refused = [ask(extra={"a": 1}), Request(user("What?", Image(PNG))), coin(reasoning_effort="low")]
    answers = local.complete_many([*refused, ask(), coin()])
    assert [isinstance(a, CallError) for a in answers] == [True, True, True, False, False]
    assert texts(answers[3:]) == texts(local.complete_many([ask(), coin()]))


def test_model_that_cannot_be_loaded_stops_everything(tmp_path):
    answers = Local(str(tmp_path / "absent.gguf")).complete_many([ask(), coin()])
    assert [a.stops for a in answers] == ["model", "model"]
    assert "cannot read" in answers[0].message and "absent.gguf" in answers[0].message


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"seed": -1}, "seed must be a whole number from 0, not -1"),
        ({"max_tokens": 0}, "max_tokens must be a whole number from 1, not 0"),
        ({"batch": 2.5}, "batch must be a whole number from 1, not 2.5"),
        ({"dtype": "int8"}, "dtype must be one of float32, bfloat16, float16, not 'int8'"),
    ],
)
def test_settings_out_of_range(setting, message):
    with pytest.raises(ModelError, match=message):
        Local(**setting)


def test_logits_that_are_not_finite(lm):
    broken = copy.deepcopy(lm)
    with torch.no_grad():
        broken.lm_head.weight[3, 0] = float("nan")
    for request in (ask(), coin()):
        (answer,) = Local.of(broken, byte_tokenizer(), name="tiny").complete_many([request])
        assert answer.stops == "model" and "not finite" in answer.message


# log-likelihoods of texts


def test_continuations_add_up(local):
    whole, first, second = local.continuation_logprobs([("ab", "cdef"), ("ab", "cd"), ("abcd", "ef")])
    assert whole == pytest.approx(first + second, abs=1e-4)
    (all_of_it,) = local.token_logprobs(["abcdef"])
    assert len(all_of_it) == local.count_tokens("abcdef") == 6
    assert sum(all_of_it[2:]) == pytest.approx(
        local.continuation_logprobs([("", "abcdef")])[0] - sum(all_of_it[:2]), abs=1e-4
    )


def test_likelihood_of_texts_with_a_beginning_token(lm):
    local = Local.of(lm, byte_tokenizer(beginning=True), name="tiny")
    assert local.continuation_logprobs([("", "abc")])[0] == pytest.approx(
        sum(local.token_logprobs(["abc"])[0]), abs=1e-5
    )


def test_texts_that_have_no_likelihood(local):
    with pytest.raises(RequestError, match="at least one character"):
        local.continuation_logprobs([("a", "")])
    with pytest.raises(RequestError, match="at least one character"):
        local.token_logprobs([""])
    with pytest.raises(RequestError, match="201 tokens is over the 160 that tiny reads"):
        local.token_logprobs(["x" * 200])


# identity


def saved(lm, folder):
    lm.save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


def test_identity_of_a_folder_is_its_content_and_name(lm, tmp_path):
    one, two = saved(lm, tmp_path / "a" / "tiny"), saved(lm, tmp_path / "b" / "tiny")
    identity = Local(str(one)).identity()
    assert identity == Local(str(two)).identity() and str(tmp_path) not in str(identity)
    other = copy.deepcopy(lm)
    with torch.no_grad():
        other.lm_head.weight[0, 0] += 1
    assert identity["weights"] != Local(str(saved(other, tmp_path / "c" / "tiny"))).identity()["weights"]


@pytest.mark.parametrize("setting", [{"dtype": "bfloat16"}, {"seed": 1}, {"chat": False}, {"max_tokens": 9}])
def test_identity_tells_what_decides_an_answer(lm, tmp_path, setting):
    folder = str(saved(lm, tmp_path / "tiny"))
    assert Local(folder).identity() != Local(folder, **setting).identity()
    assert Local(folder).identity() == Local(folder, batch=3, device="cpu", attn_implementation="eager").identity()


def test_identity_of_a_hub_model_is_its_commit(monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    asked = []

    def cached_file(model, name, *, revision, local_files_only=False):
        asked.append((model, revision, local_files_only))
        return f"/cache/models--a--b/snapshots/{commit}/{name}"

    monkeypatch.setattr("transformers.utils.cached_file", cached_file)
    identity = Local("a/b", revision="main").identity()
    assert (identity["model"], identity["revision"]) == ("a/b", commit) and "weights" not in identity
    assert asked == [("a/b", "main", True)]


def test_answers_of_a_saved_model_are_those_of_the_one_in_memory(lm, tmp_path):
    folder = str(saved(lm, tmp_path / "tiny"))
    local = Local(folder, max_tokens=6)
    (answer,) = local.complete_many([coin()])
    (expected,) = Local.of(lm, byte_tokenizer(), name="tiny").complete_many([coin()])
    assert answer.choice_logprobs == pytest.approx(expected.choice_logprobs, abs=1e-5)


def test_weights_that_changed_are_seen_after_forget(lm):
    trained = copy.deepcopy(lm)
    local = Local.of(trained, byte_tokenizer(), name="tiny")
    before, identity = local.complete_many([coin()])[0].choice_logprobs, local.identity()
    with torch.no_grad():
        trained.lm_head.weight.mul_(0.5)
    local.forget()
    after = local.complete_many([coin()])[0].choice_logprobs
    assert local.identity() != identity
    assert after != before
    assert after == pytest.approx(
        Local.of(trained, byte_tokenizer(), name="x").complete_many([coin()])[0].choice_logprobs
    )


def test_closing_gives_the_model_back(lm):
    local = Local.of(lm, byte_tokenizer(), name="tiny")
    local.complete_many([coin()])
    asyncio.run(local.close())
    (answer,) = local.complete_many([coin()])
    assert answer.stops == "model" and "tiny was closed" in answer.message


def test_async_answer_is_the_same(local):
    assert asyncio.run(local.complete(ask())).text == local.complete_many([ask()])[0].text


def test_template_of_the_tests_knows_its_tokens():
    tokenizer = byte_tokenizer()
    assert all(len(tokenizer(s, add_special_tokens=False).input_ids) == 1 for s in SPECIAL) and "<user>" not in TEMPLATE


# the default model, whose tokenizer has tokens of more than a byte


@needs_default
def test_identity_loads_nothing(smollm):
    identity = smollm.identity()
    assert len(identity["weights"]) == 64 and identity["model"] == "smollm2-135m-instruct"
    assert smollm._lm is None


@needs_default
def test_choices_that_share_their_first_token(smollm):
    bare, spaced = (
        smollm.complete_many([Request("Toss a coin: 0 or 1?", prefix=prefix, choices=choices)])[0]
        for prefix, choices in (("Output: ", ("0", "1")), ("Output:", (" 0", " 1")))
    )
    # " 0" is [216, 32]: the first of them stands with the prompt, and what is left is as telling as "0"
    assert [b - a for a, b in zip(bare.choice_logprobs.values(), spaced.choice_logprobs.values(), strict=True)] == (
        pytest.approx([0, 0], abs=1e-4)
    )
    assert spaced.usage.prompt == bare.usage.prompt and spaced.usage.completion == 1
    assert spaced.choice_logprobs[" 0"] != pytest.approx(spaced.choice_logprobs[" 1"], abs=0.01)


@needs_default
def test_a_real_model_in_company_and_alone(smollm):
    requests = [ask(f"Name {n} animal(s).", d, max_tokens=6, temperature=0.8) for n in (1, 2) for d in (0, 1)]
    together = texts(smollm.complete_many(requests))
    assert together == [texts(smollm.complete_many([r]))[0] for r in requests]
    assert smollm.complete_many([ask("Name one animal.", temperature=0, max_tokens=6)])[0].text.isascii()


@needs_default
def test_likely_and_unlikely_continuations(smollm):
    likely, unlikely = smollm.continuation_logprobs(
        [("The capital of France is", " Paris"), ("The capital of France is", " Tuesday")]
    )
    assert likely > -1 and likely - unlikely > 5
