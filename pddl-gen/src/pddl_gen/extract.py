"""From a model's answer to thought and domain. Nothing is repaired in silence: each liberty taken is a note.

T is everything outside the final PDDL block (section 2.3 of the paper); of several complete domains the last counts.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

LIMIT = 256 * 1024
FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[ \t]*([\w+-]*)[^\n]*$", re.MULTILINE)
DEFINE = re.compile(r"\(\s*define\s*\(\s*(domain|problem)\b", re.IGNORECASE)
QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u2013": "-", "\u2212": "-"})
SPACES = re.compile("[\u00a0\u2000-\u200b\u202f\u205f\u3000\ufeff]")
STEP = re.compile(r"^\s*(?:\d+[.:)]\s*)?\(([^()]*)\)\s*(?:[;#].*)?$")


@dataclass(slots=True)
class Extracted:
    """What an answer holds; `notes` say which liberties were taken."""

    thought: str = ""
    domain_text: str | None = None
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def extract(answer: str) -> Extracted:
    """Thought, last complete domain, and problems of an answer. Any text gives a result."""
    found = Extracted()
    text = clean(answer, found.notes)
    closings = _closings(text)
    blocks = _blocks(text, closings, found.notes)
    domains = [(a, b) for a, b, kind in blocks if kind == "domain"]
    found.problems = [text[a:b].strip() + "\n" for a, b, kind in blocks if kind == "problem"]
    if not domains:
        found.thought = text.strip()
        found.notes.append("no domain in the answer")
        return found
    if len(domains) > 1:
        found.notes.append(f"{len(domains)} domains in the answer: the last complete one is taken")
    complete = [(a, b) for a, b in domains if closings.get(a, len(text) + 1) <= b]
    start, end = (complete or domains)[-1]
    found.domain_text = text[start:end].strip() + "\n"
    before, after = text[:start], text[end:]
    # the fence around the block belongs to it
    before = re.sub(r"(`{3,}|~{3,})[ \t]*[\w+-]*[ \t]*\n?\s*\Z", "", before)
    after = re.sub(r"\A\s*(`{3,}|~{3,})[ \t]*(?=\n|\Z)", "", after)
    found.thought = "\n".join(filter(None, (before.strip(), after.strip())))
    return found


def clean(answer: str, notes: list[str]) -> str:
    """The answer with the signs replaced that no PDDL reader takes; each kind of replacement is noted."""
    if len(answer) > LIMIT:
        notes.append(f"the answer has {len(answer):,} characters: the first {LIMIT:,} are read")
        answer = answer[:LIMIT]
    for name, text in (
        ("carriage returns", answer.replace("\r\n", "\n").replace("\r", "\n")),
        ("typographic quotes and dashes", answer.translate(QUOTES)),
        ("special spaces", SPACES.sub(" ", answer.replace("\u200b", "").replace("\ufeff", ""))),
    ):
        if text != answer:
            notes.append(f"{name} were replaced")
            answer = (
                answer.replace("\r\n", "\n").replace("\r", "\n")
                if name == "carriage returns"
                else answer.translate(QUOTES)
                if name.startswith("typographic")
                else SPACES.sub(" ", answer.replace("\u200b", "").replace("\ufeff", ""))
            )
    return answer


def _blocks(text: str, closings: dict[int, int], notes: list[str]) -> list[tuple[int, int, str]]:
    """(start, end, kind) of every definition: as far as its parentheses or its fence go."""
    fences = [m.start() for m in FENCE.finditer(text)]
    found = []
    reach = 0
    for match in DEFINE.finditer(text):
        start = match.start()
        if start < reach:
            continue
        end = closings.get(start)
        at = bisect_right(fences, start)
        fence = fences[at] if at < len(fences) else None
        after = DEFINE.search(text, match.end())
        following = after.start() if after else None
        if end is None or (fence is not None and end > fence):
            bounds = [b for b in (fence, following) if b is not None]
            end = min(bounds) if bounds else len(text)
            notes.append("a definition whose parentheses do not close: it is cut at the fence or the end")
        elif fence is not None and ")" in text[end:fence] and not text[end:fence].strip(" \t\n)"):
            end = fence  # surplus parentheses belong to what the model wrote
        found.append((start, end, match.group(1).lower()))
        reach = end
    if found and not fences:
        notes.append("the code stands in no fence")
    elif len(fences) % 2:
        notes.append("a fence is not closed")
    return found


def _closings(text: str) -> dict[int, int]:
    """Where the form that begins at each parenthesis ends, in one pass; inside a form, comments do not count."""
    stack: list[int] = []
    found: dict[int, int] = {}
    comment = False
    for match in re.finditer(r"[();\n]", text):
        sign = match.group()
        if sign == "\n":
            comment = False
        elif comment:
            continue
        elif sign == ";":
            comment = bool(stack)
        elif sign == "(":
            stack.append(match.start())
        elif stack:
            found[stack.pop()] = match.end()
    return found


def extract_plan(answer: str) -> tuple[list[tuple[str, ...]] | None, list[str]]:
    """The steps of the last plan in an answer, and notes. None: there is no plan; an empty fence is an empty plan."""
    notes: list[str] = []
    text = clean(answer, notes)
    fences = [(m.start(), m.end(), m.group(2).lower()) for m in FENCE.finditer(text)]
    blocks = [(a[2], text[a[1] : b[0]]) for a, b in zip(fences[::2], fences[1::2], strict=False)]
    if len(fences) % 2:
        notes.append("a fence is not closed")
        blocks.append((fences[-1][2], text[fences[-1][1] :]))
    plans = [body for tag, body in blocks if tag in ("plan", "", "pddl", "text", "lisp")]
    if not plans:
        lines = [line for line in text.splitlines() if STEP.match(line)]
        if not lines:
            return None, [*notes, "no plan in the answer"]
        notes.append("the plan stands in no fence")
        plans = ["\n".join(lines)]
    return steps(plans[-1].splitlines()), notes


def steps(lines: Sequence[str]) -> list[tuple[str, ...]]:
    """Plan lines such as `(sail a b)` or `3: (sail a b)` as names with arguments; other lines are left out."""
    return [tuple(m.group(1).lower().split()) for line in lines if (m := STEP.match(line)) and m.group(1).strip()]
