"""Stochastic primitives: which coordinates a rotation mixes in which interval (POET §3.2.3, Eq. 4 and 5).

    POET-FS   one block of b coordinates drawn without replacement, the rest stays        `variant="full"`
    POET-BS   a random permutation cut into ⌈d/b⌉ blocks, every coordinate in one         `variant="block"`

Both are an index of covered coordinates and block sizes. An index is drawn from a generator seeded by (seed, layer
name, side, interval): every process, restart and number of devices draws the same one, and nothing is communicated.
"""

from __future__ import annotations

import hashlib
import math

import torch
from torch import Tensor

from .config import PoetConfig
from .errors import PoetError

Blocks = tuple[tuple[int, int], ...]  # (block size, how many), in the order of the index


class Indivisible(PoetError):
    """A layer's size and the block size do not fit."""


def side_blocks(config: PoetConfig, side: int, d: int, where: str = "a layer") -> Blocks:
    """Blocks of one side (0: outputs, 1: inputs) of a layer.

    Raises:
        Indivisible: b exceeds d or, for POET-BS, does not divide it; the sentence names the sizes that would fit.
    """
    block = config.block[side] if isinstance(config.block, tuple) else config.block
    if block == 0:
        return ()
    if config.variant == "full":
        b = math.floor(block * d) if isinstance(block, float) else block
        if not 2 <= b <= d:
            raise Indivisible(f"block {block} takes {b} of the {d} coordinates of {where}: between 2 and {d} fit")
        return ((b, 1),)
    assert isinstance(block, int)
    if config.on_indivisible == "ragged":
        tail = d % block
        return tuple((b, n) for b, n in ((block, d // block), (tail, 1)) if n and b >= 2)
    if block > d or d % block:
        reason = "exceeds" if block > d else "does not divide"
        raise Indivisible(
            f"block {block} {reason} the size {d} of {where}: block sizes {', '.join(map(str, near(d, block)))} do "
            "(or on_indivisible=ragged, or dense)"
        )
    return ((block, d // block),)


def near(d: int, block: int) -> list[int]:
    """The divisors of d nearest to a block size, at most six."""
    divisors = [b for b in range(2, d + 1) if d % b == 0]
    return sorted(sorted(divisors, key=lambda b: abs(math.log(b / block)))[:6])


def covered(blocks: Blocks) -> int:
    """Coordinates that the blocks mix."""
    return sum(size * count for size, count in blocks)


def seeded(*parts: object) -> torch.Generator:
    """A CPU generator that depends on the parts only."""
    digest = hashlib.sha256("\0".join(map(str, parts)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def draw_index(seed: int, layer: str, side: int, interval: int, d: int, count: int) -> Tensor:
    """The first `count` entries of a uniform permutation of d coordinates."""
    return torch.randperm(d, generator=seeded(seed, layer, side, interval))[:count]
