"""A goal in the fragment, tactic blocks as texts, and what a proof term in a hint states."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ..errors import Unsupported
from ..lean.lexer import BRACKETS, CLOSERS, Lines, lex
from ..lean.render import render, substitute
from ..lean.terms import Term, parse_term
from .elaborate import Elaborator, Type, shown_type


class TacticError(Exception):
    """A tactic that fails, with a message like Lean's."""


class Incomplete(Exception):
    """`sorry` or a placeholder."""


@dataclass(frozen=True)
class FragmentGoal:
    """Variables with their types, named hypotheses, and a target."""

    variables: tuple[tuple[str, Type], ...]
    hypotheses: tuple[tuple[str, Term], ...]
    target: Term
    opened: frozenset[str] = frozenset()

    def elaborator(self) -> Elaborator:
        return Elaborator(types=dict(self.variables), opened=self.opened)

    def hypothesis(self, name: str) -> Term | None:
        return next((t for x, t in reversed(self.hypotheses) if x == name), None)

    def fresh(self, name: str) -> str:
        taken = {x for x, _ in self.variables} | {x for x, _ in self.hypotheses}
        while name in taken:
            name += "✝"
        return name

    def with_hypothesis(self, name: str, prop: Term) -> FragmentGoal:
        return replace(self, hypotheses=(*self.hypotheses, (name, prop)))

    def with_variable(self, name: str, kind: Type) -> FragmentGoal:
        return replace(self, variables=(*self.variables, (name, kind)))

    def substituted(self, name: str, value: Term) -> FragmentGoal:
        """The goal with a variable replaced everywhere and gone."""
        hypotheses = tuple((x, substitute(t, {name: value})) for x, t in self.hypotheses)
        variables = tuple(v for v in self.variables if v[0] != name)
        return replace(self, variables=variables, hypotheses=hypotheses, target=substitute(self.target, {name: value}))

    def pretty(self) -> str:
        """As Lean prints a goal."""
        lines = [f"{name} : {pretty_type(kind)}" for name, kind in self.variables]
        lines += [f"{name} : {render(t)}" for name, t in self.hypotheses]
        return "\n".join([*lines, f"⊢ {render(self.target)}"])


def pretty_type(kind: Type) -> str:
    if isinstance(kind, tuple) and kind[0] == "fun":
        return " → ".join([*(pretty_type(k) for k in kind[1]), pretty_type(kind[2])])
    if isinstance(kind, tuple) and kind[0] == "set":
        return f"Set {pretty_type(kind[1])}"
    if isinstance(kind, tuple) and kind[0] == "prod":
        return " × ".join(pretty_type(k) for k in kind[1:])
    return shown_type(kind)


def split_block(text: str) -> list[str]:
    """The tactics of a block, each with its first line padded to its column so that nested blocks keep theirs."""
    lexed = lex(text)
    if lexed.open:
        raise TacticError(f"unterminated {lexed.open}")
    tokens = lexed.tokens
    if not tokens:
        return []
    place = Lines(text)
    line, column = place(tokens[0].start)
    starts, depth, cuts = [0], 0, []
    for i, token in enumerate(tokens[1:], 1):
        here, col = place(token.start)
        if depth == 0 and here != line and col <= column and token.text not in ("<;>", "|"):
            if col < column:
                raise TacticError("unexpected indentation; expected command")
            starts.append(i)
        elif depth == 0 and token.text == ";" and tokens[i - 1].text != "<":
            cuts.append(i)
            starts.append(i + 1)
        line = here
        if token.kind == "sym":
            depth += (token.text in BRACKETS) - (token.text in CLOSERS)
    if tokens[0].text in BRACKETS and len(starts) > 1:
        starts, cuts = _resplit(text, tokens, place)
    found = []
    for a, b in zip(starts, [*starts[1:], len(tokens) + 1], strict=True):
        last = b - 2 if b - 1 in cuts else b - 1
        last = min(last, len(tokens) - 1)
        if a > last:
            continue
        _, col = place(tokens[a].start)
        found.append(" " * col + text[tokens[a].start : tokens[last].end])
    return found


def _resplit(text: str, tokens: list, place: Lines) -> tuple[list[int], list[int]]:
    """As the loop of `split_block`, for a block that begins with a bracket (depth counted from the first token)."""
    line, column = place(tokens[0].start)
    starts, cuts, depth = [0], [], 0
    for i, token in enumerate(tokens):
        here, col = place(token.start)
        if i and depth == 0 and here != line and col == column:
            starts.append(i)
        elif depth == 0 and token.text == ";":
            cuts.append(i)
            starts.append(i + 1)
        line = here
        if token.kind == "sym":
            depth += (token.text in BRACKETS) - (token.text in CLOSERS)
    return starts, cuts


def split_at(text: str, separator: str) -> list[str]:
    """A text cut at a symbol that stands outside brackets; parts keep their column."""
    depth, parts, begin = 0, [], 0
    for token in lex(text).tokens:
        if token.kind == "sym" and token.text in BRACKETS:
            depth += 1
        elif token.kind == "sym" and token.text in CLOSERS:
            depth -= 1
        elif depth == 0 and token.text == separator:
            parts.append(text[begin : token.start])
            begin = token.end
    return [*parts, text[begin:]]


def id_(name: str) -> Term:
    return Term("id", name=name)


def node(op: str, *args: Term) -> Term:
    return Term(op, args)


ZERO = Term("num", name="0")


def stated(t: Term, goal: FragmentGoal) -> Term:
    """The proposition that a proof term proves: a hypothesis, its parts and instances, or a lemma of the table.

    Raises:
        Unsupported: the term is not one of these.
    """
    if t.op == "id":
        found = goal.hypothesis(t.name)
        if found is not None:
            return found
        first, dot, rest = t.name.partition(".")
        if dot and goal.hypothesis(first) is not None:
            for part in rest.split("."):
                t = Term("proj", (t if t.op == "proj" else id_(first),), part)
            return stated(t, goal)
    if t.op == "proj":
        return projected(stated(t.args[0], goal), t.name)
    if t.op == "ascribe":
        return t.args[1]
    if t.op == "app":
        head, args = t.spine()
        name = head.name if head.op == "id" else ""
        if name in LEMMAS:
            return LEMMAS[name](args, goal)
        prop = stated(head, goal)
        for arg in args:
            prop = instantiated(prop, arg, goal)
        return prop
    raise Unsupported(f"the proof term `{render(t)}`")


def projected(prop: Term, part: str) -> Term:
    if prop.op == "∧" and part in ("1", "2", "left", "right"):
        return prop.args[part in ("2", "right")]
    if prop.op == "↔" and part in ("1", "2", "mp", "mpr"):
        a, b = prop.args
        return node("→", a, b) if part in ("1", "mp") else node("→", b, a)
    if prop.op in ("<", ">", "≤", "≥") and part in ("le", "ne", "ne'"):
        a, b = prop.args if prop.op in ("<", "≤") else prop.args[::-1]
        if part == "le":
            return node("≤", a, b)
        if prop.op in ("<", ">"):
            return node("≠", a, b) if part == "ne" else node("≠", b, a)
    if prop.op == "=" and part in ("symm", "le", "ge"):
        a, b = prop.args
        return node("=", b, a) if part == "symm" else node("≤", a, b) if part == "le" else node("≤", b, a)
    raise Unsupported(f"`.{part}` of `{render(prop)}`")


def opened_quantifier(prop: Term) -> Term:
    """`∀ x y ∈ S, P` with its first variable alone: `∀ x, (x ∈ S → ∀ …)`; other terms as they are."""
    if prop.op not in ("∀", "∃"):
        return prop
    first, rest = prop.bounds[0], prop.bounds[1:]
    body = prop.args[0]
    if len(first.names) > 1 or rest:
        remaining = ((replace(first, names=first.names[1:]),) if len(first.names) > 1 else ()) + rest
        body = Term(prop.op, (body,), bounds=remaining)
    name = first.names[0]
    if first.relation and first.bound is not None:
        condition = node(first.relation, id_(name), first.bound)
        body = node("→" if prop.op == "∀" else "∧", condition, body)
        first = replace(first, relation="", bound=None)
    return Term(prop.op, (body,), bounds=(replace(first, names=(name,)),))


def instantiated(prop: Term, arg: Term, goal: FragmentGoal) -> Term:
    if prop.op == "∀":
        single = opened_quantifier(prop)
        return substitute(single.args[0], {single.bounds[0].names[0]: arg})
    if prop.op == "→":
        if render(stated(arg, goal)) != render(prop.args[0]):
            raise TacticError(f"type mismatch: `{render(arg)}` does not prove `{render(prop.args[0])}`")
        return prop.args[1]
    raise TacticError(f"`{render(prop)}` is not a function")


def _positive_product(op: str, strict: bool):
    def lemma(args: tuple[Term, ...], goal: FragmentGoal) -> Term:
        if len(args) != 2:
            raise Unsupported("a lemma with another number of arguments")
        sides = [_positive(stated(a, goal), strict) for a in args]
        return node("<" if strict else "≤", ZERO, node(op, *sides))

    return lemma


def _positive(prop: Term, strict: bool) -> Term:
    """e of `0 < e` (or `0 ≤ e`), also written from the right."""
    allowed = ("<", ">") if strict else ("≤", "≥")
    if prop.op in allowed:
        a, b = prop.args if prop.op in ("<", "≤") else prop.args[::-1]
        if a.op == "num" and a.name == "0":
            return b
    if prop.op in ("≤", "<") and prop.op in allowed:
        return node("-", prop.args[1], prop.args[0])
    raise TacticError(f"`{render(prop)}` does not say that something is positive")


def _unary(make):
    def lemma(args: tuple[Term, ...], goal: FragmentGoal) -> Term:
        if len(args) != 1:
            raise Unsupported("a lemma with another number of arguments")
        return make(args[0])

    return lemma


TWO = Term("num", name="2")
LEMMAS = {
    "sq_nonneg": _unary(lambda e: node("≤", ZERO, node("^", e, TWO))),
    "mul_self_nonneg": _unary(lambda e: node("≤", ZERO, node("*", e, e))),
    "abs_nonneg": _unary(lambda e: node("≤", ZERO, node("abs", e))),
    "mul_pos": _positive_product("*", True),
    "mul_nonneg": _positive_product("*", False),
    "add_pos": _positive_product("+", True),
    "sub_nonneg.mpr": lambda args, goal: node("≤", ZERO, _difference(stated(args[0], goal))),
    "sub_pos.mpr": lambda args, goal: node("<", ZERO, _difference(stated(args[0], goal))),
}


def _difference(prop: Term) -> Term:
    if prop.op not in ("<", ">", "≤", "≥"):
        raise TacticError(f"`{render(prop)}` is not an inequality")
    a, b = prop.args if prop.op in ("<", "≤") else prop.args[::-1]
    return node("-", b, a)


def term(text: str) -> Term:
    return parse_term(text)
