"""What the Triton kernels have in common: block-diagonal tiles, products, rounding, and how a launch is cut.

    x (N, d)   ┌─────────┬─────────┬─ ─┐   A program owns W columns (several blocks side by side, at least 128 bytes)
               │ W       │ W       │   │   and a run of rows. The blocks of those columns lie on the diagonal of one
               └─────────┴─────────┴─ ─┘   (W, W) tile, so that blocks of every size are one product on tensor cores.

The zeros in that tile cost arithmetic and no memory traffic, and memory traffic is what bounds a rotation: at W = 64
in 16 bits the products take about 40 operations a byte, where an A100 has 150 and an H100 300. They do spread what is
not finite: an infinity or NaN in x makes its row NaN across the W columns, not only in its own block.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

MOST_ROTATIONS = 3  # of one x in one launch: with a fourth, tiles and gradients no longer fit in registers


@triton.jit
def load_blocks(R, first, d, dtype: tl.constexpr, b: tl.constexpr, W: tl.constexpr):
    """Columns first..first+W of Diag(R_1..R_r) as a (W, W) tile, zero off the blocks and beyond d."""
    # Entry (i, j) of block k lies at (k·b + i)·b + j: the blocks one after another are a (d, b) matrix.
    i = tl.arange(0, W)[:, None]
    j = tl.arange(0, W)[None, :]
    inside = (i // b == j // b) & (first + i < d)
    return rounded(tl.load(R + (first + i) * b + j % b, mask=inside, other=0.0), dtype)


@triton.jit
def store_blocks(tile, OUT, first, d, b: tl.constexpr, W: tl.constexpr):
    """The blocks on the diagonal of a (W, W) tile, to where `load_blocks` reads them."""
    i = tl.arange(0, W)[:, None]
    j = tl.arange(0, W)[None, :]
    inside = (i // b == j // b) & (first + i < d)
    tl.store(OUT + (first + i) * b + j % b, tile, mask=inside)


@triton.jit
def load_rotations(Rs, first, d, dtype: tl.constexpr, b: tl.constexpr, W: tl.constexpr, S: tl.constexpr):
    tiles = ()  # type: tuple
    for s in tl.static_range(S):
        tiles += (load_blocks(Rs[s], first, d, dtype, b, W),)
    return tiles


@triton.jit
def store_rotated(x, tiles, Ys, at, inside, BN: tl.constexpr, W: tl.constexpr, S: tl.constexpr):
    """x · tile of each rotation, to each output."""
    for s in tl.static_range(S):
        y = product(x, tiles[s], tl.zeros([BN, W], tl.float32))
        tl.store(Ys[s] + at, rounded(y, Ys[s].dtype.element_ty), mask=inside)


@triton.jit
def zero_grams(W: tl.constexpr, S: tl.constexpr):
    grams = ()  # type: tuple
    for _ in tl.static_range(S):
        grams += (tl.zeros([W, W], tl.float32),)
    return grams


@triton.jit
def add_gradients(
    x,
    tiles,
    Gs,
    grams,
    at,
    inside,
    BN: tl.constexpr,
    W: tl.constexpr,
    S: tl.constexpr,
    NEED_X: tl.constexpr,
    NEED_R: tl.constexpr,
):
    """Σ_s g_s · tile_sᵀ of these rows, and xᵀ · g_s added to each gram, with each g_s read once."""
    dx = tl.zeros([BN, W], tl.float32)
    added = ()  # type: tuple
    for s in tl.static_range(S):
        g = tl.load(Gs[s] + at, mask=inside, other=0.0)
        if NEED_X:
            dx = product(g, tl.trans(tiles[s]), dx)
        if NEED_R:
            added += (product(tl.trans(x), g, grams[s]),)
        else:
            added += (grams[s],)
    return dx, added


@triton.jit
def store_grams(grams, PARTS, split, first, d, b: tl.constexpr, W: tl.constexpr, S: tl.constexpr):
    """Partial dR of this run of rows, to PARTS of shape (splits, S, d, b)."""
    for s in tl.static_range(S):
        store_blocks(grams[s], PARTS + (split * S + s).to(tl.int64) * d * b, first, d, b, W)


@triton.jit
def product(a, b, acc):
    """acc + a · b in float32, without TF32."""
    if INTERPRETED:  # the interpreter multiplies the bit patterns of bfloat16
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, acc, input_precision="ieee")


@triton.jit
def rounded(x, dtype: tl.constexpr):
    """x in another dtype, to nearest even."""
    if INTERPRETED and dtype == tl.bfloat16 and x.dtype == tl.float32:  # the interpreter truncates to bfloat16
        bits = x.to(tl.uint32, bitcast=True)
        bits = bits + 0x7FFF + ((bits >> 16) & 1)
        return (bits >> 16).to(tl.uint16).to(tl.bfloat16, bitcast=True)
    return x.to(dtype)


# Triton decides at decoration, that is when this module is imported, whether kernels are interpreted.
IN_INTERPRETER = not isinstance(load_blocks, triton.JITFunction)
INTERPRETED = tl.constexpr(IN_INTERPRETER)


def check_operand(x: Tensor) -> None:
    """
    Raises:
        ValueError: kernels cannot run on x's device or in its dtype.
    """
    if not x.is_cuda and not IN_INTERPRETER:
        raise ValueError(
            f"backend='triton' needs CUDA tensors, not {x.device.type} ones; "
            "on a CPU its kernels run only in Triton's interpreter (TRITON_INTERPRET=1 before triton is imported)"
        )
    if x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        raise ValueError(f"backend='triton' takes float32, bfloat16 and float16, not {x.dtype}; backend='torch' does")


def on_device_of(x: Tensor) -> AbstractContextManager:
    """Triton launches on the current device, which under model parallelism is not always the tensors'."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()


def contiguous(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    return tuple(t.contiguous() for t in tensors)


def sum_parts(parts: Tensor, Rs: Sequence[Tensor]) -> Tensor:
    """dR of all rotations, (S, r, b, b), from the (splits, S, d, b) sums over runs of rows."""
    return parts.sum(0).view(len(Rs), *Rs[0].shape)


class Cut(NamedTuple):
    """How a rotation of x is spread over programs: a grid of (column groups, row splits)."""

    grid: tuple[int, int]
    rows: int  # of one split, a multiple of BN
    W: int
    BN: int
    num_warps: int
    num_stages: int

    @property
    def splits(self) -> int:
        return self.grid[1]

    def constants(self) -> dict[str, int]:
        return {"W": self.W, "BN": self.BN, "num_warps": self.num_warps, "num_stages": self.num_stages}


def cut(x: Tensor, b: int, S: int, *, backward: bool) -> Cut:
    """The launch for x (N, d) under S rotations of block size b.

    There are no more splits than keep every multiprocessor busy: a split of the forward pass reads R once
    more, a split of the backward pass writes one more partial dR.
    """
    N, d = x.shape
    W, BN, num_warps, num_stages = tile_of(b, x.element_size(), S, N, backward=backward)
    groups = triton.cdiv(d, W)
    programs = _multiprocessors(x.device) * (4 if backward else 8)
    steps = max(1, triton.cdiv(N, BN))
    splits = min(steps, triton.cdiv(programs, groups))
    rows = triton.cdiv(steps, splits) * BN
    return Cut((groups, triton.cdiv(N, rows)), rows, W, BN, num_warps, num_stages)


def tile_of(b: int, element_size: int, S: int, N: int, *, backward: bool) -> tuple[int, int, int, int]:
    """(W, BN, num_warps, num_stages)."""
    W = max(b, 128 // element_size)
    wide = element_size == 4  # products outside the tensor cores: fewer rows, so that operands stay in registers
    BN = 32 if wide or (backward and S > 2) else 64
    BN = min(BN, max(16, triton.next_power_of_2(N)))
    if wide and W == 64:
        num_warps = 16
    else:
        num_warps = 8 if backward and S > 1 else 4
    return W, BN, num_warps, 2 if backward else 3


def _multiprocessors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1
