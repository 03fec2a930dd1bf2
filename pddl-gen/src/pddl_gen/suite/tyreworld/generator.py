"""One flat tyre; the sizes differ in what is at hand at the beginning and what is wanted at the end."""

from __future__ import annotations

from random import Random

TOOLS = ("wrench1", "jack1", "pump1")


def generate(random: Random, size: int) -> tuple[dict[str, list[str]], list[str], list[str]]:
    objects = {
        "container": ["boot"],
        "hub": ["hub1"],
        "nut": ["nut1"],
        "wheel": ["flat1", "spare1"],
        "wrench": ["wrench1"],
        "jack": ["jack1"],
        "pump": ["pump1"],
    }
    init = ["on-hub flat1 hub1", "nut-of nut1 hub1", "tight nut1 hub1", "on-ground hub1", "intact spare1"]
    out = random.sample([*TOOLS, "spare1"], (3, 2, 1, 0)[size])
    init += [f"have {x}" if x in out else f"in {x} boot" for x in (*TOOLS, "spare1")]
    if size == 0 or (out and random.random() < 0.5):
        init.append("open boot")
    if size == 0:
        goal = ["on-hub spare1 hub1", "inflated spare1"]
    elif size == 1:
        goal = ["on-hub spare1 hub1", "inflated spare1", "on-ground hub1", "tight nut1 hub1"]
    else:
        goal = ["on-hub spare1 hub1", "inflated spare1", "on-ground hub1", "tight nut1 hub1", "in flat1 boot"]
        goal += [f"in {tool} boot" for tool in TOOLS]
    if size == 3:
        goal.append("not open boot")
    return objects, init, goal
