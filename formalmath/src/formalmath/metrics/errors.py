"""Error patterns of failed proofs (paper §5, Table 4): a labeller from Lean's messages, and the LLM's two steps."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import FormalMathError
from ..lean.lexer import lex
from ..lean.statement import Statement

PATTERNS = (
    "improper automation tactics",
    "incomplete or placeholder steps",
    "misuse of rewriting/simplification",
    "inadequate handling of inequalities",
    "redundant hypotheses",
)
AUTOMATION = frozenset(
    [
        "simp",
        "norm_num",
        "ring",
        "ring_nf",
        "omega",
        "decide",
        "aesop",
        "linarith",
        "nlinarith",
        "positivity",
        "field_simp",
        "simp_all",
        "norm_cast",
    ]
)
MESSAGES = (
    ("deterministic timeout", r"deterministic\) timeout|maximum recursion|timed? ?out|more than \S+ s$"),
    ("linarith failed", r"n?linarith failed|positivity|polyrith"),
    ("unsolved goals", r"unsolved goals"),
    ("unknown identifier", r"unknown (identifier|constant|hypothesis|tactic)|not known here"),
    ("type mismatch", r"type mismatch|failed to synthesize|motive is not type correct|expected to have type"),
    (
        "simp or ring failed",
        r"simp made no progress|ring failed|ring_nf|norm_num failed|goals after|decide failed|to simplify",
    ),
    ("no goals", r"no goals"),
    ("omega failed", r"omega could not|omega"),
    ("rewrite failed", r"did not find instance|rewrite|subst"),
    ("syntax", r"unexpected (token|end|indentation)|expected|unterminated|`.` is missing"),
)


def label(reason: str) -> str:
    """The kind of a failure, from Lean's message or the fragment's."""
    for name, pattern in MESSAGES:
        if re.search(pattern, reason):
            return name
    return "other"


def deterministic(st: Statement, body: str, verdict: str, reason: str) -> list[str]:
    """Table 4's patterns as far as text and message show them; possibly several."""
    words = [t.text for t in lex(body).tokens]
    found = []
    kind = label(reason)
    if verdict == "incomplete" or kind in ("unsolved goals", "syntax"):
        found.append(PATTERNS[1])
    used = [w for w in words if w in AUTOMATION]
    if used and kind in ("simp or ring failed", "linarith failed", "omega failed", "deterministic timeout"):
        found.append(PATTERNS[0])
    if kind == "rewrite failed" or (kind == "simp or ring failed" and {"rw", "simp"} & set(words)):
        found.append(PATTERNS[2])
    if any(r in st.type for r in ("≤", "<", "≥", ">")) and {"linarith", "nlinarith", "positivity"} & set(words):
        found.append(PATTERNS[3])
    haves = [words[i + 1] for i, w in enumerate(words[:-1]) if w == "have" and words[i + 1] != ":"]
    if any(words.count(name) == 1 for name in haves):
        found.append(PATTERNS[4])
    return found


def features_prompt(snippets: Sequence[str]) -> str:
    """Step 1: name what goes wrong in a group of failed proofs."""
    listed = "\n\n".join(f"[{i}]\n```lean4\n{s}\n```" for i, s in enumerate(snippets))
    return (
        f"These {len(snippets)} Lean 4 proofs fail to compile.\n\n{listed}\n\nName the features that explain the "
        f"failures. Answer "
        'with JSON alone: {"<feature>": {"reason": "<why it fails>", "ids": [<numbers>]}, ...}'
    )


def categories_prompt(snippet: str) -> str:
    """Step 2: one or more of the five categories for one proof."""
    listed = "\n".join(f"- {p}" for p in PATTERNS)
    return (
        f"This Lean 4 proof fails to compile.\n\n```lean4\n{snippet}\n```\n\nChoose all categories that "
        f"apply:\n{listed}\n\nAnswer "
        'with JSON alone: {"categories": [...], "confidence": <0 to 1>, "explanation": "<one sentence>"}'
    )


def read_categories(text: str) -> list[str]:
    """The categories of an answer to step 2.

    Raises:
        FormalMathError: no JSON, or a category that is none of the five.
    """
    start, end = text.find("{"), text.rfind("}")
    try:
        record: Mapping[str, Any] = json.loads(text[start : end + 1])
        names = list(record["categories"])
    except (ValueError, KeyError, TypeError):
        raise FormalMathError("the answer is not the JSON that was asked for") from None
    unknown = [n for n in names if n not in PATTERNS]
    if unknown:
        raise FormalMathError(f"{unknown[0]!r} is none of the categories")
    return names


def shares(labels: Iterable[Iterable[str]]) -> dict[str, tuple[int, int]]:
    """(count, proofs) for each pattern."""
    rows = [set(x) for x in labels]
    counts = Counter(name for row in rows for name in row)
    return {name: (counts[name], len(rows)) for name in PATTERNS}
