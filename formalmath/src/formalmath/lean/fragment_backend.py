"""The two backends that are not Lean, and say so: `fragment` (exact arithmetic) and `structural` (text alone)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from ..errors import FormalMathError, Unsupported, Unsure
from ..fragment.check import Machine, check, initial_goal
from ..fragment.state import Incomplete, TacticError
from .backend import ProofState, StepResult
from .policy import Policy
from .scope import unexplained
from .statement import Statement
from .terms import parse_term
from .verdict import Authority, CheckRequest, CheckResult, Fingerprint


class FragmentBackend:
    """Verdicts of the fragment's checker; a proof outside the fragment is `unsupported`."""

    authority: Authority = "fragment"

    def __init__(self, policy: Policy, seconds: float = 4.0):
        self.seconds = seconds
        self.fingerprint = Fingerprint("fragment", lean="none", limits={"cpu_seconds": seconds}, policy=policy.digest)

    async def check(self, items: Sequence[CheckRequest]) -> AsyncIterator[CheckResult]:
        for item in items:
            if item.statement is None or item.proof is None:
                raise FormalMathError("the fragment needs the statement and the proof beside the file")
            if item.proof.auxiliary:
                yield CheckResult(*item.key, "unsupported", "fragment", "auxiliary lemmas")
                continue
            found = check(item.statement, item.proof.body, self.seconds)
            yield CheckResult(*item.key, found.verdict, "fragment", found.reason, raw_digest=item.file.digest)

    async def close(self) -> None:
        pass


class StructuralBackend:
    """Never says `proved`: a file that reads well is `unknown`, one whose brackets or names do not is `error`."""

    authority: Authority = "structural"

    def __init__(self, policy: Policy):
        self.fingerprint = Fingerprint("structural", lean="none", policy=policy.digest)

    async def check(self, items: Sequence[CheckRequest]) -> AsyncIterator[CheckResult]:
        for item in items:
            problem = structural_problem(item.statement) if item.statement is not None else None
            verdict, reason = ("error", problem) if problem else ("unknown", "only Lean can tell")
            yield CheckResult(*item.key, verdict, "structural", reason)

    async def close(self) -> None:
        pass


def structural_problem(st: Statement) -> str | None:
    """Why Lean will surely refuse a statement, as far as its text alone shows; None where nothing is wrong.

    Terms that the parser does not know are no objection. Names in no table are none either: Lean binds them.
    """
    if not st.type:
        return "the target has no type"
    for b in st.binders:
        if b.kind != "instance" and not b.type:
            continue
        if refusal := _malformed(b.type):
            return f"binder `{' '.join(b.names)}`: {refusal}"
    if refusal := _malformed(st.type):
        return f"the goal: {refusal}"
    dotted = [n for n in unexplained(st) if "." in n]
    return f"the name `{dotted[0]}` is not known" if dotted else None


CERTAIN = (
    "is expected at character",
    "ends too early",
    "do not chain",
    "`)` ",
    "`==`",
    "`**`",
    "`*` ",
    "`×` ",
    "`:` ",
    "`=` ",
)


def _malformed(text: str) -> str | None:
    try:
        parse_term(text)
    except Unsupported as error:
        reason = str(error)
        return reason if any(mark in reason for mark in CERTAIN) else None
    return None


class FragmentTactics:
    """Single tactics on fragment goals."""

    authority: Authority = "fragment"

    async def start(self, st: Statement) -> ProofState:
        try:
            goal = initial_goal(st)
        except Unsupported as error:
            raise FormalMathError(f"{st.name} is outside the fragment: {error}") from None
        return ProofState((goal.pretty(),), (goal,))

    async def step(self, state: ProofState, tactic: str) -> StepResult:
        return self.step_now(state, tactic)

    def step_now(self, state: ProofState, tactic: str) -> StepResult:
        try:
            goals = Machine(2.0).block(list(state.handle), tactic)
        except Incomplete as error:
            return StepResult(None, "incomplete", str(error))
        except (TacticError, RecursionError) as error:
            return StepResult(None, "error", str(error))
        except TimeoutError:
            return StepResult(None, "timeout", "the tactic takes too long")
        except (Unsupported, Unsure) as error:
            return StepResult(None, "unsupported", str(error))
        return StepResult(ProofState(tuple(g.pretty() for g in goals), tuple(goals)))

    async def close(self) -> None:
        pass
