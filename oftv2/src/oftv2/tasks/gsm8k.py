"""GSM8K: grade-school word problems, answered in steps and `#### N` (paper, Tables 1, 4 and 9).

The paper states no prompt. Ours is the bare question; the target is the data set's solution without its
`<<...>>` calculator notes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import OFTError
from . import Example
from .answers import exact_match, number_after_hashes
from .hub import Row, held_out, load_rows

HUB = "openai/gsm8k"
FIELDS = ("question", "answer")


@dataclass(frozen=True)
class GSM8K:
    """7473 problems to train on (less the dev set) and 1319 to test."""

    dev: int = 100
    test: int | None = None  # the first so many test problems; None for all

    name = "gsm8k"
    form = "chat"
    metrics = ("exact_match",)
    max_new_tokens = 400

    def train_examples(self, seed: int) -> list[Example]:
        return [example_of(row) for row in held_out(load_rows(HUB, "train", "main", FIELDS), self.dev)[0]]

    def dev_examples(self, seed: int) -> list[Example]:
        return [example_of(row) for row in held_out(load_rows(HUB, "train", "main", FIELDS), self.dev)[1]]

    def test_examples(self, seed: int) -> list[Example]:
        return [example_of(row) for row in load_rows(HUB, "test", "main", FIELDS)][: self.test]

    def score(self, examples: Sequence[Example], answers: Sequence[str]) -> dict[str, float]:
        return {"exact_match": exact_match(answers, [example.target for example in examples])}


def example_of(row: Row) -> Example:
    """Raises:
    OFTError: the answer does not end in `#### N`.
    """
    target = re.sub(r"<<[^<>]*>>", "", row["answer"]).strip()
    if "####" not in target or number_after_hashes(target) is None:
        raise OFTError(f"a GSM8K answer must end in '#### N', not in {target[-40:]!r}")
    return Example(row["question"].strip(), target)
