"""From a Lean term to a function of an assignment, with the casts Lean's elaborator would insert.

Operands of `+ - * / % ^` and of a relation form one tree whose type is the largest among its leaves; leaves are cast
up, numerals take the tree's type, and a tree of numerals alone is in ℕ (ℤ if it has a unary minus). An exponent is a
tree of its own. `(e : τ)` sets the type inside. Formulas become functions to True, False or None (not decided):
quantifiers over finite ranges are decided, ∀ over an infinite type is only ever refuted and ∃ only ever confirmed.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from typing import Any

from ..errors import Unsupported, Unsure
from ..lean.terms import Term
from . import numbers as n

Env = dict[str, Any]
Value = Callable[[Env], Any]
Truth = Callable[[Env], bool | None]
LADDER = {"ℕ": 0, "ℤ": 1, "ℚ": 2, "ℝ": 3}
TYPES = {"Nat": "ℕ", "Int": "ℤ", "Rat": "ℚ", "Real": "ℝ", **{t: t for t in LADDER}}
TREE = frozenset(("+", "-", "*", "/", "%", "^", "neg", "⁻¹", "num"))
INTERVALS = {"Icc": (True, True), "Ico": (True, False), "Ioc": (False, True), "Ioo": (False, False)}
RAYS = {"Ici": ("low", True), "Ioi": ("low", False), "Iic": ("high", True), "Iio": ("high", False)}
RANGE_LIMIT = 20_000  # elements of a finite range
FUEL = 40_000  # evaluations of loop bodies within one check

Type = Any  # "ℕ" … "ℝ", ("fun", (argument, …), result), ("set", T), ("prod", …)


class Fuel:
    """How many more loop bodies may be evaluated; refilled for each check."""

    def __init__(self) -> None:
        self.left = FUEL
        self.deadline = float("inf")  # in CPU-seconds of this process

    def burn(self) -> None:
        self.left -= 1
        if self.left < 0 or (self.left % 256 == 0 and time.process_time() > self.deadline):
            self.left = -1
            raise Unsure("the evaluation takes too long")


@dataclass(frozen=True)
class SetCode:
    """A set: element type, membership, and its elements where it is finite and can be listed."""

    type: Type
    has: Callable[[Env, Any], bool | None]
    listed: Callable[[Env], list[Any]] | None = None
    sampled: Callable[[Env], Iterator[Any]] | None = None


def real1(f: Callable[[Any], Any]) -> tuple[tuple[str, ...], str, Callable[..., Any]]:
    return ("ℝ",), "ℝ", f


def _digits(base: int, value: int) -> list[int]:
    if base < 2:
        raise Unsure("digits in a base below 2")
    found = []
    while value:
        found.append(value % base)
        value //= base
    return found


FUNCTIONS: Mapping[str, tuple[tuple[Type, ...], Type, Callable[..., Any]]] = {
    "Real.sqrt": real1(n.sqrt),
    "NNReal.sqrt": (("unsupported",), "ℝ", n.sqrt),
    "Nat.sqrt": (("ℕ",), "ℕ", math.isqrt),
    **{f"Real.{f}": real1(partial(n.transcendental, f)) for f in ("sin", "cos", "tan", "exp", "log")},
    "Real.logb": (("ℝ", "ℝ"), "ℝ", lambda b, x: n.divide(n.transcendental("log", x), n.transcendental("log", b))),
    "Nat.gcd": (("ℕ", "ℕ"), "ℕ", math.gcd),
    "Nat.lcm": (("ℕ", "ℕ"), "ℕ", math.lcm),
    "Int.gcd": (("ℤ", "ℤ"), "ℕ", math.gcd),
    "Int.lcm": (("ℤ", "ℤ"), "ℕ", math.lcm),
    "Nat.factorial": (("ℕ",), "ℕ", n.factorial),
    "Nat.choose": (("ℕ", "ℕ"), "ℕ", lambda a, b: math.comb(a, b) if a < 5000 else _large()),
    "Nat.succ": (("ℕ",), "ℕ", lambda a: a + 1),
    "Nat.pred": (("ℕ",), "ℕ", lambda a: max(a - 1, 0)),
    "Int.natAbs": (("ℤ",), "ℕ", abs),
    "Int.toNat": (("ℤ",), "ℕ", lambda a: max(a, 0)),
    "Nat.floor": (("ℝ",), "ℕ", lambda x: max(n.floor(x), 0)),
    "Nat.ceil": (("ℝ",), "ℕ", lambda x: max(n.ceil(x), 0)),
    "Int.floor": (("ℝ",), "ℤ", n.floor),
    "Int.ceil": (("ℝ",), "ℤ", n.ceil),
    "Int.fract": (("ℝ",), "ℝ", lambda x: x - n.floor(x)),
    "Nat.digits": (("ℕ", "ℕ"), ("list", "ℕ"), _digits),
    "Nat.totient": (
        ("ℕ",),
        "ℕ",
        lambda a: sum(math.gcd(a, k) == 1 for k in range(1, a + 1)) if a < RANGE_LIMIT else _large(),
    ),
    "Nat.fib": (("ℕ",), "ℕ", lambda a: _fibonacci(a)),
}
CONSTANTS: Mapping[str, tuple[Type, Callable[[], Any]]] = {"Real.pi": ("ℝ", n.pi), "π": ("ℝ", n.pi)}
PREDICATES: Mapping[str, tuple[tuple[Type, ...], Callable[..., bool]]] = {
    "Nat.Prime": (("ℕ",), n.is_prime),
    "Nat.Coprime": (("ℕ", "ℕ"), lambda a, b: math.gcd(a, b) == 1),
    "Int.IsCoprime": (("ℤ", "ℤ"), lambda a, b: math.gcd(a, b) == 1),
}
PARITY = {"Even": 0, "Odd": 1}
FINSETS = frozenset(("Finset", "Set", "Nat", "Int"))


def _large() -> int:
    raise Unsure("a number is too large")


def _fibonacci(k: int) -> int:
    if k > FUEL:
        _large()
    a, b = 0, 1
    for _ in range(k):
        a, b = b, a + b
    return a


@dataclass
class Elaborator:
    """Elaborates terms under variables with types; `opened` are the namespaces open at the statement."""

    types: dict[str, Type] = field(default_factory=dict)
    opened: frozenset[str] = frozenset()
    fuel: Fuel = field(default_factory=Fuel)
    denominators: list[tuple[Value, frozenset[str]]] = field(default_factory=list)  # for the refuter's traps
    bound: list[str] = field(default_factory=list)
    set_terms: dict[str, Term] = field(default_factory=dict)  # sets that a hypothesis defines
    _seen: dict[tuple[int, Any], Any] = field(default_factory=dict)
    _terms: list[Term] = field(default_factory=list)

    # -- types

    def type_of(self, t: Term | None) -> Type:
        """A type from its term.

        Raises:
            Unsupported: none of ℕ ℤ ℚ ℝ, their products, sets and functions.
        """
        if t is None:
            raise Unsupported("a type is not given")
        if t.op == "id" and t.name in TYPES:
            return TYPES[t.name]
        if t.op == "→":
            return ("fun", *(self._function_type(t)))
        if t.op == "×":
            return ("prod", self.type_of(t.args[0]), self.type_of(t.args[1]))
        head, args = t.spine()
        if head.op == "id" and head.name in ("Set", "Finset") and len(args) == 1:
            return ("set", self.type_of(args[0]))
        raise Unsupported("a type outside the fragment")

    def _function_type(self, t: Term) -> tuple[tuple[Type, ...], Type]:
        args = []
        while t.op == "→":
            args.append(self.type_of(t.args[0]))
            t = t.args[1]
        return tuple(args), self.type_of(t)

    def resolve(self, name: str, table: Mapping[str, Any], hint: Type = None) -> str | None:
        """The full name that a name stands for in a table, through the open namespaces.

        Raises:
            Unsupported: two open namespaces have it, and the argument's type does not choose.
        """
        name = name.removeprefix("_root_.")
        if name in table:
            return name
        found = sorted(f"{space}.{name}" for space in self.opened if f"{space}.{name}" in table)
        if len(found) > 1 and hint is not None:
            fitting = [f for f in found if (f.startswith("Real.")) == (hint in ("ℝ", "ℚ"))]
            found = fitting if len(fitting) == 1 else found
        if len(found) > 1:
            raise Unsupported(f"{name} is ambiguous: {', '.join(found)}")
        return found[0] if found else None

    # -- values

    def value(self, t: Term, expected: Type = None) -> tuple[Type, Value]:
        """Type and code of a term; `expected` is what its place asks for, which numerals take and leaves are cast
        to."""
        key = (id(t), expected)
        if key not in self._seen:
            self._terms.append(t)  # keeps the id alive
            try:
                self._seen[key] = self._value(t, expected)
            except Unsupported as error:
                self._seen[key] = error
        found = self._seen[key]
        if isinstance(found, Unsupported):
            raise found
        return found

    def _value(self, t: Term, expected: Type) -> tuple[Type, Value]:
        if t.op in TREE:
            kind = self.tree_type(t)
            kind = join(kind, expected if expected in LADDER else None)
            if kind is None:
                kind = "ℤ" if any(x.op == "neg" for x in tree_nodes(t)) else "ℕ"
            return kind, self.build(t, kind)
        return self.leaf(t, expected)

    def as_type(self, t: Term, target: Type) -> Value:
        """Code of a term whose place has a type."""
        kind, code = self.value(t, target)
        return casted(code, kind, target)

    def tree_type(self, t: Term) -> Type | None:
        """The largest type among a tree's leaves; None where all are numerals or take any type."""
        if t.op == "num":
            return None
        if t.op == "^":
            return self.tree_type(t.args[0])
        if t.op in TREE:
            kind = None
            for arg in t.args:
                kind = join(kind, self.tree_type(arg))
            return kind
        if self.flexible(t):
            return None
        kind = self.value(t)[0]
        if kind not in LADDER:
            raise Unsupported(f"arithmetic on {shown_type(kind)}")
        return kind

    def flexible(self, t: Term) -> bool:
        """Whether a leaf takes whatever type its place has, as `|2 - 3|` does."""
        if t.op in ("abs", "↑"):
            return self.tree_type(t.args[0]) is None
        if t.op == "if":
            return self.tree_type(t.args[1]) is None and self.tree_type(t.args[2]) is None
        head, args = t.spine()
        if head.op == "id" and head.name in ("max", "min", "abs"):
            return all(self.tree_type(a) is None for a in args)
        return False

    def build(self, t: Term, kind: Type) -> Value:
        """Code of a node of a tree whose type is `kind`."""
        if t.op == "num":
            return self.numeral(t.name, kind)
        if t.op not in TREE:
            found, code = self.leaf(t, kind)
            return casted(code, found, kind)
        if t.op == "^":
            return self.power(t, kind)
        args = [self.build(a, kind) for a in t.args]
        x = args[0]
        if t.op == "neg":
            if kind == "ℕ":
                raise Unsupported("a minus sign in ℕ")
            return lambda e: -x(e)
        if t.op == "⁻¹":
            if kind in ("ℕ", "ℤ"):
                raise Unsupported("an inverse in ℕ or ℤ")
            self.trap(x, t.args[0])
            return lambda e: n.inverse(x(e))
        y = args[1]
        if t.op == "+":
            return lambda e: x(e) + y(e)
        if t.op == "*":
            return lambda e: x(e) * y(e)
        if t.op == "-":
            return (lambda e: max(x(e) - y(e), 0)) if kind == "ℕ" else (lambda e: x(e) - y(e))
        self.trap(y, t.args[1])
        if t.op == "/":
            if kind in ("ℕ", "ℤ"):
                return lambda e: n.whole_divide(x(e), y(e))
            return lambda e: n.divide(x(e), y(e))
        if kind in ("ℕ", "ℤ"):
            return lambda e: n.whole_remainder(x(e), y(e))
        return lambda e: x(e) if n.sign(y(e)) == 0 else Fraction(0)  # a field's remainder

    def trap(self, code: Value, t: Term) -> None:
        """Remembers a denominator or radicand that depends on free variables alone."""
        names = frozenset(x.name.partition(".")[0] for x in t.walk() if x.op == "id") & set(self.types)
        if names and not names & set(self.bound):
            self.denominators.append((code, names))

    @staticmethod
    def numeral(text: str, kind: Type) -> Value:
        if text[:2].lower() in ("0x", "0b", "0o"):
            value: Any = int(text, 0)
        elif text.isdigit():
            if len(text) > 4000:
                raise Unsupported("a numeral is too long")
            value = int(text)
        else:
            mantissa, _, exponent = text.lower().partition("e")
            if abs(int(exponent or 0)) > 4000:
                raise Unsupported("a numeral is too long")
            value = Fraction(mantissa) * Fraction(10) ** int(exponent or 0)
            if kind not in ("ℚ", "ℝ"):
                raise Unsupported("a decimal outside ℚ and ℝ")
        if kind in ("ℚ", "ℝ"):
            value = Fraction(value)
        elif kind not in LADDER:
            raise Unsupported(f"a numeral of {shown_type(kind)}")
        return lambda e: value

    def power(self, t: Term, kind: Type) -> Value:
        base = self.build(t.args[0], kind)
        exponent_kind, exponent = self.value(t.args[1])
        if exponent_kind == "ℕ":
            return lambda e: n.power(base(e), exponent(e))
        if exponent_kind == "ℤ":
            if kind in ("ℕ", "ℤ"):
                raise Unsupported("a power with an exponent in ℤ of a number that has no inverse")
            self.trap(base, t.args[0])
            return lambda e: n.power(base(e), exponent(e))
        if exponent_kind == "ℝ" and kind == "ℝ":
            return lambda e: n.real_power(base(e), exponent(e))
        raise Unsupported(f"a power in {shown_type(kind)} with an exponent in {shown_type(exponent_kind)}")

    # -- leaves

    def leaf(self, t: Term, expected: Type) -> tuple[Type, Value]:
        handler = getattr(self, "leaf_" + LEAVES.get(t.op, "none"))
        return handler(t, expected)

    def leaf_none(self, t: Term, expected: Type) -> tuple[Type, Value]:
        raise Unsupported(f"`{t.op}` as a value")

    def leaf_id(self, t: Term, expected: Type) -> tuple[Type, Value]:
        name = t.name
        if name in self.types:
            return self.types[name], lambda e: e[name]
        head, dot, rest = name.partition(".")
        if dot and head in self.types:
            return self.method(Term("id", name=head), rest, (), t)
        found = self.resolve(name, CONSTANTS)
        if found:
            if found == "π" and "Real" not in self.opened:
                raise Unsupported("π without `open Real`")
            kind, make = CONSTANTS[found]
            constant = make()
            return kind, lambda e: constant
        raise Unsupported(f"the name {name} is not known here")

    def leaf_app(self, t: Term, expected: Type) -> tuple[Type, Value]:
        head, args = t.spine()
        if head.op != "id":
            if head.op == "ascribe" and head.args[0].op == "id":
                raise Unsupported("an ascribed function")
            if head.op == "proj":
                return self.method(head.args[0], head.name, args, t)
            raise Unsupported("a computed function")
        name = head.name
        if name in self.types:
            return self.apply_variable(name, args)
        first, dot, rest = name.partition(".")
        if dot and first in self.types:
            return self.method(Term("id", name=first), rest, args, t)
        if name in ("max", "min", "abs", "Finset.sum", "Finset.prod"):
            return self.polymorphic(name, args, expected)
        if name in ("Nat.cast", "Int.cast", "Rat.cast") and expected in LADDER and len(args) == 1:
            return expected, self.as_type(args[0], expected)
        if name in ("Set.ncard", "Finset.card", "Set.encard", "Nat.card", "Fintype.card"):
            return self.cardinality(args)
        hint = self.tree_type(args[-1]) if args and name == "sqrt" else None
        found = self.resolve(name, FUNCTIONS, hint if hint else expected if name == "sqrt" else None)
        if not found:
            raise Unsupported(f"the function {name} is not known here")
        kinds, result, function = FUNCTIONS[found]
        if len(args) != len(kinds):
            raise Unsupported(f"{found} with {len(args)} arguments")
        codes = [self.as_type(a, k) for a, k in zip(args, kinds, strict=True)]
        if found == "Real.sqrt":
            self.trap(codes[0], args[0])
        return result, lambda e: function(*(c(e) for c in codes))

    def apply_variable(self, name: str, args: tuple[Term, ...]) -> tuple[Type, Value]:
        kind = self.types[name]
        if kind[0] != "fun" or len(kind[1]) != len(args):
            raise Unsupported(f"{name} is applied to {len(args)} arguments")
        codes = [self.as_type(a, k) for a, k in zip(args, kind[1], strict=True)]

        def call(e: Env) -> Any:
            return e[name](*(c(e) for c in codes))

        return kind[2], call

    def polymorphic(self, name: str, args: tuple[Term, ...], expected: Type) -> tuple[Type, Value]:
        if name.startswith("Finset.") or (name == "abs" and len(args) != 1) or (name != "abs" and len(args) != 2):
            raise Unsupported(f"{name} with {len(args)} arguments")
        kind = None
        for a in args:
            kind = join(kind, self.tree_type(a))
        if kind is None:
            kind = expected if expected in LADDER else "ℕ"
        codes = [self.as_type(a, kind) for a in args]
        if name == "abs":
            return kind, lambda e: n.absolute(codes[0](e))
        choose = n.larger if name == "max" else n.smaller
        return kind, lambda e: choose(codes[0](e), codes[1](e))

    def cardinality(self, args: tuple[Term, ...]) -> tuple[Type, Value]:
        if len(args) != 1:
            raise Unsupported("a cardinality with several arguments")
        code = self.set_code(args[0])
        if code.listed is None:
            raise Unsupported("the cardinality of a set that cannot be listed")
        listed = code.listed
        return "ℕ", lambda e: len(listed(e))

    def method(self, base: Term, name: str, args: tuple[Term, ...], t: Term) -> tuple[Type, Value]:
        """`x.name args` by the type of x."""
        try:
            kind = self.value(base)[0]
        except Unsupported:
            kind = ("set", None)
        if kind in LADDER:
            space = {"ℕ": "Nat", "ℤ": "Int", "ℚ": "Rat", "ℝ": "Real"}[kind]
            full = f"{space}.{name}"
            if full in FUNCTIONS:
                return self.leaf_app(Term("app", (Term("id", name=full), base, *args)), None)
        if kind == ("list", "ℕ") and not args and name in ("sum", "length"):
            code = self.value(base)[1]
            return "ℕ", (lambda e: sum(code(e))) if name == "sum" else (lambda e: len(code(e)))
        if isinstance(kind, tuple) and kind[0] == "prod" and name in ("1", "2", "fst", "snd"):
            code = self.value(base)[1]
            place = 0 if name in ("1", "fst") else 1
            return kind[1 + place], lambda e: code(e)[place]
        if name in ("ncard", "card", "encard") and not args:
            return self.cardinality((base,))
        raise Unsupported(f"`.{name}` of {shown_type(kind)}")

    def leaf_proj(self, t: Term, expected: Type) -> tuple[Type, Value]:
        return self.method(t.args[0], t.name, (), t)

    def leaf_abs(self, t: Term, expected: Type) -> tuple[Type, Value]:
        return self.polymorphic("abs", t.args, expected)

    def leaf_norm(self, t: Term, expected: Type) -> tuple[Type, Value]:
        kind, code = self.value(t.args[0], "ℝ")
        return "ℝ", casted(lambda e: n.absolute(code(e)), kind, "ℝ")

    def leaf_root(self, t: Term, expected: Type) -> tuple[Type, Value]:
        code = self.as_type(t.args[0], "ℝ")
        self.trap(code, t.args[0])
        return "ℝ", lambda e: n.sqrt(code(e))

    def leaf_factorial(self, t: Term, expected: Type) -> tuple[Type, Value]:
        if "Nat" not in self.opened:
            raise Unsupported("`!` without `open Nat`")
        code = self.as_type(t.args[0], "ℕ")
        return "ℕ", lambda e: n.factorial(code(e))

    def leaf_floor(self, t: Term, expected: Type) -> tuple[Type, Value]:
        code = self.as_type(t.args[0], "ℝ")
        rounding = n.floor if t.op.startswith("floor") else n.ceil
        if t.op.endswith("₊"):
            return "ℕ", lambda e: max(rounding(code(e)), 0)
        return "ℤ", lambda e: rounding(code(e))

    def leaf_up(self, t: Term, expected: Type) -> tuple[Type, Value]:
        if expected not in LADDER:
            return self.value(t.args[0])
        return expected, self.as_type(t.args[0], expected)

    def leaf_ascribe(self, t: Term, expected: Type) -> tuple[Type, Value]:
        kind = self.type_of(t.args[1])
        return kind, self.as_type(t.args[0], kind)

    def leaf_tuple(self, t: Term, expected: Type) -> tuple[Type, Value]:
        if len(t.args) != 2:
            raise Unsupported("a tuple of other than two")
        wanted = expected[1:] if isinstance(expected, tuple) and expected[0] == "prod" else (None, None)
        parts = [self.value(a, k) for a, k in zip(t.args, wanted, strict=True)]
        codes = [casted(c, k, w or k) for (k, c), w in zip(parts, wanted, strict=True)]
        kinds = tuple(w or k for (k, _), w in zip(parts, wanted, strict=True))
        return ("prod", *kinds), lambda e: (codes[0](e), codes[1](e))

    def leaf_if(self, t: Term, expected: Type) -> tuple[Type, Value]:
        condition = self.prop(t.args[0])
        kind = join(
            join(self.tree_type(t.args[1]), self.tree_type(t.args[2])), expected if expected in LADDER else None
        )
        kind = kind or "ℕ"
        yes, no = self.as_type(t.args[1], kind), self.as_type(t.args[2], kind)

        def choose(e: Env) -> Any:
            found = condition(e)
            if found is None:
                raise Unsure("a condition is not decided")
            return yes(e) if found else no(e)

        return kind, choose

    def leaf_let(self, t: Term, expected: Type) -> tuple[Type, Value]:
        given = t.bounds[0].type
        kind, value = self.value(t.args[0], self.type_of(given) if given is not None else None)
        with Scope(self, {t.name: kind}):
            found, body = self.value(t.args[1], expected)
        name = t.name
        return found, lambda e: body({**e, name: value(e)})

    def leaf_fun(self, t: Term, expected: Type) -> tuple[Type, Value]:
        if not (isinstance(expected, tuple) and expected[0] == "fun"):
            raise Unsupported("a function without a type")
        names = [name for b in t.bounds for name in b.names]
        if len(names) != len(expected[1]):
            raise Unsupported("a function of another number of arguments")
        with Scope(self, dict(zip(names, expected[1], strict=True))):
            body = self.as_type(t.args[0], expected[2])
        return expected, lambda e: lambda *xs: body({**e, **dict(zip(names, xs, strict=True))})

    def leaf_big(self, t: Term, expected: Type) -> tuple[Type, Value]:
        """`∑ i ∈ s, f` and `∏`, over a finite set that can be listed."""
        if len(t.bounds) != 1 or t.bounds[0].relation != "∈" or len(t.bounds[0].names) != 1:
            raise Unsupported("a big operator without a set")
        (name,) = t.bounds[0].names
        assert t.bounds[0].bound is not None
        domain = self.set_code(t.bounds[0].bound)
        if domain.listed is None:
            raise Unsupported("a sum over a set that cannot be listed")
        listed, fuel = domain.listed, self.fuel
        with Scope(self, {name: domain.type}):
            kind, body = self.value(t.args[0])
            if self.tree_type(t.args[0]) is None and expected in LADDER:
                kind, body = expected, self.as_type(t.args[0], expected)
        zero: Any = Fraction(0) if kind in ("ℚ", "ℝ") else 0
        one: Any = zero + 1

        def total(e: Env) -> Any:
            result = zero if t.op == "∑" else one
            inner = dict(e)
            for x in listed(e):
                fuel.burn()
                inner[name] = x
                result = result + body(inner) if t.op == "∑" else result * body(inner)
            return result

        return kind, total

    # -- sets

    def set_code(self, t: Term, expected: Type = None) -> SetCode:
        """A set from its term; `expected` is the type of its elements where the place tells it."""
        if t.op == "ascribe":
            kind = self.type_of(t.args[1])
            if kind[0] != "set":
                raise Unsupported("a set of another type")
            return self.set_code(t.args[0], kind[1])
        if t.op == "id" and t.name in self.set_terms:
            return self.set_code(self.set_terms[t.name], self.types[t.name][1])
        if t.op == "id" and t.name == "∅" and expected:
            return SetCode(expected, lambda e, x: False, lambda e: [])
        if t.op == "setlit":
            return self.set_literal(t, expected)
        if t.op == "set":
            return self.set_builder(t, expected)
        if t.op in ("∪", "∩", "\\"):
            return self.set_operation(t, expected)
        head, args = t.spine()
        if head.op == "id":
            return self.named_set(head.name, args, expected)
        if head.op == "proj" and head.name == "filter" and len(args) == 1:
            return self.filtered(head.args[0], args[0])
        raise Unsupported("a set that is not understood")

    def named_set(self, name: str, args: tuple[Term, ...], expected: Type) -> SetCode:
        last = name.rpartition(".")[2]
        space = name.rpartition(".")[0]
        if space and space not in FINSETS:
            raise Unsupported(f"the set {name} is not known here")
        if last in INTERVALS and len(args) == 2:
            return self.interval(args, *INTERVALS[last], expected)
        if last in RAYS and len(args) == 1:
            return self.ray(args[0], *RAYS[last], expected)
        if last == "range" and len(args) == 1:
            stop = self.as_type(args[0], "ℕ")
            return whole_range("ℕ", lambda e: 0, lambda e: stop(e) - 1)
        if last == "filter" and len(args) == 2:
            return self.filtered(args[1], args[0])
        if last in ("divisors", "properDivisors") and len(args) == 1:
            of = self.as_type(args[0], "ℕ")
            proper = last == "properDivisors"

            def divisors(e: Env) -> list[int]:
                m = of(e)
                if m > RANGE_LIMIT**2:
                    _large()
                small = [k for k in range(1, math.isqrt(m) + 1) if m % k == 0]
                return sorted({d for k in small for d in (k, m // k) if not (proper and d == m)})

            return SetCode("ℕ", lambda e, x: x in divisors(e), divisors)
        raise Unsupported(f"the set {name} is not known here")

    def interval(self, args: tuple[Term, ...], closed_low: bool, closed_high: bool, expected: Type) -> SetCode:
        kind = join(join(self.tree_type(args[0]), self.tree_type(args[1])), expected if expected in LADDER else None)
        kind = kind or "ℕ"
        low, high = (self.as_type(a, kind) for a in args)
        if kind in ("ℕ", "ℤ"):
            return whole_range(kind, lambda e: low(e) + (not closed_low), lambda e: high(e) - (not closed_high))

        def has(e: Env, x: Any) -> bool | None:
            a, b = low(e), high(e)
            return conj(
                n.less_equal(a, x) if closed_low else n.less(a, x), n.less_equal(x, b) if closed_high else n.less(x, b)
            )

        def sampled(e: Env) -> Iterator[Any]:
            a, b = low(e), high(e)
            for w in (Fraction(0), Fraction(1), Fraction(1, 2), Fraction(1, 3), Fraction(3, 4), Fraction(1, 7)):
                yield a + (b - a) * w

        return SetCode(kind, has, None, sampled)

    def ray(self, arg: Term, side: str, closed: bool, expected: Type) -> SetCode:
        kind = join(self.tree_type(arg), expected if expected in LADDER else None) or "ℕ"
        edge = self.as_type(arg, kind)
        compare = n.less_equal if closed else n.less

        def has(e: Env, x: Any) -> bool | None:
            return compare(edge(e), x) if side == "low" else compare(x, edge(e))

        def sampled(e: Env) -> Iterator[Any]:
            for step in (0, 1, 2, 3, 10):
                yield edge(e) + step if side == "low" else edge(e) - step

        return SetCode(kind, has, None, sampled)

    def set_literal(self, t: Term, expected: Type) -> SetCode:
        kind = expected
        if kind is None or kind in LADDER:
            for a in t.args:
                kind = join(kind, self.tree_type(a) if a.op != "tuple" else self.value(a)[0])
            kind = kind or "ℕ"
        codes = [self.as_type(a, kind) for a in t.args]

        def has(e: Env, x: Any) -> bool | None:
            return disj(*(same(c(e), x) for c in codes))

        def listed(e: Env) -> list[Any]:
            found: list[Any] = []
            for c in codes:
                x = c(e)
                if not any(decided(same(x, y)) for y in found):
                    found.append(x)
            return found

        return SetCode(kind, has, listed)

    def set_builder(self, t: Term, expected: Type) -> SetCode:
        (bound,) = t.bounds
        body = t.args[0]
        if bound.relation == "pattern":
            raise Unsupported("a set-builder over a pattern")
        (name,) = bound.names
        base = self.set_code(bound.bound) if bound.relation == "∈" and bound.bound is not None else None
        if base is not None:
            kind = base.type
        elif bound.relation:
            raise Unsupported("a set-builder over a relation")
        else:
            kind = self.type_of(bound.type) if bound.type is not None else expected or self.infer(name, body)
        if kind not in LADDER:
            raise Unsupported(f"a set of {shown_type(kind)}")
        with Scope(self, {name: kind}):
            inside = self.prop(body)
            limits = self.limits(name, body) if kind in ("ℕ", "ℤ") else None
            witnesses = self.image(name, kind, body)

        def has(e: Env, x: Any) -> bool | None:
            inner = {**e, name: x}
            return inside(inner) if base is None else conj(base.has(e, x), inside(inner))

        listed = None
        source = base.listed if base is not None else limits
        if source is not None:

            def listed(e: Env) -> list[Any]:
                inner, found = dict(e), []
                for x in source(e):
                    self.fuel.burn()
                    inner[name] = x
                    if decided(inside(inner)):
                        found.append(x)
                return found

        return SetCode(kind, has, listed, witnesses)

    def image(self, name: str, kind: Type, body: Term) -> Callable[[Env], Iterator[Any]]:
        """Elements of `{z | ∃ x …, z = e ∧ …}` for sampled x, then a grid."""
        chain: list[tuple[str, Type]] = []
        inner = body
        while inner.op == "∃" and all(not b.relation for b in inner.bounds):
            for b in inner.bounds:
                for x in b.names:
                    chain.append((x, self.type_of(b.type) if b.type is not None else self.infer(x, inner.args[0])))
            inner = inner.args[0]
        value: Value | None = None
        if chain and all(k in LADDER for _, k in chain):
            with Scope(self, dict(chain)):
                for part in conjuncts(inner):
                    if part.op == "=" and value is None:
                        for side, other in (part.args, part.args[::-1]):
                            if side.op == "id" and side.name == name and not mentions(other, {name}):
                                value = self.as_type(other, kind)
        fuel = self.fuel

        def sampled(e: Env) -> Iterator[Any]:
            if value is not None:
                grids = [grid(k, len(chain)) for _, k in chain]
                for xs in itertools.islice(itertools.product(*grids), 4000):
                    fuel.burn()
                    try:
                        yield value({**e, **{x: v for (x, _), v in zip(chain, xs, strict=True)}})
                    except Unsure:
                        continue
            yield from grid(kind, 1)

        return sampled

    def limits(
        self, name: str, body: Term, later: frozenset[str] | set[str] = frozenset()
    ) -> Callable[[Env], list[int]] | None:
        """All whole numbers between bounds that the formula itself states for the variable, without `later` ones."""
        apart = {name} | set(later)
        lows: list[Value] = [lambda e: 0] if self.types[name] == "ℕ" else []
        highs: list[Value] = []
        for part in conjuncts(body):
            if part.op in ("<", ">", "≤", "≥"):
                left, right = part.args
                flipped = right.op == "id" and right.name == name
                other = left if flipped else right
                if not flipped and not (left.op == "id" and left.name == name):
                    continue
                if mentions(other, apart):
                    continue
                kind, code = self.value(other)
                if kind not in ("ℕ", "ℤ"):
                    continue
                below = (part.op in ("<", "≤")) != flipped
                (highs if below else lows).append(shifted(code, (part.op in ("<", ">")) * (-1 if below else 1)))
            elif (
                part.op == "∈"
                and part.args[0].op == "id"
                and part.args[0].name == name
                and not mentions(part.args[1], apart)
            ):
                inside = self.set_code(part.args[1], self.types[name])
                if inside.listed is not None and inside.type == self.types[name]:
                    return inside.listed
        if not lows or not highs:
            return None

        def listed(e: Env) -> list[int]:
            low, high = max(c(e) for c in lows), min(c(e) for c in highs)
            if high - low > RANGE_LIMIT:
                raise Unsure("a range is too long")
            return list(range(low, high + 1))

        return listed

    def set_operation(self, t: Term, expected: Type) -> SetCode:
        a, b = (self.set_code(x, expected) for x in t.args)
        if a.type != b.type:
            raise Unsupported("sets of two types")
        if t.op == "∪":
            listed = (lambda e: union(a.listed(e), b.listed(e))) if a.listed and b.listed else None  # type: ignore[misc]
            return SetCode(a.type, lambda e, x: disj(a.has(e, x), b.has(e, x)), listed)

        def has(e: Env, x: Any) -> bool | None:
            return conj(a.has(e, x), b.has(e, x) if t.op == "∩" else negated(b.has(e, x)))

        source = a if a.listed else b if t.op == "∩" else a
        kept = (lambda e: [x for x in source.listed(e) if decided(has(e, x))]) if source.listed else None  # type: ignore[misc]
        return SetCode(a.type, has, kept)

    def filtered(self, base: Term, condition: Term) -> SetCode:
        code = self.set_code(base)
        if condition.op != "fun" or len(condition.bounds) != 1 or len(condition.bounds[0].names) != 1:
            head = condition if condition.op == "id" else None
            if head is None:
                raise Unsupported("a filter that is not `fun x => …`")
            name, body = "x✝", Term("app", (head, Term("id", name="x✝")))
        else:
            name, body = condition.bounds[0].names[0], condition.args[0]
        with Scope(self, {name: code.type}):
            keep = self.prop(body)

        def has(e: Env, x: Any) -> bool | None:
            return conj(code.has(e, x), keep({**e, name: x}))

        def listed(e: Env) -> list[Any]:
            assert code.listed is not None
            found = []
            for x in code.listed(e):
                self.fuel.burn()
                if decided(keep({**e, name: x})):
                    found.append(x)
            return found

        return SetCode(code.type, has, listed if code.listed else None)

    # -- formulas

    def prop(self, t: Term) -> Truth:
        """Code of a formula."""
        if t.op in ("∧", "∨", "→", "↔"):
            a, b = self.prop(t.args[0]), self.prop(t.args[1])
            if t.op == "∧":
                return lambda e: conj_lazy(a, b, e)
            if t.op == "∨":
                return lambda e: disj_lazy(a, b, e)
            if t.op == "→":
                return lambda e: disj_lazy(lambda e2: negated(a(e2)), b, e)
            return lambda e: iff(a(e), b(e))
        if t.op == "¬":
            x = self.prop(t.args[0])
            return lambda e: negated(x(e))
        if t.op in ("∀", "∃"):
            return self.quantified(t)
        if t.op in ("=", "≠"):
            return self.equation(t)
        if t.op in ("<", ">", "≤", "≥"):
            return self.comparison(t)
        if t.op in ("∈", "∉"):
            return self.membership(t)
        if t.op in ("∣", "∤"):
            kind = self.relation_type(t)
            if kind not in ("ℕ", "ℤ"):
                raise Unsupported(f"divisibility in {shown_type(kind)}")
            below, above = (self.as_type(x, kind) for x in t.args)
            divides: Truth = lambda e: n.whole_remainder(above(e), below(e)) == 0  # noqa: E731
            return divides if t.op == "∣" else lambda e: not divides(e)
        if t.op == "≡":
            kind = {"MOD": "ℕ", "ZMOD": "ℤ"}.get(t.name)
            if kind is None:
                raise Unsupported("a congruence of another kind")
            a, b, m = (self.as_type(x, kind) for x in t.args)
            return lambda e: n.whole_remainder(a(e), m(e)) == n.whole_remainder(b(e), m(e))
        if t.op in ("⊆", "⊂"):
            raise Unsupported("an inclusion of sets")
        if t.op == "id" and t.name in ("True", "False"):
            truth = t.name == "True"
            return lambda e: truth
        if t.op == "let":
            kind, value = self.value(t.args[0], self.type_of(t.bounds[0].type) if t.bounds[0].type else None)
            with Scope(self, {t.name: kind}):
                body = self.prop(t.args[1])
            return lambda e: body({**e, t.name: value(e)})
        return self.predicate(t)

    def relation_type(self, t: Term) -> Type:
        kind = None
        for a in t.args[:2]:
            kind = join(kind, self.tree_type(a))
        if kind is None:
            kind = "ℤ" if any(x.op == "neg" for a in t.args for x in tree_nodes(a)) else "ℕ"
        return kind

    def equation(self, t: Term) -> Truth:
        left, right = t.args
        code: Truth
        if self.is_set(left) or self.is_set(right):
            code = self.set_equation(left, right)
        elif self.is_tuple(left) or self.is_tuple(right):
            first, second = (left, right) if self.is_tuple(left) else (right, left)
            kind, a = self.value(first)
            b = self.as_type(second, kind)
            code = lambda e: same(a(e), b(e))  # noqa: E731
        else:
            kind = self.relation_type(t)
            a, b = (self.as_type(x, kind) for x in t.args)
            code = lambda e: n.equal(a(e), b(e))  # noqa: E731
        return code if t.op == "=" else lambda e: negated(code(e))

    def is_set(self, t: Term) -> bool:
        head, _ = t.spine()
        if t.op in ("set", "setlit", "∪", "∩", "\\") or (t.op == "id" and t.name == "∅"):
            return True
        if t.op == "ascribe":
            return self.is_set(t.args[0])
        if head.op == "id" and head.name in self.types:
            return t.op == "id" and isinstance(self.types[head.name], tuple) and self.types[head.name][0] == "set"
        return head.op == "id" and (head.name.rpartition(".")[2] in {*INTERVALS, *RAYS, "range", "divisors"})

    def is_tuple(self, t: Term) -> bool:
        kind = self.types.get(t.name) if t.op == "id" else None
        return t.op == "tuple" or (isinstance(kind, tuple) and kind[0] == "prod")

    def set_equation(self, left: Term, right: Term) -> Truth:
        typed, other, swapped = (left, right, False)
        try:
            a = self.set_code(typed)
        except Unsupported:
            typed, other, swapped = right, left, True
            a = self.set_code(typed)
        b = self.set_code(other, a.type)
        if a.type != b.type and not swapped:  # numerals gave the first its type
            b = self.set_code(other)
            a = self.set_code(typed, b.type)
        if a.type != b.type:
            raise Unsupported("sets of two types")

        def code(e: Env) -> bool | None:
            if a.listed and b.listed:
                xs, ys = a.listed(e), b.listed(e)
                return conj(
                    *(disj(*(same(x, y) for y in ys)) for x in xs), *(disj(*(same(x, y) for x in xs)) for y in ys)
                )
            for one, two in ((a, b), (b, a)):
                for x in itertools.islice(elements(one, e), 300):
                    self.fuel.burn()
                    if attempt(lambda: one.has(e, x)) is True and attempt(lambda: two.has(e, x)) is False:  # noqa: B023
                        return False
            return None

        return code

    def comparison(self, t: Term) -> Truth:
        kind = self.relation_type(t)
        a, b = (self.as_type(x, kind) for x in t.args)
        if t.op == "<":
            return lambda e: n.less(a(e), b(e))
        if t.op == "≤":
            return lambda e: n.less_equal(a(e), b(e))
        if t.op == ">":
            return lambda e: n.less(b(e), a(e))
        return lambda e: n.less_equal(b(e), a(e))

    def membership(self, t: Term) -> Truth:
        element, where = t.args
        if element.op == "tuple":
            raise Unsupported("membership of a tuple")
        kind = self.tree_type(element)
        code = self.set_code(where, kind)
        x = self.as_type(element, code.type)
        truth: Truth = lambda e: code.has(e, x(e))  # noqa: E731
        return truth if t.op == "∈" else lambda e: negated(truth(e))

    def predicate(self, t: Term) -> Truth:
        head, args = t.spine()
        name = head.name if head.op == "id" else ""
        first, dot, rest = name.partition(".")
        if dot and first in self.types and self.types[first] in LADDER:
            space = {"ℕ": "Nat", "ℤ": "Int"}.get(self.types[first], "")
            name, args = f"{space}.{rest}", (Term("id", name=first), *args)
        if head.op == "proj":
            kind = self.value(head.args[0])[0]
            name, args = f"{ {'ℕ': 'Nat', 'ℤ': 'Int'}.get(kind, '') }.{head.name}", (head.args[0], *args)
        if name in PARITY and len(args) == 1:
            kind = self.tree_type(args[0]) or "ℕ"
            if kind not in ("ℕ", "ℤ"):
                raise Unsupported(f"{name} in {shown_type(kind)}")
            code = self.as_type(args[0], kind)
            return lambda e: code(e) % 2 == PARITY[name]
        if name in ("IsGreatest", "IsLeast") and len(args) == 2:
            return self.extremum(name, args)
        if (
            name == "Prime"
            and len(args) == 1
            and self.tree_type(args[0]) in ("ℕ", "ℤ", None)
            and "Nat" not in self.opened
        ):
            kind = self.tree_type(args[0]) or "ℕ"
            code = self.as_type(args[0], kind)
            return lambda e: n.is_prime(abs(code(e)))
        found = self.resolve(name, PREDICATES)
        if not found or len(args) != len(PREDICATES[found][0]):
            raise Unsupported(f"the predicate {name or head.op} is not known here")
        kinds, function = PREDICATES[found]
        codes = [self.as_type(a, k) for a, k in zip(args, kinds, strict=True)]
        return lambda e: function(*(c(e) for c in codes))

    def extremum(self, name: str, args: tuple[Term, ...]) -> Truth:
        """`IsGreatest S v`: v ∈ S, and nothing in S is larger. Decided on lists, else refuted by samples."""
        kind = self.tree_type(args[1])
        code = self.set_code(args[0], kind)
        value = self.as_type(args[1], code.type)
        worse = n.less if name == "IsGreatest" else (lambda a, b: n.less(b, a))

        def truth(e: Env) -> bool | None:
            v = value(e)
            inside = attempt(lambda: code.has(e, v))
            if inside is False:
                return False
            if code.listed:
                return conj(inside, *(negated(worse(v, x)) for x in code.listed(e)))
            for x in elements(code, e):
                self.fuel.burn()
                if attempt(lambda: worse(v, x)) is True and attempt(lambda: code.has(e, x)) is True:  # noqa: B023
                    return False
            return None

        return truth

    def infer(self, name: str, body: Term) -> Type:
        """The type of a bound variable that has none: that of the relations in which it stands.

        Raises:
            Unsupported: they differ, or there is no hint.
        """
        kinds: list[Type] = []
        free = {b for t in body.walk() for x in t.bounds for b in x.names}
        lonely = False
        for t in body.walk():
            if t.op == "app" and t.args[0].op == "id" and isinstance(self.types.get(t.args[0].name), tuple):
                function = self.types[t.args[0].name]
                if function[0] == "fun":
                    kinds += [
                        k for a, k in zip(t.args[1:], function[1], strict=False) if a.op == "id" and a.name == name
                    ]
            if t.op not in ("=", "≠", "<", ">", "≤", "≥", "∣", "∈"):
                continue
            leaves = [x for a in t.args for x in tree_leaves(a)]
            if not any(x.op == "id" and x.name == name for x in leaves):
                continue
            if t.op == "∈":
                kinds.append(self.set_code(t.args[1]).type)
                continue
            found = None
            for leaf in leaves:
                if not mentions(leaf, {name} | free):
                    found = join(found, None if leaf.op == "num" or self.flexible(leaf) else self.value(leaf)[0])
            if found is None:
                lonely = True
            else:
                kinds.append(found)
        if len(set(map(str, kinds))) > 1:
            raise Unsupported(f"the type of {name} is not clear")
        if not kinds and not lonely:
            raise Unsupported(f"the type of {name} is not given")
        return kinds[0] if kinds else "ℕ"

    def quantified(self, t: Term) -> Truth:
        """Over finite ranges decided; else by samples, which can only refute a ∀ and confirm an ∃."""
        variables: list[tuple[str, Type]] = []
        conditions: list[Term] = []
        pieces = []
        for b in t.bounds:
            for name in b.names:
                pieces.append((name, b))
        if b_prop := [b for b in t.bounds if b.type is not None and not self.is_type(b.type)]:
            raise Unsupported(f"a quantifier over a proof ({b_prop[0].names[0]})")
        body = t.args[0]
        types: dict[str, Type] = {}
        for name, b in pieces:
            if b.relation == "∈":
                assert b.bound is not None
                with Scope(self, types):
                    types[name] = self.set_code(b.bound).type
                conditions.append(Term("∈", (Term("id", name=name), b.bound)))
            elif b.relation:
                assert b.bound is not None
                condition = Term(b.relation, (Term("id", name=name), b.bound))
                joined = Term("∧", (condition, body))
                with Scope(self, types):
                    types[name] = self.infer(name, joined)
                conditions.append(condition)
            else:
                with Scope(self, types):
                    types[name] = self.type_of(b.type) if b.type is not None else self.infer(name, body)
            variables.append((name, types[name]))
        if any(kind not in LADDER for _, kind in variables):
            raise Unsupported(f"a quantifier over {shown_type(next(k for _, k in variables if k not in LADDER))}")
        universal = t.op == "∀"
        with Scope(self, types):
            premises = list(conditions)
            inner = body
            if universal:
                while inner.op == "→":
                    premises += conjuncts(inner.args[0])
                    inner = inner.args[1]
            else:
                premises += [p for p in conjuncts(body) if p not in premises]
            condition_codes = [self.prop(c) for c in conditions]
            code = self.prop(body)
            stated = premises[0] if premises else None
            for p in premises[1:]:
                stated = Term("∧", (stated, p))  # type: ignore[arg-type]
            order = [name for name, _ in variables]
            ranges = {
                name: self.limits(name, stated, set(order[i + 1 :]))
                if stated is not None and kind in ("ℕ", "ℤ")
                else None
                for i, (name, kind) in enumerate(variables)
            }
            solved = (
                {name: self.solved(name, kind, premises, types) for name, kind in variables} if not universal else {}
            )
        complete = all(ranges[name] is not None for name, _ in variables)
        fuel, width = self.fuel, len(variables) + len(self.bound)

        def search(e: Env, rest: list[tuple[str, Type]]) -> Iterator[Env]:
            if not rest:
                yield e
                return
            (name, kind), more = rest[0], rest[1:]
            listed = ranges[name]
            if listed is not None:
                values: Iterable[Any] = listed(e)
            else:
                values = itertools.chain(solved[name](e) if name in solved else (), grid(kind, width))
            for x in values:
                fuel.burn()
                yield from search({**e, name: x}, more)

        def truth(e: Env) -> bool | None:
            result: bool | None = universal if complete else None
            for inner_env in search(e, variables):
                try:
                    premise = conj(*(c(inner_env) for c in condition_codes))
                    found = code(inner_env)
                except Unsure:
                    premise = found = None
                if universal:
                    found = disj(negated(premise), found)
                    if found is False:
                        return False
                else:
                    found = conj(premise, found)
                    if found is True:
                        return True
                if found is None:
                    result = None
            return result

        return truth

    def is_type(self, t: Term) -> bool:
        return t.op in ("id", "→", "×", "app") and t.op not in ("=",) and not (t.op == "id" and t.name in self.types)

    def solved(
        self, name: str, kind: Type, premises: list[Term], types: Mapping[str, Type]
    ) -> Callable[[Env], Iterator[Any]]:
        """Values of a variable that one equation of the premises gives, the others being known already."""
        from .solve import roots

        equations = []
        later = set(list(types)[list(types).index(name) + 1 :])
        for p in premises:
            if p.op == "=" and mentions(p, {name}) and not mentions(p, later):
                try:
                    side = self.relation_type(p)
                    a, b = (self.as_type(x, side) for x in p.args)
                except Unsupported:
                    continue
                equations.append((a, b))

        def values(e: Env) -> Iterator[Any]:
            for a, b in equations:
                yield from roots(lambda x: a({**e, name: x}) - b({**e, name: x}), kind)  # noqa: B023

        return values


LEAVES = {
    "id": "id",
    "app": "app",
    "proj": "proj",
    "abs": "abs",
    "norm": "norm",
    "√": "root",
    "!": "factorial",
    "floor": "floor",
    "ceil": "floor",
    "floor₊": "floor",
    "ceil₊": "floor",
    "↑": "up",
    "ascribe": "ascribe",
    "tuple": "tuple",
    "anon": "tuple",
    "if": "if",
    "let": "let",
    "fun": "fun",
    "∑": "big",
    "∏": "big",
}


class Scope:
    """Variables of a quantifier, while its body is elaborated."""

    def __init__(self, elaborator: Elaborator, types: Mapping[str, Type]):
        self.elaborator, self.new = elaborator, dict(types)

    def __enter__(self) -> None:
        self.old = self.elaborator.types
        self.elaborator.types = {**self.old, **self.new}
        self.elaborator.bound += list(self.new)

    def __exit__(self, *exception: object) -> None:
        self.elaborator.types = self.old
        del self.elaborator.bound[len(self.elaborator.bound) - len(self.new) :]


def join(a: Type | None, b: Type | None) -> Type | None:
    """The larger of two types; None is that of a numeral."""
    if a is None or b is None:
        return b if a is None else a
    if a in LADDER and b in LADDER:
        return a if LADDER[a] >= LADDER[b] else b
    if a == b:
        return a
    raise Unsupported(f"{shown_type(a)} and {shown_type(b)} in one expression")


def casted(code: Value, source: Type, target: Type) -> Value:
    if source == target:
        return code
    if source in LADDER and target in LADDER and LADDER[source] <= LADDER[target]:
        return lambda e: n.cast(code(e), source, target)
    raise Unsupported(f"{shown_type(source)} where {shown_type(target)} is expected")


def tree_nodes(t: Term) -> Iterator[Term]:
    """The nodes of one arithmetic tree, exponents left out."""
    yield t
    if t.op in TREE:
        for arg in t.args[:1] if t.op == "^" else t.args:
            yield from tree_nodes(arg)


def tree_leaves(t: Term) -> list[Term]:
    return [x for x in tree_nodes(t) if x.op not in TREE or x.op == "num"]


def conjuncts(t: Term) -> list[Term]:
    return conjuncts(t.args[0]) + conjuncts(t.args[1]) if t.op == "∧" else [t]


def mentions(t: Term, names: set[str]) -> bool:
    return any(x.op == "id" and x.name.partition(".")[0] in names for x in t.walk())


def shifted(code: Value, step: int) -> Value:
    return lambda e: code(e) + step


def shown_type(kind: Type) -> str:
    return kind if isinstance(kind, str) else kind[0] if isinstance(kind, tuple) else "an unknown type"


def whole_range(kind: str, low: Value, high: Value) -> SetCode:
    def listed(e: Env) -> list[int]:
        a, b = low(e), high(e)
        if b - a > RANGE_LIMIT:
            raise Unsure("a range is too long")
        return list(range(a, b + 1))

    return SetCode(kind, lambda e, x: low(e) <= x <= high(e), listed)


def elements(code: SetCode, e: Env) -> Iterator[Any]:
    if code.listed:
        yield from code.listed(e)
    elif code.sampled:
        yield from code.sampled(e)
    else:
        yield from grid(code.type, 1)


WHOLE = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 15, 16, 20, 24, 25, 30, 36, 48, 49, 50, 60, 64, 81, 99, 100)
REAL = tuple(
    map(
        Fraction,
        (
            "0",
            "1",
            "-1",
            "2",
            "1/2",
            "-2",
            "3",
            "-1/2",
            "4",
            "1/3",
            "-3",
            "3/2",
            "5",
            "10",
            "1/4",
            "-1/3",
            "6",
            "7",
            "-4",
            "100",
            "1/10",
        ),
    )
)
GRID_SIZES = {1: 29, 2: 12, 3: 7, 4: 5}


def grid(kind: Type, width: int) -> list[Any]:
    """Values to try, those that catch Lean's conventions first; fewer where many variables are tried together."""
    size = GRID_SIZES.get(width, 4)
    if kind == "ℕ":
        return list(WHOLE[:size])
    if kind == "ℤ":
        return [x for pair in ((v, -v) for v in WHOLE[: (size + 1) // 2 + 1]) for x in dict.fromkeys(pair)]
    if kind in ("ℚ", "ℝ"):
        return list(REAL[:size])
    return []


def same(a: Any, b: Any) -> bool | None:
    if isinstance(a, tuple):
        return conj(*(same(x, y) for x, y in zip(a, b, strict=True)))
    return n.equal(a, b)


def union(xs: list[Any], ys: list[Any]) -> list[Any]:
    return xs + [y for y in ys if not any(decided(same(x, y)) for x in xs)]


def negated(x: bool | None) -> bool | None:
    return None if x is None else not x


def conj(*xs: bool | None) -> bool | None:
    return False if False in xs else None if None in xs else True


def disj(*xs: bool | None) -> bool | None:
    return True if True in xs else None if None in xs else False


def iff(a: bool | None, b: bool | None) -> bool | None:
    return None if a is None or b is None else a == b


def conj_lazy(a: Truth, b: Truth, e: Env) -> bool | None:
    left = attempt(lambda: a(e))
    if left is False:
        return False
    return conj(left, attempt(lambda: b(e)))


def disj_lazy(a: Truth, b: Truth, e: Env) -> bool | None:
    left = attempt(lambda: a(e))
    if left is True:
        return True
    return disj(left, attempt(lambda: b(e)))


def attempt(code: Callable[[], bool | None]) -> bool | None:
    """A truth, None where it could not be decided."""
    try:
        return code()
    except Unsure:
        return None


def decided(x: bool | None) -> bool:
    if x is None:
        raise Unsure("a membership is not decided")
    return x
