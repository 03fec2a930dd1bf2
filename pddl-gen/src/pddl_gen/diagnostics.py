"""What is wrong with a text, where, and what would be allowed there: for a model to read, a person, or a program."""

from __future__ import annotations

import difflib
import json
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Generic, Literal, TypeVar

from .codes import CODES

Severity = Literal["error", "warning", "info"]
Span = tuple[int, int]  # offsets of the first character and of the one after the last
T = TypeVar("T")
ORDER = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One finding. `val` says which program of VAL reports an error for it: "P"arser, "V"alidate, "X" crash, or ""."""

    code: str
    severity: Severity
    span: Span
    message: str
    found: str = ""
    expected: tuple[str, ...] = ()
    hint: str = ""
    action: str = ""
    section: str = ""
    val: str = ""


@dataclass(slots=True)
class Parsed(Generic[T]):
    """What could be read of a text, and every finding. `value` is None where there is nothing to go on with."""

    value: T | None
    diagnostics: list[Diagnostic]
    text: str = ""

    @property
    def errors(self) -> list[Diagnostic]:
        return [d for d in self.diagnostics if d.severity == "error"]

    @property
    def ok(self) -> bool:
        """Whether there is a value and no error."""
        return self.value is not None and not self.errors

    @property
    def level(self) -> str:
        """ "ok", "warning" or "error"; what only VAL minds does not count."""
        severities = {d.severity for d in self.diagnostics}
        return "error" if "error" in severities else "warning" if "warning" in severities else "ok"


@dataclass(slots=True)
class Collector:
    """Gathers findings while a text is read; knows in which action and section it is."""

    found: list[Diagnostic] = field(default_factory=list)
    action: str = ""
    section: str = ""

    def add(
        self,
        code: str,
        span: Span,
        message: str,
        *,
        found: str = "",
        expected: Iterable[str] = (),
        hint: str = "",
        val: str | None = None,
        severity: str | None = None,
    ) -> None:
        """`val` and `severity` stand in for what the table of codes says."""
        about = CODES[code]
        self.found.append(
            Diagnostic(
                code,
                severity or about.severity,  # type: ignore[arg-type]
                span,
                message,
                found,
                tuple(expected),
                hint or about.fix,
                self.action,
                self.section,
                about.val if val is None else val,
            )
        )


def near(name: str, names: Iterable[str]) -> str:
    """The one of `names` that `name` may have been meant to be, or nothing."""
    close = difflib.get_close_matches(name, list(names), n=1, cutoff=0.6)
    return close[0] if close else ""


class Lines:
    """Lines and columns of offsets, both counted from 1."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.starts = [0, *(i + 1 for i, c in enumerate(text) if c == "\n")]

    def place(self, offset: int) -> tuple[int, int]:
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1

    def line(self, number: int) -> str:
        end = self.starts[number] - 1 if number < len(self.starts) else len(self.text)
        return self.text[self.starts[number - 1] : end].rstrip("\r")


def render(
    diagnostics: Sequence[Diagnostic],
    text: str,
    style: Literal["llm", "human", "json"] = "llm",
    limit: int | None = 8,
) -> str:
    """The findings as text, worst first, then by place.

    `llm` has a line a finding, the source line and a caret; `human` adds severity and code; `json` is a JSON list with
    line and column. Beyond `limit` findings only their number is told.
    """
    ordered = sorted(diagnostics, key=lambda d: (ORDER[d.severity], d.span))
    shown = ordered if limit is None else ordered[:limit]
    lines = Lines(text)
    if style == "json":
        records = [
            asdict(d) | dict(zip(("line", "column"), lines.place(min(d.span[0], len(text))), strict=True))
            for d in shown
        ]
        return json.dumps(records, ensure_ascii=False, indent=1)
    parts = [_shown(d, lines, style == "human") for d in shown]
    if len(ordered) > len(shown):
        parts.append(f"... and {len(ordered) - len(shown)} more")
    return "\n".join(parts)


def _shown(d: Diagnostic, lines: Lines, human: bool) -> str:
    line, column = lines.place(min(d.span[0], len(lines.text)))
    where = f"line {line}, column {column}"
    if d.action:
        where += f", action {d.action}"
    if d.section:
        where += f", {d.section}"
    words = f"{where}: {d.message}"
    if d.expected:
        words += f"; allowed: {', '.join(d.expected[:12])}" + (", ..." if len(d.expected) > 12 else "")
    if d.hint:
        words += f"; {d.hint}"
    if human:
        words = f"{d.severity} [{d.code}] {words}"
    source = lines.line(line)
    begin = max(0, column - 60)
    source, at = source[begin : begin + 110].replace("\t", " "), column - 1 - begin
    width = max(1, min(d.span[1] - d.span[0], len(source) - at))
    return f"{words}\n    {source}\n    {' ' * at}{'^' * width}"
