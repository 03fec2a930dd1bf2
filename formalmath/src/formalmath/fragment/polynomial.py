"""Terms as polynomials over atoms with rational coefficients, the normal form of `ring` and `linarith`."""

from __future__ import annotations

from fractions import Fraction

from ..errors import Unsupported, Unsure
from ..lean.render import render
from ..lean.terms import Term
from .elaborate import LADDER, TREE, Elaborator, Type, mentions

Monomial = tuple[tuple[str, int], ...]  # sorted (atom, exponent)
Poly = dict[Monomial, Fraction]
ONE: Monomial = ()
TERMS = 3_000  # of a polynomial
EXPONENT = 24


def constant(value: Fraction | int) -> Poly:
    return {ONE: Fraction(value)} if value else {}


def add(p: Poly, q: Poly, factor: Fraction | int = 1) -> Poly:
    result = dict(p)
    for m, c in q.items():
        value = result.get(m, Fraction(0)) + c * factor
        if value:
            result[m] = value
        else:
            result.pop(m, None)
    return result


def multiply(p: Poly, q: Poly) -> Poly:
    result: Poly = {}
    for m, c in p.items():
        for k, d in q.items():
            exponents = dict(m)
            for atom, e in k:
                exponents[atom] = exponents.get(atom, 0) + e
            key = tuple(sorted((a, e) for a, e in exponents.items() if e))
            value = result.get(key, Fraction(0)) + c * d
            if value:
                result[key] = value
            else:
                result.pop(key, None)
        if len(result) > TERMS:
            raise Unsupported("a polynomial is too large")
    return result


def degree(m: Monomial) -> int:
    return sum(e for _, e in m)


class Normaliser:
    """Polynomials of terms under an elaborator's variables; remembers the type and term of every atom."""

    def __init__(self, el: Elaborator):
        self.el = el
        self.atoms: dict[str, tuple[Type, Term]] = {}
        self.quotients: dict[str, tuple[str, Poly, int]] = {}  # atom -> ("/" or "%", dividend, divisor), in ℕ and ℤ

    def __call__(self, t: Term, kind: Type) -> Poly:
        """The polynomial of a term whose place has type `kind`.

        Raises:
            Unsupported: not a term of a number type, or too large.
        """
        if t.op == "num":
            value = self.el.numeral(t.name, kind)({})
            return constant(Fraction(value))
        if t.op not in TREE:
            return self.leaf(t, kind)
        if t.op == "+":
            return add(self(t.args[0], kind), self(t.args[1], kind))
        if t.op == "*":
            return multiply(self(t.args[0], kind), self(t.args[1], kind))
        if t.op == "neg":
            return add({}, self(t.args[0], kind), -1)
        if t.op == "-" and kind != "ℕ":
            return add(self(t.args[0], kind), self(t.args[1], kind), -1)
        if t.op == "^":
            exponent = self.whole(t.args[1])
            if exponent is not None and 0 <= exponent <= EXPONENT:
                base, result = self(t.args[0], kind), constant(1)
                for _ in range(exponent):
                    result = multiply(result, base)
                return result
        if t.op in ("/", "⁻¹") and kind in ("ℚ", "ℝ"):
            below = self(t.args[-1], kind)
            above = self(t.args[0], kind) if t.op == "/" else constant(1)
            if not below:
                return {}
            if set(below) == {ONE}:
                return multiply(above, constant(1 / below[ONE]))
            return multiply(above, self.inverse(t.args[-1], below, kind))
        if t.op in ("/", "%") and kind in ("ℕ", "ℤ"):
            divisor = self(t.args[1], kind)
            if set(divisor) == {ONE} and divisor[ONE].denominator == 1 and divisor[ONE] > 0:
                name = self.atom(t, kind)
                ((key, _),) = name
                self.quotients[key[0][0]] = (t.op, self(t.args[0], kind), int(divisor[ONE]))
                return dict(name)
        return dict(self.atom(t, kind))

    def inverse(self, t: Term, below: Poly, kind: Type) -> Poly:
        """1/p: a product of inverted atoms for a monomial, else one atom."""
        if len(below) == 1:
            ((m, c),) = below.items()
            return {tuple((f"{a}⁻¹" if not a.endswith("⁻¹") else a[:-2], e) for a, e in m): 1 / c}
        name = f"({render(t)})⁻¹"
        self.atoms.setdefault(name, (kind, t))
        return {((name, 1),): Fraction(1)}

    def leaf(self, t: Term, kind: Type) -> Poly:
        value = self.ground(t, kind)
        if value is not None:
            return constant(value)
        if t.op in ("↑", "ascribe"):
            own = self.el.value(t, kind if t.op == "↑" else None)[0]
            inner = t.args[0]
            inside = self.el.value(inner, own)[0]
            if inside == own or (inside in LADDER and inner.op not in TREE):
                return self(inner, own)
            return dict(self.atom(t, own))
        if t.op in ("max", "min"):
            return dict(self.atom(t, kind))
        own = self.el.value(t)[0]
        if own not in LADDER:
            raise Unsupported("arithmetic on something that is no number")
        return dict(self.atom(t, own))

    def ground(self, t: Term, kind: Type) -> Fraction | None:
        """The value of a term without variables, if it is rational."""
        if mentions(t, set(self.el.types)):
            return None
        try:
            value = self.el.as_type(t, kind)({})
        except (Unsure, KeyError):
            return None
        return Fraction(value) if isinstance(value, int | Fraction) else None

    def whole(self, t: Term) -> int | None:
        try:
            kind = self.el.value(t)[0]
            value = self.ground(t, kind)
        except Unsupported:
            return None
        return int(value) if value is not None and value.denominator == 1 else None

    def atom(self, t: Term, kind: Type) -> tuple[tuple[Monomial, Fraction]]:
        name = render(t, 1024)
        self.atoms.setdefault(name, (kind, t))
        return (((((name, 1),)), Fraction(1)),)
