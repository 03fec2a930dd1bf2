"""Sets of scenes with their questions: training, test, and the same scenes moved; disjoint by the programs' digests."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from .errors import SGPError
from .questions import make_questions
from .records import Item
from .scenes import Scene, sample_scene


@dataclass(frozen=True, slots=True)
class Asked:
    """A scene and its questions."""

    scene: Scene
    items: tuple[Item, ...]


def scene_set(
    count: int,
    seed: str,
    layouts: Mapping[str, float],
    dialect: str = "primitive",
    taken: set[str] | None = None,
) -> list[Asked]:
    """`count` scenes, layouts in the shares asked for and in random order, none of those in `taken`, to which the
    new ones are added.

    Raises:
        SGPError: shares that are not positive.
    """
    if not layouts or any(not share > 0 for share in layouts.values()):
        raise SGPError(f"layouts must have positive shares, not {dict(layouts)}")
    rng = random.Random(f"scenes/{seed}")
    taken = taken if taken is not None else set()
    names, shares = list(layouts), [s / sum(layouts.values()) for s in layouts.values()]
    # as even as whole numbers allow, whatever the seed
    order = [n for n, s in zip(names, shares, strict=True) for _ in range(round(s * count))][:count]
    order += rng.choices(names, shares, k=count - len(order))
    rng.shuffle(order)
    found = []
    for layout in order:
        while True:
            scene = sample_scene(rng, layout, dialect)
            if scene.digest not in taken:
                break
        taken.add(scene.digest)
        found.append(Asked(scene, tuple(make_questions(scene, rng, group=f"{seed}-{scene.digest}"))))
    return found
