"""The sparse form on a GPU: keys reordered so that FlexAttention's block mask has something to skip.

    raw order    every block of 128 keys of real text holds a separator: no block is skipped
    reordered    [ kept keys, a staircase over ρT columns | other keys, a band of about n ]

Each key stands in one of the two parts, so their union is M and nothing is counted twice; softmax does not care about
the order. Which blocks are visited follows from the earliest start and the latest end of the lives in each block: no
T×T mask is ever made. Rows differ in their number of kept keys through the lists, not through padding to the longest.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from .mask import Lives
from .policy import FOREVER

BLOCK = 128


class Layout(NamedTuple):
    """Order of the keys and the blocks to visit.

    order: Int64[B, K'], which key stands in each place (any key where the place is dead).
    start, end: Int64[B, K'], lives in that order; dead places have none.
    needed, whole: Bool[B, Q/128, K'/128], blocks with a visible pair; of those, blocks visible throughout.
    """

    order: Tensor
    start: Tensor
    end: Tensor
    needed: Tensor
    whole: Tensor

    def share(self) -> float:
        """Visited blocks over those of the causal triangle."""
        rows = self.needed.shape[1]
        return float(self.needed.sum() / (self.needed.shape[0] * rows * (rows + 1) / 2))


def layout(lives: Lives) -> Layout:
    """The reordered keys of a sequence that attends to itself; made once for all layers of a window."""
    if "layout" in vars(lives):
        return vars(lives)["layout"]
    alive = lives.end > lives.start
    kept = alive & (lives.end - lives.start > lives.window)
    parts = [_part(lives, chosen) for chosen in (kept, alive & ~kept)]
    order, start, end = (torch.cat(both, 1) for both in zip(*parts, strict=True))
    vars(lives)["layout"] = Layout(order, start, end, *_blocks(lives, start, end))
    return vars(lives)["layout"]


def _part(lives: Lives, chosen: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The chosen keys of each row in order of position, filled up to whole blocks with dead places."""
    longest = int(chosen.sum(-1).max())
    length = -(-longest // BLOCK) * BLOCK
    order = torch.where(chosen, lives.start, FOREVER).argsort(dim=-1, stable=True)[:, :length]
    order = torch.nn.functional.pad(order, (0, length - order.shape[1]))
    real = torch.arange(length, device=order.device) < chosen.sum(-1, keepdim=True)
    start = torch.where(real, lives.start.gather(1, order), FOREVER)
    return order, start, torch.where(real, lives.end.gather(1, order), 0)


def _blocks(lives: Lives, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    batch, q = lives.query.shape
    fill = -q % BLOCK
    query = torch.nn.functional.pad(lives.query, (0, fill), value=-1).view(batch, -1, BLOCK)
    real = torch.nn.functional.pad(lives.real, (0, fill)).view(batch, -1, BLOCK)
    low = torch.where(real, query, FOREVER).amin(-1)[:, :, None]
    high = torch.where(real, query, -1).amax(-1)[:, :, None]
    start, end = start.view(batch, -1, BLOCK), end.view(batch, -1, BLOCK)
    first, last = start.amin(-1)[:, None], end.amax(-1)[:, None]
    needed = (first <= high) & (last > low)
    whole = (start.amax(-1)[:, None] <= low) & (end.amin(-1)[:, None] > high) & real.all(-1)[:, :, None]
    return needed, whole & needed


def block_mask(lives: Lives) -> BlockMask:
    """FlexAttention's block mask of the layout."""
    made = layout(lives)
    partial_blocks = made.needed & ~made.whole
    query, start, end = lives.query, made.start, made.end

    def mod(b: Tensor, h: Tensor, q: Tensor, k: Tensor) -> Tensor:
        return (start[b, k] <= query[b, q]) & (query[b, q] < end[b, k])

    def lists(blocks: Tensor) -> tuple[Tensor, Tensor]:
        order = (~blocks).byte().argsort(dim=-1, stable=True).int()
        return blocks.sum(-1, dtype=torch.int32)[:, None], order[:, None]

    return BlockMask.from_kv_blocks(
        *lists(partial_blocks),
        *lists(made.whole),
        BLOCK_SIZE=BLOCK,
        mask_mod=mod,
        seq_lengths=(query.shape[1], start.shape[1]),
    )


@cache
def compiled() -> Any:
    """flex_attention compiled on a GPU; on a CPU it has no backward, and there it is a reference for tests."""
    return torch.compile(flex_attention, dynamic=False)


def gathered_flex(query: Tensor, key: Tensor, value: Tensor, lives: Lives, scale: float | None = None) -> Tensor:
    """`attention.attend` by one FlexAttention call over reordered keys: [B, Hq, Q, D]."""
    if "block_mask" not in vars(lives):
        vars(lives)["block_mask"] = block_mask(lives)
    index = layout(lives).order[:, None, :, None].expand(-1, key.shape[1], -1, -1)
    k, v = (x.gather(2, index.expand(-1, -1, -1, x.shape[-1])) for x in (key, value))
    attention = compiled() if query.is_cuda else flex_attention
    gqa = query.shape[1] != key.shape[1]
    return attention(query, k, v, block_mask=vars(lives)["block_mask"], scale=scale, enable_gqa=gqa)  # type: ignore[return-value]
