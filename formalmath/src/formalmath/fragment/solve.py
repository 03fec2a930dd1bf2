"""Exact solutions of equations given only as functions: by interpolation, elimination and Gauss.

Solutions are candidates for the refuter, which checks every hypothesis again, so nothing here needs to be complete.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import Unsure
from . import numbers as n

POINTS = tuple(map(Fraction, (0, 1, -1, 2, -2, 3, 5, 7, -3, 4)))  # the roots of small denominators stand first
DEGREE = 4
Equation = Callable[[dict[str, Any]], Any]


def roots(f: Callable[[Any], Any], kind: str) -> list[Any]:
    """Exact roots of f in a type, where f is a polynomial of degree ≤ 4 or a quotient of quadratics.

    Roots outside ℚ are given in ℚ(√d); other irrational ones are left out. A function that vanishes at every point
    tried gives none.
    """
    points = [abs(p) for p in range(10)] if kind == "ℕ" else [int(p) for p in POINTS] if kind == "ℤ" else POINTS
    values: list[Fraction] = []
    for p in points:
        try:
            value = f(p)
        except (Unsure, ZeroDivisionError):
            return []
        if not isinstance(value, int | Fraction):
            return []
        values.append(Fraction(value))
    xs = [Fraction(p) for p in points]
    coefficients = interpolated(xs, values)
    if coefficients is None:
        numerator = rational_numerator(xs, values)
        if numerator is None:
            return []
        coefficients = numerator
    found = polynomial_roots(coefficients)
    if kind in ("ℚ", "ℝ"):
        return [r for r in found if kind == "ℝ" or isinstance(r, Fraction)]
    whole = [int(r) for r in found if isinstance(r, Fraction) and r.denominator == 1]
    return [r for r in whole if kind == "ℤ" or r >= 0]


def interpolated(xs: Sequence[Fraction], ys: Sequence[Fraction]) -> list[Fraction] | None:
    """Coefficients from the constant up, if all points lie on one polynomial of degree ≤ 4 (by Newton's form)."""
    size = DEGREE + 1
    table = list(ys[:size])
    for level in range(1, size):
        for i in range(size - 1, level - 1, -1):
            table[i] = (table[i] - table[i - 1]) / (xs[i] - xs[i - level])
    coefficients = [Fraction(0)]
    for i in range(size - 1, -1, -1):  # multiply by (x - xs[i]) and add table[i]
        shifted = [Fraction(0), *coefficients]
        coefficients = [a - xs[i] * b for a, b in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
        coefficients[0] += table[i]
    while coefficients and coefficients[-1] == 0:
        coefficients.pop()
    for x, y in zip(xs[size:], ys[size:], strict=True):
        if evaluate(coefficients, x) != y:
            return None
    return coefficients


def rational_numerator(xs: Sequence[Fraction], ys: Sequence[Fraction]) -> list[Fraction] | None:
    """The numerator of P/Q through the points, of the least degrees up to 3 and 2; Q is monic in its constant or top
    term."""
    for top, bottom in ((1, 1), (2, 1), (2, 2), (3, 2)):
        for anchor in (0, bottom):
            free = [k for k in range(bottom + 1) if k != anchor]
            rows = [[x**k for k in range(top + 1)] + [-y * x**k for k in free] for x, y in zip(xs, ys, strict=True)]
            right = [y * x**anchor for x, y in zip(xs, ys, strict=True)]
            size = top + 1 + bottom
            # the first points, where Lean's x / 0 = 0 may bend the function, are left out of the fit
            solution = gauss([r[:] for r in rows[3 : 3 + size]], right[3 : 3 + size])
            rest = zip(rows[3 + size :], right[3 + size :], strict=True)
            if solution is not None and all(sum(a * b for a, b in zip(r, solution, strict=True)) == v for r, v in rest):
                return solution[: top + 1]
    return None


def evaluate(coefficients: Sequence[Fraction], x: Any) -> Any:
    result: Any = Fraction(0)
    for c in reversed(coefficients):
        result = result * x + c
    return result


def polynomial_roots(coefficients: Sequence[Fraction]) -> list[Any]:
    """Rational roots, then those of a remaining quadratic."""
    coefficients = list(coefficients)
    while coefficients and coefficients[-1] == 0:
        coefficients.pop()
    found: list[Any] = []
    if len(coefficients) > 3:
        with np.errstate(all="ignore"):
            try:
                approximations = np.roots([float(c) for c in reversed(coefficients)])
            except (np.linalg.LinAlgError, OverflowError, ValueError):
                approximations = np.array([])
        for z in approximations:
            if abs(z.imag) < 1e-6 * (1 + abs(z)) and np.isfinite(z.real) and len(coefficients) > 3:
                root = Fraction(float(z.real)).limit_denominator(2000)
                if evaluate(coefficients, root) == 0:
                    if root not in found:
                        found.append(root)
                    coefficients = deflated(coefficients, root)
    if len(coefficients) == 2:
        found.append(-coefficients[0] / coefficients[1])
    elif len(coefficients) == 3:
        c, b, a = coefficients
        discriminant = b * b - 4 * a * c
        if discriminant >= 0:
            root = n.sqrt(discriminant)
            if not isinstance(root, n.Ball):
                found += [(-b + root) * (1 / (2 * a)), (-b - root) * (1 / (2 * a))]
    return found


def deflated(coefficients: Sequence[Fraction], root: Fraction) -> list[Fraction]:
    result, carry = [], Fraction(0)
    for c in reversed(coefficients):
        carry = c + carry * root
        result.append(carry)
    return result[:-1][::-1]


def gauss(rows: list[list[Fraction]], right: list[Fraction]) -> list[Fraction] | None:
    """The solution of a square or overdetermined system with full column rank; None where there is none or many."""
    width = len(rows[0])
    matrix = [[*row, r] for row, r in zip(rows, right, strict=True)]
    for column in range(width):
        pivot = next((i for i in range(column, len(matrix)) if matrix[i][column] != 0), None)
        if pivot is None:
            return None
        matrix[column], matrix[pivot] = matrix[pivot], matrix[column]
        scale = matrix[column][column]
        matrix[column] = [v / scale for v in matrix[column]]
        for i in range(len(matrix)):
            if i != column and matrix[i][column] != 0:
                factor = matrix[i][column]
                matrix[i] = [v - factor * w for v, w in zip(matrix[i], matrix[column], strict=True)]
    if any(row[width] != 0 for row in matrix[width:]):
        return None
    return [row[width] for row in matrix[:width]]


def solutions(
    equations: Sequence[Equation], kinds: Mapping[str, str], env: dict[str, Any], rng: random.Random, depth: int = 0
) -> Iterator[dict[str, Any]]:
    """Assignments of the variables that satisfy the equations, as far as elimination finds them.

    Args:
        equations: functions of an assignment that must vanish.
        kinds: the unknowns' types.
        env: values already chosen.
    """
    unknowns = [x for x in kinds if x not in env]
    if not equations or not unknowns:
        yield {**env, **{x: sample(kinds[x], rng) for x in unknowns}}
        return
    if depth > 6:
        return
    if len(unknowns) > len(equations):
        chosen = rng.sample(unknowns, len(unknowns) - len(equations))
        yield from solutions(equations, kinds, {**env, **{x: sample(kinds[x], rng) for x in chosen}}, rng, depth + 1)
        return
    if len(unknowns) == 1:
        (x,) = unknowns
        for root in roots(lambda v: equations[0]({**env, x: v}), kinds[x]):
            yield {**env, x: root}
        return
    linear = linear_solution(equations, unknowns, kinds, env)
    if linear is not None:
        yield linear
        return
    for i, equation in enumerate(equations):
        for x in unknowns:
            others = {**env, **{y: sample(kinds[y], rng) for y in unknowns if y != x}}
            if affine_root(equation, x, others, kinds[x], check=True) is None:
                continue

            def substituted(g: Equation, x: str = x, equation: Equation = equation) -> Equation:
                def call(e: dict[str, Any]) -> Any:
                    value = affine_root(equation, x, e, kinds[x])
                    if value is None:
                        raise Unsure("no root")
                    return g({**e, x: value})

                return call

            rest = [substituted(g) for j, g in enumerate(equations) if j != i]
            fewer = {y: k for y, k in kinds.items() if y != x}
            for found in solutions(rest, fewer, env, rng, depth + 1):
                value = affine_root(equation, x, found, kinds[x])
                if value is not None:
                    yield {**found, x: value}
            return
    x = rng.choice(unknowns)
    yield from solutions(equations[:-1] or equations, kinds, {**env, x: sample(kinds[x], rng)}, rng, depth + 1)


def affine_root(g: Equation, x: str, env: Mapping[str, Any], kind: str, check: bool = False) -> Any:
    """The root of g in x where g is a + b·x with b ≠ 0; None otherwise. `check` tests a third point."""
    try:
        one: Any = Fraction(1) if kind in ("ℚ", "ℝ") else 1
        a, s, t = g({**env, x: one * 0}), g({**env, x: one}), g({**env, x: one * 2}) if check else None
        slope = s - a
        if n.sign(slope) in (0, None) or (check and n.equal(t - s, slope) is not True):
            return None
        value = n.divide(-a, slope)
    except (Unsure, ZeroDivisionError):
        return None
    if kind in ("ℕ", "ℤ"):
        value = Fraction(value) if isinstance(value, int | Fraction) else None
        if value is None or value.denominator != 1 or (kind == "ℕ" and value < 0):
            return None
        return int(value)
    return None if isinstance(value, n.Ball) else value


def linear_solution(
    equations: Sequence[Equation], unknowns: Sequence[str], kinds: Mapping[str, str], env: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The one solution of a system that is affine in all unknowns together."""

    def at(values: Sequence[int]) -> list[Any]:
        point = {x: Fraction(v) if kinds[x] in ("ℚ", "ℝ") else v for x, v in zip(unknowns, values, strict=True)}
        return [g({**env, **point}) for g in equations]

    size = len(unknowns)
    try:
        base = at([0] * size)
        columns = [at([int(i == j) for j in range(size)]) for i in range(size)]
        probe = [3 * i + 2 for i in range(size)]
        probed = at(probe)
        if not all(isinstance(v, int | Fraction) for c in (*columns, base, probed) for v in c):
            return None
        rows = [[Fraction(columns[i][k]) - base[k] for i in range(size)] for k in range(len(equations))]
        if any(
            base[k] + sum(r * p for r, p in zip(rows[k], probe, strict=True)) != probed[k] for k in range(len(rows))
        ):
            return None
        solution = gauss(rows, [-Fraction(b) for b in base])
    except (Unsure, ZeroDivisionError):
        return None
    if solution is None:
        return None
    found = dict(env)
    for x, value in zip(unknowns, solution, strict=True):
        if kinds[x] in ("ℕ", "ℤ"):
            if value.denominator != 1 or (kinds[x] == "ℕ" and value < 0):
                return None
            found[x] = int(value)
        else:
            found[x] = value
    return found


WHOLE = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 50, 100)


def sample(kind: str, rng: random.Random) -> Any:
    """A value of a type, small ones and 0, ±1 often."""
    if kind == "ℕ":
        return rng.choice(WHOLE)
    if kind == "ℤ":
        return rng.choice(WHOLE) * rng.choice((1, -1))
    if rng.random() < 0.6:
        return Fraction(rng.choice((0, 1, -1, 2, -2, 3, -3, 4, 5, 10)))
    return Fraction(rng.randint(-12, 12), rng.choice((1, 2, 3, 4, 5, 10)))
