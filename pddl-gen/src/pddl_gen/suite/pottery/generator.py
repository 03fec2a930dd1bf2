"""Pots in various conditions that are to be finished, with few shelves."""

from __future__ import annotations

from random import Random

from .. import numbered


def generate(random: Random, size: int) -> tuple[dict[str, list[str]], list[str], list[str]]:
    pots, kilns = numbered("pot", (4, 2, 2, 3)[size]), numbered("kiln", 1 + (size == 2))
    shelves = [f"{kiln}-shelf{i}" for kiln in kilns for i in range(1, 2 + (size in (1, 3)))]
    conditions = ["clay", "wet", "dry", "biscuit"]
    init = [f"shelf-of {shelf} {shelf.split('-')[0]}" for shelf in shelves]
    init += [f"free {shelf}" for shelf in shelves]
    init += [f"hot {kiln}" for kiln in kilns if size == 0 or random.random() < 0.4]
    for i, pot in enumerate(pots):
        # the example shows every condition, so that their names are known
        init += [f"{conditions[i] if size == 0 else random.choice(conditions)} {pot}", f"on-bench {pot}"]
    goal = [f"finished {pot}" for pot in pots] + [f"on-bench {random.choice(pots)}"]
    return {"pot": pots, "kiln": kilns, "shelf": shelves}, init, goal
