"""A compression of the streaming cache in one pass: gather, turn and write, each key read once and written once.

    out[b, h, j] = R(moves[b, j]) · keys[b, h, columns[b, j]]        values are gathered only

The result is another buffer, as a slot may be read after its place was taken.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

TILE = 32  # slots a program


@triton.jit
def compact_kernel(
    K, V, COLUMNS, MOVES, FREQUENCIES, KOUT, VOUT,
    m, H, kb, kh, kc, ob, oh, oc,
    HALF: tl.constexpr, HALF2: tl.constexpr, D: tl.constexpr, D2: tl.constexpr, TURN: tl.constexpr, TILE: tl.constexpr,
):  # fmt: skip
    bh = tl.program_id(0)
    b, h = (bh // H).to(tl.int64), bh % H
    j = tl.program_id(1) * TILE + tl.arange(0, TILE)
    inside = j < m
    column = tl.load(COLUMNS + b * m + j, mask=inside, other=0)
    source = b * kb + h * kh + column[:, None] * kc
    target = b * ob + h * oh + j[:, None].to(tl.int64) * oc
    d = tl.arange(0, D2)
    whole = inside[:, None] & (d[None, :] < D)
    tl.store(VOUT + target + d[None, :], tl.load(V + source + d[None, :], mask=whole), mask=whole)
    if TURN:
        rest = whole & (d[None, :] >= 2 * HALF)
        tl.store(KOUT + target + d[None, :], tl.load(K + source + d[None, :], mask=rest), mask=rest)
        f = tl.arange(0, HALF2)
        pair = inside[:, None] & (f[None, :] < HALF)
        move = tl.load(MOVES + b * m + j, mask=inside, other=0).to(tl.float32)
        angle = move[:, None] * tl.load(FREQUENCIES + f, mask=f < HALF, other=0.0)[None, :]
        cos, sin = tl.cos(angle), tl.sin(angle)
        x = tl.load(K + source + f[None, :], mask=pair, other=0.0).to(tl.float32)
        y = tl.load(K + source + HALF + f[None, :], mask=pair, other=0.0).to(tl.float32)
        tl.store(KOUT + target + f[None, :], (x * cos - y * sin).to(KOUT.dtype.element_ty), mask=pair)
        tl.store(KOUT + target + HALF + f[None, :], (y * cos + x * sin).to(KOUT.dtype.element_ty), mask=pair)
    else:
        tl.store(KOUT + target + d[None, :], tl.load(K + source + d[None, :], mask=whole), mask=whole)


def compact(
    keys: Tensor, values: Tensor, columns: Tensor, moves: Tensor | None, frequencies: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Reduced and turned copies of keys and values [B, H, C, D], with C slots again, those from m on empty.

    Args:
        columns: Int64[B, m].
        moves: Int64[B, m], or None to turn nothing.
        frequencies: Float32[d/2].
    """
    batch, heads, _, d = keys.shape
    m = columns.shape[1]
    out_keys, out_values = torch.zeros_like(keys), torch.zeros_like(values)
    half = frequencies.numel() if moves is not None and frequencies is not None else d // 2
    compact_kernel[(batch * heads, triton.cdiv(m, TILE))](
        keys, values, columns.contiguous(), columns if moves is None else moves.contiguous(),
        keys if frequencies is None else frequencies.float(), out_keys, out_values,
        m, heads, *keys.stride()[:3], *out_keys.stride()[:3],
        HALF=half, HALF2=triton.next_power_of_2(half), D=d, D2=triton.next_power_of_2(d),
        TURN=moves is not None, TILE=TILE,
    )  # fmt: skip
    return out_keys, out_values
