"""A little interpreter for what a model writes when it is asked for a Python expression that draws at random.

Nothing is compiled or run by Python: the text is parsed, and its tree is walked by the tables below. They know numbers,
texts, lists, arithmetic, comparisons, conditional expressions, comprehensions over a list or `range`, a few functions,
and those of the module `random` that are listed. Everything else is refused, and text, steps, sizes and magnitudes are
bounded.
"""

from __future__ import annotations

import ast
import operator
import random
from collections.abc import Callable, Mapping
from typing import Any

from .errors import VRSError

LONGEST, STEPS, ITEMS, LARGEST, BITS = 2_000, 20_000, 2_000, 1e12, 39

BINARY: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
UNARY: Mapping[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Not: operator.not_,
}
PLAIN: Mapping[str, Callable[..., Any]] = {f.__name__: f for f in (abs, float, int, len, max, min, round, str, sum)}
RANDOM = frozenset(
    {"random", "randint", "randrange", "uniform", "choice", "choices", "gauss", "normalvariate", "expovariate"}
    | {"betavariate", "gammavariate", "triangular", "getrandbits"}
)


def evaluate(source: str, rng: random.Random) -> Any:
    """The value of an expression, with `rng` as its module `random`.

    Raises:
        VRSError: the text is no expression of the allowed kind, or fails.
    """
    if len(source) > LONGEST:
        raise VRSError(f"an expression of {len(source)} characters is over the limit of {LONGEST}")
    try:
        return _Evaluator(rng).value(ast.parse(source.strip(), mode="eval").body)
    except VRSError:
        raise
    except (SyntaxError, ValueError, TypeError, ArithmeticError, LookupError, RecursionError, MemoryError) as error:
        raise VRSError(f"the expression fails: {type(error).__name__}: {str(error)[:120]}") from error


class _Evaluator:
    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._names: dict[str, Any] = {}  # of comprehensions
        self._steps = 0

    def value(self, node: ast.expr) -> Any:
        self._steps += 1
        if self._steps > STEPS:
            raise VRSError(f"the expression takes more than {STEPS} steps")
        match node:
            case ast.Constant(value=bool() | int() | float() | str() as value):
                return _bounded(value)
            case ast.Name(id=name) if name in self._names:
                return self._names[name]
            case ast.List(elts=elements) | ast.Tuple(elts=elements):
                return _bounded([self.value(e) for e in elements])
            case ast.UnaryOp(op=op, operand=operand) if type(op) in UNARY:
                return _bounded(UNARY[type(op)](self.value(operand)))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in BINARY:
                return _bounded(BINARY[type(op)](self._number(left), self._number(right)))
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in COMPARE:
                return COMPARE[type(op)](self.value(left), self.value(right))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return self.value(body) if self.value(test) else self.value(orelse)
            case ast.Subscript(value=value, slice=index) if not isinstance(index, ast.Slice):
                return self.value(value)[self.value(index)]
            case ast.ListComp(elt=elt, generators=[clause]) | ast.GeneratorExp(elt=elt, generators=[clause]):
                return self._comprehension(elt, clause)
            case ast.Call(func=ast.Name(id=name), args=args, keywords=[]) if name in PLAIN:
                return self._plain(name, [self.value(a) for a in args])
            case ast.Call(func=ast.Attribute(value=ast.Name(id="random"), attr=name)) if name in RANDOM:
                return self._draw(name, node)
        raise VRSError(f"the expression has a part that is not allowed: {ast.unparse(node)[:60]}")

    def _number(self, node: ast.expr) -> Any:
        value = self.value(node)
        if not isinstance(value, bool | int | float):
            raise VRSError("the expression does arithmetic on something that is no number")
        return value

    def _comprehension(self, elt: ast.expr, clause: ast.comprehension) -> list[Any]:
        if not isinstance(clause.target, ast.Name) or clause.is_async or clause.ifs:
            raise VRSError("the expression has a comprehension that is not allowed")
        match clause.iter:
            case ast.Call(func=ast.Name(id="range"), args=args, keywords=[]) if 1 <= len(args) <= 3:
                items: Any = range(*(int(self._number(a)) for a in args))
            case _:
                items = self.value(clause.iter)
        if not isinstance(items, range | list) or len(items) > ITEMS:
            raise VRSError(f"the expression loops over something that is no list or range of at most {ITEMS}")
        outer, found = dict(self._names), []
        for item in items:
            self._names[clause.target.id] = item
            found.append(self.value(elt))
        self._names = outer
        return found

    def _plain(self, name: str, values: list[Any]) -> Any:
        if name == "round" and len(values) > 1 and abs(values[1]) > 15:
            raise VRSError("the expression rounds to more than 15 digits")
        return _bounded(PLAIN[name](*values))

    def _draw(self, name: str, node: ast.Call) -> Any:
        if any(k.arg is None for k in node.keywords):
            raise VRSError("the expression unpacks arguments, which is not allowed")
        values = [self.value(a) for a in node.args]
        named = {str(k.arg): self.value(k.value) for k in node.keywords}
        if name == "choices" and (named.get("k", 1) > ITEMS or len(values) > 2):
            raise VRSError(f"the expression draws more than {ITEMS} values")
        if name == "getrandbits" and not (values and 1 <= values[0] <= BITS):
            raise VRSError(f"the expression draws more than {BITS} bits at once")
        return _bounded(getattr(self._rng, name)(*values, **named))


def _bounded(value: Any) -> Any:
    if isinstance(value, bool | int | float):
        # a NaN compares as false, and so is refused too
        if not abs(value) <= LARGEST:
            raise VRSError(f"the expression makes the number {value!s:.20}, beyond ±1e12")
    elif not isinstance(value, str | list) or len(value) > ITEMS:
        raise VRSError(f"the expression makes something that is no number, text or list of at most {ITEMS}")
    return value
