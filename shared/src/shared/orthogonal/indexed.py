"""Rotations of chosen coordinates: a block-diagonal rotation conjugated by a permutation, or of a subset only.

    R[index_i, index_j] = Diag(G_1..G_r)[i, j],   identity on the coordinates that `index` leaves out

`index` holds r·b distinct coordinates: a whole permutation rotates everything block by block (POET Eq. 5), fewer
rotate a subset (POET Eq. 4). The d×d matrix R is never formed. The functions are differentiable by autograd.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from .rotate import rotate

PORTION = 2**20  # bytes that are gathered at once on a CPU


def rotate_columns(
    W: Float[Tensor, "*rows d"], G: Float[Tensor, "r b b"], index: Int[Tensor, " covered"]
) -> Float[Tensor, "*rows d"]:
    """`W · R`.

    Raises:
        ValueError: `index` does not hold r·b coordinates.
    """
    _check(G, index)
    turned = rotate(W.index_select(-1, index), G, backend="torch")
    return _put_back(W, turned, index, -1)


def rotate_rows(
    W: Float[Tensor, "d cols"], G: Float[Tensor, "r b b"], index: Int[Tensor, " covered"]
) -> Float[Tensor, "d cols"]:
    """`R · W`.

    Raises:
        ValueError: `index` does not hold r·b coordinates.
    """
    _check(G, index)
    turned = torch.bmm(G.to(W.dtype), W.index_select(0, index).unflatten(0, G.shape[:2])).flatten(0, 1)
    return _put_back(W, turned, index, 0)


def indexed_gram(
    a: Float[Tensor, "tokens d"], c: Float[Tensor, "tokens d"], index: Int[Tensor, " covered"], block_size: int
) -> Float[Tensor, "r b b"]:
    """`Σ_t a_t c_tᵀ` of the chosen coordinates, its r diagonal blocks only; at least float32.

    On a CPU a portion of tokens is gathered at a time, into two buffers that stay in the cache: half the time of
    gathering everything, which is mostly spent on first touches of new memory.
    """
    blocks = (-1, block_size)
    if a.is_cuda:
        left, right = (x.index_select(-1, index).unflatten(-1, blocks).transpose(0, 1) for x in (a, c))
        whole = a.dtype in (torch.float32, torch.float64)
        return torch.bmm(left.mT, right) if whole else torch.bmm(left.mT, right, out_dtype=torch.float32)
    kind = a.dtype if a.dtype in (torch.float32, torch.float64) else torch.float32
    total = torch.zeros(index.numel() // block_size, block_size, block_size, dtype=kind, device=a.device)
    tokens = max(64, PORTION // max(1, index.numel() * a.element_size()))
    buffers = [a.new_empty(min(tokens, len(a)), index.numel()) for _ in range(2)]
    for start in range(0, len(a), tokens):
        parts = []
        for x, buffer in zip((a, c), buffers, strict=True):
            part = x[start : start + tokens]
            torch.index_select(part, -1, index, out=buffer[: len(part)])
            parts.append(buffer[: len(part)].to(kind).unflatten(-1, blocks).transpose(0, 1))
        total.baddbmm_(parts[0].mT, parts[1])
    return total


def _check(G: Tensor, index: Tensor) -> None:
    if index.numel() != G.shape[0] * G.shape[1]:
        raise ValueError(f"{G.shape[0]} blocks of size {G.shape[1]} need as many coordinates, not {index.numel()}")


def _put_back(W: Tensor, turned: Tensor, index: Tensor, dim: int) -> Tensor:
    if index.numel() < W.shape[dim]:
        return W.index_copy(dim, index, turned)
    inverse = torch.empty_like(index)
    inverse[index] = torch.arange(index.numel(), device=index.device)
    return turned.index_select(dim, inverse)
