"""Studies that need no model.

python -m pddl_gen.study mutants [--n 240] [--seed 0]     what each rung sees of single edits of the suite
python -m pddl_gen.study simulate [--n 2000] [--seed 0]   the engine against its closed forms
python -m pddl_gen.study perturb NAME                     write a suite domain's perturbed/ files anew
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from typing import Any

from . import suite
from .equivalence import Equivalence, Reference, compare
from .mutate import KINDS, Mutant, equivalents, mutants, sample
from .parse import parse_domain
from .planner import Limits
from .stats import wilson
from .syntax import Domain, print_domain
from .valmode import val_verdict

SEEN = ("fits", "solvable", "sound", "complete", "cross", "cost_equal", "plan_match", "bisimilar", "same_schemas")
EDITS = 10  # different ones in each perturbed/ folder
LABELLED = 2  # problems on which perturbed/ labels hold


def domain_of(name: str) -> Domain:
    found = parse_domain(suite.load(name).domain).value
    assert found is not None
    return found


def study_mutants(n: int, seed: int, names: Sequence[str] = suite.NAMES) -> dict[str, Any]:
    """Rungs of n single edits, spread evenly over the domains, each on the smallest held-out problem."""
    rng = random.Random(seed)
    counts = dict.fromkeys(("val_pass", *SEEN), 0)
    unknown = dict.fromkeys(("val_pass", *SEEN), 0)
    total = 0
    for i, name in enumerate(names):
        domain = domain_of(name)
        limits = Limits(60, 4096, 20_000)
        reference = Reference(domain, suite.load(name).problems[:1], limits)
        share = n // len(names) + (i < n % len(names))
        for mutant in sample(domain, share, rng):
            total += 1
            text = print_domain(mutant.domain)
            counts["val_pass"] += val_verdict(text).passes
            found = compare(reference, mutant.domain, state_cap=20_000)
            for rung in SEEN:
                value = getattr(found, rung)
                counts[rung] += value is True
                unknown[rung] += value is None
    return {"edits": total, "counts": counts, "unknown": unknown}


def print_mutants(found: dict[str, Any]) -> None:
    n = found["edits"]
    print(f"{n} single edits ({', '.join(KINDS)}), one small problem each\n")
    print("| rung | pass | % | 95 % | unknown |\n| --- | --- | --- | --- | --- |")
    for rung, count in found["counts"].items():
        low, high = wilson(count, n)
        share = f"{100 * count / n:.0f} | {100 * low:.0f}-{100 * high:.0f}"
        print(f"| {rung} | {count} | {share} | {found['unknown'][rung]} |")


def label(mutant: Mutant, found: Equivalence, equivalent: bool) -> dict[str, Any]:
    """What the header of a perturbed file says; `fails` names the rungs that are False."""
    fails = [r for r in SEEN if getattr(found, r) is False]
    return {"kind": mutant.kind, "what": mutant.what, "equivalent": equivalent, "fails": fails}


def perturb(name: str) -> int:
    """Writes perturbed/: the equivalent edits, and edits of every kind that a witness proves to be different."""
    domain = domain_of(name)
    reference = Reference(domain, suite.load(name).problems[:LABELLED])
    folder = suite.FOLDER / name / "perturbed"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.pddl"):
        old.unlink()
    chosen = [(m, True) for m in equivalents(domain, random.Random(name))]
    by_kind: dict[str, list[Mutant]] = {}
    for m in mutants(domain):
        by_kind.setdefault(m.kind, []).append(m)
    pool = sample(domain, 4 * EDITS, random.Random(name))
    number = different = 0
    for mutant, equivalent in [*chosen, *((m, False) for m in pool)]:
        if not equivalent and different == EDITS:
            break
        found = compare(reference, mutant.domain)
        if not equivalent and found.witness is None:
            continue
        if equivalent and found.bisimilar is not True:
            raise AssertionError(f"{name}: {mutant.what} is not bisimilar: {found.witness}")
        different += not equivalent
        number += 1
        head = json.dumps(label(mutant, found, equivalent))
        path = folder / f"{number:02d}-{mutant.kind}.pddl"
        path.write_text(f"; {head}\n{print_domain(mutant.domain)}", encoding="utf-8")
    return number


def print_simulation(n: int, seed: int) -> None:
    from .experiment import simulate, simulations

    for name, (model, size) in list(simulations().items())[:2]:
        found = simulate(model, size, 5, n, seed)
        print(f"{name}, n = {n}")
        for t in (0, 1, 5):
            for words, count, value in (
                ("single", found["single"][t], model.single(t)),
                ("BoN-8", found["bon8"][t], model.bon_then_ivml(8, t)),
            ):
                z = (count / n - value) / (value * (1 - value) / n) ** 0.5
                print(f"  {words}, T = {t}: {count / n:.4f}, closed form {value:.4f}, z = {z:+.2f}")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m pddl_gen.study", description="Studies without a model.")
    kinds = parser.add_subparsers(dest="what", required=True)
    for name, count in (("mutants", 240), ("simulate", 2000)):
        one = kinds.add_parser(name)
        one.add_argument("--n", type=int, default=count)
        one.add_argument("--seed", type=int, default=0)
    kinds.add_parser("perturb").add_argument("name", choices=suite.NAMES)
    given = parser.parse_args(arguments)
    if given.what == "mutants":
        print_mutants(study_mutants(given.n, given.seed))
    elif given.what == "simulate":
        print_simulation(given.n, given.seed)
    else:
        print(f"{given.name}: {perturb(given.name)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
