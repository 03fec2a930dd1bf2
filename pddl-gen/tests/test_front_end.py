"""The reader: every code has an example, mistakes do not hide one another, VAL's recorded verdicts."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pddl_gen.codes import BASE, BASE_PROBLEM, CODES, example
from pddl_gen.diagnostics import Lines, render
from pddl_gen.ground import Unsupported, ground
from pddl_gen.parse import parse_domain, parse_problem
from pddl_gen.syntax import print_domain, print_problem
from pddl_gen.valmode import agreement, val_verdict

DATA = Path(os.environ.get("TENFOLD_DATA", Path(__file__).parents[2] / "../shared/data")) / "pddl-gen"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the development data is not beside this checkout")


def read(code: str, mode="val"):
    text = example(code)
    if CODES[code].old.startswith("problem:"):
        return parse_problem(text, parse_domain(BASE).value, mode=mode)
    return parse_domain(text, mode=mode)


def test_the_base_of_all_examples_has_no_finding():
    assert not parse_domain(BASE, mode="val").diagnostics
    assert not parse_problem(BASE_PROBLEM, parse_domain(BASE).value, mode="val").diagnostics


@pytest.mark.parametrize("code", [c for c in CODES if c != "unsupported"])
def test_every_code_has_an_example_that_shows_it(code):
    found = read(code)
    assert code in {d.code for d in found.diagnostics}
    assert {d.code for d in found.errors} <= {code}
    assert CODES[code].meaning and (
        CODES[code].fix or all(d.hint or d.expected or d.message for d in found.diagnostics)
    )
    for d in found.diagnostics:
        assert 0 <= d.span[0] <= d.span[1] <= len(found.text)


def test_unsupported_names_what_is_not_grounded():
    text = BASE.replace(":effect (not (dry ?p))", ":effect (increase (litres) 1)").replace(
        "  (:action move", "  (:functions (litres) - number)\n  (:action move"
    )
    domain = parse_domain(text).value
    with pytest.raises(Unsupported, match="increase"):
        ground(domain, parse_problem(BASE_PROBLEM, domain).value)


def test_three_planted_mistakes_are_three_findings_at_their_places():
    text = (
        BASE.replace("(dry ?p))\n    :effect", "(thirsty ?p))\n    :effect")
        .replace("(on ?i ?b)))", "(on ?i)))")
        .replace("?p - plant ?b - bench)\n", "?p - plnat ?b - bench)\n")
    )
    found = parse_domain(text)
    lines = Lines(text)
    assert [(d.code, lines.place(d.span[0])[0], d.action) for d in found.errors] == [
        ("arity", 11, "move"),
        ("type-undeclared", 13, "water"),
        ("predicate-undeclared", 14, "water"),
    ]


def test_a_finding_tells_place_source_alternatives_and_a_near_name():
    text = BASE.replace("(beside ?a ?b))\n    :effect", "(beside ?a ?c))\n    :effect").replace(
        "(dry ?p))\n    :", "(drry ?p))\n    :"
    )
    words = render(parse_domain(text).diagnostics, text)
    assert "line 10, column 46, action move, :precondition: ?c is no parameter here; allowed: ?i, ?a, ?b" in words
    assert "did you mean dry?" in words
    assert words.splitlines()[1].strip().startswith(":precondition") and "^^" in words.splitlines()[2]
    assert json.loads(render(parse_domain(text).diagnostics, text, "json"))[0]["line"] == 10


@pytest.mark.parametrize("at", range(60, len(BASE) - 20, 37))
def test_a_missing_parenthesis_hides_no_action(at):
    index = BASE.index(")", at)
    text = BASE[:index] + BASE[index + 1 :]
    found = parse_domain(text)
    assert found.errors
    assert set(found.value.actions) == {"move", "water"}


def test_canonical_text_is_read_back_as_the_same_domain():
    domain = parse_domain(BASE).value
    assert parse_domain(print_domain(domain)).value == domain
    problem = parse_problem(BASE_PROBLEM, domain).value
    assert parse_problem(print_problem(problem), domain).value == problem


def test_val_accepts_what_strict_rejects_and_the_other_way_round():
    assert val_verdict(BASE + "\nI hope this helps.").passes and not parse_domain(BASE + "\nI hope.").ok
    without = BASE.replace("    :precondition (and (on ?p ?b) (dry ?p))\n", "")
    assert not val_verdict(without).passes and parse_domain(without).ok


@needs_data
def test_verdicts_agree_with_val_on_all_recorded_domains():
    right, count, wrong = agreement(DATA / "val_probes.jsonl")
    assert (right, count) == (86, 86), wrong


@needs_data
def test_strict_levels_and_codes_are_the_recorded_ones():
    levels = codes = 0
    for line in (DATA / "val_probes.jsonl").read_text().splitlines():
        record = json.loads(line)
        found = parse_domain(record["domain"])
        first = next((d.code for d in found.diagnostics if d.severity == found.level), None)
        levels += found.level == record["strict_level"]
        codes += first == record["strict_code"]
    assert levels == 86 and codes >= 84
