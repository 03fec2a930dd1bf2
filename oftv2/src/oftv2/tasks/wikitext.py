"""WikiText-2: running text, scored by token perplexity (paper, Tables 4, 8 and 10).

The paper states no sequence length; the examples of transformers cut the text into windows of 1024 tokens, and so do
we. Perplexities of different tokenizers or window lengths do not compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from . import Example
from .answer_loss import mean_answer_loss
from .batching import Encoded, training_batch
from .hub import Row, load_rows

HUB, CONFIG = "Salesforce/wikitext", "wikitext-2-raw-v1"
FIELDS = ("text",)


@dataclass(frozen=True)
class WikiText:
    """The three splits as published; rows keep their line breaks, so joining them restores the text."""

    name = "wikitext"
    form = "text"
    metrics = ("perplexity",)
    max_new_tokens = 0

    def train_examples(self, seed: int) -> list[Example]:
        return examples_of(load_rows(HUB, "train", CONFIG, FIELDS))

    def dev_examples(self, seed: int) -> list[Example]:
        return examples_of(load_rows(HUB, "validation", CONFIG, FIELDS))

    def test_examples(self, seed: int) -> list[Example]:
        return examples_of(load_rows(HUB, "test", CONFIG, FIELDS))

    def score(self, examples: Sequence[Example], answers: Sequence[str]) -> dict[str, float]:
        return {}


def examples_of(rows: Sequence[Row]) -> list[Example]:
    return [Example("", row["text"]) for row in rows if row["text"]]


def perplexity(model: nn.Module, windows: Sequence[Encoded], batch_size: int = 4) -> float:
    """exp of the mean cross-entropy over every token of every window but its first."""
    batches = [training_batch(windows[i : i + batch_size], 0) for i in range(0, len(windows), batch_size)]
    return math.exp(mean_answer_loss(model, batches))
