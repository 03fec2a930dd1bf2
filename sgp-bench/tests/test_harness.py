"""Asking through shared.llm: scores, kills, refusals, pages."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from sgp_bench import prompts
from sgp_bench.benchmark import consistency_of, read_answers, write_answers
from sgp_bench.errors import SGPError
from sgp_bench.evaluate import compare_results, evaluate, extract_by_model, picture_requests, score_choices, weigh_both
from sgp_bench.html_report import POLICY, write_page
from sgp_bench.prompts import messages
from sgp_bench.recorded import frozen_items, moved_item, recorded_items, requests
from sgp_bench.records import LETTERS, Item
from sgp_bench.render import Renderer
from sgp_bench.scene_set import scene_set
from sgp_bench.summary import against_baselines, baselines, by_category, by_length, macro, modes
from shared.llm import LLM, Completion, Request, load_causal_lm, user
from shared.llm.backend import CallError
from shared.llm.backends.fake import Fake
from shared.llm.backends.transformers import Local

SHARES = {"distinct": 0.5, "counts": 0.25, "icon": 0.25}


@pytest.fixture(scope="module")
def items() -> list[Item]:
    return [i for a in scene_set(12, "harness", SHARES) for i in a.items]


def knows(right: dict[str, str], share: float = 1.0):
    """A model that answers as the prompt's item wants, in its own words."""

    def respond(request: Request) -> str:
        text = request.messages[-1].text
        return f"I see.\n**Answer:** {right[text]}" if hash(text) % 100 < 100 * share else "Answer: because"

    return respond


def oracle(items, **more):
    return Fake(knows({messages(i)[-1].text: i.answer for i in items}), **more)


def test_a_model_that_knows_is_right_and_the_official_rule_misses_it(items):
    with LLM(oracle(items)) as llm:
        results = evaluate(items, llm)
    assert results.rate().value == 1 and results.rate("official").value == 0
    troubles = modes(results)["troubles"]
    assert troubles["no letter"] == 0 and troubles["no letter, official"] == 1
    rows = by_category(results)
    assert (
        next(iter(rows)) == "all"
        and macro(rows) == 1
        and rows["all"]["n"] == len(items)
        and rows["all"]["chance"] == 0.25
    )
    assert sum(b["n"] for b in by_length(results)) == len(items)


def test_unread_replies_are_asked_again_up_to_the_cap(items):
    fake = Fake(lambda request: "no idea" if request.draw < 2 else "Answer: C")
    with LLM(fake) as llm:
        results = evaluate(items[:5], llm, retries=4)
    assert fake.calls == 15 and all(a.official == "C" for a in results.answers)
    fake = Fake(lambda request: "no idea")
    with LLM(fake) as llm:
        assert evaluate(items[:3], llm, retries=4).answers[0].official is None
    assert fake.calls == 15


def test_nothing_is_asked_twice_and_a_stopped_run_goes_on(items, tmp_path):
    class Dies(Exception):
        pass

    right = {messages(i)[-1].text: i.answer for i in items}
    fake = Fake(knows(right), model="m")

    def stop(done: int, total: int) -> None:
        if done == 10:
            raise Dies

    with pytest.raises(Dies), LLM(fake, cache=tmp_path / "c.sqlite") as llm:
        evaluate(items, llm, progress=stop)
    first = fake.calls
    assert 10 <= first < len(items)
    again = Fake(knows(right), model="m")
    again._rule = fake._rule  # a function's address is part of the fake's identity
    with LLM(again, cache=tmp_path / "c.sqlite") as llm:
        resumed = evaluate(items, llm)
    assert first + again.calls == len(items)
    with LLM(oracle(items)) as llm:
        unbroken = evaluate(items, llm)
    assert [a.strict for a in resumed.answers] == [a.strict for a in unbroken.answers]
    assert by_category(resumed) == by_category(unbroken)


def test_what_is_too_long_or_fails_is_told_apart_from_wrong(items):
    def respond(request: Request):
        text = request.messages[-1].text
        if "circle" in text:
            return CallError("too_long", "context of 8 tokens")
        return Completion("Answer: A", finish="length")

    with LLM(Fake(respond)) as llm:
        results = evaluate(items, llm)
    failed = [a for a in results.answers if a.failure]
    assert failed and {a.failure for a in failed} == {"too_long"}
    troubles = modes(results)["troubles"]
    assert troubles["too_long"] == pytest.approx(len(failed) / len(items))
    assert troubles["cut by max_tokens"] == pytest.approx(1 - troubles["too_long"])


def test_a_second_model_reads_the_letters(items):
    with LLM(Fake(lambda r: "The object is a thing.")) as llm:
        results = evaluate(items[:4], llm)
    reader = Fake(lambda r: "Extracted answer: b" if r.draw else "hm")
    with LLM(reader) as llm:
        read = extract_by_model(results, llm)
    assert [a.extracted for a in read.answers] == ["B"] * 4 and reader.calls == 8
    assert "extracted by a model" in modes(read)


@pytest.fixture(scope="module")
def local(tiny):
    lm, tokenizer = load_causal_lm(str(tiny))
    return lm, tokenizer


def separate(lm, tokenizer, item: Item, by: str) -> list[float]:
    """Log-probabilities from a prompt and an option at a time."""
    style = {"letter": "letter", "text": "text"}[by]
    turns = [{"role": m.role, "content": m.text} for m in messages(item, style)]
    head = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    found = []
    for option in LETTERS if by == "letter" else item.options:
        start = len(tokenizer(head, add_special_tokens=False).input_ids)
        ids = torch.tensor([tokenizer(head + option, add_special_tokens=False).input_ids])
        with torch.inference_mode():
            logp = lm(input_ids=ids).logits[0].double().log_softmax(-1)
        found.append(sum(logp[k - 1, ids[0, k]].item() for k in range(start, ids.shape[1])))
    return found


def test_scores_with_shared_programs_are_those_of_separate_prompts(local, items):
    lm, tokenizer = local
    with LLM(Local.of(lm, tokenizer, name="tiny")) as llm:
        text, letter = weigh_both(items[:8], [True] * 8, llm)
    for results, by in ((text, "text"), (letter, "letter")):
        for item, values in zip(results.items, score_choices(results), strict=True):
            reference = separate(lm, tokenizer, item, by)
            # what all options begin with counts as prompt: equal up to a constant
            a, b = (np.array(v) - max(v) for v in (values, reference))
            assert np.abs(a - b).max() < 1e-4


def test_permuting_options_permutes_text_scores(local, items):
    lm, tokenizer = local
    item = items[0]
    other = replace(item, options=item.options[::-1], answer=LETTERS[3 - LETTERS.index(item.answer)])
    with LLM(Local.of(lm, tokenizer, name="tiny")) as llm:
        request = [replace(evaluate_request(i), messages=evaluate_request(item).messages) for i in (item, other)]
        first, second = llm.complete(request)
    assert {o: first.choice_logprobs[o] for o in item.options} == pytest.approx(dict(second.choice_logprobs), abs=1e-6)


def evaluate_request(item: Item) -> Request:
    from sgp_bench.evaluate import request_of

    return request_of(item, "text_logprob")


def test_smollm2_scores_with_and_without_an_adapter_are_those_of_separate_prompts():
    from sgp_bench.tune import TuneConfig, add_adapter

    lm, tokenizer = load_causal_lm()
    short = [i for a in scene_set(1, "short", {"counts": 1}) for i in a.items][:2]
    for adapted in (False, True):
        if adapted:
            lm = add_adapter(lm, TuneConfig(rank=2, targets=("q_proj", "v_proj")))
            torch.manual_seed(0)
            for n, p in lm.named_parameters():
                if "lora_B" in n:
                    torch.nn.init.normal_(p, std=0.02)
            lm = lm.merge_and_unload()
        with LLM(Local.of(lm, tokenizer, name="smollm2")) as llm:
            results = evaluate(short, llm, "text_logprob")
        for item, values in zip(short[:1], score_choices(results)[:1], strict=True):
            reference = separate(lm, tokenizer, item, "text")
            assert np.abs(np.array(values) - reference).max() < 1e-4


def test_two_models_are_compared_on_what_both_answered(items, tmp_path):
    with LLM(oracle(items)) as llm:
        good = evaluate(items, llm)
    with LLM(Fake(lambda r: "Answer: A")) as llm:
        poor = evaluate(items[5:], llm)
    paired = compare_results(poor, good)
    assert paired.n == len(items) - 5 and paired.only_first == 0 and paired.excludes_zero and paired.p < 1e-6
    write_answers(tmp_path / "answers.jsonl", good)
    assert read_answers(tmp_path / "answers.jsonl") == good
    with pytest.raises(SGPError, match="no file of answers"):
        read_answers(tmp_path / "other.jsonl")
    with pytest.raises(SGPError, match="share no item"):
        compare_results(poor, good.of(lambda i: i in items[:2]))


def test_baselines_stand_beside_the_model_by_category(items):
    with LLM(oracle(items)) as llm:
        results = evaluate(items, llm)
    columns = baselines(results)
    each = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    rows = against_baselines(results, each)
    assert rows["all"]["shown"] and rows["all"]["gain"]["difference"] == pytest.approx(
        1 - rows["all"]["scores"][rows["all"]["best"]]
    )
    assert set(rows["all"]["scores"]) == {
        "elimination",
        "most frequent",
        "first mentioned",
        "last mentioned",
        "no program",
    }


def test_published_versions_give_the_papers_two_consistencies(items):
    with LLM(oracle(items)) as llm:
        originals = evaluate(items, llm)
        moved = {}
        for k, version in enumerate(("inv_t0", "inv_t1", "inv_r0", "inv_r1")):
            answers = tuple(replace(a, strict="A" if k == 3 else a.strict) for a in originals.answers)
            moved[version] = replace(
                originals, items=tuple(replace(i, version=version) for i in items), answers=answers
            )
    found = consistency_of(originals, moved)
    assert found["T"]["rate"] == 1 and found["T"]["versions"] == 3
    share = np.mean([i.answer == "A" for i in items])
    assert found["SE(2)"]["rate"] == pytest.approx(share + (1 - share) * 2 / 3)


HOSTILE = '<script>alert(1)</script><img src=x onerror="alert(2)">\x00\u202e]]>"\'&'


def test_the_page_holds_no_foreign_markup(items, tmp_path):
    item = replace(
        items[0],
        program=f"<svg onload='x'>{HOSTILE}</svg>",
        question=HOSTILE,
        options=(HOSTILE, "b", "c", "d"),
        answer="A",
    )
    with LLM(Fake(lambda r: HOSTILE * 300)) as llm:
        results = evaluate([item, items[1]], llm)
    renderer = Renderer()
    write_page(
        tmp_path / "page.html", HOSTILE, [HOSTILE], {HOSTILE: results}, lambda i: renderer.png(i.program, 32, 30)
    )
    renderer.close()
    page = (tmp_path / "page.html").read_text()
    assert POLICY in page and "default-src 'none'" in page
    tags = set(re.findall(r"<\s*/?\s*([a-zA-Z][a-zA-Z0-9]*)", page))
    assert tags <= {
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "h1",
        "h2",
        "p",
        "nav",
        "a",
        "table",
        "tr",
        "th",
        "td",
        "article",
        "div",
        "b",
        "ol",
        "li",
        "span",
        "details",
        "summary",
        "pre",
        "img",
    }
    assert not re.search(r"<[^>]*\son\w+\s*=", page) and "\x00" not in page and "\u202e" not in page
    assert len(re.findall("<img ", page)) == 1 and "event handler" not in re.findall(r'src="([^"]*)"', page)[0]
    assert "is an event handler, which is not allowed" in page  # the hostile program is named, not drawn
    assert page.count("alert(1)") < 200  # a long reply is cut


def test_every_recorded_prompt_is_what_the_items_ask_and_is_frozen():
    from sgp_bench.recorded import ANSWERS, replayed

    items = frozen_items()
    assert items == recorded_items()
    assert len({r.messages for r in requests(items)}) == 150
    if not ANSWERS.is_file():
        pytest.skip("there is no recording yet")
    results = replayed()
    assert len(results.answers) == 150 and not any(a.failure for a in results.answers)
    assert results.about["source"].startswith("recorded from a large general-purpose language model")
    assert results.about["date"] and results.about["settings"]


def test_moved_items_keep_question_and_answer():
    item = frozen_items()[0]
    for version in ("official", "visible", "se2", "format", "syntax", "transform_attr"):
        import random

        moved = moved_item(item, version, random.Random(0))
        assert moved.program != item.program and moved.version == version and moved.key != item.key
        assert (moved.question, moved.options, moved.answer) == (item.question, item.options, item.answer)


def test_every_string_that_is_sent_comes_from_one_file_and_its_hash_is_told(monkeypatch, tmp_path, items):
    assert re.fullmatch("[0-9a-f]{64}", prompts.templates_hash())
    changed = tmp_path / "templates.toml"
    changed.write_text(prompts.FILE.read_text().replace("Think step by step", "Think slowly"))
    before, digest = messages(items[0])[-1].text, prompts.templates_hash()
    fake = oracle(items[:1])
    with LLM(fake, cache=tmp_path / "c.sqlite") as llm:
        evaluate(items[:1], llm)
        evaluate(items[:1], llm)
        assert fake.calls == 1
        monkeypatch.setattr(prompts, "FILE", changed)
        prompts.templates.cache_clear()
        prompts.templates_hash.cache_clear()
        try:
            assert prompts.templates_hash() != digest and messages(items[0])[-1].text != before
            fake._respond = lambda r: "Answer: A"
            evaluate(items[:1], llm)
            assert fake.calls == 2
        finally:
            monkeypatch.undo()
            prompts.templates.cache_clear()
            prompts.templates_hash.cache_clear()


def test_prompts_are_the_papers(items):
    text = messages(items[0])[-1].text
    assert text.startswith(
        "Answer the following multiple choice question. The last line of your response should be of the following "
        "format: 'Answer: $LETTER'"
    )
    assert text.endswith("\n".join(f"{a}) {o}" for a, o in zip(LETTERS, items[0].options, strict=True)))
    assert f"\n\n{items[0].program}\n\nQuestion: {items[0].question}\n\nA) " in text
    assert messages(items[0], system_message="helpful")[0].role == "system"
    with pytest.raises(SGPError, match="prompt must be one of"):
        messages(items[0], "chatty")


def test_a_vision_model_is_asked_beside_the_picture(items):
    renderer = Renderer()
    png = renderer.png(items[0].program, 32, 30)
    renderer.close()
    (request,) = picture_requests(items[:1], [png])
    assert request.messages[0].images[0].data == png and items[0].program not in request.messages[0].text


def test_vision_questions_are_priced_confirmed_and_asked_back(items):
    from sgp_bench.vision_questions import build, captions

    renderer = Renderer()
    pictures = {"a.svg": renderer.png(items[0].program, 32, 30)}
    renderer.close()
    reply = {"question": "What is shown?", "options": ["a sun", "a moon", "a star", "a hat"], "answer": "C"}

    def respond(request: Request) -> str:
        text = request.messages[0].text
        if "Reply with JSON" in text:
            return json.dumps(reply) if "meaning" in text or "colors" in text else "sorry"
        letter = re.search(r"([A-D])\) a star", text).group(1)
        return letter if respond.honest.pop() else "none"

    respond.honest = [False, True]
    fake = Fake(respond)
    fake.capabilities = replace(fake.capabilities, schema=True)
    with LLM(fake) as llm:
        with pytest.raises(SGPError, match=r"5 calls, .* set data.confirm=true"):
            build(llm, {"a.svg": items[0].program}, pictures)
        assert fake.calls == 0
        built = build(llm, {"a.svg": items[0].program}, pictures, confirm=True)
        assert len(built.items) == 1 and built.items[0].right == "a star" and len(built.rejected) == 4
        fake._respond = lambda r: "A long caption."
        assert captions(llm, pictures) == {"a.svg": "A long caption."}


def test_digits_are_weighed_without_a_judge(local):
    from sgp_bench.mnist import digit_items

    digits = digit_items(3, 0)
    with LLM(Local.of(*local, name="tiny")) as llm:
        results = evaluate(digits, llm, "letter_logprob")
    assert all(len(a.logprobs) == 10 and a.strict in "0123456789" for a in results.answers)
    assert math.isclose(by_category(results)["MNIST"]["chance"], 0.1)
    with LLM(Fake(lambda r: f"**Answer:** {['zero', '1', 'two'][r.messages[0].text.count('zzz')]}")) as llm:
        assert evaluate(digits, llm).answers[0].strict == "0"
    assert user("x").role == "user"
