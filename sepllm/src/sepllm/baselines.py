"""What others do, written anew to be measured beside: the concatenating four-block cache of the authors.

It keeps the same tokens as StreamingPolicy with compress_at="sepcache_code" and positions="text"; it differs in how:
keys, values and ids are concatenated in every layer and step, and a compression makes four slices and two
concatenations a tensor and layer, after a loop over separator ids.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer

from .policy import StreamingPolicy
from .separators import SeparatorSet


class ConcatenatingLayer(DynamicLayer):
    """One layer of the authors' SepCache, for one row without padding."""

    def __init__(self, policy: StreamingPolicy, separators: SeparatorSet, owner: ConcatenatingSepCache):
        super().__init__()
        self.policy, self.marks, self.owner = policy, separators.ids, owner
        self.ids: Tensor | None = None
        self.kept = 0  # separators held
        self.seen = 0

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        new = self.owner.ids
        self.ids = new if self.ids is None else torch.cat([self.ids, new], -1)
        self.seen += key_states.shape[2]
        keys, _ = super().update(key_states, value_states)
        if keys.shape[2] >= self.policy.c:
            self._compress()
        assert self.keys is not None and self.values is not None
        return self.keys, self.values

    def _compress(self) -> None:
        assert self.keys is not None and self.values is not None and self.ids is not None
        a, s, w = self.policy.a, self.policy.s, self.policy.w
        held, size = a + self.kept, self.keys.shape[2]
        past = self.ids[0, held : size - w]
        flags = torch.zeros_like(past, dtype=torch.bool)
        for mark in self.marks:
            flags |= past == mark
        chosen = flags.nonzero().flatten()
        parts = []
        for x, axis in ((self.keys, 2), (self.values, 2), (self.ids, 1)):
            initial, before = x.narrow(axis, 0, a), x.narrow(axis, a, self.kept)
            middle, local = x.narrow(axis, held, size - w - held), x.narrow(axis, size - w, w)
            marks = torch.cat([before, middle.index_select(axis, chosen)], axis)
            count = marks.shape[axis]
            marks = marks.narrow(axis, max(0, count - s), min(s, count))
            parts.append(torch.cat([initial, marks, local], axis))
        self.keys, self.values, self.ids = parts
        self.kept = min(s, self.kept + len(chosen))

    def get_seq_length(self) -> int:
        return self.seen


class ConcatenatingSepCache(Cache):
    """The authors' algorithm. The caller sets `ids` (Int64[1, q]) before each forward."""

    def __init__(self, layers: int, policy: StreamingPolicy, separators: SeparatorSet):
        self.ids: Tensor = torch.zeros(1, 0, dtype=torch.long)
        super().__init__(layers=[ConcatenatingLayer(policy, separators, self) for _ in range(layers)])

    def get_mask_sizes(self, query_length: Any, layer_idx: int) -> tuple[int, int]:
        length = query_length if isinstance(query_length, int) else query_length.shape[0]
        keys = self.layers[layer_idx].keys
        held = 0 if keys is None else keys.shape[2]
        return held + length, self.get_seq_length() - held
