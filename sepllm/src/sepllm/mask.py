"""The mask of the fundamental design, made from lives (policy.py), in the forms that attention functions take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from .policy import FOREVER, Policy, ends, positions_of
from .separators import SeparatorSet


@dataclass
class Lives:
    """Queries of one forward and the keys that they are given, for the layers that share a window.

    Attributes:
        query: Int64[B, Q], position of each query.
        real: Bool[B, Q], False where the query is padding.
        start, end: Int64[B, K], [B, H, K] for `end` where windows differ by key/value head.
        settled: every query sees every key (one new token, no padding, nothing left to evict).
        window: n of these layers; longer lives are those of kept tokens.
        edit: what a probe does to keys, values and lives before attention (probe.py).
        turn: Int64[B, Q], by how much the query is turned for the first `sinks` keys (SinkPolicy), or None.
    """

    query: Tensor
    real: Tensor
    start: Tensor
    end: Tensor
    settled: bool = False
    turn: Tensor | None = None
    sinks: int = 0
    frequencies: Tensor | None = None
    window: int = FOREVER
    edit: Callable[[Tensor, Tensor, Lives], tuple[Tensor, Tensor, Lives]] | None = None

    def to(self, device: torch.device) -> Lives:
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        return Lives(**{k: v.to(device) if isinstance(v, Tensor) else v for k, v in values.items()})  # type: ignore[arg-type]


def visible(lives: Lives) -> Tensor:
    """Bool[B, 1 or H, Q, K]; a query that is padding sees its own key, so that no softmax is empty."""
    start, end = lives.start[:, None], lives.end if lives.end.ndim == 3 else lives.end[:, None]
    query = lives.query[:, None, :, None]
    seen = (start[:, :, None] <= query) & (query < end[:, :, None])
    q, k = lives.query.shape[1], lives.start.shape[1]
    own = torch.arange(k, device=seen.device) == torch.arange(k - q, k, device=seen.device)[:, None]
    return seen | (own & ~lives.real[:, None, :, None])


def lives_of(
    policy: Policy,
    separator: Tensor,
    n: int | tuple[int, ...],
    valid: Tensor | None = None,
    first_of_document: Tensor | None = None,
) -> Lives:
    """Lives of a whole sequence that attends to itself.

    Args:
        separator: Bool[B, T].
        n: the window of the layer.
        valid: Bool[B, T]; None for no padding.
        first_of_document: Bool[B, T], True at the first token of each packed document; initial tokens are then
            counted in each document, and no life goes beyond its document.
    """
    valid = torch.ones_like(separator) if valid is None else valid
    positions = positions_of(valid)
    if first_of_document is None:
        kinds = policy.kinds(separator, positions)
        end = ends(kinds, positions, n, policy.sep_cap, valid)
    else:
        begin = torch.where(first_of_document, positions, 0).cummax(-1).values
        kinds = policy.kinds(separator, positions - begin)
        end = ends(kinds, positions, n, policy.sep_cap, valid)
        next_begin = torch.where(first_of_document, positions, FOREVER)
        next_begin = torch.cat([next_begin[:, 1:], torch.full_like(next_begin[:, :1], FOREVER)], 1)
        limit = next_begin.flip(-1).cummin(-1).values.flip(-1)
        end = torch.minimum(end, limit if end.ndim == 2 else limit[:, None])
    window = n if isinstance(n, int) else FOREVER
    return Lives(positions, valid, torch.where(valid, positions, FOREVER), end, window=window)


def sep_mask(
    policy: Policy,
    ids: Tensor,
    separators: SeparatorSet,
    valid: Tensor | None = None,
    n: int | None = None,
) -> Tensor:
    """M of paper eq. 1 for token ids Int64[B, T]: Bool[B, 1, T, T]."""
    window = policy.windows(1, 1)[0] if n is None else n
    return visible(lives_of(policy, separators.lut(ids.device)[ids], window, valid))


def additive(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where visible, the smallest number of `dtype` elsewhere: what eager attention adds to its scores."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


def mask_mod(lives: Lives) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """The mask as FlexAttention's `mask_mod`, with tensors of its own (not a variable shared with other layers)."""
    query, real, start, end = lives.query, lives.real, lives.start, lives.end
    offset = start.shape[1] - query.shape[1]

    def mod(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        seen = (start[b, k] <= query[b, q]) & (query[b, q] < end[b, k])
        return seen | (~real[b, q] & (k == q + offset))

    return mod


def visible_keys(lives: Lives) -> Tensor:
    """How many keys each query sees, without a T×T mask: Int64[B, Q] (0 for padding).

    Keys whose life has begun less those whose life has ended: two searches in sorted lists.
    """
    if lives.end.ndim == 3:
        per_head = [visible_keys(Lives(lives.query, lives.real, lives.start, e)) for e in lives.end.unbind(1)]
        return torch.stack(per_head).float().mean(0)
    alive = lives.end > lives.start
    starts = torch.where(alive, lives.start, FOREVER << 1).sort(-1).values
    finish = torch.where(alive, lives.end, FOREVER << 1).sort(-1).values
    query = lives.query.contiguous()
    born, gone = (torch.searchsorted(side, query, right=True) for side in (starts, finish))
    return torch.where(lives.real, born - gone, 0)


def attention_ratio(lives: Lives) -> float:
    """Ones of M over ones of the causal triangle, valid tokens only (the paper's attention-map ratio)."""
    triangle = torch.where(lives.real, lives.query + 1, 0).sum()
    return float(visible_keys(lives).sum() / triangle)
