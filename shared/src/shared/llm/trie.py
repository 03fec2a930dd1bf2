"""Token sequences as one tree, so that what several of them begin with is computed once.

The coin is fair . Output : 0        The - coin - is - fair - . - Output - : - 0
The coin is fair . Output : 1                                               \\ 1
The coin is bent . Output : 0                       \\ bent - . - Output - : - 0
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trie:
    """The nodes in depth-first order: what follows a node in the order hangs on it or on one of its ancestors."""

    tokens: Int[np.ndarray, " nodes"]
    depths: Int[np.ndarray, " nodes"]  # the node's position in its sequence, from 0
    parents: Int[np.ndarray, " nodes"]  # -1 above the first tokens; smaller than the node's own number otherwise
    paths: list[Int[np.ndarray, " length"]]  # for each sequence, in the order given, the nodes of its tokens

    def __len__(self) -> int:
        return len(self.tokens)

    def ancestors(self, node: int) -> Int[np.ndarray, " depth"]:
        """The nodes from the root down to the parent of `node`."""
        found = np.empty(self.depths[node], dtype=np.int64)
        for depth in range(len(found) - 1, -1, -1):
            node = self.parents[node]
            found[depth] = node
        return found


def build_trie(sequences: Sequence[Tokens]) -> Trie:
    """The trie of non-empty sequences, the same whatever their order."""
    tokens: list[int] = []
    depths: list[np.ndarray] = []
    parents: list[np.ndarray] = []
    paths: list[np.ndarray] = [np.empty(0, dtype=np.int64)] * len(sequences)
    before: Tokens = ()
    path = np.empty(0, dtype=np.int64)
    # sorted, each sequence shares with the one before it all that it shares with any earlier one
    for index in sorted(range(len(sequences)), key=lambda i: sequences[i]):
        sequence = sequences[index]
        shared = common_prefix(before, sequence)
        new = np.arange(len(tokens), len(tokens) + len(sequence) - shared)
        if len(new):
            tokens.extend(sequence[shared:])
            depths.append(np.arange(shared, len(sequence)))
            parents.append(np.concatenate(([path[shared - 1] if shared else -1], new[:-1])))
        path = np.concatenate((path[:shared], new))
        paths[index] = path
        before = sequence
    empty = [np.empty(0, dtype=np.int64)]
    return Trie(
        np.array(tokens, dtype=np.int64), np.concatenate(depths or empty), np.concatenate(parents or empty), paths
    )


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    length = min(len(first), len(second))
    if first[:length] == second[:length]:
        return length
    return next(i for i in range(length) if first[i] != second[i])
