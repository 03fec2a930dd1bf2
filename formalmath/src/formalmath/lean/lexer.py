"""Lean 4's tokens, found in one pass of one regular expression (linear time, no backtracking into a token).

Identifiers follow Lean's `isIdFirst`/`isIdRest`: ASCII, Greek but `λ Π Σ`, Latin letters with marks, the letter-like
block (ℝ, ℕ), script letters, `«quoted»`, subscripts; `'`, `!` and `?` may follow. Components join by a `.` only if
a start character follows: `hx.le` is one name, `a.1` a name and a projection. Comments nest and are trivia, as white
space is; what is neither token nor trivia is `unknown`, and only Lean can say what it means.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import NamedTuple

FIRST = (
    "a-zA-Z_\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u017f"
    "\u0391-\u039f\u03a1-\u03a2\u03a4-\u03a9\u03b1-\u03ba\u03bc-\u03fb\u1f00-\u1ffe\u2100-\u214f\U0001d49c-\U0001d59f"
)
REST = FIRST + "0-9'!?\u2080-\u2089\u2090-\u209c\u1d62-\u1d6a"
COMPONENT = f"(?:[{FIRST}][{REST}]*|«[^»\\n]*»)"
NAME = f"{COMPONENT}(?:\\.{COMPONENT})*"
SYMBOLS = (
    "...",
    "..",
    ":=",
    "<;>",
    "<|>",
    "<->",
    "<|",
    "|>.",
    "|>",
    "=>",
    "->",
    "<-",
    "!=",
    "==",
    ">=",
    "<=",
    "&&",
    "||",
    "++",
    "::",
    "⁻¹",
    "∑'",
    "∏'",
    "∑ᶠ",
    "∏ᶠ",
    "∀ᶠ",
    "∃ᶠ",
    "⨍",
    ".{",
    "@[",
    "%[",
    "#[",
)
PATTERN = re.compile(
    rf"""(?P<ws>[ \n\t\r]+)
|(?P<line>--[^\n]*)
|(?P<block>/-(?:[^-/]|-(?!/)|/(?!-))*-/)
|(?P<open>/-)
|(?P<ident>{NAME})
|(?P<num>0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
|(?P<str>"(?:[^"\\]|\\[\s\S])*")
|(?P<openstr>"[\s\S]*)
|(?P<char>'(?:[^'\\\n]|\\(?:[^ux\n]|x[0-9a-fA-F]{{2}}|u[0-9a-fA-F]{{4}}))')
|(?P<hash>\#[a-zA-Z_]+)
|(?P<sym>{"|".join(map(re.escape, SYMBOLS))})
|(?P<proj>\.[0-9]+)
|(?P<one>[!-/:-@\[-^{{-~«»`\u00ac\u00b1\u00b7\u00d7\u00f7\u03bb\u03a0\u03a3\u00a1-\u00a9\u00ab-\u00b9\u00bb-\u00bf\u2016-\u206f\u208a-\u208f\u2070-\u207f\u2190-\u23ff\u25a0-\u27ff\u2900-\u2bff\u02e0-\u02ff\u1d2c-\u1d61\u1d6b-\u1dbf])
|(?P<unknown>[\s\S])""",
    re.VERBOSE,
)
COMMENT_EDGE = re.compile(r"/-|-/")
GROUPS = {i: name for name, i in PATTERN.groupindex.items()}
SKIP = frozenset(PATTERN.groupindex[g] for g in ("ws", "line", "block"))
KIND = {i: {"hash": "sym", "one": "sym", "openstr": "str"}.get(name, name) for i, name in GROUPS.items()}
OPEN, OPENSTR = PATTERN.groupindex["open"], PATTERN.groupindex["openstr"]
BRACKETS = {
    "(": ")",
    "[": "]",
    "{": "}",
    "⟨": "⟩",
    "⦃": "⦄",
    "⟦": "⟧",
    "⌊": "⌋",
    "⌈": "⌉",
    "@[": "]",
    "%[": "]",
    "#[": "]",
    ".{": "}",
}
CLOSERS = frozenset(BRACKETS.values())


class Token(NamedTuple):
    """A token: `kind` is ident, num, str, char, sym, proj or unknown; `start` counts code points from 0."""

    kind: str
    text: str
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class Lexed(NamedTuple):
    """The tokens of a text, and what it leaves open at its end: "comment", "string" or None."""

    text: str
    tokens: list[Token]
    open: str | None


def lex(text: str) -> Lexed:
    """All tokens of a text, in order. Whatever lies between two of them is white space or comment."""
    tokens: list[Token] = []
    new, kinds, skip = tuple.__new__, KIND, SKIP
    at = 0
    while True:
        for match in PATTERN.finditer(text, at):
            group = match.lastindex or 0
            if group in skip:
                continue
            if group == OPEN:
                at = comment_end(text, match.start())
                if at < 0:
                    return Lexed(text, tokens, "comment")
                break
            if group == OPENSTR:
                tokens.append(Token("str", match.group(), match.start()))
                return Lexed(text, tokens, "string")
            tokens.append(new(Token, (kinds[group], match.group(), match.start())))
        else:
            return Lexed(text, tokens, None)


def comment_end(text: str, start: int) -> int:
    """Where the nested comment that begins at `start` ends; -1 if it does not."""
    depth = 0
    for edge in COMMENT_EDGE.finditer(text, start):
        depth += 1 if edge.group() == "/-" else -1
        if depth == 0:
            return edge.end()
    return -1


def same_tokens(a: str, b: str) -> bool:
    """Whether two texts are the same to Lean's lexer: white space and comments do not count."""
    one, other = lex(a), lex(b)
    return one.open is None and other.open is None and [t[:2] for t in one.tokens] == [t[:2] for t in other.tokens]


def depth_error(tokens: list[Token]) -> str | None:
    """Why the brackets do not balance, or None. `{ ⦃ ⌊ ⌈` are checked as `(` is."""
    stack: list[str] = []
    for token in tokens:
        if token.kind != "sym":
            continue
        if token.text in BRACKETS:
            stack.append(BRACKETS[token.text])
        elif token.text in CLOSERS and (not stack or stack.pop() != token.text):
            return f"unexpected `{token.text}`"
    return f"`{stack[-1]}` is missing" if stack else None


def deepest(tokens: list[Token]) -> int:
    """The largest number of brackets open at once."""
    depth = most = 0
    for token in tokens:
        if token.kind == "sym":
            if token.text in BRACKETS:
                depth += 1
                most = max(most, depth)
            elif token.text in CLOSERS:
                depth -= 1
    return most


class Lines:
    """From an offset to Lean's position: line from 1, column from 0, both in code points."""

    def __init__(self, text: str):
        self.starts = [0, *(m.end() for m in re.finditer("\n", text))]

    def __call__(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1]
