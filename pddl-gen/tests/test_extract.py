"""What is taken out of an answer, and what is said about it."""

from __future__ import annotations

import pytest

from pddl_gen.codes import BASE, BASE_PROBLEM
from pddl_gen.extract import extract, extract_plan
from pddl_gen.parse import parse_domain

ANSWER = f"### Thought:\npredicates1: on, where it is\naction1: move\n</thought>\n### Domain:\n```pddl\n{BASE}```\n"


def test_the_customary_answer():
    found = extract(ANSWER)
    assert found.domain_text == BASE and found.notes == []
    assert found.thought.startswith("### Thought:") and found.thought.endswith("### Domain:")


@pytest.mark.parametrize(
    ("answer", "note"),
    [
        (BASE, "no fence"),
        (f"```\n{BASE}", "not closed"),
        (ANSWER.replace("\n", "\r\n"), "carriage returns"),
        (ANSWER.replace("    :effect", "\u00a0\u00a0:effect"), "special spaces"),
        ("\ufeff" + ANSWER, "special spaces"),
        (ANSWER.replace("- item", "\u2013 item"), "dashes"),
        (f"First try:\n```pddl\n(define (domain x) (:predicates (p)))\n```\nBetter:\n{ANSWER}", "2 domains"),
        (f"I write (define (domain ...) ...) now.\n{ANSWER}", "2 domains"),
        (f"{ANSWER}\n```pddl\n(define (domain cut) (:predicates\n", "do not close"),
    ],
)
def test_liberties_are_noted_and_the_domain_is_found(answer, note):
    found = extract(answer)
    assert parse_domain(found.domain_text).ok
    assert any(note in n for n in found.notes), found.notes


def test_problems_beside_the_domain_are_kept_apart():
    found = extract(f"{ANSWER}\n```pddl\n{BASE_PROBLEM}```")
    assert found.domain_text == BASE and found.problems == [BASE_PROBLEM]


def test_mistakes_of_the_model_stay_in_the_text():
    for broken in (BASE.rstrip()[:-1], BASE.rstrip() + ")"):
        found = extract(f"```pddl\n{broken}\n```\nDone.")
        assert found.domain_text.strip() == broken.strip()


def test_answers_without_a_domain():
    for answer in ("", "I cannot do that.", "```python\nprint(1)\n```", "\x00(((", ")" * 1000):
        assert extract(answer).domain_text is None


def test_plans():
    answer = "### Plan:\n```plan\n(Move robot1 a b)\n1: (pick x)\n; a comment\n(drop x) ; done\n```\ncost = 3"
    assert extract_plan(answer)[0] == [("move", "robot1", "a", "b"), ("pick", "x"), ("drop", "x")]
    assert extract_plan("```plan\n```")[0] == []
    assert extract_plan("(move a b)\nand then\n(pick c)")[0] == [("move", "a", "b"), ("pick", "c")]
    assert extract_plan("There is none.")[0] is None
