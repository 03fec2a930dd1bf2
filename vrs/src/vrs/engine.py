"""The accept loop: n draws from many concurrent calls, the same ones whatever order the replies come in.

Proposals are numbered before they are sent. The sample is the first n accepted values in the order of these numbers.
Taking the first n replies that *arrive* instead would favour decisions that are quick: with equal acceptance and a
latency of Exp(1) for x = 1 and Exp(3) for x = 0, the first 100 of 400 hold 68 % ones.

The loop goes in waves. Before each wave a stream that lacks m accepted values, and accepts a share α̂ of its proposals,
opens m/α̂ + s·σ of them less those still open, σ² = m(1 − α̂)/α̂² being the variance of the number of proposals that m
accepts need. s is 0 in the first wave, where a few calls too many are likely anyway, and `margin` in later ones. α̂
is the share seen so far, with the acceptance 1/M of a true coin counted as `prior` proposals. What a wave holds
follows from what the waves before it brought, so calls, ledger and result are those of any other concurrency.

A malformed reply is asked for again, with a draw number of its own, at most `redraws` times; then the proposal
is rejected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.llm.completion import Failure
from shared.llm.request import Sampling

from .asking import REDRAWS
from .errors import VRSError
from .ledger import Ledger
from .samples import SampleSet
from .stream import Job, Run, Stream

# failures that are outcomes of the experiment, as a malformed reply is
REPLIES = ("refused", "malformed")
# failures that another attempt cannot mend
FINAL = ("bad_request", "too_long", "budget", "cancelled")


@dataclass(frozen=True)
class Engine:
    """How the loop runs. `sequential` has one proposal open at a time, as the paper's loop has."""

    redraws: int = 3  # repeats of a malformed reply before its proposal is rejected
    margin: float = 2.0  # standard deviations of proposals opened beyond the expected number
    prior: float = 8.0  # proposals that the acceptance of a true coin counts for
    cap: float = 20.0  # proposals are at most ceil(cap · M · n)
    retries: int = 2  # further waves in which a call that failed is tried again
    sequential: bool = False
    progress: Callable[[int, int], None] | None = None  # called with (draws had, draws wanted) after each wave

    def __post_init__(self) -> None:
        if not 0 <= self.redraws < REDRAWS:
            raise VRSError(f"engine.redraws must lie in [0, {REDRAWS - 1}], not {self.redraws}")
        if not (self.margin >= 0 and self.prior > 0 and self.cap >= 1 and self.retries >= 0):
            raise VRSError("engine.margin and retries must be at least 0, prior above 0, cap at least 1")

    def run(self, streams: Sequence[Stream], llm: Any, ledger: Ledger | None = None) -> list[SampleSet]:
        """The draws of every stream; all of them share each wave of calls.

        Raises:
            VRSError: calls failed for good. What was answered is in the ledger, and a second run goes on from there.
            Stopped: the model's client stopped the batch (credentials, quota, budget).
        """
        ledger = Ledger() if ledger is None else ledger
        ledger.bind(model=llm.model, backend=llm.name)
        default = getattr(llm, "sampling", None) or Sampling()
        runs = [Run(stream, self, ledger, default) for stream in streams]
        if len({r.key for r in runs}) < len(runs):
            raise VRSError("two of the streams are the same one (sampler, settings, target and seed): give each once")
        kept = [r.kept() for r in runs]
        going = [r for r, found in zip(runs, kept, strict=True) if found is None]
        wanted = sum(r.stream.n for r in going)
        try:
            while batch := [job for r in going for job in r.jobs()]:
                self._wave(batch, llm, ledger)
                if self.progress:
                    self.progress(sum(min(r.stream.n, r.had) for r in going), wanted)
            results = [r.result() if found is None else found for r, found in zip(runs, kept, strict=True)]
            for r, samples in zip(runs, results, strict=True):
                ledger.add_samples(r.key, samples)
        finally:
            ledger.sync()
        return results

    def _wave(self, batch: list[Job], llm: Any, ledger: Ledger) -> None:
        lines: list[Mapping[str, Any] | Failure | None] = [j.run.known(j) for j in batch]
        unknown = [i for i, line in enumerate(lines) if line is None]
        if unknown:
            requests = [batch[i].request for i in unknown]
            for at, result in llm.as_completed(requests):
                job = batch[unknown[at]]
                if isinstance(result, Failure) and result.kind not in REPLIES:
                    lines[unknown[at]] = result
                    continue
                line = job.run.line(job, result)
                lines[unknown[at]] = line
                ledger.add(line)
        failures = [line for line in lines if isinstance(line, Failure)]
        # delivered in the order of sending: what follows does not depend on the order of arrival
        for job, line in zip(batch, lines, strict=True):
            if line is None:
                failures.append(Failure("cancelled", "the client returned no result for it"))
            elif not isinstance(line, Failure):
                job.run.deliver(job, line)
            elif line.kind not in FINAL and job.run.again(job, self.retries):
                failures.remove(line)
        if failures:
            first = failures[0]
            where = f" in {ledger.path}" if ledger.path else ""
            raise VRSError(
                f"{len(failures)} of {len(batch)} calls failed ({first.kind}: {first.message}); the other answers are "
                f"kept{where}, and a second run goes on from there"
            )
