"""Guanaco: 9846 conversations in running text, for the figure of speed and memory (paper, Fig. 1) and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import OFTError
from . import Example
from .hub import Row, load_rows

HUB = "timdettmers/openassistant-guanaco"
FIELDS = ("text",)


@dataclass(frozen=True)
class Guanaco:
    """The first question and answer of each conversation; it has no score."""

    name = "guanaco"
    form = "chat"
    metrics = ()
    max_new_tokens = 0

    def train_examples(self, seed: int) -> list[Example]:
        return [example_of(row) for row in load_rows(HUB, "train", None, FIELDS)]

    def dev_examples(self, seed: int) -> list[Example]:
        return self.test_examples(seed)

    def test_examples(self, seed: int) -> list[Example]:
        return [example_of(row) for row in load_rows(HUB, "test", None, FIELDS)]

    def score(self, examples: Sequence[Example], answers: Sequence[str]) -> dict[str, float]:
        return {}


def example_of(row: Row) -> Example:
    """Raises:
    OFTError: the row does not begin with `### Human:` and an answer `### Assistant:`.
    """
    turns = re.split(r"### (Human|Assistant):", row["text"])
    if turns[1::2][:2] != ["Human", "Assistant"]:
        raise OFTError(f"a Guanaco row must begin '### Human: … ### Assistant: …', not {row['text'][:40]!r}")
    return Example(turns[2].strip(), turns[4].strip())
