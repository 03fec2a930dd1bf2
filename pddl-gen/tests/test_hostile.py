"""What a model wrote is hostile: any text gives findings, in bounded time and memory, and processes are stopped."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pddl_gen import suite
from pddl_gen.extract import extract
from pddl_gen.ladder import Budget, Evaluator, Job, _lost
from pddl_gen.lint import hints
from pddl_gen.parse import parse_domain
from pddl_gen.study import domain_of
from pddl_gen.syntax import print_domain
from pddl_gen.valmode import val_verdict

PIECES = st.sampled_from(
    [
        "(",
        ")",
        "(define",
        "(domain d)",
        "(:action a",
        ":parameters",
        "?x",
        "-",
        "(and",
        "(not",
        "(either",
        "when",
        "forall",
        "(:types",
        ":effect",
        ":precondition",
        "```pddl\n",
        "```",
        "\u201c",
        "\xa0",
        ";",
        "\n",
        "\x00",
        "0",
        "=",
        "(increase (total-cost) 1)",
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    st.one_of(st.binary(max_size=400).map(lambda b: b.decode("latin-1")), st.lists(PIECES, max_size=60).map(" ".join))
)
def test_any_text_gives_findings_and_no_exception(text):
    parsed = parse_domain(text)
    assert parsed.value is not None or parsed.diagnostics
    for d in parsed.diagnostics:
        assert 0 <= d.span[0] <= d.span[1] <= max(len(text), 1)
    val_verdict(text)
    extract(text)
    if parsed.ok:
        once = print_domain(parsed.value)
        again = parse_domain(once)
        assert again.value == parsed.value and print_domain(again.value) == once


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        ")" * 100_000,
        "(define (domain d) " + "(and " * 50_000,
        "(" + "a" * 300_000,
        "(define (domain d) (:predicates " + "(p)" * 40_000 + "))",
        "```\n" * 20_000,
        "(define (domain d)" * 5_000,
    ],
)
def test_large_and_deep_texts_end_quickly(text):
    began = time.process_time()
    assert parse_domain(text).errors
    extract(text)
    assert time.process_time() - began < 5


BOMB = """(define (domain bomb) (:requirements :strips) (:predicates (on ?a ?b) (clear ?a) (q ?a ?b ?c ?d ?e ?f ?g ?h))
 (:action a :parameters (?a ?b ?c ?d ?e ?f ?g ?h) :precondition (and) :effect (q ?a ?b ?c ?d ?e ?f ?g ?h)))"""
PROBLEM = """(define (problem p) (:domain bomb) (:objects {}) (:init (clear o1)) (:goal (on o1 o2)))"""


def test_a_grounding_bomb_is_refused_by_its_schema():
    big = PROBLEM.format(" ".join(f"o{i}" for i in range(1, 40)))
    judge = Evaluator(None, Budget(seconds=120, memory_mb=2048, expansions=1000), workers=1)
    reference = (
        "(define (domain bomb) (:predicates (on ?a ?b) (clear ?a))"
        " (:action s :parameters (?a ?b) :precondition (clear ?a) :effect (on ?a ?b)))"
    )
    (found,) = judge([Job(BOMB, reference, (big,))])
    assert found["val_pass"] and found["bisimilar"] is None
    assert any("facts" in note and "of q" in note for note in found["notes"])


def test_a_worker_out_of_time_is_killed_and_its_result_is_unknown(monkeypatch):
    import pddl_gen.ladder as ladder

    monkeypatch.setattr(ladder, "evaluate", lambda *a: time.sleep(60))
    about = suite.load("gripper")
    judge = Evaluator(None, Budget(seconds=0.3), workers=1)
    began = time.monotonic()
    (found,) = judge([Job(about.domain, None, ())])
    assert time.monotonic() - began < 30 and found["bisimilar"] is None and "ran out of time" in found["notes"][0]
    assert _lost(Job(None, None, ()), "x")["extracted"] is False


def test_results_are_kept_by_what_decides_them(tmp_path):
    about = suite.load("gripper")
    job = Job(about.domain, about.domain, about.problems[:1])
    judge = Evaluator(tmp_path / "e.jsonl", workers=1)
    first = judge([job, job, Job(None, about.domain, about.problems[:1])])
    assert first[0] is first[1] and first[0]["bisimilar"] is True and first[2]["extracted"] is False
    with (tmp_path / "e.jsonl").open("a") as file:
        file.write('{"key": "torn')
    again = Evaluator(tmp_path / "e.jsonl", workers=1)
    assert list(again.progress([job])) == [] and again([job])[0] == first[0]


def test_hints():
    domain = domain_of("logistics")
    shown = suite.load("logistics").example
    assert hints(domain, shown) == []
    text = suite.load("logistics").domain
    broken = parse_domain(
        text.replace("(not (at ?", "(not (zz ?").replace("(:predicates", "(:predicates (zz ?x - object ?y - object)", 1)
    )
    assert broken.ok, broken.errors
    assert any("at first" in h for h in hints(broken.value, shown))
    assert any("does not fit" in h for h in hints(domain_of("gripper"), shown))
