"""The negation of a statement, for disproof (paper §3.2, Example 3.2), and the probes beside it.

With binders the negation must be taken of the closed statement. For `theorem N β₁ … βₘ : T`:

    closed        theorem N_negative : ¬ (∀ β₁ … βₘ, (T))       default; sound and complete at fixed universes
    demorgan      theorem N_negative : ∃ x₁ …, h₁ ∧ … ∧ ¬T      the same pushed inwards, as provers were trained on
    kept_binders  theorem N_negative β₁ … βₘ : ¬ (T)            what naive scripts do: neither sound (contradictory
                                                                hypotheses prove it) nor complete; for study only
    vacuity       theorem N_vacuous β₁ … βₘ : False             success: the hypotheses contradict one another
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ..errors import StatementError, Unsupported
from .goal import Goal
from .lexer import BRACKETS, CLOSERS, lex
from .statement import KINDS, Binder, Statement, _binder, _closing, parse_statement
from .terms import BODY, INFIX, RELATIONS, Bound, Term, parse_term

STYLES = ("closed", "demorgan", "kept_binders")
ORDERED = frozenset(("ℕ", "ℤ", "ℚ", "ℝ", "Nat", "Int", "Rat", "Real"))
FLIPPED = {"=": "≠", "≠": "=", "<": "≥", "≥": "<", "≤": ">", ">": "≤", "∈": "∉", "∉": "∈"}
ORDERS = frozenset(("<", ">", "≤", "≥"))
CONNECTIVES = frozenset(("∧", "∨", "↔", "¬", "∃", "∃!")) | RELATIONS
PORTFOLIO = ("norm_num", "simp", "decide", "omega", "aesop")
ARITHMETIC = frozenset(("+", "-", "*", "/", "%", "^", "neg", "abs", "num", "⁻¹", "↑"))
ATOMIC = 1024


def negate(st: Statement, style: str = "closed", goal: Goal | None = None) -> Statement:
    """The statement's negation, named `N_negative`; the text before the target stays byte for byte.

    Args:
        style: closed, demorgan or kept_binders; see the module.
        goal: Lean's own goal for the statement, which shows the variables that Lean invented.

    Raises:
        StatementError: an unknown style, or a target without a type.
    """
    if style not in STYLES:
        raise StatementError(f"style must be one of {', '.join(STYLES)}, not {style!r}")
    st = with_phantoms(st, goal)
    if style == "kept_binders":
        signature, binders = f"¬ ({st.type})", " ".join(st.text[b.start : b.end] for b in st.binders)
    elif style == "closed":
        signature, binders = f"¬ ({closed_proposition(st)})", ""
    else:
        signature, binders = demorgan(st), ""
    return _declared(st, "_negative", binders, signature)


def vacuity(st: Statement, goal: Goal | None = None) -> Statement:
    """`theorem N_vacuous β₁ … βₘ : False`: a proof shows that no values satisfy the hypotheses."""
    st = with_phantoms(st, goal)
    binders = " ".join(b.render() for b in all_binders(st))
    return _declared(st, "_vacuous", binders, "False")


def triviality_probes(st: Statement) -> list[str]:
    """Whole files that try one automation each on the statement as it stands; reported, never a reason to discard."""
    return [st.render(f"\n  {tactic}\n") for tactic in PORTFOLIO]


def with_phantoms(st: Statement, goal: Goal | None) -> Statement:
    """The statement with the variables that Lean bound by itself, read off its goal."""
    if goal is None:
        return st
    own = {name for b in all_binders(st) for name in b.names}
    invented = tuple((name, type_) for name, type_ in goal.hypotheses if name not in own and "✝" not in name)
    return replace(st, phantoms=invented)


def closed_proposition(st: Statement) -> str:
    """`∀ β₁ … βₘ, (T)`, or `T` where nothing is bound."""
    if not st.type:
        raise StatementError(f"{st.name or 'the target'} has no type to negate")
    binders = all_binders(st)
    return f"∀ {' '.join(b.render() for b in binders)}, ({st.type})" if binders else st.type


def all_binders(st: Statement) -> list[Binder]:
    """Phantoms, then `variable`s that the target mentions, then the target's own, without defaults or universes.

    The `variable` command may stay in the preamble: the binder shadows it, so Lean no longer adds it outside.
    """
    phantoms = [Binder((name,), type_, "explicit") for name, type_ in st.phantoms]
    own = [replace(b, default="", type=_plain_universe(b.type)) for b in st.binders]
    return [*phantoms, *(replace(b, type=_plain_universe(b.type)) for b in used_variables(st)), *own]


def used_variables(st: Statement) -> list[Binder]:
    """Binders of the preamble's `variable` commands that the target mentions, directly or through one another."""
    text, lexed = st.preamble, lex(st.preamble)
    tokens, found, i = lexed.tokens, [], 0
    while i < len(tokens):
        if tokens[i].text != "variable":
            i += 1
            continue
        i += 1
        while i < len(tokens) and tokens[i].text in KINDS:
            close = _closing(tokens, i)
            found.append(_binder(text, tokens, i, close))
            i = close + 1
    mentioned = {t.text.partition(".")[0] for t in lex(st.signature).tokens if t.kind == "ident"} - set(st.binder_names)
    kept: list[Binder] = []
    for binder in reversed(found):
        words = {t.text.partition(".")[0] for t in lex(binder.type).tokens if t.kind == "ident"}
        if mentioned & set(binder.names) or (binder.kind == "instance" and words & mentioned):
            kept.append(binder)
            mentioned |= words
    return kept[::-1]


def _plain_universe(type_: str) -> str:
    """`Type*`, `Type u`, `Sort*` and `Sort u` as `Type`."""
    if "Type" not in type_ and "Sort" not in type_:
        return type_
    tokens, pieces, at, skip = lex(type_).tokens, [], 0, False
    for token, following in zip(tokens, [*tokens[1:], None], strict=True):
        if skip:
            skip, at = False, token.end
            continue
        pieces.append(type_[at : token.start])
        at = token.end
        if token.text in ("Type", "Sort"):
            level = following is not None and (following.text in ("*", "_") or following.kind in ("ident", "num"))
            pieces.append("Type")
            skip = level
        else:
            pieces.append(token.text)
    return "".join(pieces)


def _declared(st: Statement, suffix: str, binders: str, type_: str) -> Statement:
    name = st.name or "target"
    name = f"{name[:-1]}{suffix}»" if name.endswith("»") else name + suffix
    head = f"theorem {name}" + (f" {binders}" if binders else "")
    return parse_statement(f"{st.text[: st.target_start]}{head} : {type_} := by")


# -- pushing the negation inwards


def demorgan(st: Statement) -> str:
    """`∃ x₁ …, h₁ ∧ … ∧ ¬T`; what is not understood stays under its `¬`."""
    types: dict[str, str] = {}
    binders = all_binders(st)
    for b in binders:
        types.update(dict.fromkeys(b.names, b.type))
    conclusion = negated_text(st.type, types)
    used = {t.text.partition(".")[0] for t in lex(st.type).tokens}
    used |= {t.text.partition(".")[0] for b in binders for t in lex(b.type).tokens}
    text, power = conclusion
    for b in reversed(binders):
        if is_proposition(b) and not used & set(b.names):
            for _ in b.names or ("",):
                text, power = f"{_wrap((b.type, _power(b.type)), 36)} ∧ {_wrap((text, power), 35)}", 35
        else:
            inner = text if text.startswith("∃ (") else f", {text}"
            group = b.render(explicit=True) if b.names else f"(_ : {b.type})"
            text, power = f"∃ {group}{inner.removeprefix('∃') if inner is text else inner}", 0
    return text


def is_proposition(b: Binder) -> bool:
    """Whether a binder is surely a hypothesis: its type's outermost sign is a relation or a connective."""
    try:
        return bool(b.type) and parse_term(b.type).op in CONNECTIVES
    except Unsupported:
        return False


def negated_text(text: str, types: Mapping[str, str]) -> tuple[str, int]:
    """The negation of a formula, pushed inwards, with the power of its outermost sign."""
    try:
        return Negator(text, types)(parse_term(text))
    except Unsupported:
        return f"¬ ({text})", 40


class Negator:
    """Negates the tree of one text. `types` gives the types of free variables as text."""

    def __init__(self, text: str, types: Mapping[str, str]):
        self.text, self.types = text, dict(types)

    def __call__(self, t: Term) -> tuple[str, int]:
        if t.op == "¬":
            return self.same(t.args[0])
        if t.op == "→":
            a, b = t.args
            return f"{_wrap(self.same(a), 36)} ∧ {_wrap(self(b), 35)}", 35
        if t.op == "∧":
            a, b = t.args
            return f"{_wrap(self.same(a), 26)} → {_wrap(self(b), 25)}", 25
        if t.op == "∨":
            a, b = t.args
            return f"{_wrap(self(a), 36)} ∧ {_wrap(self(b), 35)}", 35
        if t.op == "↔":
            a, b = t.args
            left = f"({_wrap(self.same(a), 36)} ∧ {_wrap(self(b), 35)})"
            return f"{left} ∨ ({_wrap(self(a), 36)} ∧ {_wrap(self.same(b), 35)})", 30
        if t.op in ("∀", "∃"):
            return self.quantified(t)
        if t.op in ("=", "≠", "∈", "∉") or (t.op in ORDERS and self.ordered(t)):
            left, right = (_wrap(self.same(a), 51) for a in t.args)
            return f"{left} {FLIPPED[t.op]} {right}", 50
        return f"¬ {_wrap(self.same(t), ATOMIC)}", 40

    def same(self, t: Term) -> tuple[str, int]:
        source = self.text[t.start : t.end]
        return source, ATOMIC if source.startswith("(") and t.op not in ("app", "proj") and _whole(
            source
        ) else _op_power(t.op)

    def quantified(self, t: Term) -> tuple[str, int]:
        outer = dict(self.types)
        for bound in t.bounds:
            kind = self.text[bound.type.start : bound.type.end] if bound.type is not None else ""
            self.types.update(dict.fromkeys(bound.names, kind))
        body = self(t.args[0])
        groups = " ".join(self.bound(b, grouped=len(t.bounds) > 1) for b in t.bounds)
        self.types = outer
        return f"{'∃' if t.op == '∀' else '∀'} {groups}, {body[0]}", 0

    def bound(self, b: Bound, grouped: bool) -> str:
        names = " ".join(b.names)
        if b.relation:
            assert b.bound is not None
            if b.relation == "pattern" or grouped:
                raise Unsupported("a bounded variable among groups")
            return f"{names} {b.relation} {self.text[b.bound.start : b.bound.end]}"
        if b.type is None:
            return f"({names} : _)" if grouped else names
        inner = f"{names} : {self.text[b.type.start : b.type.end]}"
        return f"({inner})" if grouped or b.kind != "explicit" else inner

    def ordered(self, t: Term) -> bool:
        """Whether both sides surely have a linear order: every leaf is a numeral or of ℕ ℤ ℚ ℝ."""
        return all(self.leaf_ordered(arg) for arg in t.args)

    def leaf_ordered(self, t: Term) -> bool:
        if t.op == "num":
            return True
        if t.op == "id":
            return self.types.get(t.name, "").strip() in ORDERED
        if t.op == "ascribe":
            return t.args[1].op == "id" and t.args[1].name in ORDERED
        if t.op == "^":
            return self.leaf_ordered(t.args[0])
        return t.op in ARITHMETIC and all(self.leaf_ordered(arg) for arg in t.args)


def _op_power(op: str) -> int:
    if op in INFIX:
        return INFIX[op][0]
    return {**BODY, "¬": 40, "neg": 75, "let": 0, "if": 0, "√": 100, "app": 1022}.get(op, ATOMIC)


def _power(text: str) -> int:
    try:
        return ATOMIC if _whole(text) else _op_power(parse_term(text).op)
    except Unsupported:
        return -1


def _whole(text: str) -> bool:
    """Whether one pair of brackets encloses the whole text."""
    depth = 0
    tokens: Sequence = lex(text).tokens
    for i, token in enumerate(tokens):
        depth += (token.text in BRACKETS) - (token.text in CLOSERS)
        if depth == 0:
            return i == len(tokens) - 1 and tokens[0].text == "("
    return False


def _wrap(part: tuple[str, int], power: int) -> str:
    return part[0] if part[1] >= power else f"({part[0]})"
