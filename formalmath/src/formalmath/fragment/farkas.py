"""`linarith`, `nlinarith` and the linear part of `omega`: contradictions with an exact certificate.

A comparison is p ⋈ 0 with a polynomial p and ⋈ one of >, ≥, =. Hypotheses contradict one another if λᵢ ≥ 0 (any sign
for equations) exist with Σ λᵢ pᵢ = 0 and Σ λᵢ > 0 over the strict ones (Farkas). A linear program finds the support in
floats; the multipliers are then solved for exactly and checked, so a success is a proof.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations_with_replacement
from math import gcd, lcm

import numpy as np
from scipy.optimize import linprog

from .polynomial import ONE, Monomial, Poly, add, constant, degree, multiply
from .solve import gauss

Comparison = tuple[Poly, str]  # p ⋈ 0
PRODUCTS = 16  # comparisons that nlinarith multiplies with one another
UNKNOWNS, ROWS = 600, 600


def contradiction(comparisons: Sequence[Comparison]) -> list[Fraction] | None:
    """Multipliers of a contradiction (the last one belongs to 1 > 0), or None."""
    given = [*comparisons, (constant(1), ">")]
    monomials: list[Monomial] = sorted({m for p, _ in given for m in p})
    if len(given) > UNKNOWNS or len(monomials) > ROWS:
        return None
    rows = {m: i for i, m in enumerate(monomials)}
    matrix = np.zeros((len(monomials) + 1, len(given)))
    for j, (p, relation) in enumerate(given):
        for m, c in p.items():
            matrix[rows[m], j] = float(c)
        matrix[-1, j] = relation == ">"
    target = np.zeros(len(monomials) + 1)
    target[-1] = 1
    scale = np.abs(matrix[:-1]).max(axis=0)
    scale[scale == 0] = 1
    bounds = [(None, None) if relation == "=" else (0, None) for _, relation in given]
    with np.errstate(all="ignore"):
        found = (
            linprog(np.ones(len(given)), A_eq=matrix / scale, b_eq=target, bounds=bounds, method="highs-ds")
            if not any(r == "=" for _, r in given)
            else linprog(np.zeros(len(given)), A_eq=matrix / scale, b_eq=target, bounds=bounds, method="highs-ds")
        )
    if found.status != 0 or found.x is None:
        return None
    support = [j for j, x in enumerate(found.x) if abs(x) > 1e-10]
    exact_rows = [[given[j][0].get(m, Fraction(0)) for j in support] for m in monomials]
    exact_rows.append([Fraction(int(given[j][1] == ">")) for j in support])
    right = [Fraction(0)] * len(monomials) + [Fraction(1)]
    solution = gauss(exact_rows, right) if support else None
    if solution is None:
        return None
    if any(x < 0 for j, x in zip(support, solution, strict=True) if given[j][1] != "="):
        return None
    multipliers = [Fraction(0)] * len(given)
    for j, x in zip(support, solution, strict=True):
        multipliers[j] = x
    return multipliers if certified(given, multipliers) else None


def whole_contradiction(comparisons: Sequence[Comparison]) -> object | None:
    """As `contradiction`, for atoms that are whole: equations are solved for an atom with coefficient ±1, and every
    comparison is divided by the common divisor of its coefficients and rounded (the first steps of the omega test).
    """
    current = [tightened(c) for c in comparisons]
    for _ in range(40):
        if None in current:
            return True
        known: list[Comparison] = [c for c in current if c is not None]
        signs = {(frozenset(p.items())): r for p, r in known}
        equation = None
        for p, r in known:
            both = r == "=" or (r == "≥" and signs.get(frozenset(add({}, p, -1).items())) == "≥")
            if both and (atom := next((m for m, c in p.items() if m != ONE and abs(c) == 1), None)) is not None:
                equation = (p, atom)
                break
        if equation is None:
            return contradiction(known)
        p, atom = equation
        value = add({}, {m: c for m, c in p.items() if m != atom}, -1 / p[atom])
        opposite = add({}, p, -1)
        rest = [c for c in known if c[0] not in (p, opposite)]
        current = [
            tightened((add({m: c for m, c in q.items() if m != atom}, value, q.get(atom, 0)), r)) for q, r in rest
        ]
        current += [] if current else [(constant(1), ">")]
    return None


def tightened(comparison: Comparison) -> Comparison | None:
    """A comparison of whole numbers in lowest terms; None if it cannot hold."""
    p, r = comparison
    scale = lcm(*(c.denominator for c in p.values()), 1)
    whole = {m: int(c * scale) for m, c in p.items()}
    common = gcd(*(c for m, c in whole.items() if m != ONE), 0)
    offset = whole.get(ONE, 0) - (1 if r == ">" else 0)
    if common == 0:
        holds = offset == 0 if r == "=" else offset >= 0
        return (constant(1), ">") if holds else None
    if r == "=" and offset % common:
        return None
    scaled: Poly = {m: Fraction(c // common) for m, c in whole.items() if m != ONE}
    return add(scaled, constant(offset // common)), "=" if r == "=" else "≥"


def certified(given: Sequence[Comparison], multipliers: Sequence[Fraction]) -> bool:
    """Whether the multipliers really prove the contradiction; exact."""
    total: Poly = {}
    strict = Fraction(0)
    for (p, relation), x in zip(given, multipliers, strict=True):
        if relation != "=" and x < 0:
            return False
        total = add(total, p, x)
        strict += x if relation == ">" else 0
    return not total and strict > 0


def products(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """What nlinarith adds: products of pairs, and squares of the atoms that occur squared."""
    chosen = [c for c in comparisons if any(m != ONE for m in c[0])][-PRODUCTS:]
    found: list[Comparison] = []
    for (p, r), (q, s) in combinations_with_replacement(chosen, 2):
        if max(map(degree, p), default=0) + max(map(degree, q), default=0) > 6:
            continue
        relation = "=" if "=" in (r, s) else ">" if r == s == ">" else "≥"
        found.append((multiply(p, q), relation))
    atoms = sorted({a for p, _ in comparisons for m in p for a, e in m if e >= 2 or degree(m) >= 2})[:8]
    found += [({((a, 2),): Fraction(1)}, "≥") for a in atoms]
    return found


def bounds_of(comparisons: Sequence[Comparison], atom: Monomial) -> tuple[float, float]:
    """The least and greatest value of an atom under linear comparisons, in floats; infinite where it has none."""
    monomials = sorted({m for p, _ in comparisons for m in p if m != ONE} | {atom})
    place = {m: i for i, m in enumerate(monomials)}
    upper, limit, equal, value = [], [], [], []
    for p, relation in comparisons:
        row = np.zeros(len(monomials))
        for m, c in p.items():
            if m != ONE:
                row[place[m]] = float(c)
        offset = float(p.get(ONE, 0))
        if relation == "=":
            equal.append(row)
            value.append(-offset)
        else:
            upper.append(-row)
            limit.append(offset)
    found = []
    for direction in (1, -1):
        goal = np.zeros(len(monomials))
        goal[place[atom]] = direction
        result = linprog(
            goal,
            A_ub=np.array(upper) if upper else None,
            b_ub=limit or None,
            A_eq=np.array(equal) if equal else None,
            b_eq=value or None,
            bounds=[(None, None)] * len(monomials),
            method="highs",
        )
        found.append(direction * result.fun if result.status == 0 else -direction * float("inf"))
    return found[0], found[1]
