"""Best-first search over proof states (paper §4.1: K = N × S × T).

    attempts N, each: from the root, T times: pop the best leaf; S tactics are proposed; each runs with its own limit;
    a child is new unless it failed, contains sorry, or was seen; no goals left: the script is assembled
    priority of a leaf of depth L: Σ log p(aᵢ | sᵢ) / L^α

A found script counts only after the whole file went through the normal verdict path (tactic mode has been wrong in both
directions). α = 0.5 follows BFS-Prover's length normalisation.
"""

from __future__ import annotations

import heapq
import itertools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import FormalMathError
from ..lean.backend import ProofState
from ..lean.statement import Statement

Propose = Callable[[ProofState, int, random.Random], Sequence[tuple[str, float]]]


@dataclass(frozen=True)
class SearchSettings:
    """N attempts, S tactics an expansion, T expansions."""

    attempts: int = 1
    tactics: int = 32
    expansions: int = 100
    alpha: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("attempts", "tactics", "expansions"):
            if getattr(self, name) < 1:
                raise FormalMathError(f"search.{name} must be at least 1, not {getattr(self, name)}")


@dataclass
class Attempt:
    """What one attempt found and spent."""

    script: str | None = None
    expansions: int = 0
    tactics: int = 0
    seconds: float = 0.0
    reasons: dict[str, int] = field(default_factory=dict)  # why tactics failed, counted by verdict


async def attempt(backend: Any, st: Statement, propose: Propose, settings: SearchSettings, number: int) -> Attempt:
    """One attempt; number decides its random draws.

    Raises:
        FormalMathError: there is no first state.
    """
    begun, spent = time.perf_counter(), Attempt()
    root = await backend.start(st)
    rng = random.Random(f"{settings.seed}/{number}/{st.name}")
    order = itertools.count()
    leaves: list[tuple[float, int, ProofState, tuple[str, ...], float]] = [(0.0, next(order), root, (), 0.0)]
    seen = {_identity(root)}
    while leaves and spent.expansions < settings.expansions:
        _, _, state, path, logp = heapq.heappop(leaves)
        spent.expansions += 1
        for tactic, score in dict(propose(state, settings.tactics, rng)).items():
            spent.tactics += 1
            result = await backend.step(state, tactic)
            if result.state is None:
                spent.reasons[result.verdict] = spent.reasons.get(result.verdict, 0) + 1
                continue
            longer = (*path, tactic)
            if result.state.done:
                spent.script = "".join(f"\n  {t}" for t in longer) + "\n"
                spent.seconds = time.perf_counter() - begun
                return spent
            key = _identity(result.state)
            if key in seen:
                continue
            seen.add(key)
            total = logp + score
            heapq.heappush(leaves, (-total / len(longer) ** settings.alpha, next(order), result.state, longer, total))
    spent.seconds = time.perf_counter() - begun
    return spent


def _identity(state: ProofState) -> tuple[str, ...]:
    """Goals without repeats, in order."""
    return tuple(dict.fromkeys(state.goals))


async def search(backend: Any, st: Statement, propose: Propose, settings: SearchSettings) -> list[Attempt]:
    """All N attempts."""
    return [await attempt(backend, st, propose, settings, number) for number in range(settings.attempts)]


def llm_propose(llm: Any, temperature: float = 1.0, max_tokens: int = 128) -> Propose:
    """S tactics from a language model, with their log-probabilities where the backend tells them."""
    from shared.llm import Request, Sampling, user

    def propose(state: ProofState, count: int, rng: random.Random) -> list[tuple[str, float]]:
        goals = "\n\n".join(state.goals)
        logprobs = 0 if llm.capabilities.logprobs is not None else None
        sampling = Sampling(temperature=temperature, max_tokens=max_tokens, stop=("\n",), logprobs=logprobs)
        text = f"Lean 4 proof state:\n{goals}\n\nWrite the next tactic, one line, nothing else."
        offset = rng.randrange(1 << 20) * count
        found: dict[str, float] = {}
        for result in llm.complete([Request((user(text),), sampling, draw=offset + i) for i in range(count)]):
            if result.ok and (tactic := result.text.strip().strip("`").strip()):
                score = sum(t.logprob for t in result.tokens) if result.tokens else -1.0
                found[tactic] = max(score, found.get(tactic, float("-inf")))
        return list(found.items())

    return propose
