"""Texts: what every Python has, files, corpora on the hub, and the Megatron files of the Pile that Pythia used.

A source is one long row of token ids. Where documents end in it is told by a boundary id (usually eos).
"""

from __future__ import annotations

import ast
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import SepLLMError, one_of, whole

KINDS = ("pydocs", "file", "hub", "megatron")
SHORTEST = 200  # characters of a docstring that counts as prose


@dataclass(frozen=True)
class DataSettings:
    """Where text comes from."""

    kind: str = "pydocs"
    path: str | None = None  # a text file, a hub id, or the prefix of Megatron's .bin and .idx
    subset: str | None = None  # configuration of a hub data set
    split: str = "test"
    field: str = "text"
    held_out: float = 0.2  # share at the end that training never sees
    documents: bool = False  # separate packed documents by the tokenizer's eos; masks then stop there

    def __post_init__(self) -> None:
        one_of("data.kind", self.kind, KINDS)
        if self.kind != "pydocs" and not self.path:
            raise SepLLMError(f"data.kind={self.kind} needs data.path")
        if not 0 < self.held_out < 1:
            raise SepLLMError(f"data.held_out must lie between 0 and 1, not {self.held_out!r}")


def topics() -> str:
    """The texts behind `help()`: English prose with examples, 465,126 characters in Python 3.11."""
    from pydoc_data.topics import topics as found

    return "\n\n".join(found.values())


@cache
def docstrings() -> str:
    """Docstrings over 200 characters in the standard library, parsed and not run, in the order of file names."""
    found = []
    root = Path(sysconfig.get_paths()["stdlib"])
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for path in sorted(root.rglob("*.py")):
        if {"site-packages", "test", "tests", "lib2to3", "idlelib"} & set(path.parts):
            continue
        try:
            tree = ast.parse(path.read_text("utf-8"))
        except (SyntaxError, UnicodeDecodeError, ValueError, OSError):
            continue
        nodes = sorted((n for n in ast.walk(tree) if isinstance(n, kinds)), key=lambda n: getattr(n, "lineno", 0))
        found += [d for n in nodes if (d := ast.get_docstring(n)) and len(d) > SHORTEST]
    return "\n\n".join(found)


def texts(settings: DataSettings) -> Iterator[str]:
    """The documents of a source.

    Raises:
        SepLLMError: the file or data set cannot be read.
    """
    if settings.kind == "pydocs":
        yield topics()
        yield docstrings()
    elif settings.kind == "file":
        try:
            yield Path(str(settings.path)).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SepLLMError(f"data.path {settings.path} cannot be read as UTF-8 text: {error}") from error
    else:
        try:
            from datasets import load_dataset

            rows = load_dataset(str(settings.path), settings.subset, split=settings.split, streaming=True)
            for row in rows:
                yield row[settings.field]
        except Exception as error:
            reason = " ".join(str(error).split())[:200]
            raise SepLLMError(f"data set {settings.path} cannot be read: {reason}") from error


def lines(settings: DataSettings) -> Iterator[str]:
    """Lines of a source without their ends, as the authors' PG19 script reads it."""
    for text in texts(settings):
        yield from text.splitlines()


def tokens(settings: DataSettings, tokenizer: Any, length: int | None = None) -> Tensor:
    """Int64[T] of a source, at most `length` of them.

    Raises:
        SepLLMError: fewer than two tokens, or see texts.
    """
    if length is not None:
        whole("length", length, 2)
    if settings.kind == "megatron":
        return torch.from_numpy(megatron(str(settings.path))[:length].astype(np.int64))
    ids: list[int] = []
    for text in texts(settings):
        # in portions: a tokenizer's time and memory grow faster than a text of millions of characters
        for start in range(0, len(text), 200_000):
            ids += tokenizer(text[start : start + 200_000], add_special_tokens=False, verbose=False).input_ids
        if settings.documents:
            ids.append(tokenizer.eos_token_id)
        if length is not None and len(ids) >= length:
            break
    if len(ids) < 2:
        raise SepLLMError(f"the text of data.kind={settings.kind} has {len(ids)} tokens, and two are the least")
    return torch.tensor(ids[:length])


def megatron(prefix: str) -> np.ndarray:
    """The tokens of Megatron's indexed files (EleutherAI/pythia_deduped_pile_idxmaps), mapped and not read.

    The .bin is a row of uint16 ids; the .idx only says where documents begin, and they end in eos.
    """
    path = Path(f"{prefix}.bin")
    if not path.is_file():
        raise SepLLMError(f"there is no file {path}: data.path is the prefix of Megatron's .bin and .idx")
    return np.memmap(path, dtype=np.uint16, mode="r")


def windows(ids: Tensor, length: int, count: int, spread: bool = True) -> Tensor:
    """Int64[count, length]: windows of a row of ids, evenly spread over it or one after another.

    Raises:
        SepLLMError: too few tokens.
    """
    if len(ids) < length * count:
        raise SepLLMError(f"{count} windows of {length} tokens need {length * count}, and the text has {len(ids)}")
    step = (len(ids) - length) // max(count - 1, 1) if spread else length
    return torch.stack([ids[i * step : i * step + length] for i in range(count)])


def batch_of(ids: Tensor, step: int, seed: int, size: int, length: int) -> Tensor:
    """Int64[size, length]: the windows of a training step, drawn from (seed, step) alone, so that a resumed run goes on
    with the same ones."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    starts = torch.randint(0, len(ids) - length, (size,), generator=generator)
    return torch.stack([ids[s : s + length] for s in starts.tolist()])


def document_positions(ids: Tensor, boundary: int) -> Tensor:
    """Int64[B, T]: position in its document; a document begins after each boundary id. transformers takes these as
    position_ids, and `masked` finds the documents in them."""
    index = torch.arange(ids.shape[1], device=ids.device).expand_as(ids)
    begins = torch.zeros_like(ids, dtype=torch.bool)
    begins[:, 1:] = ids[:, :-1] == boundary
    return index - torch.where(begins, index, 0).cummax(-1).values


def train_tokenizer(text: str, size: int) -> Any:
    """A byte-level BPE of `size` ids, made in a second: for models trained from scratch on a laptop."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    made = ByteLevelBPETokenizer()
    made.train_from_iterator([text], vocab_size=size, min_frequency=2, special_tokens=["<eos>"], show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=made._tokenizer, eos_token="<eos>")
