"""Random numbers of one draw, the same whatever else is drawn beside it."""

from __future__ import annotations

import hashlib

import numpy as np


def draw_generator(key: str, draw: int) -> np.random.Generator:
    """The generator of draw number `draw` of the request with this key (that of its draw 0, which holds the seed)."""
    return np.random.Generator(np.random.Philox(key=int.from_bytes(_digest(key, draw)[:16], "little")))


def draw_seed(key: str, draw: int) -> int:
    """The same for engines that take a number below 2^63."""
    return int.from_bytes(_digest(key, draw)[:8], "little") >> 1


def _digest(key: str, draw: int) -> bytes:
    return hashlib.sha256(f"{key}/{draw}".encode()).digest()
