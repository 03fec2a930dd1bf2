"""Perplexity of a model under policies, on the same tokens, with paired errors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .attach import masked
from .budget import kept_keys, kept_share
from .policy import Policy
from .separators import SeparatorSet


@torch.no_grad()
def window_losses(
    model: Any, policy: Policy, separators: SeparatorSet, ids: Tensor, first: int, edit: Any = None
) -> list[float]:
    """Mean negative log-likelihood (nats) of each window's tokens from position `first` on, under the mask.

    Args:
        ids: Int64[W, T].
        first: position of the first scored token, at least 1.
    """
    losses = []
    with masked(model, policy, separators, edit):
        for row in ids:
            row = row.to(model.device)[None]
            logits = model(row, use_cache=False, logits_to_keep=row.shape[1] - first + 1).logits[0, :-1].float()
            losses.append(float(torch.nn.functional.cross_entropy(logits, row[0, first:])))
    return losses


def perplexity_row(
    model: Any,
    label: str,
    policy: Policy,
    separators: SeparatorSet,
    ids: Tensor,
    first: int,
) -> dict[str, Any]:
    """A row of the table: losses by window, perplexity, kept keys (mean of layers) and r.KV."""
    layers = model.config.num_hidden_layers
    losses = window_losses(model, policy, separators, ids, first)
    return {
        "label": label,
        "policy": type(policy).__name__,
        "a": policy.a,
        "n": policy.n,
        "rule": separators.rule,
        "losses": losses,
        "ppl": math.exp(sum(losses) / len(losses)),
        "kept": kept_keys(policy, separators, ids, first, layers),
        "r_kv": kept_share(policy, separators, ids, first, layers),
    }


def paired(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """(mean of first − second, its standard error) over the windows that both have."""
    count = min(len(first), len(second))
    gaps = [a - b for a, b in zip(first[:count], second[:count], strict=True)]
    mean = sum(gaps) / count
    if count < 2:
        return mean, float("nan")
    return mean, math.sqrt(sum((g - mean) ** 2 for g in gaps) / (count - 1) / count)
