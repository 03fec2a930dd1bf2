"""Slow, plain statements of the method that the library is compared with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache


def brute_mask(ids, valid, separators, a, n, sep_cap=None):
    """M of the paper by its words, token by token: Bool[B, T, T]."""
    batch, length = ids.shape
    mask = torch.zeros(batch, length, length, dtype=torch.bool)
    for b in range(batch):
        p = torch.tensor([int(valid[b, : t + 1].sum()) - 1 for t in range(length)])
        for i in range(length):
            if not valid[b, i]:
                continue
            left = [j for j in range(i + 1) if valid[b, j] and p[i] - p[j] >= n and int(ids[b, j]) in separators]
            left = [j for j in left if p[j] >= a]
            newest = set(left if sep_cap is None else left[-sep_cap:])
            for j in range(i + 1):
                near = p[i] - p[j] < n
                mask[b, i, j] = bool(valid[b, j]) and bool(p[j] < a or near or j in newest)
    return mask


def rotated(x: Tensor, positions: Tensor, frequencies: Tensor) -> Tensor:
    """RoPE on half-split pairs as complex numbers: x [B, H, T, D]."""
    half = frequencies.numel()
    pairs = torch.complex(x[..., :half].double(), x[..., half : 2 * half].double())
    angle = positions.double()[:, None] * frequencies.double()
    pairs = pairs * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([pairs.real.to(x.dtype), pairs.imag.to(x.dtype), x[..., 2 * half :]], -1)


class UnrotatedStreaming(DynamicCache):
    """Paper §3.3 by its words, one row: keys without rotation, all of them rotated anew in every step and layer."""

    def __init__(self, model: Any, policy: Any, separators: set[int]):
        super().__init__(config=model.config)
        self.policy, self.marks = policy, separators
        self.frequencies = model.model.rotary_emb.inv_freq
        self.store: dict[int, list[Tensor]] = {}
        self.held: list[tuple[int, int]] = []  # (text position, id) in the order of the cache
        self.sizes: list[int] = []
        self.seen = 0

    def compressed(self, held: list[tuple[int, int]], local: int) -> list[int]:
        a, s = self.policy.a, self.policy.s
        past = range(a, len(held) - local)
        separators = [i for i in past if held[i][1] in self.marks]
        return [*range(a), *separators[-s:], *range(len(held) - local, len(held))]

    def step(self, model: Any, token: int) -> Tensor:
        """Feed one token; returns logits[V]."""
        policy = self.policy
        size = len(self.held)
        before, after = None, None
        if policy.compress_at == "sepcache_code" and size + 1 == policy.c:
            before = self.compressed(self.held, policy.w - 1)
        self.before = before
        if before is not None:
            self.held = [self.held[i] for i in before]
        self.place = len(self.held)
        self.held.append((self.seen, token))
        logits = model(
            torch.tensor([[token]]), past_key_values=self, position_ids=torch.tensor([[self.place]]), use_cache=True
        ).logits[0, -1]
        self.sizes.append(len(self.held))
        self.seen += 1
        limit = {"paper": policy.c, "streaming_code": policy.c + 1, "sepcache_code": None}[policy.compress_at]
        if limit is not None and len(self.held) == limit:
            after = self.compressed(self.held, policy.w)
            self.held = [self.held[i] for i in after]
            self.store = {layer: [x[:, :, after] for x in kv] for layer, kv in self.store.items()}
        return logits

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any):
        plain = rotated(key_states, torch.tensor([-self.place]), self.frequencies)
        keys, values = self.store.get(layer_idx, [plain[:, :, :0], value_states[:, :, :0]])
        if self.before is not None:
            keys, values = keys[:, :, self.before], values[:, :, self.before]
        self.store[layer_idx] = [torch.cat([keys, plain], 2), torch.cat([values, value_states], 2)]
        keys, values = self.store[layer_idx]
        return rotated(keys, torch.arange(keys.shape[2]), self.frequencies), values

    def get_seq_length(self, layer_idx: int = 0) -> int:
        return self.place
