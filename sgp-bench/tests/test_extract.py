"""Extraction: the official rule on well-formed replies, and a table of replies that mislead it."""

from __future__ import annotations

import random

import pytest

from sgp_bench.errors import SGPError
from sgp_bench.extract import extract_letter, extract_llm, plain
from sgp_bench.mnist import read_digit

OPTIONS = ("red", "dark blue", "blue", "green")
HARD = [
    ("Answer: B", "B"),
    ("answer: c", "C"),
    ("Answer : D", "D"),
    ("ANSWER:A", "A"),
    ("**Answer:** B", "B"),
    ("**Answer: B**", "B"),
    ("Answer: **B**", "B"),
    ("Answer: `C`", "C"),
    ("Answer: $D$", "D"),
    ("Answer: \\boxed{C}", "C"),
    ("Answer: $\\boxed{\\text{B}}$", "B"),
    ("Answer: \\(A\\)", "A"),
    ("Answer: (B)", "B"),
    ("Answer: [B]", "B"),
    ("Answer: B)", "B"),
    ("Answer: B) dark blue", "B"),
    ("Answer: B. dark blue", "B"),
    ("Answer: B - dark blue", "B"),
    ("Answer: option C", "C"),
    ("Answer: Option (C)", "C"),
    ("The answer is: D", "D"),
    ("Final answer: D.", "D"),
    ("Answer: A\n\nOn second thought,\nAnswer: C", "C"),
    ("I first thought Answer: A, but no.\nAnswer: B", "B"),
    ("Answer:\nB", "B"),
    ("Answer:\n\n**D**", "D"),
    ("Answer: B", "B"),
    ("Answer: Ｂ", "B"),  # a wide letter
    ("<think>Answer: A</think>\nAnswer: D", "D"),
    ("<think>Answer: A, maybe", None),  # reasoning that never ended
    ("Answer: dark blue", "B"),
    ("Answer: blue", "C"),
    ("Answer: The shape is green.", "D"),
    ("Answer: red or green", None),
    ("Answer: A or B", None),
    ("Answer: A, B", None),
    ("Answer: A/B", None),
    ("Answer: Define the shape first", None),
    ("Answer: because it is round", None),
    ("answer: a red circle", "A"),
    ("Answer: а", None),  # Cyrillic
    ("Answer: В", None),  # Cyrillic
    ("Answer: E", None),
    ("Answer: none of them", None),
    ("Answer:", None),
    ("", None),
    ("B", "B"),
    ("(c)", "C"),
    ("My answer is D", "D"),
    ("C) blue", "C"),
    ("I cannot answer that.", None),
    ("A) red\nB) dark blue\nC) blue\nD) green", None),  # the options echoed
    ("It is green.", "D"),
    ("The color could be red, blue or green.", None),
    ("Answer: $LETTER", None),
]


def test_there_are_forty_hard_cases_or_more():
    assert len(HARD) >= 40


@pytest.mark.parametrize(("reply", "letter"), HARD)
def test_hard_cases(reply, letter):
    assert extract_letter(reply, OPTIONS).letter == letter


def test_strict_and_official_agree_on_well_formed_replies():
    rng = random.Random(0)
    words = [
        "the",
        "path",
        "ends",
        "near",
        "a",
        "corner,",
        "so",
        "this",
        "circle",
        "is",
        "dark",
        "and",
        "blue;",
        "it",
        "has",
        "four",
        "sides",
    ]
    for _ in range(1000):
        lines = [" ".join(rng.choices(words, k=rng.randint(3, 9))) for _ in range(rng.randint(0, 6))]
        letter = rng.choice("ABCD")
        reply = "\n".join([*lines, f"Answer: {letter}"])
        assert extract_letter(reply, OPTIONS, "official").letter == letter
        assert extract_letter(reply, OPTIONS, "strict").letter == letter


def test_the_official_rule_is_kept_with_its_faults():
    assert extract_letter("Answer: Define", OPTIONS, "official").letter == "D"
    assert extract_letter("Answer: A\nAnswer: B", OPTIONS, "official").letter == "A"
    assert extract_letter("**Answer:** B", OPTIONS, "official").letter is None
    with pytest.raises(SGPError, match="official, strict"):
        extract_letter("A", OPTIONS, "loose")


def test_a_megabyte_is_read_at_its_end():
    assert extract_letter("x" * 1_000_000 + "\nAnswer: C", OPTIONS).letter == "C"
    assert len(plain("Answer: C" + "y" * 1_000_000)) <= 100_000


@pytest.mark.parametrize(
    ("reply", "letter"), [("Extracted answer: b", "B"), ("Extracted answer: none", None), ("B", None), ("", None)]
)
def test_the_second_extractors_reply(reply, letter):
    assert extract_llm(reply) == letter


@pytest.mark.parametrize(
    ("reply", "digit"),
    [("Answer: 7", "7"), ("**Answer:** seven", "7"), ("It is a 3.\nAnswer: 3", "3"), ("Answer: \\boxed{4}", "4"), ("Answer: 10", None),  # noqa: E501
     ("Answer: 3 or 8", None), ("between 0-9, I would say", None), ("the digit is five", "5"), ("", None), ("Answer: $2$", "2")],  # noqa: E501
)  # fmt: skip
def test_digits(reply, digit):
    assert read_digit(reply) == digit
