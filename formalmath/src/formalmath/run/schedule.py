"""From completions to verdicts: extraction, gate, one check for equal proofs, and every sample's verdict in a store.

    completions → extract, gate → (problem, proof digest) once → backend, in chunks → store, a row a sample

Samples are independent; a run that was killed goes on with the samples that have no verdict yet.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..errors import FormalMathError
from ..lean.assemble import Proof, assemble, extract_proof, token_digest
from ..lean.policy import Policy, Refusal
from ..lean.verdict import OPEN, CheckRequest, CheckResult, Limits
from ..metrics.passk import PassCurve, pass_curve
from ..problems import Problem
from .store import Store

CHUNK = 64
ESTIMATE_AFTER = 200


@dataclass(frozen=True)
class Sample:
    """One completion of a prover."""

    problem_id: str
    sample_id: int
    text: str


@dataclass
class Results:
    """Verdicts by problem and sample, and what they cost."""

    verdicts: dict[str, dict[int, str]]
    rows: list[dict[str, Any]]
    problems: Sequence[Problem]
    checked: int = 0
    shared: int = 0  # samples that had the verdict of an equal proof
    seconds: float = 0.0
    early_stop: str = "full"
    notes: list[str] = field(default_factory=list)

    def counts(self) -> Counter[str]:
        return Counter(v for samples in self.verdicts.values() for v in samples.values())

    def accepted(self) -> np.ndarray:
        """Proved samples of each problem, in the problems' order."""
        return np.array([sum(v == "proved" for v in self.verdicts.get(p.id, {}).values()) for p in self.problems])

    def open_samples(self) -> np.ndarray:
        """Samples without a verdict (infra, unknown, unsupported) of each problem."""
        return np.array([sum(v in OPEN for v in self.verdicts.get(p.id, {}).values()) for p in self.problems])

    def samples(self) -> int:
        """Samples of each problem.

        Raises:
            FormalMathError: problems differ in it, naming one.
        """
        sizes = {p.id: len(self.verdicts.get(p.id, {})) for p in self.problems}
        n = max(sizes.values(), default=0)
        short = next((p for p, size in sizes.items() if size != n), None)
        if short is not None:
            raise FormalMathError(f"problem {short} has {sizes[short]} samples, others {n}: the run is not complete")
        return n

    def curve(self, ks: Sequence[int] | None = None, seed: int = 0) -> PassCurve:
        """pass@K with intervals, and the range that open samples leave.

        Raises:
            FormalMathError: a K below n after early_stop=first_proof, which leaves c unknown.
        """
        n = self.samples()
        ks = list(ks or range(1, n + 1))
        if self.early_stop == "first_proof" and any(k != n for k in ks):
            raise FormalMathError(
                "early_stop=first_proof stops at a problem's first proof, so only pass@n is known: use "
                "early_stop=full for a curve"
            )
        return pass_curve(n, self.accepted(), ks, open_samples=self.open_samples(), seed=seed)


class Shard(Protocol):
    """Runs chunks of requests somewhere; results come in any order."""

    def run(self, chunks: Sequence[Sequence[CheckRequest]]) -> AsyncIterator[CheckResult]: ...


class Local:
    """Chunks on a backend in this process."""

    def __init__(self, backend: Any):
        self.backend = backend

    async def run(self, chunks: Sequence[Sequence[CheckRequest]]) -> AsyncIterator[CheckResult]:
        async for result in self.backend.check([item for chunk in chunks for item in chunk]):
            yield result


def verify(
    problems: Sequence[Problem],
    samples: Iterable[Sample],
    shard: Shard,
    policy: Policy,
    store: Store,
    *,
    open_fence: bool = False,
    limits: Limits | None = None,
    early_stop: str = "full",
    progress: Callable[[int, int], None] | None = None,
    say: Callable[[str], None] | None = None,
) -> Results:
    """Every sample's verdict, each once.

    Args:
        problems: whose statements are trusted.
        samples: completions; their problem ids must be known.
        shard: where checks run.
        policy: what a proof may contain and a verdict needs.
        store: where verdicts are kept.
        open_fence: completions continue an open code fence.
        early_stop: full, or first_proof.
        progress: called with (done, all) checks.
        say: told how long the rest will take, after the first 200 checks.

    Raises:
        FormalMathError: a completion for an unknown problem, or two of one number.
    """
    return asyncio.run(
        _verify(problems, samples, shard, policy, store, open_fence, limits or Limits(), early_stop, progress, say)
    )


async def _verify(
    problems: Sequence[Problem],
    samples: Iterable[Sample],
    shard: Shard,
    policy: Policy,
    store: Store,
    open_fence: bool,
    limits: Limits,
    early_stop: str,
    progress: Any,
    say: Any,
) -> Results:
    begun = time.perf_counter()
    known = {p.id: p for p in problems}
    done = store.done()
    finished = {(problem, sample) for problem, sample, _, _ in done}
    seen: set[tuple[str, int]] = set()
    groups: dict[tuple[str, str], list[tuple[int, Proof]]] = {}
    refused: list[dict[str, Any]] = []
    for sample in samples:
        if sample.problem_id not in known:
            raise FormalMathError(f"a completion is for the problem {sample.problem_id!r}, which the data set has not")
        key = (sample.problem_id, sample.sample_id)
        if key in seen:
            raise FormalMathError(f"two completions are sample {sample.sample_id} of problem {sample.problem_id}")
        seen.add(key)
        if key in finished:
            continue
        found = extract_proof(sample.text, known[sample.problem_id].statement, policy, open_fence=open_fence)
        if isinstance(found, Refusal):
            refused.append(
                {
                    "problem": key[0],
                    "sample": key[1],
                    "proof": token_digest(sample.text),
                    "verdict": found.verdict,
                    "authority": "structural",
                    "layer": found.layer,
                    "reason": found.reason,
                }
            )
        else:
            groups.setdefault((key[0], found.digest), []).append((key[1], found))
    if refused:
        store.put(refused)
    solved = (
        {row["problem"] for row in store.rows() if row["verdict"] == "proved"} if early_stop == "first_proof" else set()
    )
    requests = []
    asked: dict[tuple[str, int], str] = {}  # (problem, first sample of a group) -> proof digest
    for (problem_id, digest), members in groups.items():
        asked[problem_id, members[0][0]] = digest
        st, (first, proof) = known[problem_id].statement, members[0]
        requests.append(CheckRequest(problem_id, first, assemble(st, proof), limits, len(proof.body), st, proof))
    requests.sort(key=lambda r: (r.file.imports, r.problem_id))
    checked = 0
    rounds = _rounds(requests) if early_stop == "first_proof" else [requests]
    total = len(requests)
    for part in rounds:
        part = [r for r in part if r.problem_id not in solved]
        chunks = [part[i : i + CHUNK] for i in range(0, len(part), CHUNK)]
        async for result in shard.run(chunks):
            checked += 1
            if (result.problem_id, result.sample_id) not in asked:
                raise FormalMathError(
                    f"a verdict came for sample {result.sample_id} of {result.problem_id}, which was not asked for"
                )
            members = groups[result.problem_id, asked[result.problem_id, result.sample_id]]
            store.put([_row(result, sample, proof) for sample, proof in members])
            if result.verdict == "proved":
                solved.add(result.problem_id)
            if progress:
                progress(checked, total)
            if say and checked == ESTIMATE_AFTER and total > 2 * ESTIMATE_AFTER:
                say(estimate(checked, total, time.perf_counter() - begun))
    rows = [r for r in store.rows() if (r["problem"], r["sample"]) in seen]
    verdicts: dict[str, dict[int, str]] = {p.id: {} for p in problems}
    for row in rows:
        verdicts[row["problem"]][row["sample"]] = row["verdict"]
    if early_stop == "first_proof":  # what was never looked at counts neither way, and pass@n needs none of it
        for problem, number in seen:
            verdicts[problem].setdefault(number, "unknown")
    shared = sum(len(m) - 1 for m in groups.values())
    return Results(verdicts, rows, problems, checked, shared, time.perf_counter() - begun, early_stop)


def _row(result: CheckResult, sample: int, proof: Proof) -> dict[str, Any]:
    row = {
        "problem": result.problem_id,
        "sample": sample,
        "proof": proof.digest,
        "verdict": result.verdict,
        "authority": result.authority,
        "reason": result.reason[:500],
        "seconds": round(result.seconds, 4),
    }
    if result.axioms is not None:
        row["axioms"] = list(result.axioms)
    return row


def _rounds(requests: Sequence[CheckRequest]) -> list[list[CheckRequest]]:
    """The first proof of every problem, then the second, and so on."""
    by_problem: dict[str, list[CheckRequest]] = {}
    for r in requests:
        by_problem.setdefault(r.problem_id, []).append(r)
    return [
        [q[i] for q in by_problem.values() if i < len(q)] for i in range(max(map(len, by_problem.values()), default=0))
    ]


def estimate(checked: int, total: int, seconds: float) -> str:
    """How long the rest will take, with a 95 % interval from the checks so far (their number as a Poisson count)."""
    rate, half = checked / seconds, 1.96 * checked**0.5 / seconds
    low, high = (total - checked) / (rate + half), (total - checked) / (rate - half)
    return f"{total - checked:,} checks to go at {rate:.2f}/s: {low / 3600:.2f} to {high / 3600:.2f} hours"


def read_samples(path: Path) -> list[Sample]:
    """Completions from JSON lines {"problem", "sample", "text"}.

    Raises:
        FormalMathError: a line that is not one.
    """
    import json

    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
            found.append(Sample(str(record["problem"]), int(record["sample"]), str(record["text"])))
        except (ValueError, KeyError, TypeError):
            raise FormalMathError(
                f'{path}, line {number}: a completion is {{"problem": ..., "sample": ..., "text": ...}}'
            ) from None
    return found
