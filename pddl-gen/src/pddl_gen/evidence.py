"""What checks say about a domain, for the critic's prompt: legitimate where it needs no reference and no oracle."""

from __future__ import annotations

from .diagnostics import render
from .lint import hints, solvable
from .parse import parse_domain

FEEDBACK = ("self", "validator", "planner", "lint", "all")
LIMIT = 8


def evidence(feedback: str, domain: str | None, problem: str | None) -> str:
    """The text to append, "" for `self` (the paper's) and where there is nothing to say."""
    if feedback == "self" or domain is None:
        return ""
    parsed = parse_domain(domain)
    parts = []
    if feedback in ("validator", "all"):
        found = [d for d in parsed.diagnostics if d.severity != "info"]
        parts.append(f"Findings of a PDDL checker:\n{render(found, domain, 'llm', LIMIT) if found else 'none'}")
    if parsed.ok and parsed.value is not None:
        if feedback in ("planner", "all") and problem is not None:
            parts.append(f"Finding of a planner:\n{solvable(parsed.value, problem)}")
        if feedback in ("lint", "all"):
            lines = hints(parsed.value, problem)[:LIMIT]
            parts.append("Hints, which may be wrong:\n" + ("\n".join(f"- {line}" for line in lines) or "none"))
    return "\n\n".join(parts)
