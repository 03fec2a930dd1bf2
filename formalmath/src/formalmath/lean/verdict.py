"""What an answer of Lean means: verdicts with their authority, given only on positive evidence.

`proved` needs all of: an environment in the answer; no error at or after the statement; no sorry warning in target or
body (in either quoting, `'sorry'` of v4.11 and `` `sorry` `` of v4.33); and in a second command, on that environment,
exactly one info message at line 1 that lists the axioms of the fully qualified name, none beyond the allowed three.
What went wrong outside the proof is `infra` and never counts as a failure of the prover; `crash` means that Lean died
on this file each time, on fresh workers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from .assemble import Assembled, Proof
from .policy import Policy
from .statement import Statement

VERDICTS = (
    "proved",
    "error",
    "incomplete",
    "rejected",
    "timeout",
    "memory",
    "crash",
    "infra",
    "unknown",
    "unsupported",
)
FAILURES = frozenset(("error", "incomplete", "rejected", "timeout", "memory", "crash"))  # count against the prover
OPEN = frozenset(("infra", "unknown", "unsupported"))  # neither success nor failure
AUTHORITIES = ("lean", "replay", "fragment", "structural")
Authority = Literal["lean", "replay", "fragment", "structural"]
SORRY = re.compile(r"declaration uses ['`‘]sorry['`’]")
AXIOMS = re.compile(
    r"^'(?P<name>[^\n]+)' (?:does not depend on any axioms|depends on axioms:\s*\[(?P<list>[^\]]*)\])\s*$"
)


@dataclass(frozen=True)
class Limits:
    """Of one check: wall seconds, heartbeats (None keeps the file's), bytes of address space (None for no limit)."""

    seconds: float = 60.0
    heartbeats: int | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class CheckRequest:
    """One file to check. `weight` is how long it is expected to take, for ordering only."""

    problem_id: str
    sample_id: int
    file: Assembled
    limits: Limits = Limits()
    weight: int = 0
    statement: Statement | None = field(default=None, repr=False, compare=False)  # for backends without Lean
    proof: Proof | None = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> tuple[str, int]:
        return self.problem_id, self.sample_id


@dataclass(frozen=True)
class CheckResult:
    """A verdict with who gave it, why, and Lean's messages."""

    problem_id: str
    sample_id: int
    verdict: str
    authority: str
    reason: str = ""
    messages: tuple[Mapping[str, Any], ...] = ()
    axioms: tuple[str, ...] | None = None
    seconds: float = 0.0
    peak_bytes: int | None = None
    raw_digest: str = ""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Fingerprint:
    """What a verdict depends on beyond the file: results of two fingerprints are never mixed."""

    authority: str
    lean: str = ""
    mathlib: str = ""
    repl: str = ""
    limits: Mapping[str, Any] = field(default_factory=dict)
    policy: str = ""

    @property
    def digest(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


def is_failure_answer(answer: Mapping[str, Any]) -> bool:
    """The REPL's own refusal, `{"message": …}`: not an answer about the proof."""
    return "message" in answer and "env" not in answer


def judge(
    answer: Mapping[str, Any], axioms: Mapping[str, Any] | None, file: Assembled, policy: Policy
) -> tuple[str, str, tuple[str, ...] | None]:
    """(verdict, reason, axioms) of a REPL answer and of the answer to `#print axioms`.

    `axioms` is None while the second command was not sent: then a file without errors gives `unknown`.
    """
    if is_failure_answer(answer):
        return "infra", f"the REPL refuses: {str(answer['message'])[:200]}", None
    if not isinstance(answer.get("env"), int):
        return "infra", "the answer has no environment", None
    messages = answer.get("messages") or ()
    for m in messages:
        line = (m.get("pos") or {}).get("line", 0)
        if m.get("severity") == "error" and (line >= file.target_line or line == 0):
            return "error", str(m.get("data", ""))[:400], None
        if m.get("severity") == "error":
            return "infra", f"the trusted preamble fails: {str(m.get('data', ''))[:200]}", None
    for m in messages:
        line = (m.get("pos") or {}).get("line", 0)
        if SORRY.search(str(m.get("data", ""))) and line >= file.target_line:
            return "incomplete", "the proof uses sorry", None
    for s in answer.get("sorries") or ():
        if (s.get("pos") or {}).get("line", 0) >= file.body_line:
            return "incomplete", "the proof contains sorry", None
    if not policy.require_axioms:
        return "proved", "", None
    if axioms is None:
        return "unknown", "the axioms were not asked for", None
    return judge_axioms(axioms, file, policy)


def judge_axioms(answer: Mapping[str, Any], file: Assembled, policy: Policy) -> tuple[str, str, tuple[str, ...] | None]:
    if is_failure_answer(answer):
        return "infra", f"the REPL refuses `#print axioms`: {str(answer['message'])[:200]}", None
    messages: Sequence[Mapping[str, Any]] = answer.get("messages") or ()
    if len(messages) != 1 or messages[0].get("severity") != "info" or (messages[0].get("pos") or {}).get("line") != 1:
        shown = str(messages[0].get("data", ""))[:160] if messages else "nothing"
        return "rejected", f"`#print axioms` gave {len(messages)} messages, the first: {shown}", None
    found = AXIOMS.match(str(messages[0].get("data", "")).strip())
    if not found or found["name"] != file.name:
        return "rejected", "`#print axioms` does not speak of the target", None
    names = tuple(a.strip() for a in (found["list"] or "").split(",") if a.strip())
    if "sorryAx" in names:
        return "incomplete", "the proof depends on sorryAx", names
    if policy.axioms is not None and (extra := [a for a in names if a not in policy.axioms]):
        return "rejected", f"the proof depends on the axiom {extra[0]}", names
    return "proved", "", names


def official_accepts(answer: Mapping[str, Any]) -> bool:
    """The rule of the paper's released code, for comparison: no message of severity error, no key `sorries`.

    An answer without `messages`, such as `{"message": "Unknown environment."}`, counts as proved there.
    """
    if "messages" not in answer:
        return "sorries" not in answer
    if any(m.get("severity") in ("error", "sorries") for m in answer["messages"]):
        return False
    return "sorries" not in answer
