"""Which names a statement binds, which it only uses, and which of those nothing known explains.

Lean binds an unknown name by itself (autoImplicit), so a misspelt constant becomes a variable quantified over
everything. Offline such a name is suspected by its absence from a table of Mathlib's names; Lean's own goal decides.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from ..errors import Unsupported
from .lexer import Token, lex
from .negation import all_binders
from .statement import COMMANDS, MODIFIERS, Statement
from .terms import Term, parse_term

BINDERS = frozenset(
    ("∀", "∃", "∃!", "fun", "λ", "∑", "∏", "∫", "Σ", "Π", "∀ᶠ", "∃ᶠ", "⨆", "⨅", "⋃", "⋂", "∑'", "∏'", "∮")
)
WORDS = (
    COMMANDS
    | MODIFIERS
    | frozenset(
        [
            "in",
            "then",
            "else",
            "with",
            "at",
            "do",
            "from",
            "by",
            "if",
            "let",
            "have",
            "show",
            "fun",
            "match",
            "where",
            "end",
            "Type",
            "Prop",
            "Sort",
            "true",
            "false",
            "True",
            "False",
            "this",
            "sorry",
            "rfl",
            "∅",
            "⊤",
            "⊥",
            "·",
            "Nat",
            "Int",
            "Rat",
            "Real",
            "Complex",
            "ℕ",
            "ℤ",
            "ℚ",
            "ℝ",
            "ℂ",
            "_",
            "max",
            "min",
            "ZMOD",
            "MOD",
            "scoped",
            "for",
            "return",
            "mut",
            "calc",
            "termination_by",
        ]
    )
)

NEEDS_OPEN = {  # short names that exist only inside a namespace
    "C": {"Polynomial", "MvPolynomial"},
    "X": {"Polynomial", "MvPolynomial", "PowerSeries"},
    "I": {"Complex"},
    "π": {"Real"},
    "φ": {"Nat", "goldenRatio"},
    "σ": {"ArithmeticFunction"},
    "μ": {"ArithmeticFunction"},
    "ψ": {"goldenRatio", "Chebyshev"},
    "Λ": {"ArithmeticFunction"},
    "Ω": {"ArithmeticFunction"},
    "ω": {"ArithmeticFunction", "Ordinal"},
    "e": {"nothing"},
}


@cache
def known_names() -> frozenset[str]:
    """Names of Mathlib and Lean, full ones and their last components."""
    lines = (files("formalmath") / "lean" / "names.txt").read_text().splitlines()
    return frozenset(name for line in lines if not line.startswith("#") for name in line.split())


def bound_names(tokens: list[Token]) -> set[str]:
    """Names bound anywhere: after a quantifier up to its `,` or `=>`, before `:` in brackets, in set-builders, by
    let."""
    found: set[str] = set()
    for i, token in enumerate(tokens):
        word = token.text
        if word in BINDERS or (word in ("let", "have", "obtain", "set") and token.kind == "ident"):
            stop = {",", "=>", "↦", ":="}
            for later in tokens[i + 1 : i + 40]:
                if later.text in stop or later.text in ("∈", "in") or (later.text in ("<", ">", "≤", "≥", "≠")):
                    break
                if later.kind == "ident":
                    found.add(later.text)
        elif word in ("(", "{", "⦃", "["):
            names = []
            for later in tokens[i + 1 : i + 30]:
                if later.kind == "ident" or later.text in (",", "(", "⟨", ")", "⟩"):
                    names.append(later)
                elif later.text in (":", "|", "∈") and (word != "[" or later.text == ":"):
                    found |= {n.text for n in names if n.kind == "ident"}
                    break
                else:
                    break
        elif word == "|" and i and any(t.text in ("match", "with", "fun", "λ") for t in tokens[max(0, i - 60) : i]):
            for later in tokens[i + 1 : i + 12]:
                if later.text in ("=>", "↦"):
                    break
                if later.kind == "ident":
                    found.add(later.text)
    return found


def free_names(t: Term, bound: frozenset[str] = frozenset()) -> list[str]:
    """Names of a term that its own quantifiers do not bind, in order."""
    if t.op == "id":
        return [] if t.name.partition(".")[0] in bound else [t.name]
    found: list[str] = []
    inner = bound
    for b in t.bounds:
        for part in (b.type, b.bound):
            if part is not None:
                found += free_names(part, inner)
        inner = inner | frozenset(b.names)
    places = [bound, inner] if t.op == "let" else [inner] * len(t.args)
    for arg, scope in zip(t.args, places, strict=True):
        found += free_names(arg, scope)
    return found


def used_names(text: str) -> list[str]:
    """Free names of a text: by its tree where it can be read, else by its tokens."""
    try:
        return free_names(parse_term(text))
    except Unsupported:
        tokens = lex(text).tokens
        bound = bound_names(tokens)
        pairs = zip([Token("", "", 0), *tokens], tokens, strict=False)
        return [
            t.text
            for before, t in pairs
            if t.kind == "ident" and before.text != "." and t.text.partition(".")[0] not in bound
        ]


def unexplained(st: Statement) -> list[str]:
    """Names of the target that are neither bound, declared in the preamble, nor in the table: candidates for
    phantoms."""
    own = {n for b in all_binders(st) for n in b.names} | {st.name}
    preamble = lex(st.preamble)
    declared = {t.text for t in preamble.tokens if t.kind == "ident"} | {
        t.text.strip('"') for t in preamble.tokens if t.kind == "str"
    }
    declared |= {d.name.rpartition(".")[2] for d in st.declarations}
    known = known_names() - {name for name, spaces in NEEDS_OPEN.items() if not spaces & declared}
    found: list[str] = []
    for name in [n for text in (*(b.type for b in st.binders), st.type) for n in used_names(text)]:
        head, _, rest = name.partition(".")
        if name in WORDS or head in own | declared | known or head in WORDS or name in known:
            continue
        if (rest and rest.rpartition(".")[2] in known) or name in found:
            continue
        found.append(name)
    return found


__all__ = ["bound_names", "free_names", "known_names", "unexplained"]
