"""CNN/DailyMail 3.0.0: summaries of several sentences by an encoder-decoder (paper, Tables 3 and 7)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import Example
from .hub import ROUGE, Row, load_rows, rouge

HUB, CONFIG = "abisee/cnn_dailymail", "3.0.0"
FIELDS = ("article", "highlights")


@dataclass(frozen=True)
class CNNDailyMail:
    """The three splits as published; the article is the prompt."""

    dev: int | None = 500  # the first so many; None for all 13368
    test: int | None = None  # the first so many; None for all 11490

    name = "cnndm"
    form = "pair"
    metrics = ROUGE
    max_new_tokens = 142

    def train_examples(self, seed: int) -> list[Example]:
        return [example_of(row) for row in load_rows(HUB, "train", CONFIG, FIELDS)]

    def dev_examples(self, seed: int) -> list[Example]:
        return [example_of(row) for row in load_rows(HUB, "validation", CONFIG, FIELDS)][: self.dev]

    def test_examples(self, seed: int) -> list[Example]:
        return [example_of(row) for row in load_rows(HUB, "test", CONFIG, FIELDS)][: self.test]

    def score(self, examples: Sequence[Example], answers: Sequence[str]) -> dict[str, float]:
        return rouge(answers, [example.target for example in examples])


def example_of(row: Row) -> Example:
    return Example(row["article"].strip(), row["highlights"].strip())
