"""English that every machine has: the language reference and docstrings of Python's standard library, in three splits
that do not quote one another.

Documentation repeats itself: split by file alone, half of the 16-token windows of the held-out part also stand in the
training part, and a validation loss on them rewards memory. So repeated paragraphs are dropped over the whole corpus,
files are split by a hash of their path, long held-out lines that occur in training are dropped, and the share of
held-out windows that is left in training is measured; above 2 % the run is refused.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import json
import platform
import re
import sysconfig
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from .checkpoint import write_json
from .errors import PoetError

LEAST_BYTES = 500_000
SHORTEST_DOCSTRING = 80
LONG_LINE = 30
WINDOW = 16
MOST_OVERLAP = 0.02
SPLITS = ("train", "dev", "validation")
EXCLUDED = {"test", "tests", "idle_test", "site-packages", "__pycache__", "lib2to3"}
FORMAT = 1  # of the cached corpus


@dataclass(frozen=True)
class Corpus:
    """Tokens of the three splits, and what is known about them."""

    tokens: Mapping[str, Tensor]  # int64
    tokenizer: Any  # transformers' fast tokenizer
    byte_lengths: Tensor  # (vocabulary,) UTF-8 bytes that each token stands for
    facts: Mapping[str, Any]  # sha256, files, characters, tokens and overlap of each split, Python version


def stdlib_corpus(folder: Path, vocabulary: int, say: Callable[[str], None] = print) -> Corpus:
    """Read, split, tokenise and measure; kept in `folder` and reused while Python and the recipe are the same.

    Raises:
        PoetError: too little text was found, or the splits overlap by more than 2 %.
    """
    recipe = {"format": FORMAT, "python": platform.python_version(), "vocabulary": vocabulary}
    facts_file = folder / "corpus.json"
    if not facts_file.is_file() or json.loads(facts_file.read_text()).get("recipe") != recipe:
        say("corpus: reading the standard library's documentation")
        documents = dict(standard_library())
        parts = split(documents)
        tokenizer = train_tokenizer(parts["train"], vocabulary)
        tokens = {name: encode(tokenizer, texts) for name, texts in parts.items()}
        facts = {
            "recipe": recipe,
            "sha256": fingerprint(parts),
            "documents": {name: len(texts) for name, texts in parts.items()},
            "characters": {name: sum(map(len, texts)) for name, texts in parts.items()},
            "tokens": {name: len(ids) for name, ids in tokens.items()},
            "overlap": {name: overlap(tokens[name], tokens["train"]) for name in ("dev", "validation")},
        }
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save_pretrained(folder / "tokenizer")
        save_file({k: v.int() for k, v in tokens.items()}, folder / "tokens.safetensors")
        write_json(facts_file, facts)
    return load_corpus(folder)


def load_corpus(folder: Path) -> Corpus:
    """What `stdlib_corpus` kept.

    Raises:
        PoetError: the splits overlap by more than 2 %.
    """
    from transformers import AutoTokenizer

    facts = json.loads((folder / "corpus.json").read_text())
    for name, share in facts["overlap"].items():
        if share > MOST_OVERLAP:
            raise PoetError(
                f"{share:.1%} of the {WINDOW}-token windows of the {name} split also stand in the training split, and "
                f"at most {MOST_OVERLAP:.0%} may: the text of this Python repeats itself more than it should"
            )
    tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
    tokens = {k: v.long() for k, v in load_file(folder / "tokens.safetensors").items()}
    lengths = torch.zeros(len(tokenizer), dtype=torch.int64)
    for token, at in tokenizer.get_vocab().items():
        # Byte-level BPE spells every byte as one character; the end of text stands for nothing.
        lengths[at] = 0 if token == tokenizer.eos_token else len(token)
    return Corpus(tokens, tokenizer, lengths, facts)


def standard_library() -> Iterator[tuple[str, str]]:
    """(path or topic, text): the topics of the language reference, and each module's docstrings.

    Raises:
        PoetError: fewer than 500 kB of text.
    """
    root = Path(sysconfig.get_paths()["stdlib"])
    found: dict[str, str] = {}
    with contextlib.suppress(ImportError):
        from pydoc_data.topics import topics

        found |= {f"pydoc_data/topics/{name}": topics[name] for name in sorted(topics)}
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        if EXCLUDED.isdisjoint(inside.parts) and inside.parts[0] != "pydoc_data":
            text = "\n\n".join(docstrings(path))
            if text:
                found[inside.as_posix()] = text
    size = sum(len(text.encode()) for text in found.values())
    if size < LEAST_BYTES:
        raise PoetError(
            f"only {size:,} bytes of documentation were found in pydoc_data.topics and the .py files under {root}, and "
            f"{LEAST_BYTES:,} are needed: install Python with its library's sources"
        )
    yield from found.items()


def docstrings(path: Path) -> Iterator[str]:
    """Docstrings of at least 80 characters in a file, which is parsed and not run."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError, ValueError):
        return
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
    for node in sorted(nodes, key=lambda node: getattr(node, "lineno", 0)):
        text = ast.get_docstring(node)
        if text and len(text) >= SHORTEST_DOCSTRING:
            yield text


def split(documents: Mapping[str, str]) -> dict[str, list[str]]:
    """Texts of train (85 %), dev (5 %) and validation (10 %), by a hash of the path, cleaned of one another."""
    seen: set[str] = set()
    cleaned: dict[str, str] = {}
    for name, text in documents.items():
        kept = []
        for paragraph in re.split(r"\n\s*\n", text):
            words = " ".join(re.findall(r"\w+", paragraph.lower()))
            if words and words not in seen:
                seen.add(words)
                kept.append(paragraph.rstrip())
        if kept:
            cleaned[name] = "\n\n".join(kept)
    parts: dict[str, list[str]] = {name: [] for name in SPLITS}
    for name, text in cleaned.items():
        place = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 20
        parts["validation" if place < 2 else "dev" if place == 2 else "train"].append(text)
    known = {line.strip() for text in parts["train"] for line in text.splitlines()}
    for name in ("dev", "validation"):
        texts = []
        for text in parts[name]:
            lines = [s for s in text.splitlines() if len(s.strip()) <= LONG_LINE or s.strip() not in known]
            texts.append("\n".join(lines))
        known |= {line.strip() for text in texts for line in text.splitlines()} if name == "dev" else set()
        parts[name] = [text for text in texts if text.strip()]
    return parts


def train_tokenizer(texts: list[str], vocabulary: int) -> Any:
    """Byte-level BPE, trained on the training split only."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    if vocabulary < 300:
        raise PoetError(
            f"data.vocabulary must be at least 300 (256 bytes, the end of text, some merges), not {vocabulary}"
        )
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|end|>", pad_token="<|end|>")


def encode(tokenizer: Any, texts: list[str]) -> Tensor:
    """All texts one behind the other, each closed by the end of text."""
    ids = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    return torch.tensor([token for text in ids for token in (*text, tokenizer.eos_token_id)])


def overlap(held_out: Tensor, train: Tensor) -> float:
    """Share of the held-out windows of 16 tokens that stand in the training tokens (compared by 64-bit sums)."""
    weights = torch.randint(-(2**62), 2**62, (WINDOW,), generator=torch.Generator().manual_seed(0))
    known, asked = ((ids.long().unfold(0, WINDOW, 1) * weights).sum(-1) for ids in (train, held_out))
    return float(torch.isin(asked, known).double().mean())


def fingerprint(parts: Mapping[str, list[str]]) -> str:
    hashed = hashlib.sha256()
    for name in SPLITS:
        for text in parts[name]:
            hashed.update(f"{name}\0{text}\0".encode())
    return hashed.hexdigest()


def windows(tokens: Tensor, length: int) -> Tensor:
    """(n, length) non-overlapping windows."""
    n = len(tokens) // length
    return tokens[: n * length].view(n, length)


class ShuffledWindows:
    """Training batches as a pure function of the step: each epoch in its own seeded order."""

    def __init__(self, tokens: Tensor, length: int, batch: int, seed: int):
        """
        Raises:
            PoetError: the text is shorter than one batch.
        """
        self.windows, self.batch, self.seed = windows(tokens, length), batch, seed
        if len(self.windows) < batch:
            raise PoetError(
                f"the training text makes {len(self.windows)} windows of {length} tokens, fewer than a batch of {batch}"
            )
        self._epoch: tuple[int, Tensor] | None = None

    def __call__(self, step: int) -> Tensor:
        """(batch, length) of step 0, 1, ..."""
        at = torch.arange(step * self.batch, (step + 1) * self.batch)
        rows = torch.stack([self._order(int(i) // len(self.windows))[int(i) % len(self.windows)] for i in at])
        return self.windows[rows]

    def _order(self, epoch: int) -> Tensor:
        if self._epoch is None or self._epoch[0] != epoch:
            generator = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._epoch = epoch, torch.randperm(len(self.windows), generator=generator)
        return self._epoch[1]
