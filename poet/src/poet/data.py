"""Batches for training and held-out text, from the standard library's documentation or from C4."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from .corpus import Corpus, ShuffledWindows, stdlib_corpus, windows
from .evaluation import Batch
from .settings import Settings


class Data(Protocol):
    """Where a training reads. `state` and `restore` make a resumed run read on as if it had not stopped."""

    vocabulary: int
    byte_lengths: Tensor | None
    tokenizer: Any

    def batch(self, step: int) -> Batch:
        """This process's sequences of step 0, 1, ..."""

    def held_out(self, split: str, sequences: int | None = None) -> Iterator[Batch]:
        """Fixed held-out text: all of it, or so many sequences spread over it."""

    def state(self) -> dict[str, Any]: ...

    def restore(self, state: dict[str, Any]) -> None: ...


class StdlibData(Data):
    """The packed windows of the small corpus; a batch is a function of the step, so there is no state."""

    def __init__(self, corpus: Corpus, length: int, sequences: int, seed: int, rank: int = 0, world: int = 1):
        self.corpus, self.length, self.rank, self.world = corpus, length, rank, world
        self.tokenizer: Any = corpus.tokenizer
        self.byte_lengths: Tensor | None = corpus.byte_lengths
        self.vocabulary = len(corpus.tokenizer)
        self.train = ShuffledWindows(corpus.tokens["train"], length, sequences, seed)
        self.chunk = sequences

    def batch(self, step: int) -> Batch:
        ids = self.train(step)[self.rank :: self.world]
        return Batch(ids, ids)

    def held_out(self, split: str, sequences: int | None = None) -> Iterator[Batch]:
        rows = windows(self.corpus.tokens[split], self.length)
        if sequences is not None and sequences < len(rows):
            rows = rows[torch.linspace(0, len(rows) - 1, sequences).long()]
        for ids in rows.split(max(64, self.chunk)):
            yield Batch(ids, ids)

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


def load_data(settings: Settings, seed: int, rank: int = 0, world: int = 1, say: Callable[[str], None] = print) -> Data:
    """The data of a run. In a distributed run the first process prepares the small corpus before the others read it.

    Raises:
        PoetError: too little text, or a data set that cannot be reached.
    """
    training = settings.training
    if settings.data.name == "c4":
        from .c4 import C4Data

        return C4Data(settings.data, training.length, training.sequences, seed, rank, world)
    corpus = stdlib_corpus(corpus_folder(settings), settings.data.vocabulary, say)
    return StdlibData(corpus, training.length, training.sequences, seed, rank, world)


def corpus_folder(settings: Settings) -> Path:
    return settings.output_dir / "parts" / "corpus"
