"""A flight of locks between reaches, one keeper, barges with crates, sometimes a skiff that is in the way."""

from __future__ import annotations

from random import Random

from .. import numbered


def generate(random: Random, size: int) -> tuple[dict[str, list[str]], list[str], list[str]]:
    locks = numbered("lock", (1, 2, 2, 3)[size])
    reaches = numbered("reach", len(locks) + 1)
    quays = [*reaches, "basin"] if size != 2 else reaches
    barges, skiffs, crates = ["barge1"], ["skiff1"] if size in (0, 2) else [], numbered("crate", 1 + (size == 1))
    init = [f"tends keeper1 {random.choice(locks)}"]
    for lock, low, high in zip(locks, reaches, reaches[1:], strict=False):
        init += [f"below {lock} {low}", f"above {lock} {high}", f"vacant {lock}", f"wide {lock}"]
    init += [f"full {lock}" for lock in locks if random.random() < 0.5]
    if "basin" in quays:
        near = random.choice(reaches)
        init += [f"joined basin {near}", f"joined {near} basin"]
    init += [f"moored {boat} {random.choice(reaches)}" for boat in barges + skiffs]
    goal = []
    for crate in crates:
        here, there = random.sample(quays, 2)
        init.append(f"on-quay {crate} {here}")
        goal.append(f"on-quay {crate} {there}")
    for skiff in skiffs:
        goal.append(f"moored {skiff} {random.choice(reaches)}")
    if size == 3:
        # a short cut for skiffs alone
        init += ["below narrow reach1", f"above narrow {reaches[-1]}", "vacant narrow"]
        locks = [*locks, "narrow"]
    objects = {
        "barge": barges,
        "skiff": skiffs,
        "lock": locks,
        "reach": quays,
        "keeper": ["keeper1"],
        "crate": crates,
    }
    return objects, init, goal
