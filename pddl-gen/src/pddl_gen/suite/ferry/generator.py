"""Cars in harbours that are to get to other harbours."""

from __future__ import annotations

from random import Random

from .. import numbered


def generate(random: Random, size: int) -> tuple[dict[str, list[str]], list[str], list[str]]:
    cars, harbours = numbered("car", 2 + size), numbered("harbour", 2 + (size + 1) // 2)
    init = [f"ferry-at {random.choice(harbours)}", "empty-ferry"]
    goal = []
    for car in cars:
        here, there = random.sample(harbours, 2)
        init.append(f"at {car} {here}")
        goal.append(f"at {car} {there}")
    return {"car": cars, "harbour": harbours}, init, goal
