"""Two random arrangements of the same blocks."""

from __future__ import annotations

import itertools
from random import Random

from .. import numbered


def towers(random: Random, blocks: list[str]) -> list[list[str]]:
    """A random arrangement, each tower from its bottom up."""
    found: list[list[str]] = []
    for block in random.sample(blocks, len(blocks)):
        if found and random.random() < 0.6:
            random.choice(found).append(block)
        else:
            found.append([block])
    return found


def generate(random: Random, size: int) -> tuple[dict[str, list[str]], list[str], list[str]]:
    blocks = numbered("b", 3 + size)
    start = towers(random, blocks)
    init = ["hand-empty"]
    for tower in start:
        init += [f"on-table {tower[0]}", f"clear {tower[-1]}"]
        init += [f"on {upper} {lower}" for lower, upper in itertools.pairwise(tower)]
    while True:
        end = towers(random, blocks)
        goal = [f"on {upper} {lower}" for tower in end for lower, upper in itertools.pairwise(tower)]
        if len(goal) > 1 and not set(goal) <= set(init):
            return {"block": blocks}, init, goal
