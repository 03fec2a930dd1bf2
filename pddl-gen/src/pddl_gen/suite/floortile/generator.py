"""A floor whose rows, but for the lowest, are to be painted in columns of alternating colors."""

from __future__ import annotations

from random import Random

COSTS = True


def generate(random: Random, size: int) -> tuple[dict[str, list[str]], list[str], list[str]]:
    rows, columns = ((2, 2), (3, 2), (2, 3), (4, 2))[size]
    robots = ["robot1", "robot2"] if size == 2 else ["robot1"]
    colors = ["white", "black"]
    tile = {(r, c): f"tile-{r}-{c}" for r in range(rows) for c in range(columns)}
    at = dict(zip(robots, random.sample([t for (r, _), t in tile.items() if r == 0], len(robots)), strict=True))
    init = [f"above {tile[r + 1, c]} {tile[r, c]}" for r in range(rows - 1) for c in range(columns)]
    init += [f"right-of {tile[r, c + 1]} {tile[r, c]}" for r in range(rows) for c in range(columns - 1)]
    init += [f"robot-at {robot} {place}" for robot, place in at.items()]
    init += [f"clear {t}" for t in tile.values() if t not in at.values()]
    init += [f"robot-has {robot} {random.choice(colors)}" for robot in robots]
    init += [f"available {color}" for color in colors]
    first = random.randrange(2)
    goal = [f"painted {tile[r, c]} {colors[(r + c + first) % 2]}" for r in range(1, rows) for c in range(columns)]
    return {"robot": robots, "tile": list(tile.values()), "color": colors}, [*init, "= (total-cost) 0"], goal
