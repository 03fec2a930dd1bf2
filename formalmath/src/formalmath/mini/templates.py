"""Templates of `mini`: each gives a problem in words, its answer, its Lean statement, and a proof of it.

Eight domains. Numbers are drawn so that every statement is true as written, ℕ subtraction and x / 0 = 0 included; the
proof is one that the fragment checker accepts (a test runs all of them).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

ALGEBRA, NUMBER, APPLIED, DISCRETE = "Algebra", "Number Theory", "Applied Mathematics", "Discrete Mathematics"
PRECALCULUS, GEOMETRY, SEQUENCES, CALCULUS = "Precalculus", "Geometry", "Sequences Series", "Calculus"
HEADER = "import Mathlib\n\n"


@dataclass(frozen=True)
class Item:
    """What a template makes. `lean` lacks the header; `proof` follows `:= by`, one tactic a line."""

    words: str
    answer: str
    lean: str
    proof: str


Maker = Callable[[random.Random], Item]
TEMPLATES: dict[str, tuple[str, Maker]] = {}


def template(domain: str) -> Callable[[Maker], Maker]:
    def add(make: Maker) -> Maker:
        TEMPLATES[make.__name__] = (domain, make)
        return make

    return add


def signed(value: int | Fraction) -> str:
    """A number as it stands after an operator."""
    return f"({value})" if value < 0 or (isinstance(value, Fraction) and value.denominator > 1) else str(value)


@template(ALGEBRA)
def linear_equation(r: random.Random) -> Item:
    a, x, b = r.randint(2, 9), r.randint(-9, 9), r.randint(1, 20)
    return Item(
        f"Solve {a}x + {b} = {a * x + b} for a real number x.",
        str(x),
        f"(x : ℝ) (h : {a} * x + {b} = {a * x + b}) : x = {x}",
        "linarith",
    )


@template(ALGEBRA)
def two_equations(r: random.Random) -> Item:
    x, y = r.randint(-9, 9), r.randint(-9, 9)
    a, b = r.sample(range(1, 7), 2)
    return Item(
        f"Real numbers x and y satisfy x + y = {x + y} and {a}x − {b}y = {a * x - b * y}. Find x.",
        str(x),
        f"(x y : ℝ) (h₁ : x + y = {x + y}) (h₂ : {a} * x - {b} * y = {a * x - b * y}) : x = {x}",
        "linarith",
    )


@template(ALGEBRA)
def sum_and_product(r: random.Random) -> Item:
    s, p = r.randint(3, 12), r.randint(1, 9)
    return Item(
        f"If x + y = {s} and xy = {p} for real x and y, what is x² + y²?",
        str(s * s - 2 * p),
        f"(x y : ℝ) (h₁ : x + y = {s}) (h₂ : x * y = {p}) : x ^ 2 + y ^ 2 = {s * s - 2 * p}",
        "nlinarith [h₁, h₂]",
    )


@template(ALGEBRA)
def square_expansion(r: random.Random) -> Item:
    a, b = r.randint(2, 9), r.randint(1, 9)
    return Item(
        f"Expand ({a}x + {b})² for real x.",
        f"{a * a}x² + {2 * a * b}x + {b * b}",
        f"(x : ℝ) : ({a} * x + {b}) ^ 2 = {a * a} * x ^ 2 + {2 * a * b} * x + {b * b}",
        "ring",
    )


@template(ALGEBRA)
def positive_root(r: random.Random) -> Item:
    a, b = r.randint(2, 9), r.randint(1, 9)
    return Item(
        f"Find the positive real number x with (x − {a})(x + {b}) = 0.",
        str(a),
        f"(x : ℝ) (h₀ : 0 < x) (h₁ : (x - {a}) * (x + {b}) = 0) : x = {a}",
        f"nlinarith [h₀, h₁, sq_nonneg (x - {a})]",
    )


@template(ALGEBRA)
def mean_inequality(r: random.Random) -> Item:
    a = r.randint(1, 6)
    return Item(
        f"Show that for positive reals x and y, {2 * a}xy is at most {a}x² + {a}y².",
        f"{2 * a}xy ≤ {a}x² + {a}y²",
        f"(x y : ℝ) (hx : 0 < x) (hy : 0 < y) : {2 * a} * x * y ≤ {a} * x ^ 2 + {a} * y ^ 2",
        "nlinarith [sq_nonneg (x - y)]",
    )


@template(ALGEBRA)
def reciprocal(r: random.Random) -> Item:
    a = r.randint(2, 20)
    return Item(
        f"A real x satisfies x − {a} = 0. What is {a} / x?",
        "1",
        f"(x : ℝ) (h₁ : x - {a} = 0) : {a} / x = 1",
        f"have h₂ : x = {a} := by linarith\nrw [h₂]\nnorm_num",
    )


@template(ALGEBRA)
def minimum_of_square(r: random.Random) -> Item:
    a, c = r.randint(1, 9), r.randint(1, 30)
    return Item(
        f"Find the least value of x² − {2 * a}x + {a * a + c} over the reals.",
        str(c),
        f"(x : ℝ) : {c} ≤ x ^ 2 - {2 * a} * x + {a * a + c}",
        f"nlinarith [sq_nonneg (x - {a})]",
    )


@template(NUMBER)
def remainder(r: random.Random) -> Item:
    m, k = r.randint(3, 9), r.randint(2, 6)
    b = r.randint(1, m - 1)
    return Item(
        f"A natural number leaves remainder {b} on division by {m}. What is the remainder of {k} times it?",
        str(b * k % m),
        f"(n : ℕ) (h : n % {m} = {b}) : ({k} * n) % {m} = {b * k % m}",
        "omega",
    )


@template(NUMBER)
def power_modulo(r: random.Random) -> Item:
    a, e, m = r.randint(2, 12), r.randint(5, 40), r.randint(3, 30)
    return Item(
        f"What is the remainder of {a}^{e} on division by {m}?",
        str(pow(a, e, m)),
        f": {a} ^ {e} % {m} = {pow(a, e, m)}",
        "norm_num",
    )


@template(NUMBER)
def common_divisor(r: random.Random) -> Item:
    g = r.randint(2, 20)
    a, b = g * r.randint(2, 30), g * r.randint(2, 30)
    return Item(
        f"Find the greatest common divisor of {a} and {b}.",
        str(math.gcd(a, b)),
        f": Nat.gcd {a} {b} = {math.gcd(a, b)}",
        "norm_num",
    )


@template(NUMBER)
def two_digit(r: random.Random) -> Item:
    a, b = r.randint(1, 9), r.randint(0, 9)
    return Item(
        f"A number has tens digit a and units digit b with a + b = {a + b} and a − b = {a - b}. What is the number?",
        str(10 * a + b),
        f"(a b : ℤ) (h₁ : a + b = {a + b}) (h₂ : a - b = {a - b}) : 10 * a + b = {10 * a + b}",
        "omega",
    )


@template(NUMBER)
def small_square(r: random.Random) -> Item:
    a = r.randint(3, 12)
    return Item(
        f"Which natural number less than {a + 4} and more than {a - 2} has square {a * a}?",
        str(a),
        f"(n : ℕ) (h₁ : {a - 2} < n) (h₂ : n < {a + 4}) (h₃ : n ^ 2 = {a * a}) : n = {a}",
        "interval_cases n <;> omega",
    )


@template(NUMBER)
def even_sum(r: random.Random) -> Item:
    k = r.randint(1, 9)
    return Item(
        f"Show that 2n + {2 * k} is even for every integer n.", "even", f"(n : ℤ) : (2 * n + {2 * k}) % 2 = 0", "omega"
    )


@template(APPLIED)
def speed(r: random.Random) -> Item:
    v, t, w = r.randint(3, 30), r.randint(2, 9), r.randint(2, 9)
    return Item(
        f"A car drives {v * t} km at constant speed in {t} hours. How far does it get in {w} hours?",
        f"{v * w} km",
        f"(v : ℝ) (h : v * {t} = {v * t}) : v * {w} = {v * w}",
        "linarith",
    )


@template(APPLIED)
def discount(r: random.Random) -> Item:
    p, price = r.choice((10, 20, 25, 50)), r.randint(2, 40) * 20
    return Item(
        f"An item costs {price} after a discount of {p} %. What did it cost before?",
        str(Fraction(price * 100, 100 - p)),
        f"(c : ℝ) (h : c * (1 - {p} / 100) = {price}) : c = {Fraction(price * 100, 100 - p)}",
        "linarith",
    )


@template(APPLIED)
def ages(r: random.Random) -> Item:
    a, k, d = r.randint(5, 15), r.randint(2, 4), r.randint(2, 8)
    return Item(
        f"Ann is {k} times as old as Ben. In {d} years their ages sum to {a * k + a + 2 * d}. How old is Ben?",
        str(a),
        f"(a b : ℕ) (h₁ : a = {k} * b) (h₂ : (a + {d}) + (b + {d}) = {a * k + a + 2 * d}) : b = {a}",
        "omega",
    )


@template(APPLIED)
def mixture(r: random.Random) -> Item:
    x, y, p, q = r.randint(1, 9), r.randint(1, 9), r.randint(2, 9), r.randint(10, 20)
    return Item(
        f"{x + y} kg of nuts at {p} or {q} coins a kg cost {p * x + q * y} coins together. How many kg cost {q}?",
        str(y),
        f"(x y : ℝ) (h₁ : x + y = {x + y}) (h₂ : {p} * x + {q} * y = {p * x + q * y}) : y = {y}",
        "linarith",
    )


@template(APPLIED)
def coins(r: random.Random) -> Item:
    a, b = r.randint(2, 12), r.randint(2, 12)
    return Item(
        f"There are {a + b} coins of value 2 or 5 worth {2 * a + 5 * b}. How many have value 5?",
        str(b),
        f"(m n : ℕ) (h₁ : m + n = {a + b}) (h₂ : 2 * m + 5 * n = {2 * a + 5 * b}) : n = {b}",
        "omega",
    )


@template(DISCRETE)
def gauss_sum(r: random.Random) -> Item:
    n = r.randint(5, 60)
    return Item(
        f"What is the sum of the whole numbers from 1 to {n}?",
        str(n * (n + 1) // 2),
        f": ∑ i ∈ Finset.Icc 1 {n}, i = {n * (n + 1) // 2}",
        "decide",
    )


@template(DISCRETE)
def choose(r: random.Random) -> Item:
    n = r.randint(5, 14)
    k = r.randint(2, n - 2)
    return Item(
        f"In how many ways can {k} of {n} books be chosen?",
        str(math.comb(n, k)),
        f": Nat.choose {n} {k} = {math.comb(n, k)}",
        "norm_num",
    )


@template(DISCRETE)
def multiples(r: random.Random) -> Item:
    d, n = r.randint(2, 9), r.randint(20, 90)
    return Item(
        f"How many whole numbers from 1 to {n} are divisible by {d}?",
        str(n // d),
        f": ((Finset.Icc 1 {n}).filter (fun k => {d} ∣ k)).card = {n // d}",
        "decide",
    )


@template(DISCRETE)
def pigeonhole(r: random.Random) -> Item:
    k = r.randint(3, 8)
    return Item(
        f"Three boxes hold {3 * k + 1} balls. Show that some box holds more than {k}.",
        f"some box > {k}",
        f"(a b c : ℕ) (h : a + b + c = {3 * k + 1}) : {k} < a ∨ {k} < b ∨ {k} < c",
        "omega",
    )


@template(DISCRETE)
def odd_sum(r: random.Random) -> Item:
    n = r.randint(4, 30)
    return Item(
        f"Add the first {n} odd numbers.",
        str(n * n),
        f": ∑ i ∈ Finset.range {n}, (2 * i + 1) = {n * n}",
        "decide",
    )


@template(PRECALCULUS)
def evaluate_function(r: random.Random) -> Item:
    a, b, c, x = r.randint(1, 5), r.randint(-6, 6), r.randint(1, 9), r.randint(-4, 5)
    y = a * x * x + b * x + c
    return Item(
        f"Let f(x) = {a}x² + {b}x + {c} for real x. Find f({x}).",
        str(y),
        f"(f : ℝ → ℝ) (hf : ∀ x, f x = {a} * x ^ 2 + {signed(b)} * x + {c}) : f {signed(x)} = {y}",
        "norm_num [hf]",
    )


@template(PRECALCULUS)
def composition(r: random.Random) -> Item:
    a, b, c = r.randint(2, 6), r.randint(1, 9), r.randint(2, 9)
    return Item(
        f"Let f(x) = {a}x + {b} and g(x) = x² + {c}. Find f(g(1)).",
        str(a * (1 + c) + b),
        f"(f g : ℝ → ℝ) (hf : ∀ x, f x = {a} * x + {b}) (hg : ∀ x, g x = x ^ 2 + {c}) : f (g 1) = {a * (1 + c) + b}",
        "norm_num [hg, hf]",
    )


@template(PRECALCULUS)
def square_root(r: random.Random) -> Item:
    a, b = r.randint(2, 9), r.choice((2, 3, 5, 6, 7))
    return Item(
        f"Simplify √{a * a * b}.",
        f"{a}√{b}",
        f": Real.sqrt {a * a * b} = {a} * Real.sqrt {b}",
        "norm_num",
    )


@template(PRECALCULUS)
def absolute_value(r: random.Random) -> Item:
    a, b = r.randint(-9, 5), r.randint(6, 20)
    return Item(f"Compute |{a} − {b}|.", str(b - a), f": |({a} : ℤ) - {b}| = {b - a}", "norm_num")


@template(GEOMETRY)
def rectangle(r: random.Random) -> Item:
    w, h = r.randint(2, 12), r.randint(2, 12)
    return Item(
        f"A rectangle has perimeter {2 * (w + h)} and one side {w}. Find its area.",
        str(w * h),
        f"(a b : ℝ) (ha : a = {w}) (hp : 2 * (a + b) = {2 * (w + h)}) : a * b = {w * h}",
        f"subst ha\nhave hb : b = {h} := by linarith\nrw [hb]\nnorm_num",
    )


@template(GEOMETRY)
def midpoint(r: random.Random) -> Item:
    ax, mx = r.randint(-9, 9), r.randint(-9, 9)
    return Item(
        f"On a line, M = {mx} is the midpoint of A = {ax} and B. Find B.",
        str(2 * mx - ax),
        f"(b : ℝ) (h : ({signed(ax)} + b) / 2 = {mx}) : b = {2 * mx - ax}",
        "linarith",
    )


@template(GEOMETRY)
def right_triangle(r: random.Random) -> Item:
    a, b, c = r.choice(((3, 4, 5), (5, 12, 13), (8, 15, 17), (7, 24, 25)))
    k = r.randint(1, 4)
    a, b, c = a * k, b * k, c * k
    return Item(
        f"A right triangle has legs {a} and {b}. Find its hypotenuse.",
        str(c),
        f"(c : ℝ) (hc : 0 < c) (h : {a} ^ 2 + {b} ^ 2 = c ^ 2) : c = {c}",
        f"nlinarith [hc, h, sq_nonneg (c - {c})]",
    )


@template(GEOMETRY)
def angles(r: random.Random) -> Item:
    a, b = r.randint(20, 80), r.randint(20, 80)
    return Item(
        f"Two angles of a triangle are {a}° and {b}°. Find the third.",
        f"{180 - a - b}°",
        f"(α β γ : ℝ) (hα : α = {a}) (hβ : β = {b}) (h : α + β + γ = 180) : γ = {180 - a - b}",
        "linarith",
    )


@template(SEQUENCES)
def arithmetic_progression(r: random.Random) -> Item:
    a, d, n = r.randint(1, 20), r.randint(2, 9), r.randint(8, 30)
    return Item(
        f"An arithmetic progression begins with {a} and has difference {d}. What is its term number {n}?",
        str(a + d * (n - 1)),
        f"(u : ℕ → ℝ) (hu : ∀ n, u n = {a} + {d} * (n - 1)) : u {n} = {a + d * (n - 1)}",
        "norm_num [hu]",
    )


@template(SEQUENCES)
def geometric_sum(r: random.Random) -> Item:
    q, n = r.randint(2, 5), r.randint(3, 8)
    total = (q**n - 1) // (q - 1)
    return Item(
        f"Add the first {n} powers of {q}, beginning with 1.",
        str(total),
        f": ∑ i ∈ Finset.range {n}, {q} ^ i = {total}",
        "decide",
    )


@template(SEQUENCES)
def partial_fractions(r: random.Random) -> Item:
    n = r.randint(3, 12)
    return Item(
        f"Add 1/(k(k+1)) for k from 1 to {n}.",
        f"{n}/{n + 1}",
        f": ∑ k ∈ Finset.Icc 1 {n}, (1 : ℚ) / (k * (k + 1)) = {n} / {n + 1}",
        "norm_num",
    )


@template(CALCULUS)
def tangent_bound(r: random.Random) -> Item:
    a = r.randint(1, 8)
    return Item(
        f"Show that the parabola y = x² lies above its tangent at {a}.",
        f"x² ≥ {2 * a}x − {a * a}",
        f"(x : ℝ) : x ^ 2 ≥ {2 * a} * x - {a * a}",
        f"nlinarith [sq_nonneg (x - {a})]",
    )


@template(CALCULUS)
def difference_quotient(r: random.Random) -> Item:
    a, b = r.randint(2, 9), r.randint(1, 9)
    return Item(
        f"For f(x) = {a}x² + {b}, simplify f(x + h) − f(x).",
        f"{2 * a}xh + {a}h²",
        f"(f : ℝ → ℝ) (hf : ∀ x, f x = {a} * x ^ 2 + {b}) (x h : ℝ) : f (x + h) - f x = {2 * a} * x * h + {a} * h ^ 2",
        "rw [hf, hf]\nring",
    )


@template(CALCULUS)
def maximum_on_interval(r: random.Random) -> Item:
    b, a = r.randint(2, 9), r.randint(1, 5)
    return Item(
        f"Find the largest value of {a}x on the interval from 0 to {b}.",
        str(a * b),
        f"(x : ℝ) (h₀ : 0 ≤ x) (h₁ : x ≤ {b}) : {a} * x ≤ {a * b}",
        "linarith",
    )
