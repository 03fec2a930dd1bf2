"""Arithmetic word problems with exact answers, made from five templates.

The pairs of (template, numbers) are dealt once and for all to training, dev and test, so a test problem's numbers
never occur in training under the same template, whatever the seeds. A seed chooses pairs, names and things.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from ..errors import OFTError
from . import Example
from .answers import exact_match

NAMES = ("Anna", "Ben", "Clara", "David", "Emma", "Frank", "Grace", "Henry", "Ivy", "Jack", "Kate", "Leo")
THINGS = ("apples", "books", "cards", "coins", "eggs", "marbles", "pens", "shells", "stamps", "stickers")
ADDENDS = range(2, 21)
FACTORS = range(2, 10)

Numbers = tuple[int, ...]


@dataclass(frozen=True)
class Template:
    """A kind of problem: the numbers it takes, its question, and its equations with the answer."""

    name: str
    numbers: tuple[Numbers, ...]
    question: Callable[[Numbers, str, str, str], str]  # numbers, name, another name, things
    solution: Callable[[Numbers], tuple[list[str], int]]


def _gain(n: Numbers) -> tuple[list[str], int]:
    return [f"{n[0]} + {n[1]} = {n[0] + n[1]}"], n[0] + n[1]


def _loss(n: Numbers) -> tuple[list[str], int]:
    return [f"{n[0]} - {n[1]} = {n[0] - n[1]}"], n[0] - n[1]


def _boxes(n: Numbers) -> tuple[list[str], int]:
    return [f"{n[0]} * {n[1]} = {n[0] * n[1]}"], n[0] * n[1]


def _more(n: Numbers) -> tuple[list[str], int]:
    other = n[0] + n[1]
    return [f"{n[0]} + {n[1]} = {other}", f"{n[0]} + {other} = {n[0] + other}"], n[0] + other


def _bags(n: Numbers) -> tuple[list[str], int]:
    inside = n[0] * n[1]
    return [f"{n[0]} * {n[1]} = {inside}", f"{inside} + {n[2]} = {inside + n[2]}"], inside + n[2]


SUMS = tuple((a, b) for a in ADDENDS for b in ADDENDS)
PRODUCTS = tuple((a, b) for a in FACTORS for b in FACTORS)

TEMPLATES = (
    Template(
        "gain",
        SUMS,
        lambda n, who, _, what: f"{who} has {n[0]} {what} and gets {n[1]} more. How many {what} does {who} have now?",
        _gain,
    ),
    Template(
        "loss",
        tuple((a, b) for a, b in SUMS if a > b),
        lambda n, who, _, what: f"{who} has {n[0]} {what} and loses {n[1]}. How many {what} does {who} have left?",
        _loss,
    ),
    Template(
        "boxes",
        PRODUCTS,
        lambda n, who, _, what: (
            f"{who} has {n[0]} boxes with {n[1]} {what} in each box. How many {what} does {who} have?"
        ),
        _boxes,
    ),
    Template(
        "more",
        SUMS,
        lambda n, who, other, what: (
            f"{who} has {n[0]} {what}. {other} has {n[1]} more {what} than {who}. "
            f"How many {what} do they have together?"
        ),
        _more,
    ),
    Template(
        "bags",
        tuple((a, b, c) for a, b in PRODUCTS for c in ADDENDS),
        lambda n, who, _, what: (
            f"{who} had {n[2]} {what} and buys {n[0]} bags of {n[1]} {what}. How many {what} does {who} have now?"
        ),
        _bags,
    ),
)

SPLITS = ("train", "dev", "test")


@dataclass(frozen=True)
class WordProblems:
    """The default task.

    Raises:
        OFTError: a size below 1, or more dev or test problems than there are numbers dealt to them.
    """

    train: int = 320
    dev: int = 100
    test: int = 200

    name = "wordproblems"
    form = "chat"
    metrics = ("exact_match",)
    max_new_tokens = 48

    def __post_init__(self) -> None:
        for split in SPLITS:
            size = getattr(self, split)
            # Training may repeat numbers under other names, so what bounds it is the number of texts.
            most = 20_000 if split == "train" else sum(len(pool(t, split)) for t in range(len(TEMPLATES)))
            if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= most:
                raise OFTError(f"wordproblems: {split} must be a whole number from 1 to {most}, not {size!r}")

    def train_examples(self, seed: int) -> list[Example]:
        draw = random.Random(f"word problems, train, {seed}")
        texts: set[str] = set()
        examples: list[Example] = []
        while len(examples) < self.train:
            template = draw.randrange(len(TEMPLATES))
            example = make(template, draw.choice(pool(template, "train")), draw)
            if example.prompt not in texts:
                texts.add(example.prompt)
                examples.append(example)
        return examples

    def dev_examples(self, seed: int) -> list[Example]:
        return self._held_out("dev", self.dev, seed)

    def test_examples(self, seed: int) -> list[Example]:
        return self._held_out("test", self.test, seed)

    def score(self, examples: Sequence[Example], answers: Sequence[str]) -> dict[str, float]:
        return {"exact_match": exact_match(answers, [example.target for example in examples])}

    def _held_out(self, split: str, size: int, seed: int) -> list[Example]:
        """Every (template, numbers) once, the templates as evenly as their pools allow."""
        draw = random.Random(f"word problems, {split}, {seed}")
        left = {t: draw.sample(pool(t, split), len(pool(t, split))) for t in range(len(TEMPLATES))}
        examples: list[Example] = []
        while len(examples) < size:
            for template in [t for t, numbers in left.items() if numbers][: size - len(examples)]:
                examples.append(make(template, left[template].pop(), draw))
        draw.shuffle(examples)
        return examples


def make(template: int, numbers: Numbers, draw: random.Random) -> Example:
    """The problem with names and things drawn at random."""
    who, other = draw.sample(NAMES, 2)
    kind = TEMPLATES[template]
    equations, answer = kind.solution(numbers)
    return Example(kind.question(numbers, who, other, draw.choice(THINGS)), "\n".join([*equations, f"#### {answer}"]))


@cache
def pool(template: int, split: str) -> tuple[Numbers, ...]:
    """The numbers dealt to a split: of every eight, one to dev, two to test, five to training."""
    numbers = list(TEMPLATES[template].numbers)
    random.Random(f"word problems, deal, {TEMPLATES[template].name}").shuffle(numbers)
    eighth = len(numbers) // 8
    bounds = {"dev": (0, eighth), "test": (eighth, 3 * eighth), "train": (3 * eighth, len(numbers))}
    return tuple(numbers[slice(*bounds[split])])
