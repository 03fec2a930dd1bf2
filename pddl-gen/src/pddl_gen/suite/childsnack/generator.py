"""Children at tables, some of them allergic, and as much bread and topping as they need."""

from __future__ import annotations

from random import Random

from .. import numbered


def generate(random: Random, size: int) -> tuple[dict[str, list[str]], list[str], list[str]]:
    count = (1, 2, 2, 3)[size]
    children, breads, toppings = numbered("child", count), numbered("bread", count), numbered("topping", count)
    sandwiches, tables = numbered("sandwich", count), numbered("table", 1 + (size > 0))
    trays = numbered("tray", 1 + (size == 2))
    allergic = random.sample(children, 1)
    init = [f"tray-at {tray} kitchen" for tray in trays]
    init += [f"bread-in-kitchen {b}" for b in breads] + [f"topping-in-kitchen {t}" for t in toppings]
    init += [f"gluten-free-bread {b}" for b in random.sample(breads, len(allergic))]
    init += [f"gluten-free-topping {t}" for t in random.sample(toppings, len(allergic))]
    init += [f"not-made {s}" for s in sandwiches]
    init += [f"allergic {c}" for c in allergic]
    init += [f"waiting {c} {random.choice(tables)}" for c in children]
    objects = {
        "child": children,
        "bread": breads,
        "topping": toppings,
        "sandwich": sandwiches,
        "tray": trays,
        "place": tables,
    }
    return objects, init, [f"served {c}" for c in children]
