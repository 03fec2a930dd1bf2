"""XSum: one-sentence summaries of BBC articles by an encoder-decoder (paper, Tables 3 and 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from . import Example
from .hub import ROUGE, Row, load_rows, rouge

HUB = "EdinburghNLP/xsum"
FIELDS = ("document", "summary")


@dataclass(frozen=True)
class XSum:
    """The three splits as published; the article is the prompt."""

    dev: int | None = 500  # the first so many; None for all 11332
    test: int | None = None  # the first so many; None for all 11334

    name = "xsum"
    form = "pair"
    metrics = ROUGE
    max_new_tokens = 64

    def train_examples(self, seed: int) -> list[Example]:
        return [example_of(row) for row in load_rows(HUB, "train", None, FIELDS)]

    def dev_examples(self, seed: int) -> list[Example]:
        return [example_of(row) for row in load_rows(HUB, "validation", None, FIELDS)][: self.dev]

    def test_examples(self, seed: int) -> list[Example]:
        return [example_of(row) for row in load_rows(HUB, "test", None, FIELDS)][: self.test]

    def score(self, examples: Sequence[Example], answers: Sequence[str]) -> dict[str, float]:
        return rouge(answers, [example.target for example in examples])


def example_of(row: Row) -> Example:
    return Example(row["document"].strip(), row["summary"].strip())
