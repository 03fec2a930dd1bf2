"""Decoding and prefill beside transformers' caches, and bytes. Weights are real, contents of the caches random."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache, StaticCache

from .attach import masked
from .baselines import ConcatenatingSepCache
from .cache import SepCache
from .flops import kv_bytes_per_token, speedup_bound
from .policy import FullPolicy, Policy, StreamingPolicy
from .separators import SeparatorSet

FILL = 512  # tokens put into a cache at once


def shape_of_keys(model: Any) -> tuple[int, int, int]:
    config = model.config.get_text_config(decoder=True)
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    return config.num_hidden_layers, getattr(config, "num_key_value_heads", None) or heads, size


def random_text(separators: SeparatorSet, length: int, density: float, seed: int = 0) -> Tensor:
    """Int64[1, length] with this share of separators, at random places."""
    generator = torch.Generator().manual_seed(seed)
    ordinary = next(i for i in range(separators.vocabulary - 1, 0, -1) if i not in separators.ids)
    marks = torch.rand(1, length, generator=generator) < density
    return torch.where(marks, separators.ids[0], ordinary)


def fill(cache: Any, model: Any, ids: Tensor) -> Any:
    """Put random keys and values of these tokens into a cache without running the model."""
    layers, heads, size = shape_of_keys(model)
    done = 0
    while done < ids.shape[1]:
        room = cache.room() if isinstance(cache, SepCache) else None
        piece = ids[:, done : done + min(room or FILL, FILL)]
        if isinstance(cache, SepCache):
            cache.observe(piece, torch.ones_like(piece, dtype=torch.bool))
        elif isinstance(cache, ConcatenatingSepCache):
            cache.ids = piece
        new = torch.randn(heads * piece.shape[1] * size, dtype=model.dtype, device=model.device)
        new = new.view(1, heads, piece.shape[1], size)
        for layer in range(layers):
            cache.update(new, new, layer)
        done += piece.shape[1]
    return cache


def stored_bytes(cache: Any) -> int:
    if isinstance(cache, SepCache):
        return cache.kv_bytes()
    return sum(x.nbytes for layer in cache.layers for x in (layer.keys, layer.values) if x is not None)


def caches(model: Any, separators: SeparatorSet, policies: dict[str, Any], context: int, steps: int) -> dict[str, Any]:
    """Empty caches to compare, by name."""
    made: dict[str, Any] = {
        "DynamicCache": DynamicCache(config=model.config),
        "StaticCache": StaticCache(config=model.config, max_cache_len=context + steps),
    }
    for name, policy in policies.items():
        made[name] = SepCache(model, policy, separators if policy.needs_separators else None)
        if isinstance(policy, StreamingPolicy):
            made[f"{name}, concatenating"] = ConcatenatingSepCache(model.config.num_hidden_layers, policy, separators)
    return made


@torch.inference_mode()
def decode_times(
    model: Any,
    separators: SeparatorSet,
    policies: dict[str, Any],
    context: int,
    density: float,
    repeats: int = 7,
) -> list[dict[str, Any]]:
    """Seconds of one generated token under each cache, filled with `context` tokens; the caches take turns."""
    ids = random_text(separators, context, density)
    token = ids[:, -1:]
    filled = {
        name: fill(cache, model, ids)
        for name, cache in caches(model, separators, policies, context, repeats + 2).items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in filled}
    for turn in range(repeats + 1):
        names = list(filled) if turn % 2 else list(reversed(filled))
        for name in names:
            if isinstance(filled[name], ConcatenatingSepCache):
                filled[name].ids = token
            begin = time.perf_counter()
            model(token, past_key_values=filled[name], use_cache=True)
            if turn:  # the first is for warming up
                seconds[name].append(time.perf_counter() - begin)
    weights = sum(p.nbytes for p in model.parameters())
    cost = kv_bytes_per_token(model.config, model.dtype.itemsize)
    full = context * cost
    rows = []
    for name, cache in filled.items():
        stored = stored_bytes(cache)
        rows.append(
            {
                "cache": name,
                "context": context,
                "seconds": statistics.median(seconds[name]),
                "each": seconds[name],
                "kv_bytes": stored,
                "full_bytes": full,
                "bound": speedup_bound(weights, full, min(stored, full)),
            }
        )
    return rows


@torch.inference_mode()
def update_share(model: Any, separators: SeparatorSet, policy: Any, context: int, density: float) -> float:
    """Time of the cache's own work in a step (bookkeeping and writes of all layers) over that of the step."""
    ids = random_text(separators, context, density)
    cache = fill(SepCache(model, policy, separators), model, ids)
    layers, heads, size = shape_of_keys(model)
    new = torch.randn(1, heads, 1, size, dtype=model.dtype, device=model.device)
    valid = torch.ones(1, 1, dtype=torch.bool, device=model.device)

    def update() -> None:
        cache.observe(ids[:, -1:], valid)
        for layer in range(layers):
            cache.update(new, new, layer)

    def step() -> None:
        model(ids[:, -1:], past_key_values=cache, use_cache=True)

    return median_time(update, 9) / median_time(step, 5)


def median_time(call: Callable[[], Any], repeats: int) -> float:
    call()
    seconds = []
    for _ in range(repeats):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds)


@torch.inference_mode()
def prefill_times(
    model: Any, separators: SeparatorSet, policies: dict[str, Policy], ids: Tensor, repeats: int
) -> list[dict[str, Any]]:
    """Tokens a second of a whole forward over Int64[1, T], under masks that take turns; logits of the last token."""
    everything = {"full": FullPolicy(), **policies}
    seconds: dict[str, list[float]] = {name: [] for name in everything}
    for _ in range(repeats):
        for name, policy in everything.items():
            with masked(model, policy, separators):
                begin = time.perf_counter()
                model(ids, use_cache=False, logits_to_keep=1)
                seconds[name].append(time.perf_counter() - begin)
    return [
        {"policy": name, "context": ids.shape[1], "tokens_per_second": ids.shape[1] / statistics.median(s), "each": s}
        for name, s in seconds.items()
    ]
