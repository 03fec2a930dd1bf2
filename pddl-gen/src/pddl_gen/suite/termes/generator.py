"""Towers on a small grid; the depot lies in a corner."""

from __future__ import annotations

from random import Random


def generate(random: Random, size: int) -> tuple[dict[str, list[str]], list[str], list[str]]:
    rows, columns = ((2, 2), (2, 2), (2, 3), (2, 3))[size]
    top = (1, 2, 1, 2)[size]
    cells = [f"c-{r}-{c}" for r in range(rows) for c in range(columns)]
    levels = [f"n{i}" for i in range(top + 1)]
    init = ["ground n0", f"depot {cells[0]}", f"robot-at {cells[0]}"]
    init += [f"next {levels[i + 1]} {levels[i]}" for i in range(top)]
    for a in cells:
        for b in cells:
            (r, c), (q, d) = (tuple(map(int, x.split("-")[1:])) for x in (a, b))
            if abs(r - q) + abs(c - d) == 1:
                init.append(f"neighbor {a} {b}")
    init += [f"height {cell} n0" for cell in cells]
    free = cells[1:]
    target = random.choice(free)
    goal = [f"height {cell} {levels[-1] if cell == target else 'n0'}" for cell in cells]
    if size == 2:
        other = random.choice([c for c in free if c != target])
        goal = [f"height {cell} {'n1' if cell in (target, other) else 'n0'}" for cell in cells]
    return {"cell": cells, "level": levels}, init, [*goal, "not has-block"]
