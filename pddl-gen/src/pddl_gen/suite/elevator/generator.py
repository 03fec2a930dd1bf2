"""Passengers on the floors of a house."""

from __future__ import annotations

from random import Random

from .. import numbered


def generate(random: Random, size: int) -> tuple[dict[str, list[str]], list[str], list[str]]:
    floors, passengers = numbered("floor", 3 + size), numbered("guest", 1 + size)
    init = [f"lift-at {random.choice(floors)}"]
    init += [f"above {low} {high}" for i, low in enumerate(floors) for high in floors[i + 1 :]]
    for passenger in passengers:
        here, there = random.sample(floors, 2)
        init += [f"origin {passenger} {here}", f"destination {passenger} {there}"]
    return {"passenger": passengers, "floor": floors}, init, [f"served {p}" for p in passengers]
