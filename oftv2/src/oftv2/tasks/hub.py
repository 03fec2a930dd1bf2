"""Rows of a data set on the Hugging Face hub."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import OFTError, sentence
from .answers import check_paired

Row = Mapping[str, Any]
ROUGE = ("rouge1", "rouge2", "rougeL")


def load_rows(path: str, split: str, config: str | None = None, fields: Sequence[str] = ()) -> Sequence[Row]:
    """The rows of one split, fetched lazily by `datasets`; no code that comes with a data set is run.

    Raises:
        OFTError: `datasets` is not installed, the data set cannot be had, or it lacks one of `fields`.
    """
    try:
        import datasets
    except ImportError as error:
        raise OFTError(
            f"the data set {path} needs the package datasets: install the extra eval (tenfold-oftv2[eval])"
        ) from error
    try:
        rows = datasets.load_dataset(path, config, split=split)
    except Exception as error:  # datasets, huggingface_hub and the network each raise errors of their own
        raise OFTError(
            f"the data set {path} ({config or 'default'}, {split}) cannot be loaded, which needs the network or a "
            f"filled cache: {sentence(error, 200)}"
        ) from error
    missing = [field for field in fields if field not in rows.column_names]
    if missing:
        raise OFTError(f"the data set {path} has no field {missing[0]!r}: it has {', '.join(rows.column_names)}")
    return rows


def held_out(rows: Iterable[Row], dev: int) -> tuple[list[Row], list[Row]]:
    """(training rows, dev rows): the same `dev` rows are taken from a training split, whatever the run's seed."""
    every = list(rows)
    if not 1 <= dev < len(every):
        raise OFTError(f"the dev set must have between 1 and {len(every) - 1} rows, not {dev}")
    chosen = set(random.Random("dev rows").sample(range(len(every)), dev))
    return [row for i, row in enumerate(every) if i not in chosen], [every[i] for i in sorted(chosen)]


def rouge(summaries: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """Mean F1 of ROUGE-1, ROUGE-2 and ROUGE-L in percent, stemmed, by Google's rouge-score.

    ROUGE-L compares each summary as one sequence of words, without a split into sentences.

    Raises:
        OFTError: rouge-score is not installed, or different numbers of summaries and references.
    """
    check_paired(summaries, references)
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise OFTError("ROUGE needs the package rouge-score: install the extra eval (tenfold-oftv2[eval])") from error
    scorer = RougeScorer(list(ROUGE), use_stemmer=True)
    scores = [scorer.score(right, ours) for ours, right in zip(summaries, references, strict=True)]
    return {kind: 100 * sum(s[kind].fmeasure for s in scores) / len(scores) for kind in ROUGE}
