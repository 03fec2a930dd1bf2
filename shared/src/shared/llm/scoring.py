"""Log-probabilities of tokens that are given, each shared beginning computed once.

The sequences of a batch form a trie (trie.py). Its nodes go through the model in depth-first order, a few hundred at
a time, as one row: a mask lets each node see its ancestors alone, and its depth is its position. What a portion needs
of earlier ones is the path to its first node, whose keys and values are kept. So every node is computed once, nothing
is padded, and the output layer runs only where a log-probability is wanted.

Sums over the vocabulary are taken in float64.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .errors import ModelError
from .trie import Tokens, Trie, build_trie, common_prefix

PORTION_CPU, PORTION_GPU = 256, 2048  # nodes a forward: enough to keep the cores busy, few enough to mask
BLOCK = 64  # rows of logits widened to float64 at a time


@dataclass(frozen=True, slots=True)
class Scored:
    """A sequence whose tokens from `start` on, at least 1, are to be scored."""

    tokens: Tokens
    start: int


class Scorer:
    """Scores sequences with a causal language model of transformers.

    The keys and values of the last path are kept between calls: prompts that come a few at a time share their
    beginning all the same. `forget` drops them, which is needed after a change of the weights.

    Args:
        lm: in evaluation mode.
        portion: nodes a forward; None is 256 on a CPU and 2048 on a GPU.
    """

    def __init__(self, lm: Any, portion: int | None = None):
        self.lm = lm
        self.portion = portion or (PORTION_CPU if lm.device.type == "cpu" else PORTION_GPU)
        self.forwarded = 0  # tokens that went through the model
        self._path: Tokens = ()
        self._cache: Any = None
        self._shares: bool | None = None
        self._keeps = "logits_to_keep" in inspect.signature(lm.forward).parameters

    def forget(self) -> None:
        self._path, self._cache = (), None

    @torch.inference_mode()
    def __call__(self, sequences: Sequence[Scored]) -> list[Float[np.ndarray, " scored"]]:
        """The natural-log probability of each token from `start` on, for each sequence.

        Raises:
            ModelError: the model's logits are not finite.
        """
        for s in sequences:
            if not 1 <= s.start < len(s.tokens):
                raise ValueError(f"start must be from 1 to {len(s.tokens) - 1}, the last token's place, not {s.start}")
        if not sequences:
            return []
        if self._shares is None:
            self._shares = shares_beginnings(self.lm)
        # the last token is scored and never fed
        trie = build_trie([s.tokens[:-1] for s in sequences])
        nodes = np.concatenate([p[s.start - 1 :] for p, s in zip(trie.paths, sequences, strict=True)])
        targets = np.concatenate([np.array(s.tokens[s.start :]) for s in sequences])
        if self._shares and trie.depths.max() < _window(self.lm):
            values = self._along_trie(trie, nodes, targets)
        else:
            values = self._one_by_one(sequences)
        if not np.isfinite(values).all():
            raise ModelError(f"the logits of {self.lm.config.name_or_path!r} are not finite in {self.lm.dtype}")
        return np.split(values, np.cumsum([len(s.tokens) - s.start for s in sequences])[:-1])

    def _along_trie(self, trie: Trie, nodes: Int[np.ndarray, " n"], targets: Int[np.ndarray, " n"]) -> np.ndarray:
        order = np.argsort(nodes, kind="stable")
        wanted, rows = np.unique(nodes[order], return_inverse=True)
        values = np.empty(len(nodes))
        held = self._resume(trie, int(wanted[0]))
        for begin in range(len(held), len(trie), self.portion):
            end = min(begin + self.portion, len(trie))
            path = trie.ancestors(begin)
            _select(self._cache, np.searchsorted(held, path))
            low, high = np.searchsorted(wanted, [begin, end])
            logits = self._forward(trie, path, begin, end, wanted[low:high] - begin)
            part = slice(*np.searchsorted(rows, [low, high]))
            values[order[part]] = logprobs_at(logits, rows[part] - low, targets[order[part]])
            held = np.concatenate((path, np.arange(begin, end)))
        last = np.append(trie.ancestors(len(trie) - 1), len(trie) - 1)
        _select(self._cache, np.searchsorted(held, last))
        self._path = tuple(trie.tokens[last].tolist())
        return values

    def _resume(self, trie: Trie, first_wanted: int) -> Int[np.ndarray, " held"]:
        """The nodes at the head of the trie whose keys and values are at hand from the call before."""
        from transformers import DynamicCache

        unbranched = np.append(trie.depths == np.arange(len(trie)), False).argmin()
        head = trie.tokens[: min(unbranched, first_wanted)].tolist()
        shared = common_prefix(self._path, tuple(head))
        self._path = ()  # a forward that fails leaves a cache of no known path
        if self._cache is None or not shared:
            self._cache, shared = DynamicCache(), 0
        _select(self._cache, np.arange(shared))
        return np.arange(shared)

    def _forward(self, trie: Trie, path: np.ndarray, begin: int, end: int, keep: np.ndarray) -> Float[Tensor, "kept V"]:
        device = self.lm.device
        seen = torch.from_numpy(visible(trie.parents, path, begin, end)).to(device)
        mask = torch.zeros(seen.shape, dtype=self.lm.dtype, device=device)
        mask.masked_fill_(~seen, torch.finfo(self.lm.dtype).min)
        kept = torch.from_numpy(keep).to(device)
        output = self.lm(
            input_ids=torch.from_numpy(trie.tokens[None, begin:end]).to(device),
            position_ids=torch.from_numpy(trie.depths[None, begin:end]).to(device),
            attention_mask=mask[None, None],
            past_key_values=self._cache,
            use_cache=True,
            **({"logits_to_keep": kept} if self._keeps else {}),
        )
        self.forwarded += end - begin
        return output.logits[0] if self._keeps else output.logits[0, kept]

    def _one_by_one(self, sequences: Sequence[Scored]) -> np.ndarray:
        values = []
        for s in sequences:
            logits = self.lm(input_ids=torch.tensor([s.tokens[:-1]], device=self.lm.device)).logits[0, s.start - 1 :]
            self.forwarded += len(s.tokens) - 1
            values.append(logprobs_at(logits, np.arange(len(logits)), np.array(s.tokens[s.start :])))
        return np.concatenate(values)


def visible(parents: Int[np.ndarray, " nodes"], path: Int[np.ndarray, " held"], begin: int, end: int) -> np.ndarray:
    """Which of the nodes of `path` (columns first) and of begin … end-1 each node of begin … end-1 may attend to.

    `path` leads from the root to the parent of node `begin`.
    """
    held = len(path)
    seen = np.zeros((end - begin, held + end - begin), dtype=bool)
    depth_of = {int(node): depth for depth, node in enumerate(path)}
    for row, parent in enumerate(parents[begin:end].tolist()):
        if parent >= begin:
            seen[row] = seen[parent - begin]
        elif parent >= 0:
            seen[row, : depth_of[parent] + 1] = True
        seen[row, held + row] = True
    return seen


def logprobs_at(logits: Float[Tensor, "rows V"], rows: np.ndarray, targets: np.ndarray) -> Float[np.ndarray, " n"]:
    """log softmax(logits[row])[target] in float64, for each pair of a row and a target."""
    at, of = (torch.from_numpy(x).to(logits.device) for x in (rows, targets))
    total = [torch.logsumexp(block.double(), -1) for block in logits.split(BLOCK)]
    return (logits[at, of].double() - torch.cat(total)[at]).cpu().numpy()


@torch.inference_mode()
def shares_beginnings(lm: Any) -> bool:
    """Whether this model reads a trie in one row as it reads the sequences one by one: tried on a few tokens.

    Not so where attention takes no mask of our own (flash attention), where positions are not told by position_ids
    (ALiBi), and where a state runs through the row (Mamba).
    """
    a, b, c, d = (i % lm.config.get_text_config().vocab_size for i in range(1, 5))
    sequences = [Scored(s, 1) for s in ((a, b, c, d, a), (a, b, d, c, a), (a, c, b, d, a))]
    scorer = Scorer(lm, portion=3)
    scorer._shares = True
    try:
        together = np.concatenate(scorer(sequences))
    except Exception:  # a model of another make may raise anything
        return False
    alone = scorer._one_by_one(sequences)
    return bool(np.abs(together - alone).max() < (1e-3 if torch.finfo(lm.dtype).bits >= 32 else 0.1))


def _select(cache: Any, slots: np.ndarray) -> None:
    """Keep these places of a cache's sequence, in this order."""
    for layer in cache.layers:
        if layer.get_seq_length() != len(slots):
            index = torch.from_numpy(slots).to(layer.keys.device)
            layer.keys, layer.values = layer.keys.index_select(2, index), layer.values.index_select(2, index)


def _window(lm: Any) -> float:
    """How many tokens back every layer sees at least."""
    config = lm.config.get_text_config()
    spans = (getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size"))
    return min((span for span in spans if span), default=float("inf"))
