"""C4 by the GaLore protocol that the paper follows: streamed, one document a sequence, cut to 256 T5 tokens, padded.

Shards are shuffled by the run's seed. Within a shard, windows of consecutive documents are permuted by a seed of their
own, instead of a shuffle buffer: the position is then two numbers, and a resumed run reads exactly the same documents.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .data import Data
from .errors import PoetError
from .evaluation import IGNORED, Batch
from .primitives import seeded
from .settings import DataSettings

VALIDATION_SEED = 42
PLAIN_TOKENS = 32000  # of T5: ids above are sentinels that plain text never has


class C4Data(Data):
    """Batches of this process; processes read different shards."""

    def __init__(self, settings: DataSettings, length: int, sequences: int, seed: int, rank: int = 0, world: int = 1):
        """
        Raises:
            PoetError: `datasets` is not installed, the set or the tokenizer cannot be reached, or the processes do not
                divide the sequences of a step.
        """
        if sequences % world:
            raise PoetError(f"training.sequences={sequences} must be a multiple of the {world} processes")
        self.settings, self.length, self.seed, self.rank, self.world = settings, length, seed, rank, world
        self.share = sequences // world
        self.byte_lengths: Tensor | None = None
        self.tokenizer = self._tokenizer()
        self.vocabulary = PLAIN_TOKENS if len(self.tokenizer) == PLAIN_TOKENS + 100 else len(self.tokenizer)
        self.pad = self.tokenizer.pad_token_id if self.tokenizer.pad_token_id is not None else 0
        self.window, self.used, self.epoch = 0, 0, 0  # the position: windows read before, documents used of this one
        self._before: dict[str, Any] | None = None  # the stream's state at the start of this window
        self._documents: list[str] = []
        self._open()

    def _tokenizer(self) -> Any:
        from transformers import AutoTokenizer

        try:
            return AutoTokenizer.from_pretrained(self.settings.tokenizer)
        except (OSError, ValueError) as error:
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise PoetError(f"cannot load the tokenizer {self.settings.tokenizer!r}: {reason}") from error

    def _stream(self, split: str, seed: int) -> Any:
        try:
            from datasets import load_dataset
        except ImportError as error:
            raise PoetError("C4 needs the package datasets: install tenfold-poet[paper]") from error
        folder = Path(self.settings.path).expanduser()
        try:
            if folder.is_dir():
                files = sorted(str(p) for p in (folder / split).iterdir() if ".json" in p.name)
                stream = load_dataset("json", data_files=files, split="train", streaming=True)
            else:
                stream = load_dataset(self.settings.path, self.settings.config, split=split, streaming=True)
        except Exception as error:  # datasets raises errors of many libraries
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise PoetError(f"cannot open {self.settings.path} ({split}): {reason}") from error
        return stream.shuffle(seed=seed, buffer_size=1)

    def _open(self) -> None:
        from datasets.distributed import split_dataset_by_node

        stream = self._stream("train", self.seed + self.epoch)
        self.stream = split_dataset_by_node(stream, self.rank, self.world) if self.world > 1 else stream
        self._iterator = iter(self.stream)

    def _fill(self) -> None:
        """Read the next window of documents and permute it."""
        self._before = self.stream.state_dict()
        texts: list[str] = []
        while len(texts) < self.settings.window:
            try:
                texts.append(next(self._iterator)["text"])
            except StopIteration:
                break
        if not texts:
            if self.window == 0:
                raise PoetError(f"{self.settings.path} has no training documents")
            self.epoch, self.window = self.epoch + 1, 0
            self._open()
            return self._fill()
        generator = seeded(self.seed, self.epoch, self.window)
        self._documents = [texts[i] for i in torch.randperm(len(texts), generator=generator)]
        return None

    def _next(self) -> str:
        if self.used >= len(self._documents):
            if self._documents:
                self.window += 1
            self.used = 0
            self._fill()
        self.used += 1
        return self._documents[self.used - 1]

    def batch(self, step: int) -> Batch:
        return self._padded([self._next() for _ in range(self.share)])

    def _padded(self, texts: list[str]) -> Batch:
        if self.settings.packing:
            return self._packed(texts)
        found = self.tokenizer(
            texts, max_length=self.length, truncation=True, padding="max_length", return_tensors="pt"
        )
        ids, mask = found["input_ids"], found["attention_mask"]
        if int(ids.max()) >= self.vocabulary:
            raise PoetError(f"the tokenizer gave id {int(ids.max())}, and the model has {self.vocabulary} rows")
        return Batch(ids, ids.masked_fill(mask == 0, IGNORED), mask)

    def _packed(self, texts: list[str]) -> Batch:
        """As many full sequences as texts: documents one behind the other, more of them read as needed."""
        ids: list[int] = []
        waiting = list(texts)
        while len(ids) < len(texts) * self.length:
            ids += self.tokenizer(waiting.pop(0) if waiting else self._next())["input_ids"]
        packed = torch.tensor(ids[: len(texts) * self.length]).view(len(texts), self.length)
        return Batch(packed, packed)

    def held_out(self, split: str, sequences: int | None = None) -> Iterator[Batch]:
        """The first `evaluation_tokens` predicted tokens of the shuffled validation split, in every process alike."""
        tokens, texts = 0, []
        for taken, row in enumerate(self._stream("validation", VALIDATION_SEED), start=1):
            texts.append(row["text"])
            if len(texts) == 64 or taken == sequences:
                batch = self._padded(texts)
                texts = []
                tokens += int((batch.labels != IGNORED).sum())
                yield batch
            if tokens >= self.settings.evaluation_tokens or taken == sequences:
                return
        if texts:
            yield self._padded(texts)

    def state(self) -> dict[str, Any]:
        return {"epoch": self.epoch, "window": self.window, "used": self.used, "stream": self._before}

    def restore(self, state: dict[str, Any]) -> None:
        self.epoch, self.window = state["epoch"], state["window"]
        self._open()
        self._documents, self.used = [], 0
        if state["stream"] is not None:
            self.stream.load_state_dict(state["stream"])
            self._iterator = iter(self.stream)
            self._fill()
            self.used = state["used"]
