"""Balls in rooms that belong into other rooms."""

from __future__ import annotations

from random import Random

from .. import numbered


def generate(random: Random, size: int) -> tuple[dict[str, list[str]], list[str], list[str]]:
    rooms, balls = numbered("room", 2 + size // 2), numbered("ball", 2 + size)
    grippers = ["left", "right"]
    init = [f"robot-at {random.choice(rooms)}", *(f"free {g}" for g in grippers)]
    goal = []
    for ball in balls:
        here, there = random.sample(rooms, 2)
        init.append(f"at {ball} {here}")
        goal.append(f"at {ball} {there}")
    return {"room": rooms, "ball": balls, "gripper": grippers}, init, goal
