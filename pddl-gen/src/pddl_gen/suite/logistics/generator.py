"""Packages between the places of two or three cities, each with one truck and one airport."""

from __future__ import annotations

from random import Random

from .. import numbered


def generate(random: Random, size: int) -> tuple[dict[str, list[str]], list[str], list[str]]:
    cities = numbered("city", 3 if size == 3 else 2)
    airports = [f"{city}-airport" for city in cities]
    offices = [f"{city}-{name}" for city in cities for name in (("office", "shop") if size == 2 else ("office",))]
    trucks, packages = numbered("truck", len(cities)), numbered("package", (1, 2, 2, 2)[size])
    places = airports + offices
    init = [f"in-city {place} {place.split('-')[0]}" for place in places]
    for truck, city in zip(trucks, cities, strict=True):
        init.append(f"at {truck} {random.choice([p for p in places if p.startswith(city)])}")
    init.append(f"at plane1 {random.choice(airports)}")
    goal = []
    for package in packages:
        here, there = random.sample(offices, 2)
        init.append(f"lies {package} {here}")
        goal.append(f"lies {package} {there}")
    objects = {
        "city": cities,
        "airport": airports,
        "place": offices,
        "truck": trucks,
        "airplane": ["plane1"],
        "package": packages,
    }
    return objects, init, goal
