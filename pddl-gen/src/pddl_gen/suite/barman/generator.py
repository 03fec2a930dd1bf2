"""Shots and cocktails that are to be in certain glasses."""

from __future__ import annotations

from random import Random

from .. import numbered


def generate(random: Random, size: int) -> tuple[dict[str, list[str]], list[str], list[str]]:
    ingredients = numbered("ingredient", 2 if size < 3 else 3)
    cocktails = numbered("cocktail", 1)
    shots = numbered("shot", (1, 1, 2, 2)[size])
    dispensers = numbered("dispenser", len(ingredients))
    hands, levels = ["left", "right"], ["l0", "l1", "l2"]
    containers = [*shots, "shaker1"]
    init = [f"on-table {c}" for c in containers] + [f"hand-empty {h}" for h in hands]
    for c in containers:
        init += [f"clean {c}", f"empty {c}"]
    init += [f"dispenses {d} {i}" for d, i in zip(dispensers, ingredients, strict=True)]
    init += ["shaker-level shaker1 l0", "empty-level shaker1 l0", "next l0 l1", "next l1 l2"]
    for cocktail in cocktails:
        first, second = random.sample(ingredients, 2)
        init += [f"part-1 {cocktail} {first}", f"part-2 {cocktail} {second}"]
    wanted = (
        [ingredients[0]] if size == 0 else [cocktails[0]] if size == 1 else [cocktails[0], random.choice(ingredients)]
    )
    goal = [f"contains {shot} {beverage}" for shot, beverage in zip(shots, wanted, strict=True)]
    if size == 3:
        goal += ["clean shaker1"]
    objects = {
        "hand": hands,
        "level": levels,
        "ingredient": ingredients,
        "cocktail": cocktails,
        "dispenser": dispensers,
        "shot": shots,
        "shaker": ["shaker1"],
    }
    return objects, init, goal
