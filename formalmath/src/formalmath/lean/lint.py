"""Lints: what is suspicious in a statement, without Lean. Each finding has an id, a place, a reason and a remedy.

`error` means the statement is surely not what it seems, `warning` that it often is not, `note` that one should look.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..errors import Unsupported
from .goal import Goal
from .lexer import lex
from .negation import all_binders, is_proposition
from .render import render
from .scope import unexplained
from .statement import Statement, position
from .terms import Term, parse_term

SEVERITIES = ("error", "warning", "note")
NUMBERS = frozenset(("ℕ", "ℤ", "ℚ", "ℝ", "ℂ"))
DATA = NUMBERS | {"Set", "Finset", "Polynomial", "EuclideanSpace", "Matrix"}


@dataclass(frozen=True)
class Finding:
    """A suspicion. `line` counts from 1, `column` from 0, in code points."""

    id: str
    severity: str
    line: int
    column: int
    message: str
    remedy: str


def lint(st: Statement, goal: Goal | None = None) -> list[Finding]:
    """All findings; with Lean's own goal the invented variables are certain, without it suspected."""
    found: list[Finding] = []

    def report(id: str, severity: str, at: int, message: str, remedy: str) -> None:
        found.append(Finding(id, severity, *position(st, at), message, remedy))

    _phantoms(st, goal, report)
    _shape(st, report)
    _binders(st, report)
    types = {name: b.type for b in all_binders(st) for name in b.names if not is_proposition(b)}
    for b in st.binders:
        if b.type:
            _term(st.text.index(b.type, b.start), b.type, types, report, goal_place=False)
    if st.type:
        _term(st.type_at, st.type, types, report, goal_place=True)
    _restated(st, report)
    return sorted(found, key=lambda f: (SEVERITIES.index(f.severity), f.line, f.column))


Report = Callable[[str, str, int, str, str], None]


def _phantoms(st: Statement, goal: Goal | None, report: Report) -> None:
    if goal is not None:
        own = {n for b in all_binders(st) for n in b.names}
        invented = [name for name in goal.names if name not in own and "✝" not in name]
        for name in invented:
            report(
                "phantom-variable",
                "error",
                _place(st, name),
                f"Lean invented the variable `{name}`: the statement is claimed for all its values",
                f"bind `{name}`, or write the constant's full name",
            )
        return
    for name in unexplained(st):
        if "." not in name:
            report(
                "phantom-variable",
                "warning",
                _place(st, name),
                f"`{name}` is not bound and no known constant: Lean may take it for a variable",
                "bind it, or set autoImplicit to false",
            )


def _place(st: Statement, name: str) -> int:
    return next(
        (t.start for t in lex(st.text).tokens if t.text == name and t.start >= st.target_start), st.target_start
    )


def _shape(st: Statement, report: Report) -> None:
    if st.target.kind not in ("theorem", "lemma"):
        report(
            "target-not-a-theorem",
            "error",
            st.target.name_at,
            f"the target is a `{st.target.kind}`: checkers that "
            "look for `theorem` split the text in the wrong place, so that no proof can pass",
            "declare a theorem",
        )
    theorems = [d for d in st.declarations if d.kind in ("theorem", "lemma", "example")]
    if len(theorems) > 1:
        report(
            "several-theorems",
            "warning",
            theorems[0].start,
            f"{len(theorems)} theorems stand in one text; the last one is the target",
            "one theorem a record",
        )
    for token in lex(st.preamble).tokens:
        if token.text in ("sorry", "admit"):
            report(
                "sorry-in-preamble",
                "error",
                st.imports_end + token.start,
                "the preamble contains `sorry`: checkers that refuse any sorry accept no proof",
                "prove it or remove it",
            )
            break


def _binders(st: Statement, report: Report) -> None:
    seen: dict[str, int] = {}
    words = [t.text for t in lex(st.signature).tokens if t.kind == "ident"]
    for b in st.binders:
        if b.default:
            report(
                "optparam-binder",
                "warning",
                b.start,
                f"`({' '.join(b.names)} : {b.type} := {b.default})` is a default "
                "argument: the variable stays arbitrary",
                f"write a hypothesis `{b.names[0]} = {b.default}`",
            )
        for name in b.names:
            if name in seen and name != "_":
                report(
                    "shadowed-binder",
                    "warning",
                    b.start,
                    f"`{name}` is bound twice; what stands between still means the first",
                    "rename one",
                )
            seen[name] = b.start
            heads = [w for w in words if w.partition(".")[0] == name]
            if len(heads) == 1 and b.type.partition(" ")[0] in DATA and not is_proposition(b) and name != "_":
                report("unused-binder", "note", b.start, f"the variable `{name}` is never used", "remove it")
    facts = [(b, b.type) for b in st.binders if is_proposition(b)]
    for i, (b, text) in enumerate(facts):
        if any(lex(text).tokens and _same(text, other) for _, other in facts[:i]):
            report("duplicate-hypothesis", "note", b.start, f"`{text}` is assumed twice", "remove one")


def _same(a: str, b: str) -> bool:
    return [t.text for t in lex(a).tokens] == [t.text for t in lex(b).tokens]


def _restated(st: Statement, report: Report) -> None:
    for b in st.binders:
        if b.type and _same(b.type, st.type):
            report("goal-is-hypothesis", "error", b.start, "the goal is one of the hypotheses", "remove the hypothesis")


def _term(offset: int, text: str, types: dict[str, str], report: Report, goal_place: bool) -> None:
    try:
        tree = parse_term(text)
    except Unsupported:
        return
    for t in tree.walk():
        at = offset + t.start
        _quantifiers(t, at, report)
        _arithmetic(t, at, types, report)
    if goal_place and tree.op in ("=", "≤", "<", "≥", ">") and _only_numerals(tree):
        operators = {x.op for x in tree.walk()}
        if operators & {"-", "/"} and "neg" not in operators:
            report(
                "natural-literals",
                "warning",
                offset,
                "the goal has numerals alone, so it is read in ℕ, where `-` and `/` cut off",
                "write a type: `(… : ℝ)`",
            )


def _only_numerals(t: Term) -> bool:
    return all(x.op in ("num", "+", "-", "*", "/", "^", "%", "=", "≤", "<", "≥", ">") for x in t.walk())


def _quantifiers(t: Term, at: int, report: Report) -> None:
    if t.op == "∃" and t.args[0].op == "→":
        report(
            "exists-implies",
            "warning",
            at,
            f"`∃ …, A → B` holds as soon as some {', '.join(t.bounds[0].names)} fails A",
            "write `∃ …, A ∧ B`",
        )
    if t.op == "∃" and t.args[0].op == "↔":
        report("exists-iff", "warning", at, "`∃` reaches over the `↔` to the right end", "put the `∃` into brackets")
    if t.op == "∀" and t.args[0].op == "↔":
        report("forall-iff", "note", at, "`∀` reaches over the `↔`: each value is claimed by itself", "check the scope")
    if t.op in ("+", "-") and t.args[0].op in ("∑", "∏"):
        report(
            "big-operator-cut",
            "note",
            at,
            f"the `{t.args[0].op}` ends before the `{t.op}`",
            "put its body into brackets",
        )


def _arithmetic(t: Term, at: int, types: dict[str, str], report: Report) -> None:
    leaves = {types.get(x.name, "") for x in t.walk() if x.op == "id"} & NUMBERS
    ascribed = any(x.op in ("ascribe", "↑") for x in t.walk())
    if t.op == "-" and leaves == {"ℕ"} and not ascribed:
        report("natural-subtraction", "warning", at, f"`{render(t)}` stops at 0 in ℕ", "cast to ℤ")
    if t.op == "/" and leaves and leaves <= {"ℕ", "ℤ"} and not ascribed:
        report(
            "whole-division",
            "warning",
            at,
            f"`{render(t)}` cuts off in {'ℤ' if 'ℤ' in leaves else 'ℕ'}",
            "cast to ℚ or ℝ",
        )
    if t.op == "^" and t.args[1].op == "/" and _only_numerals(t.args[1]):
        report(
            "exponent-division",
            "error",
            at,
            f"the exponent `{render(t.args[1])}` is a quotient in ℕ",
            "write `((a : ℝ) / b)`",
        )
    if (
        t.op == "/"
        and leaves & {"ℝ", "ℚ"}
        and any(x.op == "id" and types.get(x.name) in ("ℝ", "ℚ") for x in t.args[1].walk())
    ):
        report(
            "division-may-vanish",
            "note",
            at,
            f"`{render(t.args[1])}` may be 0, where Lean's quotient is 0",
            "assume that it is not",
        )
    if t.op == "%" and leaves & {"ℝ", "ℚ"}:
        report("field-remainder", "error", at, "`%` in a field is 0 for every divisor but 0", "use `Int.fract` or ℤ")
    head, args = t.spine()
    name = head.name.rpartition(".")[2] if head.op == "id" else ""
    if (t.op == "√" or name in ("sqrt", "log")) and (args or t.op == "√"):
        inside = args[-1] if args else t.args[0]
        if inside.op in ("-", "neg"):
            report(
                "root-of-negative",
                "note",
                at,
                f"`{render(inside)}` may be negative, where Lean's value is 0 or log|x|",
                "assume that it is not",
            )


def parts(findings: list[Finding]) -> Iterator[str]:
    """Findings as lines for a terminal."""
    for f in findings:
        yield f"{f.line}:{f.column} {f.severity} {f.id}: {f.message} ({f.remedy})"
