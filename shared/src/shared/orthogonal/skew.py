"""Packed skew-symmetric matrices: the strict upper triangle, row by row.

A skew-symmetric block `Q = -Qᵀ` of size b is held as the `b(b-1)/2` numbers above its
diagonal in the order (0,1), (0,2), ..., (0,b-1), (1,2), ...: `Q[i, j] = v` and
`Q[j, i] = -v` for i < j. PEFT's OFT and the official POET code use the same order and sign.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor


def packed_length(block_size: int) -> int:
    """Numbers that one skew-symmetric block of this size holds: b(b-1)/2."""
    return block_size * (block_size - 1) // 2


def block_size_of(length: int) -> int:
    """The b with b(b-1)/2 = length.

    Raises:
        ValueError: no whole b fits.
    """
    b = (1 + math.isqrt(1 + 8 * length)) // 2
    if length < 1 or packed_length(b) != length:
        raise ValueError(
            f"a packed skew-symmetric block holds b(b-1)/2 numbers for a whole b >= 2 (1, 3, 6, 10, ...), not {length}"
        )
    return b


def pack_skew(Q: Float[Tensor, "*batch b b"]) -> Float[Tensor, "*batch n"]:
    """The strict upper triangle of each block, row by row. Only that triangle is read."""
    return _take(Q.flatten(-2), _upper(Q.shape[-1], Q.device))


def unpack_skew(packed: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch b b"]:
    """The skew-symmetric blocks of packed numbers; differentiable.

    Raises:
        ValueError: the last dimension is not b(b-1)/2 for a whole b.
    """
    b = block_size_of(packed.shape[-1])
    position, sign = _layout(b, packed.device)
    return _take(packed, position).mul_(sign.to(packed.dtype)).unflatten(-1, (b, b))


def fold_gradient(dQ: Float[Tensor, "*batch b b"]) -> Float[Tensor, "*batch n"]:
    """Gradient by the packed numbers from the gradient by Q taken as a free matrix: upper(dQ - dQᵀ)."""
    return pack_skew(dQ - dQ.mT)


def _take(x: Tensor, index: Tensor) -> Tensor:
    """x[..., index]; index_select on rows is several times faster on a CPU than indexing."""
    rows = x.reshape(-1, x.shape[-1])
    return rows.index_select(1, index).view(*x.shape[:-1], index.numel())


def _upper(b: int, device: torch.device) -> Tensor:
    return _indices(b, device)[0]


def _layout(b: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """For each entry of a flattened block: where its number lies in the packed row, and its sign."""
    return _indices(b, device)[1:]


def _indices(b: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    # A compiler folds them into its constants and cannot see through a cache.
    return _make_indices(b, device) if torch.compiler.is_compiling() else _cached_indices(b, device)


@lru_cache(maxsize=64)
def _cached_indices(b: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    # The first use is often inside inference_mode (an evaluation before training), where a plain tensor could never
    # again be saved for backward.
    with torch.inference_mode(False):
        return _make_indices(b, device)


def _make_indices(b: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    rows, cols = torch.triu_indices(b, b, 1, device=device)
    upper, lower = rows * b + cols, cols * b + rows
    number = torch.arange(upper.numel(), device=device)
    position = torch.zeros(b * b, dtype=torch.long, device=device)
    sign = torch.zeros(b * b, dtype=torch.int8, device=device)
    position[upper] = number
    position[lower] = number
    sign[upper] = 1
    sign[lower] = -1
    return upper, position, sign
