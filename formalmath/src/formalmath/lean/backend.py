"""What a Lean backend is: files in, verdicts out, each with the authority that gave it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import FormalMathError
from .policy import Policy
from .statement import Statement
from .verdict import Authority, CheckRequest, CheckResult, Fingerprint

BACKENDS = ("fragment", "structural", "replay", "repl", "lean_interact", "kimina", "dojo")


class LeanBackend(Protocol):
    """Checks files. A backend answers every request exactly once, in any order."""

    authority: Authority
    fingerprint: Fingerprint

    def check(self, items: Sequence[CheckRequest]) -> AsyncIterator[CheckResult]: ...
    async def close(self) -> None: ...


@dataclass(frozen=True)
class ProofState:
    """Goals as text, and the backend's own handle of them."""

    goals: tuple[str, ...]
    handle: Any = None

    @property
    def done(self) -> bool:
        return not self.goals


@dataclass(frozen=True)
class StepResult:
    """What a tactic did: a new state, or the verdict and reason of why not."""

    state: ProofState | None
    verdict: str = ""
    reason: str = ""


class TacticBackend(Protocol):
    """Runs one tactic at a time, for tree search."""

    authority: Authority

    async def start(self, st: Statement) -> ProofState:
        """Raises: FormalMathError, if there is no first state."""
        ...

    async def step(self, state: ProofState, tactic: str) -> StepResult: ...
    async def close(self) -> None: ...


def open_backend(lean: Mapping[str, Any], policy: Policy, record: Any = None) -> Any:
    """The backend that the config group `lean` names.

    Raises:
        FormalMathError: an unknown name, or what it needs is not installed.
    """
    name = lean.get("name")
    if name == "fragment":
        from .fragment_backend import FragmentBackend

        return FragmentBackend(policy, float(lean.get("seconds") or 4))
    if name == "structural":
        from .fragment_backend import StructuralBackend

        return StructuralBackend(policy)
    if name == "replay":
        from .replay import ReplayBackend

        return ReplayBackend(str(lean.get("path") or ""), policy)
    if name == "repl":
        from .install import fingerprint
        from .pool import ReplPool, settings_from

        return ReplPool(settings_from(lean), policy, fingerprint(lean), record)
    if name == "kimina":
        from .kimina import Kimina

        return Kimina(str(lean.get("url") or ""), policy, lean)
    if name == "lean_interact":
        from .interact import Interact

        return Interact(lean, policy)
    if name == "dojo":
        raise FormalMathError(
            "lean=dojo runs tactics, not whole files: use it with search=best_first, or lean=repl here"
        )
    raise FormalMathError(f"lean must be one of {', '.join(BACKENDS)}, not {name!r}")


def open_tactics(lean: Mapping[str, Any]) -> Any:
    """The tactic backend of the config group `lean`; dojo and repl speak to Lean, fragment does not.

    Raises:
        FormalMathError: the backend runs no single tactics.
    """
    name = lean.get("name")
    if name == "fragment":
        from .fragment_backend import FragmentTactics

        return FragmentTactics()
    if name in ("repl", "lean_interact"):
        from .pool import settings_from
        from .tactics import ReplTactics

        return ReplTactics(settings_from(lean), float(lean.get("tactic_seconds") or 10))
    if name == "dojo":
        from .dojo import DojoTactics

        return DojoTactics(lean)
    raise FormalMathError(f"search=best_first needs lean=fragment, repl or dojo, not {name!r}")
