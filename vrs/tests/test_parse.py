"""Reading replies: what counts as an answer, and that any text gives a value or a reason, in linear time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vrs.errors import VRSError
from vrs.parse import EMPTY, LIMIT, NO_SLOT, TWO_SYMBOLS, parse_line, parse_sequence, parse_slot, parse_tag
from vrs.parse import parse_verbalized as verbalized

BITS = [
    ("Output: 1", 1),
    ("output:0", 0),
    ("OUTPUT : 1", 1),
    ("**Output:** 1", 1),
    ("**Output: 0**", 0),
    ("Output: [1]", 1),
    ("Output: `0`.", 0),
    ("- Output: 1", 1),
    ("Final answer: 0", 0),
    ("Answer: (1)", 1),
    ("Explanations: 0 or 1?\nOutput: 1", 1),
    ("Output: 0\nOn second thoughts\nOutput: 1", 1),  # the last slot
    ("Output: 1\nOutput: I cannot say", 1),  # the last well-formed one
    ("```\nOutput: 1\n```", 1),
    ("Ｏｕｔｐｕｔ：１", 1),  # full-width forms
    ("1", 1),
    (" 0.\n", 0),
    ("**1**", 1),
    ("Output: 1\r\n", 1),
]
NO_BITS = [
    ("", EMPTY),
    ("  \n ", EMPTY),
    ("Output:", NO_SLOT),
    ("Output: 0 or 1", TWO_SYMBOLS),
    ("Output: 0.3", NO_SLOT),
    ("Output: 1/2", NO_SLOT),
    ("Output: 10", NO_SLOT),
    ("Output: 1%", NO_SLOT),
    ("Output: 2", NO_SLOT),
    ("Output: maybe 1", NO_SLOT),
    ("The output is 1", NO_SLOT),
    ("0 1", NO_SLOT),
    ("0.5", NO_SLOT),
    ("I would say one.", NO_SLOT),
]


@pytest.mark.parametrize("text, value", BITS)
def test_a_bit_is_read(text, value):
    assert parse_slot(text).value == value


@pytest.mark.parametrize("text, reason", NO_BITS)
def test_a_malformed_bit_is_told(text, reason):
    found = parse_slot(text)
    assert found.value is None and found.reason == reason and not found.ok


@pytest.mark.parametrize(
    "text, value",
    [
        ("Decision: T", True),
        ("decision: f", False),
        ("Decision: **T** (accept)", True),
        ("Decision: accept", True),
        ("Answer: REJECT", False),
        ("T", True),
        ("Explanations: The ratio is Too high.\nDecision: F", False),
        ("Decision: T, so F is out", None),
        ("Decision: True", None),
        ("Decision: can't", None),
        ("Decision: it", None),
        ("That is for Tom", None),
    ],
)
def test_a_decision_is_read(text, value):
    assert parse_slot(text, "accept").value is value


def test_other_kinds():
    assert parse_slot("Answer: yes", "yesno").value is True and parse_slot("Answer: No.", "yesno").value is False
    assert parse_slot("Output: -1.5e2", "number").value == -150
    assert parse_slot("Output: 3 or 4", "number").reason == TWO_SYMBOLS
    assert parse_slot("Output: 1e999", "number").value is None
    assert parse_slot("Output: 3 km", "number").value == 3 and parse_slot("Output: 3km", "number").value is None
    assert parse_slot("Output: heads", ("tails", "heads")).value == 1
    assert parse_slot("Output: -1", ("-1", "1")).value == 0
    # labels that differ in case alone are told apart by case
    assert parse_slot("Output: a", ("A", "a")).value == 1


@pytest.mark.parametrize("kind", ["word", (), ("", "a"), ("a", "a"), ("a", 1)])
def test_kinds_that_are_none_are_refused(kind):
    with pytest.raises(VRSError):
        parse_slot("Output: 1", kind)


def test_lists_tags_weights_and_lines():
    labels = ("0", "1")
    assert parse_sequence("Output: 0, 1, 1\n0 1", labels).value == (0, 1, 1, 0, 1)
    assert parse_sequence("[0,1]", labels).value == (0, 1)
    assert parse_sequence("Output: 0, 1, and 1", labels).reason == NO_SLOT
    assert parse_sequence("Output: " + "1 " * 50, labels, most=7).value == (1,) * 7
    assert parse_tag("<answer>0</answer> no, <answer> 1 </answer>", "answer").value == "1"
    assert parse_tag("<answer>1", "answer").reason == NO_SLOT and parse_tag("<a> </a>", "a").reason == EMPTY
    two = "Result: 0 | Probability: 0.2\nResult: [1] | Probability: 60%\nResult: 1 | Probability: 0.2\nnoise"
    assert verbalized(two, labels).value == pytest.approx((0.2, 0.8))
    assert verbalized("Result: 0 | Probability: 0", labels).value is None
    assert verbalized("Result: 0 | Probability: -1", labels).value is None
    assert parse_line("Output: `random.random() < 0.3`").value == "random.random() < 0.3"
    assert parse_line("random.random()").value == "random.random()"
    assert parse_line("I will not.\nReally.").reason == NO_SLOT


ALPHABET = "01TFtf OutputDecisonAswr:*[]`{}<>/|.,%-\n\r\t'\"１Ｔ：\u0301\u200b\x00\ufdfa"


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(ALPHABET, max_size=120), st.text(max_size=80)))
def test_any_text_gives_a_value_or_a_reason(text):
    found = [parse_slot(text, kind) for kind in ("bit", "accept", "yesno", "number", ("0", "1", "ten"))]
    found += [
        parse_sequence(text, ("0", "1")),
        parse_tag(text, "answer"),
        parse_line(text),
        verbalized(text, ("0", "1")),
    ]
    for read in found:
        assert (read.value is None) != (read.reason is None)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60), st.sampled_from([0, 1]))
def test_a_slot_on_the_last_line_counts_whatever_stands_before_it(text, bit):
    assert parse_slot(f"{text}\nOutput: {bit}").value == bit


def test_what_is_no_text_is_malformed():
    for value in (None, 3, b"Output: 1"):
        assert parse_slot(value).reason == EMPTY


def test_a_long_reply_is_read_from_its_end():
    assert parse_slot("thinking " * 20_000 + "\nOutput: 1").value == 1
    # a slot that lies before the last 64 Ki characters does not count, nor what the cut leaves of a line
    assert parse_slot("Output: 1\n" + "x" * LIMIT).value is None
    assert parse_slot("no Output: 1" + " " * (LIMIT - len("Output: 1"))).value is None


HOSTILE = ["*" * 200_000, "Output:" * 30_000, "[" * 100_000 + ":", "\u0301" * 200_000, "1," * 100_000, "<a>" * 60_000]


@pytest.mark.parametrize("text", HOSTILE, ids=["marks", "slots", "brackets", "combining", "list", "tags"])
def test_hostile_replies_are_read_to_their_end(text):
    """Work that grew with the square of the length would not end here."""
    for kind in ("bit", "accept", "number", ("0", "1")):
        assert parse_slot(text, kind).value is None
    assert parse_sequence(text, ("0", "1")).value is None
    assert parse_tag(text, "answer").value is None and verbalized(text, ("0", "1")).value is None
