"""One new token over ragged rows of a cache: split-K attention that reads living slots only.

A program takes one row, one key/value head and one split of the slots. The query heads of that key head are the rows of
one tile, so each key is read once for all of them. Tiles without a living slot are skipped before their keys are read.
The partial maxima, sums and outputs of the splits are merged by a second kernel.

    program (row b, head h, split s):   Q[G, D] · K[64, D]ᵀ for the tiles of its split → m[G], l[G], acc[G, D]
    merge (b, h):                       Σ_s exp(m_s − m) acc_s / Σ_s exp(m_s − m) l_s
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..attention import row_mask
from ..mask import Lives

TILE = 64  # slots read at once
SPLITS = 8  # programs that share the slots of one row and head
LOG2E = 1.4426950408889634


@triton.jit
def decode_kernel(
    Q, K, V, ALIVE, EXTENT, M, L, ACC,
    scale, C, H, kb, kh, kc, vb, vh, vc,
    G: tl.constexpr, D: tl.constexpr, ROWS: tl.constexpr, TILE: tl.constexpr, SPLITS: tl.constexpr,
):  # fmt: skip
    bh, split = tl.program_id(0), tl.program_id(1)
    b, h = bh // H, bh % H
    extent = tl.load(EXTENT + b)
    tiles = tl.cdiv(tl.cdiv(extent, TILE), SPLITS)
    g, d, offset = tl.arange(0, ROWS), tl.arange(0, D), tl.arange(0, TILE)
    q = tl.load(Q + bh * G * D + g[:, None] * D + d[None, :], mask=g[:, None] < G, other=0.0)
    m = tl.full((ROWS,), float("-inf"), tl.float32)
    total = tl.zeros((ROWS,), tl.float32)
    acc = tl.zeros((ROWS, D), tl.float32)
    first = split * tiles
    for tile in range(first, first + tiles):
        slot = tile * TILE + offset
        alive = tl.load(ALIVE + b.to(tl.int64) * C + slot, mask=slot < extent, other=0) != 0
        if tl.sum(alive.to(tl.int32), 0) > 0:
            where = slot[:, None].to(tl.int64)
            k = tl.load(K + b.to(tl.int64) * kb + h * kh + where * kc + d[None, :], mask=alive[:, None], other=0.0)
            v = tl.load(V + b.to(tl.int64) * vb + h * vh + where * vc + d[None, :], mask=alive[:, None], other=0.0)
            scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale
            scores = tl.where(alive[None, :], scores, float("-inf"))
            new = tl.maximum(m, tl.max(scores, 1))
            shrink = tl.exp2(m - new)
            weights = tl.exp2(scores - new[:, None])
            total = total * shrink + tl.sum(weights, 1)
            acc = acc * shrink[:, None] + tl.dot(weights.to(v.dtype), v, input_precision="ieee")
            m = new
    place = (bh * SPLITS + split) * ROWS + g
    tl.store(M + place, m)
    tl.store(L + place, total)
    tl.store(ACC + place[:, None] * D + d[None, :], acc)


@triton.jit
def merge_kernel(M, L, ACC, OUT, G: tl.constexpr, D: tl.constexpr, ROWS: tl.constexpr, SPLITS: tl.constexpr):
    bh, g = tl.program_id(0), tl.program_id(1)
    s, d = tl.arange(0, SPLITS), tl.arange(0, D)
    place = (bh * SPLITS + s) * ROWS + g
    m = tl.load(M + place)
    weight = tl.exp2(m - tl.max(m, 0))  # a split without a living slot has m = −inf and weighs nothing
    total = tl.sum(weight * tl.load(L + place), 0)
    acc = tl.sum(weight[:, None] * tl.load(ACC + place[:, None] * D + d[None, :]), 0)
    tl.store(OUT + (bh * G + g) * D + d, (acc / total).to(OUT.dtype.element_ty))


def available(query: Tensor, lives: Lives) -> bool:
    """Whether the kernel serves these shapes: heads of a power of two, one window for all heads."""
    d = query.shape[-1]
    return lives.end.ndim == 2 and d >= 16 and d & (d - 1) == 0


def decode(query: Tensor, key: Tensor, value: Tensor, lives: Lives, scale: float | None = None) -> Tensor:
    """Attention of one query a row.

    Args:
        query: [B, Hq, 1, D], D a power of two.
        key, value: [B, H, C, D], contiguous in D; any strides else.

    Returns:
        [B, Hq, 1, D].
    """
    batch, heads, _, d = query.shape
    kv, slots = key.shape[1], key.shape[2]
    if "alive" not in vars(lives):
        alive = row_mask(lives)[:, 0, 0]
        index = torch.arange(1, slots + 1, device=alive.device)
        vars(lives)["alive"] = (alive.byte().contiguous(), torch.where(alive, index, 0).amax(-1).int())
    alive, extent = vars(lives)["alive"]
    group = heads // kv
    rows = max(16, triton.next_power_of_2(group))  # tl.dot wants 16 rows
    acc = torch.empty(batch * kv, SPLITS, rows, d, device=query.device, dtype=torch.float32)
    m, total = acc.new_empty(acc.shape[:3]), acc.new_empty(acc.shape[:3])
    out = torch.empty_like(query, memory_format=torch.contiguous_format)
    scale = (d**-0.5 if scale is None else scale) * LOG2E
    decode_kernel[(batch * kv, SPLITS)](
        query.contiguous(), key, value, alive, extent, m, total, acc,
        scale, slots, kv, *key.stride()[:3], *value.stride()[:3],
        G=group, D=d, ROWS=rows, TILE=TILE, SPLITS=SPLITS,
    )  # fmt: skip
    merge_kernel[(batch * kv, group)](m, total, acc, out, G=group, D=d, ROWS=rows, SPLITS=SPLITS)
    return out
