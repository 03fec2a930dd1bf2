"""Lean terms as trees, by operator precedence (a Pratt parser with Mathlib's binding powers).

What the parser does not know raises `Unsupported`; a caller then keeps the text as it is. Every node knows its place
in the source, so that parts can be quoted verbatim.

    ↔ 20   → 25 right   ∨ 30 right   ∧ 35 right   ¬ 40   relations 50   + - ∪ 65   ∑ ∏ (body) 67   * / % ∩ \\ 70
    • 73   unary - 75, ^ 75 right (so −x² = −(x²))   ∘ 90   √ 100   application 1024; ∀ ∃ fun extend to the right end
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import Unsupported
from .lexer import BRACKETS, CLOSERS, Token, lex

RELATIONS = frozenset(("=", "≠", "<", ">", "≤", "≥", "∣", "∤", "∈", "∉", "⊆", "⊂", "⊇", "≡", "≃", "≈", "∼", "⟂", "∥"))
ALIASES = {
    "->": "→",
    "<->": "↔",
    "<=": "≤",
    ">=": "≥",
    "!=": "≠",
    "/\\": "∧",
    "\\/": "∨",
    "λ": "fun",
    "↦": "=>",
    "Π": "∀",
}
INFIX: dict[str, tuple[int, int]] = {  # left power, power of the right operand
    "↔": (20, 21),
    "→": (25, 25),
    "∨": (30, 30),
    "∧": (35, 35),
    "||": (30, 31),
    "&&": (35, 36),
    "×": (35, 35),
    "+": (65, 66),
    "-": (65, 66),
    "∪": (65, 66),
    "++": (65, 66),
    "⊔": (68, 69),
    "⊓": (69, 70),
    "*": (70, 71),
    "/": (70, 71),
    "%": (70, 71),
    "∩": (70, 71),
    "\\": (70, 71),
    "•": (73, 73),
    "^": (75, 75),
    "∘": (90, 90),
    "::": (67, 67),
    "==": (50, 51),
    "<|": (10, 10),
    "$": (10, 10),
    "|>": (10, 11),
    "∆": (100, 101),
    **dict.fromkeys(RELATIONS, (50, 51)),
}
BODY = {
    "∑": 67,
    "∏": 67,
    "∀": 0,
    "∃": 0,
    "∃!": 0,
    "fun": 0,
    "∫": 60,
    "∑'": 67,
    "∏'": 67,
    "∑ᶠ": 67,
    "∏ᶠ": 67,
    "∀ᶠ": 0,
    "∃ᶠ": 0,
}
PREFIX = {"¬": ("¬", 40), "!": ("¬", 40), "-": ("neg", 75), "√": ("√", 100), "↑": ("↑", 1024)}
STOP = frozenset(
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
        "theorem",
        "lemma",
        "def",
        "open",
    ]
)
ARGUMENT = 1024
DEPTH = 400  # of nesting; a deeper term is refused


@dataclass(frozen=True, slots=True)
class Bound:
    """Variables of a quantifier: `x y : T`, `x ∈ S` (relation "∈"), or `x > 0`."""

    names: tuple[str, ...]
    type: Term | None = None
    relation: str = ""
    bound: Term | None = None
    kind: str = "explicit"


@dataclass(frozen=True, slots=True)
class Term:
    """A node. `op` names it, `args` are its children, `name` an identifier, numeral, or opaque text.

    op: num id str app neg ¬ √ ↑ ⁻¹ ! abs norm floor ceil ascribe set setlit list tuple anon proj if let hole type
    opaque, the infix operators, and the quantifiers of `BODY` (with `bounds` and one argument, the body).
    """

    op: str
    args: tuple[Term, ...] = ()
    name: str = ""
    bounds: tuple[Bound, ...] = ()
    start: int = 0
    end: int = 0

    def walk(self) -> Iterator[Term]:
        """This node and all below it, types and domains of bound variables included."""
        yield self
        for bound in self.bounds:
            for part in (bound.type, bound.bound):
                if part is not None:
                    yield from part.walk()
        for arg in self.args:
            yield from arg.walk()

    def spine(self) -> tuple[Term, tuple[Term, ...]]:
        """Function and arguments of an application."""
        return (self.args[0], self.args[1:]) if self.op == "app" else (self, ())


def parse_term(text: str) -> Term:
    """The tree of a term.

    Raises:
        Unsupported: syntax outside what this parser knows, with the place.
    """
    lexed = lex(text)
    if lexed.open:
        raise Unsupported(f"the term ends inside a {lexed.open}")
    parser = Parser(lexed.tokens, text)
    try:
        term = parser.expression(0)
    except RecursionError:
        raise Unsupported("the term is nested too deeply") from None
    if not parser.done:
        raise Unsupported(f"`{parser.word}` at character {parser.token.start} is not understood here")
    return term


class Parser:
    """A cursor over tokens; `expression(power)` reads as far as operators bind at least that strongly."""

    def __init__(self, tokens: list[Token], text: str = ""):
        self.tokens, self.at, self.depth, self.text = tokens, 0, 0, text

    @property
    def done(self) -> bool:
        return self.at >= len(self.tokens)

    @property
    def token(self) -> Token:
        if self.done:
            raise Unsupported("the term ends too early")
        return self.tokens[self.at]

    @property
    def word(self) -> str:
        """The next token's text with ASCII spellings made the usual ones; empty at the end."""
        if self.done:
            return ""
        token = self.tokens[self.at]
        if token.text in ("/", "\\") and self.at + 1 < len(self.tokens):  # /\ and \/ are two tokens
            following = self.tokens[self.at + 1]
            pair = token.text + following.text
            if pair in ALIASES and following.start == token.end:
                return ALIASES[pair]
        return ALIASES.get(token.text, token.text)

    def take(self, expected: str = "") -> Token:
        token, word = self.token, self.word
        if expected and word != expected:
            raise Unsupported(f"`{expected}` is expected at character {token.start}, not `{token.text}`")
        self.at += 2 if word in ("∧", "∨") and token.text in ("/", "\\") else 1
        return token

    @property
    def last(self) -> int:
        return self.tokens[self.at - 1].end

    def expression(self, power: int) -> Term:
        self.depth += 1
        if self.depth > DEPTH:
            raise Unsupported("the term is nested too deeply")
        left = self.prefix()
        while not self.done:
            word = self.word
            if word in ("⁻¹", "!"):
                self.take()
                left = Term(word, (left,), start=left.start, end=self.last)
            elif self.token.kind == "proj" or (word in (".", "|>.") and self.token.start == left.end):
                left = self.projection(left)
            elif power < ARGUMENT and self.starts_argument():
                left = self.application(left)
            elif word in INFIX and INFIX[word][0] >= power:
                left = self.infix(left, word)
            else:
                break
        self.depth -= 1
        return left

    def infix(self, left: Term, word: str) -> Term:
        self.take()
        right = self.expression(INFIX[word][1])
        if word == "≡":
            self.take("[")
            if self.word in ("ZMOD", "MOD", "PMOD"):
                kind = self.take().text
                modulus = self.expression(0)
                self.take("]")
                return Term("≡", (left, right, modulus), kind, start=left.start, end=self.last)
            raise Unsupported("`≡` without [ZMOD n] or [MOD n]")
        if word in RELATIONS and left.op in RELATIONS:
            raise Unsupported("relations do not chain in Lean")
        return Term(word, (left, right), start=left.start, end=right.end)

    def starts_argument(self) -> bool:
        kind, text, _ = self.token
        if text == "[" and self.at + 1 < len(self.tokens) and self.tokens[self.at + 1].text in ("ZMOD", "MOD", "PMOD"):
            return False
        if kind == "ident":
            return text not in STOP or text == "fun"
        return kind in ("num", "str", "char") or text in ("(", "⟨", "{", "[", "⌊", "⌈", "↑", "‖", "@", "·", "λ", "∅")

    def application(self, function: Term) -> Term:
        args = [function]
        while not self.done and self.starts_argument():
            if self.word == "‖" and self.closing_norm:
                break
            args.append(self.argument())
        if len(args) == 1:
            raise Unsupported(f"`{self.word}` is not understood here")
        return Term("app", tuple(args), start=function.start, end=self.last)

    closing_norm = False

    def argument(self) -> Term:
        if self.word == "fun":
            return self.quantifier("fun")
        if self.word == "(" and self.at + 2 < len(self.tokens) and self.tokens[self.at + 2].text == ":=":
            start = self.take().start
            name = self.take().text
            self.take()
            value = self.expression(0)
            self.take(")")
            return Term("named", (value,), name, start=start, end=self.last)
        return self.expression(ARGUMENT)

    def projection(self, left: Term) -> Term:
        token = self.take()
        if token.kind == "proj":
            return Term("proj", (left,), token.text[1:], start=left.start, end=self.last)
        field = self.take()
        if field.kind != "ident":
            raise Unsupported(f"`.` before `{field.text}`")
        return Term("proj", (left,), field.text, start=left.start, end=self.last)

    def prefix(self) -> Term:
        token, word = self.token, self.word
        start = token.start
        if token.kind == "num":
            self.take()
            return Term("num", (), token.text, start=start, end=self.last)
        if token.kind == "str":
            self.take()
            return Term("str", (), token.text, start=start, end=self.last)
        if word in BODY:
            return self.quantifier(word)
        if word in PREFIX:
            op, power = PREFIX[word]
            self.take()
            body = self.expression(power)
            return Term(op, (body,), start=start, end=body.end)
        if word == "if":
            return self.conditional(start)
        if word == "let":
            return self.let(start)
        if token.kind == "ident" or word in ("∅", "∞", "⊤", "⊥", "·"):
            if word in STOP:
                raise Unsupported(f"`{word}` is not understood here")
            self.take()
            return Term("hole" if word == "_" else "id", (), token.text, start=start, end=self.last)
        brackets = {"(": self.parenthesis, "{": self.set, "⟨": self.anonymous, "[": self.list, "|": self.absolute}
        if word in brackets:
            self.take()
            return brackets[word](start)
        if word == "‖":
            self.take()
            outer, self.closing_norm = self.closing_norm, True
            body = self.expression(0)
            self.take("‖")
            self.closing_norm = outer
            return Term("norm", (body,), start=start, end=self.last)
        for open_, close, op in (("⌊", "⌋", "floor"), ("⌈", "⌉", "ceil")):
            if word == open_:
                self.take()
                body = self.expression(0)
                self.take(close)
                if not self.done and self.word == "₊" and self.token.start == self.last:
                    self.take()
                    op += "₊"
                return Term(op, (body,), start=start, end=self.last)
        if word == "@":
            self.take()
            return self.prefix()
        raise Unsupported(f"`{word}` is not understood here")

    def conditional(self, start: int) -> Term:
        self.take()
        if self.at + 1 < len(self.tokens) and self.tokens[self.at + 1].text == ":":
            raise Unsupported("a dependent `if`")
        condition = self.expression(0)
        self.take("then")
        yes = self.expression(0)
        self.take("else")
        no = self.expression(0)
        return Term("if", (condition, yes, no), start=start, end=self.last)

    def let(self, start: int) -> Term:
        self.take()
        name = self.take()
        if name.kind != "ident":
            raise Unsupported("`let` with a pattern")
        type_ = None
        if self.word == ":":
            self.take()
            type_ = self.expression(0)
        self.take(":=")
        value = self.line()
        if self.word == ";":
            self.take()
        body = self.expression(0)
        return Term("let", (value, body), name.text, (Bound((name.text,), type_),), start=start, end=self.last)

    def line(self) -> Term:
        """A term that ends with its line, as the value of a `let` without `;` does."""
        depth, end = 0, self.at
        while end < len(self.tokens):
            token = self.tokens[end]
            broken = end > self.at and "\n" in self.text[self.tokens[end - 1].end : token.start]
            if depth == 0 and (broken or token.text == ";"):
                break
            depth += (token.text in BRACKETS) - (token.text in CLOSERS)
            if depth < 0:
                break
            end += 1
        rest, self.tokens = self.tokens, self.tokens[:end]
        try:
            value = self.expression(0)
        finally:
            self.tokens = rest
        return value

    def parenthesis(self, start: int) -> Term:
        if self.word == ")":
            self.take()
            return Term("tuple", (), start=start, end=self.last)
        if self.word in INFIX and self.word != "-":
            raise Unsupported("an operator section")
        inner = self.expression(0)
        if self.word == ":":
            self.take()
            type_ = self.expression(0)
            self.take(")")
            return Term("ascribe", (inner, type_), start=start, end=self.last)
        if self.word == ",":
            parts = [inner, *self.list_rest(")")]
            return Term("tuple", tuple(parts), start=start, end=self.last)
        self.take(")")
        return Term(inner.op, inner.args, inner.name, inner.bounds, start, self.last) if inner.op != "·" else inner

    def list_rest(self, close: str) -> list[Term]:
        parts = []
        while self.word == ",":
            self.take()
            parts.append(self.expression(0))
        self.take(close)
        return parts

    def anonymous(self, start: int) -> Term:
        first = self.expression(0)
        return Term("anon", (first, *self.list_rest("⟩")), start=start, end=self.last)

    def list(self, start: int) -> Term:
        if self.word == "]":
            self.take()
            return Term("list", (), start=start, end=self.last)
        first = self.expression(0)
        return Term("list", (first, *self.list_rest("]")), start=start, end=self.last)

    def absolute(self, start: int) -> Term:
        body = self.expression(0)
        self.take("|")
        return Term("abs", (body,), start=start, end=self.last)

    def set(self, start: int) -> Term:
        if self.word == "}":
            self.take()
            return Term("setlit", (), start=start, end=self.last)
        first = self.expression(21)
        type_ = None
        if self.word == ":":
            self.take()
            type_ = self.expression(0)
        if self.word == "|":
            self.take()
            bound = self.set_bound(first, type_)
            body = self.expression(0)
            self.take("}")
            return Term("set", (body,), bounds=(bound,), start=start, end=self.last)
        if type_ is not None:
            raise Unsupported("a subtype")
        return Term("setlit", (first, *self.list_rest("}")), start=start, end=self.last)

    @staticmethod
    def set_bound(first: Term, type_: Term | None) -> Bound:
        if first.op == "id":
            return Bound((first.name,), type_)
        if first.op in RELATIONS and first.args[0].op == "id" and type_ is None:
            return Bound((first.args[0].name,), None, first.op, first.args[1])
        if first.op == "tuple" and all(arg.op == "id" for arg in first.args):
            return Bound(tuple(arg.name for arg in first.args), type_, "pattern")
        raise Unsupported("a set-builder over a pattern")

    def quantifier(self, word: str) -> Term:
        start = self.take().start
        if word == "∃" and self.word == "!":
            self.take()
            word = "∃!"
        bounds = self.bounds(word)
        separator = "=>" if word == "fun" else ","
        if word == "fun" and self.word == ",":
            separator = ","  # Lean 3's
        self.take(separator)
        body = self.expression(BODY[word])
        return Term(word, (body,), bounds=tuple(bounds), start=start, end=body.end)

    def bounds(self, word: str) -> list[Bound]:
        found: list[Bound] = []
        while self.word in ("(", "{", "[", "⦃") and not self.pattern_ahead():
            open_ = self.take().text
            close = {"(": ")", "{": "}", "[": "]", "⦃": "⦄"}[open_]
            names = self.names()
            type_ = None
            if self.word == ":":
                self.take()
                type_ = self.expression(0)
            self.take(close)
            kinds = {"(": "explicit", "{": "implicit", "[": "instance", "⦃": "strict"}
            found.append(Bound(tuple(names), type_, kind=kinds[open_]))
        if self.word in ("(", "⟨"):
            raise Unsupported("a pattern among bound variables")
        if self.token.kind != "ident" or (found and self.word in (",", "=>")):
            return found
        names = self.names()
        if self.word == ":":
            self.take()
            found.append(Bound(tuple(names), self.expression(0)))
        elif word not in ("∀", "∃", "∃!", "fun") and self.word in ("in", "∈"):
            self.take()
            domain = self.expression(0)
            if self.word == "..":
                self.take()
                domain = Term("interval", (domain, self.expression(0)), start=domain.start, end=self.last)
            found.append(Bound(tuple(names), None, "∈", domain))
            if self.word == "with":
                raise Unsupported("a filtered big operator")
        elif self.word in RELATIONS:
            relation = self.word
            self.take()
            found.append(Bound(tuple(names), None, relation, self.expression(51)))
        else:
            found.append(Bound(tuple(names)))
        return found

    def pattern_ahead(self) -> bool:
        """Whether `(` opens a pattern such as `(x, y)` and not a binder group."""
        if self.word != "(":
            return False
        at = self.at + 1
        while at < len(self.tokens) and self.tokens[at].kind == "ident":
            at += 1
        return at < len(self.tokens) and self.tokens[at].text not in (":", ")")

    def names(self) -> list[str]:
        names = []
        while self.token.kind == "ident" and self.word not in STOP and self.word != "fun":
            names.append(self.take().text)
        if not names:
            raise Unsupported(f"a name is expected before `{self.word}`")
        return names
