"""Errors put into a correct statement: what autoformalisers get wrong (paper Table 7, Appendix E), one operator each.

An operator takes a statement apart by tokens and binders and returns a new text, or None where it does not apply. The
kinds are Table 7's, with its shares; within a kind the operators are drawn alike.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from ..lean.lexer import lex
from ..lean.negation import is_proposition
from ..lean.statement import Binder, Statement, parse_statement

SHARES = {  # Table 7, in per cent
    "condition": 83.3,
    "expression": 9.6,
    "definition": 3.3,
    "domain": 1.7,
    "logic": 0.9,
    "geometry": 0.6,
    "redundancy": 0.5,
    "algebra": 0.2,
}
KINDS = {
    "condition": "condition",
    "expression": "expression / Lean syntax",
    "definition": "definition without mathematical meaning",
    "domain": "domain",
    "logic": "propositional logic",
    "geometry": "lack of geometric background",
    "redundancy": "condition redundancy",
    "algebra": "algebraic expression",
}
Operator = Callable[[Statement, random.Random], str | None]
OPERATORS: dict[str, tuple[str, Operator]] = {}
RELATIONS = ("<", ">", "≤", "≥", "=", "≠")


@dataclass(frozen=True)
class Mutant:
    """A statement with one planted error, or none (`operator` identity)."""

    text: str
    operator: str
    kind: str


def operator(kind: str) -> Callable[[Operator], Operator]:
    def add(run: Operator) -> Operator:
        OPERATORS[run.__name__] = (kind, run)
        return run

    return add


def mutate(st: Statement, rng: random.Random, name: str | None = None) -> Mutant:
    """The statement with an error of a kind drawn with Table 7's shares, or by the operator `name`.

    Kinds none of whose operators applies are drawn again; a statement that takes no error comes back as it is.
    """
    if name == "identity":
        return Mutant(st.text, "identity", "none")
    if name is not None:
        text = OPERATORS[name][1](st, rng)
        return Mutant(text or st.text, name if text else "identity", OPERATORS[name][0] if text else "none")
    kinds = dict(SHARES)
    while kinds:
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
        operators = [n for n, (k, _) in OPERATORS.items() if k == kind]
        rng.shuffle(operators)
        for chosen in operators:
            text = OPERATORS[chosen][1](st, rng)
            if text is not None and text != st.text:
                return Mutant(text, chosen, kind)
        del kinds[kind]
    return Mutant(st.text, "identity", "none")


def hypotheses(st: Statement) -> list[Binder]:
    return [b for b in st.binders if is_proposition(b)]


def rebuilt(st: Statement, binders: list[str], type_: str | None = None) -> str:
    """The statement with other binder texts, and another type."""
    head = (
        st.text[: st.binders[0].start].rstrip()
        if st.binders
        else st.text[: st.type_at].rstrip().removesuffix(":").rstrip()
    )
    return f"{head} {' '.join(binders)}{' ' if binders else ''}: {type_ if type_ is not None else st.type} := by"


def shown(st: Statement) -> list[str]:
    return [st.text[b.start : b.end] for b in st.binders]


def replaced(text: str, start: int, end: int, new: str) -> str:
    return text[:start] + new + text[end:]


def numeral_places(st: Statement, low: int, high: int) -> list[tuple[int, int]]:
    """Numerals in a stretch of the text, exponents and the smallest ones left out."""
    tokens = [t for t in lex(st.text).tokens if low <= t.start < high]
    places = []
    for before, t in zip([None, *tokens], tokens, strict=False):
        if t.kind == "num" and t.text.isdigit() and (before is None or before.text != "^") and int(t.text) > 0:
            places.append((t.start, t.end))
    return places


def other_numeral(text: str, place: tuple[int, int], rng: random.Random) -> str:
    value = int(text[place[0] : place[1]])
    new = value
    while new == value:
        new = max(1, value + rng.choice((-3, -2, -1, 1, 2, 3, 10)))
    return replaced(text, *place, str(new))


@operator("condition")
def drop_hypothesis(st: Statement, rng: random.Random) -> str | None:
    found = hypotheses(st)
    if not found:
        return None
    gone = rng.choice(found)
    return rebuilt(st, [st.text[b.start : b.end] for b in st.binders if b is not gone])


@operator("condition")
def wrong_numeral_in_hypothesis(st: Statement, rng: random.Random) -> str | None:
    places = [p for b in hypotheses(st) for p in numeral_places(st, b.start, b.end)]
    return other_numeral(st.text, rng.choice(places), rng) if places else None


@operator("condition")
def wrong_relation_in_hypothesis(st: Statement, rng: random.Random) -> str | None:
    places = []
    for b in hypotheses(st):
        places += [t for t in lex(st.text).tokens if b.start <= t.start < b.end and t.text in RELATIONS]
    if not places:
        return None
    t = rng.choice(places)
    other = {"<": ">", ">": "<", "≤": "≥", "≥": "≤", "=": "≠", "≠": "="}[t.text]
    return replaced(st.text, t.start, t.end, other)


@operator("condition")
def wrong_numeral_in_goal(st: Statement, rng: random.Random) -> str | None:
    places = numeral_places(st, st.type_at, st.type_at + len(st.type))
    return other_numeral(st.text, places[-1], rng) if places else None


@operator("condition")
def goal_too_strong(st: Statement, rng: random.Random) -> str | None:
    """`≤` in the goal becomes `<`, which fails where equality holds."""
    places = [
        t for t in lex(st.text).tokens if st.type_at <= t.start < st.type_at + len(st.type) and t.text in ("≤", "≥")
    ]
    if not places:
        return None
    return replaced(st.text, places[-1].start, places[-1].end, {"≤": "<", "≥": ">"}[places[-1].text])


@operator("condition")
def added_condition(st: Statement, rng: random.Random) -> str | None:
    """A condition that contradicts another one, so that everything follows."""
    found = [b for b in hypotheses(st) if len(b.names) == 1]
    if not found:
        return None
    b = rng.choice(found)
    return rebuilt(st, [*shown(st), f"({b.names[0]}' : ¬ ({b.type}))"])


@operator("condition")
def goal_is_hypothesis(st: Statement, rng: random.Random) -> str | None:
    """The answer stands among the conditions."""
    return rebuilt(st, [*shown(st), f"(hanswer : {st.type})"])


@operator("expression")
def open_bracket(st: Statement, rng: random.Random) -> str | None:
    places = [t for t in lex(st.text).tokens if t.text == ")" and t.start > st.target_start]
    if not places:
        return None
    t = rng.choice(places)
    return replaced(st.text, t.start, t.end, "")


@operator("expression")
def wrong_operator(st: Statement, rng: random.Random) -> str | None:
    places = [t for t in lex(st.text).tokens if t.text in ("*", "^", "=") and t.start > st.target_start]
    if not places:
        return None
    t = rng.choice(places)
    return replaced(st.text, t.start, t.end, {"*": "", "^": "**", "=": "=="}[t.text] if t.text != "*" else "× ×")


@operator("expression")
def missing_separator(st: Statement, rng: random.Random) -> str | None:
    places = [t for t in lex(st.text).tokens if t.text == ":" and t.start > st.target_start]
    if not places:
        return None
    t = rng.choice(places)
    return replaced(st.text, t.start, t.end, "")


@operator("definition")
def phantom_variable(st: Statement, rng: random.Random) -> str | None:
    """A variable that is never bound: Lean invents one by itself."""
    data = [b for b in st.binders if not is_proposition(b) and b.type in ("ℝ", "ℕ", "ℤ")]
    places = numeral_places(st, st.type_at, st.type_at + len(st.type))
    if not places or not data:
        return None
    return replaced(st.text, *places[-1], "C")


@operator("definition")
def junk_division(st: Statement, rng: random.Random) -> str | None:
    """The goal multiplied out by x / x, which is 0 at 0."""
    data = [b for b in st.binders if b.type == "ℝ"]
    if not data or " = " not in st.type or "∀" in st.type:
        return None
    left, _, right = st.type.rpartition(" = ")
    x = rng.choice(data[0].names)
    return rebuilt(st, shown(st), f"({left}) * ({x} / {x}) = {right}")


@operator("domain")
def naturals_for_reals(st: Statement, rng: random.Random) -> str | None:
    found = [b for b in st.binders if b.type == "ℝ"]
    if not found:
        return None
    b = rng.choice(found)
    at = b.start + st.text[b.start : b.end].rindex("ℝ")
    return replaced(st.text, at, at + 1, "ℕ")


@operator("domain")
def naturals_for_integers(st: Statement, rng: random.Random) -> str | None:
    found = [b for b in st.binders if b.type == "ℤ"]
    if not found:
        return None
    b = rng.choice(found)
    at = b.start + st.text[b.start : b.end].rindex("ℤ")
    return replaced(st.text, at, at + 1, "ℕ")


@operator("logic")
def existential_implication(st: Statement, rng: random.Random) -> str | None:
    """The hypotheses under `∃ …, h → T`, true for trivial reasons."""
    data = [b for b in st.binders if not is_proposition(b)]
    facts = hypotheses(st)
    if len(data) != 1 or not facts or len(data[0].names) != 1 or data[0].type not in ("ℝ", "ℕ", "ℤ"):
        return None
    b = data[0]
    premise = " ∧ ".join(f"({h.type})" for h in facts)
    return rebuilt(st, [], f"∃ {b.names[0]} : {b.type}, {premise} → ({st.type})")


@operator("logic")
def conjunction_for_implication(st: Statement, rng: random.Random) -> str | None:
    """Conditions claimed along with the goal instead of assumed."""
    facts = hypotheses(st)
    if not facts:
        return None
    kept = [st.text[b.start : b.end] for b in st.binders if b not in facts]
    return rebuilt(st, kept, " ∧ ".join([*(f"({h.type})" for h in facts), f"({st.type})"]))


@operator("geometry")
def degenerate_figure(st: Statement, rng: random.Random) -> str | None:
    """A length or an angle that nothing keeps positive any more."""
    positive = [b for b in hypotheses(st) if b.type.startswith("0 <") or b.type.startswith("0 ≤")]
    if not positive:
        return None
    return rebuilt(st, [st.text[b.start : b.end] for b in st.binders if b not in positive])


@operator("redundancy")
def repeated_condition(st: Statement, rng: random.Random) -> str | None:
    found = [b for b in hypotheses(st) if len(b.names) == 1]
    if not found:
        return None
    b = rng.choice(found)
    return rebuilt(st, [*shown(st), f"({b.names[0]}_again : {b.type})"])


@operator("algebra")
def wrong_sign(st: Statement, rng: random.Random) -> str | None:
    low, high = st.type_at, st.type_at + len(st.type)
    places = [t for t in lex(st.text).tokens if low <= t.start < high and t.text in ("+", "-")]
    if not places:
        return None
    t = rng.choice(places)
    return replaced(st.text, t.start, t.end, "-" if t.text == "+" else "+")


def parses(text: str) -> bool:
    """Whether a mutant is still a statement to the structural reader."""
    try:
        parse_statement(text)
    except ValueError:
        return False
    return True
