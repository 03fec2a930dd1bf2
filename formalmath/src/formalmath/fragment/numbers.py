"""Values of ℕ ℤ ℚ ℝ with Lean's conventions: x/0 = 0, √ of a negative is 0, ℕ subtraction stops at 0, 0⁰ = 1.

ℕ and ℤ are ints. ℚ and ℝ are Fractions; ℝ also has `Quad` (a + b√d, exact) and `Ball` (an interval that certainly
holds the number). Comparisons of balls that overlap are None: not decided.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from mpmath import iv

from ..errors import Unsupported, Unsure

iv.prec = 120
BITS = 60_000  # of a number; larger ones are not decided
FACTORIAL = 2_000


class Quad:
    """a + b√d with rational a, b ≠ 0 and a square-free integer d > 1; exact."""

    __slots__ = ("a", "b", "d")

    def __init__(self, a: Fraction, b: Fraction, d: int):
        self.a, self.b, self.d = a, b, d

    @staticmethod
    def of(a: Fraction, b: Fraction, d: int) -> Fraction | Quad:
        return Fraction(a) if b == 0 else Quad(a, b, d)

    def _with(self, other: Any) -> tuple[Fraction, Fraction] | None:
        if isinstance(other, Quad):
            return (other.a, other.b) if other.d == self.d else None
        return (Fraction(other), Fraction(0)) if isinstance(other, int | Fraction) else None

    def __add__(self, other: Any) -> Any:
        pair = self._with(other)
        return self.ball() + other if pair is None else Quad.of(self.a + pair[0], self.b + pair[1], self.d)

    __radd__ = __add__

    def __neg__(self) -> Quad:
        return Quad(-self.a, -self.b, self.d)

    def __sub__(self, other: Any) -> Any:
        return self + (-other)

    def __rsub__(self, other: Any) -> Any:
        return -self + other

    def __mul__(self, other: Any) -> Any:
        pair = self._with(other)
        if pair is None:
            if isinstance(other, Quad) and self.a == other.a == 0:
                root = sqrt(Fraction(self.d * other.d))
                return root * (self.b * other.b)
            return self.ball() * other
        a, b = pair
        return Quad.of(self.a * a + self.b * b * self.d, self.a * b + self.b * a, self.d)

    __rmul__ = __mul__

    def inverse(self) -> Any:
        norm = self.a * self.a - self.b * self.b * self.d
        return Quad(self.a / norm, -self.b / norm, self.d)

    def sign(self) -> int:
        """Exact: the sign of a + b√d from those of a, b and a² − b²d."""
        a, b = self.a, self.b
        if (a >= 0) == (b > 0):
            return 1 if b > 0 else -1
        larger = a * a > b * b * self.d
        return (1 if a > 0 else -1) if larger else (1 if b > 0 else -1)

    def ball(self) -> Ball:
        return ball(self.a) + ball(self.b) * Ball(iv.sqrt(iv.mpf(self.d)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Quad) and (self.a, self.b, self.d) == (other.a, other.b, other.d)

    def __hash__(self) -> int:
        return hash((self.a, self.b, self.d))

    def __repr__(self) -> str:
        return f"({self.a} + {self.b}*√{self.d})"


class Ball:
    """An interval that certainly holds a real number."""

    __slots__ = ("x",)

    def __init__(self, x: Any):
        self.x = x

    def __add__(self, other: Any) -> Ball:
        return Ball(self.x + ball(other).x)

    __radd__ = __add__

    def __neg__(self) -> Ball:
        return Ball(-self.x)

    def __sub__(self, other: Any) -> Ball:
        return Ball(self.x - ball(other).x)

    def __rsub__(self, other: Any) -> Ball:
        return Ball(ball(other).x - self.x)

    def __mul__(self, other: Any) -> Ball:
        return Ball(self.x * ball(other).x)

    __rmul__ = __mul__

    def inverse(self) -> Ball:
        if 0 in self.x:
            raise Unsure("a denominator may vanish")
        return Ball(1 / self.x)

    def sign(self) -> int | None:
        return 1 if self.x.a > 0 else -1 if self.x.b < 0 else None

    def __repr__(self) -> str:
        return f"≈{float(self.x.mid):.12g}"


Number = int | Fraction | Quad | Ball


def ball(value: Any) -> Ball:
    if isinstance(value, Ball):
        return value
    if isinstance(value, Quad):
        return value.ball()
    value = Fraction(value)
    return Ball(iv.mpf(value.numerator) / iv.mpf(value.denominator))


def sign(value: Any) -> int | None:
    """−1, 0 or 1; None where a ball leaves it open."""
    if isinstance(value, int | Fraction):
        return (value > 0) - (value < 0)
    return value.sign()


def equal(a: Any, b: Any) -> bool | None:
    if isinstance(a, int | Fraction) and isinstance(b, int | Fraction):
        return a == b
    found = sign(a - b)
    return None if found is None else found == 0


def less(a: Any, b: Any) -> bool | None:
    if isinstance(a, int | Fraction) and isinstance(b, int | Fraction):
        return a < b
    found = sign(b - a)
    return None if found is None else found > 0


def less_equal(a: Any, b: Any) -> bool | None:
    if isinstance(a, int | Fraction) and isinstance(b, int | Fraction):
        return a <= b
    found = sign(b - a)
    return None if found is None else found >= 0


def inverse(value: Any) -> Any:
    if isinstance(value, int | Fraction):
        return Fraction(0) if value == 0 else 1 / Fraction(value)
    return value.inverse()


def divide(a: Any, b: Any) -> Any:
    return a * inverse(b)


def whole_divide(a: int, b: int) -> int:
    """ℕ and ℤ division: the remainder is never negative, and x / 0 = 0."""
    if b == 0:
        return 0
    return a // b if b > 0 else -(a // -b)


def whole_remainder(a: int, b: int) -> int:
    return a if b == 0 else a % abs(b)


def power(base: Any, exponent: int) -> Any:
    """base ^ exponent for an integer exponent; negative ones invert."""
    if exponent < 0:
        return inverse(power(base, -exponent))
    if isinstance(base, int | Fraction):
        size = max(abs(base.numerator), base.denominator).bit_length()
        if size > 1 and size * exponent > BITS:
            raise Unsure("a power is too large")
        return base**exponent
    if exponent > 4096:
        raise Unsure("a power is too large")
    result: Any = Fraction(1)
    while exponent:
        if exponent & 1:
            result = result * base
        base, exponent = base * base, exponent >> 1
    return result


def real_power(base: Any, exponent: Any) -> Any:
    """`rpow` for a base that is not negative; 0 ^ 0 = 1 and 0 ^ y = 0."""
    if isinstance(exponent, int | Fraction) and Fraction(exponent).denominator == 1:
        return power(base, int(exponent))
    s = sign(base)
    if s == 0:
        if sign(exponent) is None:
            raise Unsure("an exponent may vanish")
        return Fraction(0)
    if s != 1:
        raise Unsure("a real power of a base that is not surely positive")
    if isinstance(exponent, Fraction) and exponent.denominator == 2 and not isinstance(base, Ball):
        root = sqrt(base)
        if not isinstance(root, Ball):
            return power(root, exponent.numerator)
    if isinstance(exponent, Fraction) and isinstance(base, int | Fraction) and exponent.denominator < 10:
        root = exact_root(Fraction(base), exponent.denominator)
        if root is not None:
            return power(root, exponent.numerator)
    return Ball(iv.exp(ball(exponent).x * iv.log(ball(base).x)))


def exact_root(value: Fraction, n: int) -> Fraction | None:
    """The n-th root of a positive rational, if it is rational."""
    parts = []
    for whole in (value.numerator, value.denominator):
        guess = round(whole ** (1 / n)) if whole.bit_length() < 900 else 0
        parts.append(next((g for g in (guess - 1, guess, guess + 1) if g >= 0 and g**n == whole), None))
    return None if None in parts else Fraction(parts[0], parts[1])  # type: ignore[arg-type]


def sqrt(value: Any) -> Any:
    """Real.sqrt: 0 for a negative; exact where the root is rational or in ℚ(√d)."""
    s = sign(value)
    if s is None:
        raise Unsure("a radicand of unknown sign")
    if s <= 0:
        return Fraction(0)
    if isinstance(value, int | Fraction):
        value = Fraction(value)
        whole = value.numerator * value.denominator
        if whole.bit_length() > 200:
            root = math.isqrt(whole)
            return Fraction(root, value.denominator) if root * root == whole else Ball(iv.sqrt(ball(value).x))
        outside, inside = square_free(whole)
        return (
            Fraction(outside, value.denominator)
            if inside == 1
            else Quad(Fraction(0), Fraction(outside, value.denominator), inside)
        )
    if isinstance(value, Quad):
        # √(a + b√d) = √u + √v with u + v = a, 4uv = b²d, where a² − b²d is a square
        inner = value.a * value.a - value.b * value.b * value.d
        norm = exact_root(inner, 2) if inner > 0 else None
        if norm is not None:
            u, v = sqrt((value.a + norm) / 2), sqrt((value.a - norm) / 2)
            total = u + v if value.b > 0 else u - v
            if isinstance(total, int | Fraction | Quad):
                return total
        return Ball(iv.sqrt(value.ball().x))
    return Ball(iv.sqrt(value.x))


def square_free(n: int) -> tuple[int, int]:
    """(s, d) with n = s²d; d has no square factor below 1000², which is what comparisons within one field need."""
    outside = 1
    root = math.isqrt(n)
    if root * root == n:
        return root, 1
    for p in range(2, 1000):
        square = p * p
        if square > n:
            break
        while n % square == 0:
            n //= square
            outside *= p
    root = math.isqrt(n)
    return (outside * root, 1) if root * root == n else (outside, n)


def floor(value: Any) -> int:
    if isinstance(value, int | Fraction):
        return math.floor(value)
    x = ball(value).x
    low, high = math.floor(x.a), math.floor(x.b)
    if low != high:
        raise Unsure("a floor is not decided")
    return int(low)


def ceil(value: Any) -> int:
    return -floor(-value)


def absolute(value: Any) -> Any:
    s = sign(value)
    if s is None:
        raise Unsure("a sign is not decided")
    return -value if s < 0 else value


def larger(a: Any, b: Any) -> Any:
    found = less_equal(a, b)
    if found is None:
        raise Unsure("an order is not decided")
    return b if found else a


def smaller(a: Any, b: Any) -> Any:
    return a if larger(a, b) is b else b


def transcendental(name: str, value: Any) -> Any:
    """sin, cos, tan, exp, log: exact at 0 (and log at 1), else a ball. `log` follows Lean: log|x|, log 0 = 0."""
    if isinstance(value, int | Fraction):
        if value == 0:
            return Fraction(1) if name in ("cos", "exp") else Fraction(0)
        if name == "log" and value in (1, -1):
            return Fraction(0)
        if not -(10**6) < value < 10**6 and name == "exp":
            raise Unsure("an exponential is too large")
    if name == "log":
        return Ball(iv.log(ball(absolute(value)).x))
    x = ball(value).x
    if name == "tan":
        cosine = Ball(iv.cos(x))
        return Ball(iv.sin(x)) * cosine.inverse()
    return Ball(getattr(iv, name)(x))


def pi() -> Ball:
    return Ball(iv.pi)


def factorial(n: int) -> int:
    if n > FACTORIAL:
        raise Unsure("a factorial is too large")
    return math.factorial(n)


def is_prime(n: int) -> bool:
    from sympy import isprime

    return n > 1 and bool(isprime(n))


def cast(value: Any, source: Any, target: Any) -> Any:
    """A value of one of ℕ ℤ ℚ ℝ in a larger one."""
    if source == target:
        return value
    if target in ("ℚ", "ℝ") and source in ("ℕ", "ℤ"):
        return Fraction(value)
    if (source, target) in (("ℕ", "ℤ"), ("ℚ", "ℝ")):
        return value
    raise Unsupported(f"{source} is not cast to {target}")
