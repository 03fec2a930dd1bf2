"""A Lean statement: imports, preamble, declarations, and the last declaration as the target, all as slices of a text.

The text ends in `:= by`, where a proof begins. Nothing is rewritten: what is sent to Lean is what was read.

    import Mathlib                                  imports
    open Real                                       preamble (with definitions and earlier theorems)
    theorem N (x : ℝ) (h : 0 < x) : x ≠ 0 := by     target: keyword, name, binders, type
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cached_property

from ..errors import StatementError
from .lexer import BRACKETS, CLOSERS, Lexed, Lines, Token, lex

DECLARATIONS = frozenset(
    ["theorem", "lemma", "def", "abbrev", "example", "instance", "structure", "class", "inductive", "axiom", "opaque"]
)
COMMANDS = DECLARATIONS | frozenset(
    [
        "open",
        "variable",
        "universe",
        "namespace",
        "section",
        "end",
        "set_option",
        "attribute",
        "notation",
        "macro",
        "macro_rules",
        "syntax",
        "infix",
        "infixl",
        "infixr",
        "prefix",
        "postfix",
        "elab",
        "elab_rules",
        "import",
        "export",
        "mutual",
        "include",
        "omit",
        "deriving",
        "initialize",
    ]
)
MODIFIERS = frozenset(["noncomputable", "private", "protected", "partial", "unsafe", "local", "scoped", "nonrec"])
PROPOSITIONS = frozenset(("theorem", "lemma"))
SIZE_LIMIT = 1 << 20  # characters of a statement
KINDS = {"(": "explicit", "{": "implicit", "⦃": "strict", "[": "instance"}
ENDS_IN_SORRY = re.compile(r":=\s*(?:by\b)?\s*sorry\s*$")
ENDS_IN_ASSIGN = re.compile(r":=\s*$")


@dataclass(frozen=True)
class Binder:
    """A binder group of the target: `(x y : ℝ)`, `{α}`, `[Fact p.Prime]`, or a bare name.

    `type` and `default` are texts, empty where they are not given; `start` and `end` are its place in the text.
    """

    names: tuple[str, ...]
    type: str
    kind: str  # explicit, implicit, strict, instance, bare
    default: str = ""  # of an optParam or an auto-tactic
    start: int = 0
    end: int = 0

    def render(self, *, explicit: bool = False) -> str:
        """The group without its default, as it may stand after `∀`."""
        names, kind = " ".join(self.names), "explicit" if explicit else self.kind
        if not self.type:
            inner = f"{names} : _"
        else:
            inner = f"{names} : {self.type}" if self.names else self.type
        if kind == "instance" and not self.names:
            return f"[{self.type}]"
        marks = {"implicit": "{}", "strict": "⦃⦄", "instance": "[]"}.get(kind, "()")
        return f"{marks[0]}{inner}{marks[1]}"


@dataclass(frozen=True)
class Declaration:
    """A top-level declaration and where its parts stand in the text."""

    kind: str
    name: str
    start: int
    name_at: int  # of the name, or of the keyword where there is none


@dataclass(frozen=True)
class Statement:
    """What Lean is asked to prove.

    `text` is the whole, ending in `:= by`; `preamble` everything between the imports and the target, byte for byte.
    """

    text: str
    imports: tuple[str, ...]
    imports_end: int
    target_start: int
    declarations: tuple[Declaration, ...]
    binders: tuple[Binder, ...]
    type: str
    type_at: int
    phantoms: tuple[tuple[str, str], ...] = field(default=(), compare=False)  # (name, type) that Lean invented

    @property
    def target(self) -> Declaration:
        return self.declarations[-1]

    @property
    def name(self) -> str:
        return self.target.name

    @property
    def preamble(self) -> str:
        return self.text[self.imports_end : self.target_start]

    @property
    def signature(self) -> str:
        """The target from its keyword (or attributes) to `:= by`."""
        return self.text[self.target_start :]

    @cached_property
    def binder_names(self) -> list[str]:
        return [name for binder in self.binders for name in binder.names]

    @cached_property
    def qualified_name(self) -> str:
        """The target's name inside the namespaces that are open at its place."""
        scopes: list[tuple[str, str]] = []
        tokens = lex(self.preamble).tokens
        for token, following in zip(tokens, [*tokens[1:], Token("sym", "", 0)], strict=False):
            if token.text in ("namespace", "section"):
                scopes.append((token.text, following.text if token.text == "namespace" else ""))
            elif token.text == "end" and scopes:
                scopes.pop()
        return ".".join([name for kind, name in scopes if kind == "namespace"] + [self.name])

    def render(self, proof: str) -> str:
        """The statement with a proof after `:= by`. A proof on the same line begins with a blank of its own."""
        return self.text + proof

    def closed(self) -> str:
        """`∀ β₁ … βₘ, (T)`: the target as one closed proposition, preamble `variable`s and phantoms included."""
        from .negation import closed_proposition

        return closed_proposition(self)


def normalise(text: str) -> str:
    """The text with its end brought to `:= by`: a trailing `sorry`, `:= by sorry` or bare `:=` is accepted.

    Raises:
        StatementError: it ends in something else.
    """
    stripped = text.strip()
    if ENDS_IN_SORRY.search(stripped):
        return ENDS_IN_SORRY.sub(":= by", stripped)
    if ENDS_IN_ASSIGN.search(stripped):
        return stripped + " by"
    return stripped


def parse_statement(text: str) -> Statement:
    """Reads a statement that ends in `:= by`.

    Raises:
        StatementError: too long, an open comment or string, no declaration, or another end.
    """
    if len(text) > SIZE_LIMIT:
        raise StatementError(f"a statement of {len(text):,} characters is over the limit of {SIZE_LIMIT:,}")
    if "\0" in text:
        raise StatementError("a statement holds a NUL character")
    text = text.strip()
    lexed = lex(text)
    if lexed.open:
        raise StatementError(f"the statement ends inside a {lexed.open}")
    tokens = lexed.tokens
    if len(tokens) < 2 or (tokens[-2].text, tokens[-1].text) != (":=", "by") or lexed.text[-2:] != "by":
        tail = text[-30:].replace("\n", " ")
        raise StatementError(f"a statement must end in `:= by`, and this one ends in `{tail}` (see normalise)")
    imports, imports_end, first = _imports(lexed)
    declarations, places = _declarations(tokens, first)
    if not declarations:
        raise StatementError("the text declares nothing: a theorem, lemma, def or example is needed")
    binders, type_, type_at = _signature(lexed, places[-1])
    return Statement(text, imports, imports_end, declarations[-1].start, tuple(declarations), binders, type_, type_at)


def _imports(lexed: Lexed) -> tuple[tuple[str, ...], int, int]:
    """Imported modules, the offset after the line of the last one, and the first token that is none of theirs."""
    names, at, end = [], 0, 0
    tokens = lexed.tokens
    while at + 1 < len(tokens) and tokens[at].text == "import" and tokens[at + 1].kind == "ident":
        names.append(tokens[at + 1].text)
        end = tokens[at + 1].end
        at += 2
    newline = lexed.text.find("\n", end)
    following = tokens[at].start if at < len(tokens) else len(lexed.text)
    if names and 0 <= newline < following:
        end = newline + 1
    return tuple(names), end, at


def _declarations(tokens: list[Token], first: int) -> tuple[list[Declaration], list[int]]:
    """Declarations at bracket depth 0, and the index of each one's keyword."""
    found, places, depth, head = [], [], 0, -1
    for i in range(first, len(tokens)):
        kind, word, start = tokens[i]
        if kind == "sym":
            if word in BRACKETS:
                head = start if word == "@[" and depth == 0 and head < 0 else head
                depth += 1
            elif word in CLOSERS:
                depth -= 1
            elif depth == 0 and head >= 0 and word != "]":
                head = -1
        elif depth == 0 and kind == "ident":
            if word in DECLARATIONS:
                following = tokens[i + 1] if i + 1 < len(tokens) else tokens[i]
                named = following.kind == "ident" and word != "example"
                name, name_at = (following.text, following.start) if named else ("", start)
                found.append(Declaration(word, name, head if head >= 0 else start, name_at))
                places.append(i)
                head = -1
            elif word in MODIFIERS:
                head = start if head < 0 else head
            else:
                head = -1
    return found, places


def _signature(lexed: Lexed, place: int) -> tuple[tuple[Binder, ...], str, int]:
    """Binders and type of the declaration whose keyword is token `place` and which ends the text."""
    text, tokens = lexed.text, lexed.tokens
    i, end = place + 1, len(tokens) - 2
    if tokens[place].text != "example" and i < end and tokens[i].kind == "ident":
        i += 1
    if i < end and tokens[i].text == ".{":
        i = _closing(tokens, i) + 1
    binders = []
    while i < end and tokens[i].text != ":":
        if tokens[i].text in KINDS:
            close = _closing(tokens, i)
            binders.append(_binder(text, tokens, i, close))
            i = close + 1
        else:
            binders.append(Binder((tokens[i].text,), "", "bare", start=tokens[i].start, end=tokens[i].end))
            i += 1
    if i >= end:
        return tuple(binders), "", tokens[end].start  # a definition without a type
    start = tokens[i + 1].start
    return tuple(binders), text[start : tokens[end - 1].end], start


def _binder(text: str, tokens: list[Token], open_: int, close: int) -> Binder:
    kind = KINDS[tokens[open_].text]
    depth, colon, assign = 0, -1, -1
    for i in range(open_ + 1, close):
        word = tokens[i].text
        if tokens[i].kind != "sym":
            if word in ("let", "have") and depth == 0 and colon >= 0:
                break  # its `:=` is not the binder's
            continue
        if word in BRACKETS:
            depth += 1
        elif word in CLOSERS:
            depth -= 1
        elif depth == 0 and word == ":" and colon < 0:
            colon = i
        elif depth == 0 and word == ":=" and assign < 0:
            assign = i
    last = assign if assign >= 0 else close
    names = [t.text for t in tokens[open_ + 1 : colon if colon >= 0 else last]]
    if colon < 0 and kind == "instance":
        names, type_ = [], text[tokens[open_ + 1].start : tokens[last - 1].end]
    else:
        type_ = text[tokens[colon + 1].start : tokens[last - 1].end] if 0 <= colon < last - 1 else ""
    default = text[tokens[assign + 1].start : tokens[close - 1].end] if 0 <= assign < close - 1 else ""
    return Binder(tuple(names), type_, kind, default, tokens[open_].start, tokens[close].end)


def _closing(tokens: list[Token], open_: int) -> int:
    depth = 0
    for i in range(open_, len(tokens)):
        if tokens[i].kind == "sym":
            if tokens[i].text in BRACKETS:
                depth += 1
            elif tokens[i].text in CLOSERS:
                depth -= 1
                if depth == 0:
                    return i
    raise StatementError(f"the bracket at character {tokens[open_].start} is never closed")


def position(st: Statement, offset: int) -> tuple[int, int]:
    """Lean's line (from 1) and column (from 0) of a place in the statement's text."""
    return Lines(st.text)(offset)
