"""From text to nested forms: one regular expression for the tokens, one loop for the parentheses.

Nothing recurses, and nothing stops at the first mistake. Where a parenthesis is missing the reader knows it by what
cannot stand there: `(:action` inside an action, or `:effect` inside a precondition.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .diagnostics import Collector, Span

TOKEN = re.compile(r";[^\n]*|[()]|\?[^\s();?]*|-(?=[A-Za-z(])|[^\s();?]+")
SECTIONS = frozenset(
    [
        ":requirements",
        ":types",
        ":constants",
        ":predicates",
        ":functions",
        ":action",
        ":durative-action",
        ":derived",
        ":constraints",
        ":domain",
        ":objects",
        ":init",
        ":goal",
        ":metric",
        ":axiom",
    ]
)
ACTIONS = frozenset((":action", ":durative-action"))


@dataclass(frozen=True, slots=True)
class Limits:
    """What a text may have at most before it is refused unread."""

    characters: int = 256 * 1024
    nesting: int = 256
    name: int = 128
    actions: int = 1000
    parameters: int = 64
    findings: int = 200


class Word:
    """A token that is no parenthesis: `text` in lower case, and where it begins."""

    __slots__ = ("start", "text")

    def __init__(self, text: str, start: int) -> None:
        self.text, self.start = text, start

    @property
    def span(self) -> Span:
        return self.start, self.start + len(self.text)


class Form:
    """A pair of parentheses and what stands between them; `end` is the offset after the closing one."""

    __slots__ = ("end", "items", "start")

    def __init__(self, start: int) -> None:
        self.items: list[Node] = []
        self.start, self.end = start, start + 1

    @property
    def span(self) -> Span:
        return self.start, self.end

    @property
    def head(self) -> str:
        """The first word, or nothing."""
        first = self.items[0] if self.items else None
        return first.text if type(first) is Word else ""


Node = Word | Form


def read(text: str, report: Collector, limits: Limits | None = None, *, reopen: bool = True) -> list[Node]:
    """The nodes at the top of a text. `reopen` takes sections behind a closed (define as still belonging to it."""
    limits = limits or Limits()
    if len(text) > limits.characters:
        report.add("size-limit", (0, 0), f"the text has {len(text):,} characters, and {limits.characters:,} are read")
        return []
    root: list[Node] = []
    stack: list[Form] = []
    items = root
    tokens = [m for m in TOKEN.finditer(text) if m.group()[0] != ";"]
    for index, match in enumerate(tokens):
        token, at = match.group(), match.start()
        if token == "(":
            following = tokens[index + 1].group().lower() if index + 1 < len(tokens) else ""
            if following in SECTIONS:
                if len(stack) > 1 and stack[0].head == "define" and stack[1].items:
                    _unclosed(report, stack, 1, at, f"({following}", text)
                    items = stack[-1].items
                elif not stack and reopen and root and _is_define(root[-1]):
                    define = root[-1]
                    assert isinstance(define, Form)
                    closed = (define.end - 1, define.end)
                    report.add(
                        "parenthesis-extra", closed, f"this parenthesis closes (define before ({following}", val=""
                    )
                    stack, items = [define], define.items
            if len(stack) >= limits.nesting:
                report.add("depth-limit", (at, at + 1), f"parentheses are nested deeper than {limits.nesting}")
                return root
            form = Form(at)
            items.append(form)
            stack.append(form)
            items = form.items
        elif token == ")":
            if not stack:
                if root:
                    report.add("parenthesis-extra", (at, at + 1), "this parenthesis closes nothing")
                else:
                    root.append(Word(")", at))
                continue
            stack.pop().end = at + 1
            items = stack[-1].items if stack else root
        else:
            word = token.lower()
            if word[0] == ":" and len(stack) > 2 and stack[1].head in ACTIONS and stack[0].head == "define":
                _unclosed(report, stack, 2, at, word, text)
                items = stack[-1].items
            if len(word) > limits.name:
                report.add(
                    "size-limit", (at, at + len(word)), f"a name of {len(word)} characters; {limits.name} are read"
                )
                word = word[: limits.name]
            items.append(Word(word, at))
    if stack:
        inner = stack[-1]
        where = f"({inner.head}" if inner.head else "("
        report.add(
            "parenthesis-missing",
            (len(text), len(text)),
            f"the text ends with {len(stack)} parentheses open, the innermost being {where} of {_line(text, inner)}",
        )
        for form in stack:
            form.end = len(text)
    return root


def _unclosed(report: Collector, stack: list[Form], keep: int, at: int, what: str, text: str) -> None:
    """Closes what is open beyond `keep` forms, because `what` cannot stand inside of it."""
    inner = stack[-1]
    report.add(
        "syntax",
        (at, at + len(what)),
        f"{what} stands inside ({inner.head} of {_line(text, inner)}, which is not closed",
        hint=f"{len(stack) - keep} closing parentheses are missing before {what}",
        val="PV" if keep == 1 else "P",
    )
    while len(stack) > keep:
        stack.pop().end = at


def _is_define(node: Node) -> bool:
    return type(node) is Form and node.head == "define"


def _line(text: str, form: Form) -> str:
    return f"line {text.count(chr(10), 0, form.start) + 1}"
