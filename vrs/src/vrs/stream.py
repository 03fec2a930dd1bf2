"""One stream of the accept loop: its open proposals, what to ask next, and what the answers make of it.

A proposal is a generator: it yields the questions that it wants answered, is sent their values, and returns an
Outcome. See engine.py for the order in which this happens.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.llm.completion import Completion, Failure
from shared.llm.request import Request, Sampling

from .asking import INDICES, STEPS, Ask, Reading, draw_number
from .errors import VRSError
from .ledger import Ledger, told_source
from .samples import ACCEPT, MALFORMED, REJECT, SampleSet, frozen

if TYPE_CHECKING:
    from .engine import Engine


@dataclass(frozen=True)
class Outcome:
    """What became of a proposal: the values it gives (none: rejected), and the outside bits it used."""

    values: tuple[Any, ...] = ()
    x: Any = None
    bits: float = 0.0


Trial = Generator[Sequence[Ask], Sequence[Any], Outcome]


@dataclass(frozen=True)
class Stream:
    """n draws that are wanted of one sampler and target.

    `trial` makes a proposal from a generator of its own, which depends on `seed` and the proposal's index alone.
    `rate` is the expected number of values a proposal gives, for a true coin; `M` bounds the number of proposals.
    """

    description: Mapping[str, Any]
    trial: Callable[[np.random.Generator], Trial]
    n: int
    seed: int
    rate: float = 1.0
    M: float = 1.0
    first_index: int = 0
    p: float | None = None
    flags: tuple[str, ...] = ()
    remarks: Callable[[SampleSet], tuple[str, ...]] | None = None  # further flags, once the draws are had

    def __post_init__(self) -> None:
        whole_draws(self.n)
        if not isinstance(self.first_index, int) or self.first_index < 0:
            raise VRSError(f"first_index must be a whole number from 0, not {self.first_index!r}")
        if not (math.isfinite(self.M) and self.M >= 1 and self.rate > 0):
            raise VRSError(f"a sampler needs a finite M >= 1 and a rate above 0, not M = {self.M}, rate = {self.rate}")


def whole_draws(n: Any) -> None:
    """Refuse a number of draws that is none."""
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise VRSError(f"n, the number of draws, must be a whole number from 1, not {n!r}")


@dataclass
class _Open:
    """A proposal whose questions are being answered."""

    index: int
    generator: Trial
    x: Any = None
    asks: list[Ask] = field(default_factory=list)
    values: list[Any] = field(default_factory=list)
    redraws: list[int] = field(default_factory=list)
    waiting: set[int] = field(default_factory=set)  # places in `asks` without an answer
    step: int = 0  # number of the first of `asks`
    failed: int = 0


@dataclass(frozen=True)
class Job:
    run: Run
    trial: _Open
    place: int
    ask: Ask
    step: int
    redraw: int
    request: Request
    digest: str


@dataclass
class _Done:
    decision: str
    x: Any
    values: tuple[Any, ...]
    bits: float


class Run:
    """One stream on its way."""

    def __init__(self, stream: Stream, engine: Engine, ledger: Ledger, default: Sampling) -> None:
        self.stream, self.engine, self.ledger, self.default = stream, engine, ledger, default
        self.key, self.slot = ledger.stream({**stream.description, "seed": stream.seed})
        self.cap = math.ceil(engine.cap * stream.M * stream.n)
        if stream.first_index + self.cap > INDICES:
            raise VRSError(f"{stream.n} draws may need {self.cap} proposals, and a stream has {INDICES}: ask for fewer")
        self.open: dict[int, _Open] = {}
        self.done: dict[int, _Done] = {}
        self.next_index = stream.first_index
        self.had = 0  # values of all finished proposals
        self.ended = False
        self.by_index: dict[int, int] = {}  # calls a proposal took
        self.by_x: dict[Any, list[int]] = {}  # x -> [calls, malformed]
        self.usage: dict[str, int | None] = {"prompt": 0, "completion": 0}
        self.cost: float | None = 0.0
        self.sources: dict[str, None] = {}
        self._default = hashlib.sha256(repr(default).encode()).hexdigest()[:8]

    def jobs(self) -> Iterator[Job]:
        """The questions of this stream's next wave; none when it has its draws, or may make no more proposals."""
        self._open_more()
        for trial in self.open.values():
            for place in sorted(trial.waiting):
                yield self._job(trial, place)

    def _job(self, trial: _Open, place: int) -> Job:
        ask, step, redraw = trial.asks[place], trial.step + place, trial.redraws[place]
        draw = draw_number(self.slot, trial.index, step, redraw)
        return Job(self, trial, place, ask, step, redraw, ask.request(draw, self.default), ask.digest + self._default)

    def _open_more(self) -> None:
        while not self._complete():
            if self.engine.sequential:
                count = int(not self.open)
            else:
                count = self._wanted()
            left = self.stream.first_index + self.cap - self.next_index
            count = min(count, left)
            if count < 1:
                return
            for _ in range(count):
                self._start()

    def _wanted(self) -> int:
        """How many more proposals to open: m/α̂ + s·σ less those open, and at most as many as there were, doubled."""
        lacking = self.stream.n - self.had
        if lacking <= 0:
            return 0
        prior = self.engine.prior
        rate = (self.had + prior * self.stream.rate) / (len(self.done) + prior)
        margin = self.engine.margin if self.done else 0.0
        spread = math.sqrt(lacking * max(0.0, 1 - rate)) / rate
        count = math.ceil(lacking / rate + margin * spread - 1e-9) - len(self.open)
        tried = self.next_index - self.stream.first_index
        return min(count, max(tried, math.ceil(self.stream.n / self.stream.rate), 1))

    def _start(self) -> None:
        trial = self._proposal(self.next_index)
        self.next_index += 1
        self.open[trial.index] = trial
        self._advance(trial, None)

    def _proposal(self, index: int) -> _Open:
        # a counter-based generator: what is proposed at an index does not depend on how many were opened before
        rng = np.random.Generator(np.random.Philox(key=np.array([self.stream.seed, index], dtype=np.uint64)))
        return _Open(index, self.stream.trial(rng))

    def kept(self) -> SampleSet | None:
        """The draws, where an earlier run had them all; its first question must be this one's.

        Raises:
            VRSError: the ledger holds another question for that proposal.
        """
        stream = self.stream
        found = self.ledger.samples_of(self.key, stream.first_index, stream.n)
        if found is None:
            return None
        # a proposal may ask nothing
        for index in range(stream.first_index, stream.first_index + len(found.proposals)):
            trial = self._proposal(index)
            if asks := next(trial.generator, None):
                trial.asks, trial.redraws = list(asks), [0] * len(asks)
                self.known(self._job(trial, 0))
                break
        return found

    def known(self, job: Job) -> Mapping[str, Any] | None:
        line = self.ledger.find(self.key, job.trial.index, job.step, job.redraw)
        if line is not None and line["request"] != job.digest:
            raise VRSError(
                f"{self.ledger.path or 'the ledger'} holds another question for proposal {job.trial.index} of "
                f"{self.stream.description.get('sampler')}: it was written with other prompts or sampling settings; "
                "give another path"
            )
        return line

    def line(self, job: Job, result: Completion | Failure) -> dict[str, Any]:
        if isinstance(result, Completion):
            text, usage = result.text, result.usage
            source = told_source(result)
            read = Reading(reason="refused") if result.finish == "refusal" else job.ask.reading(text)
        else:
            text, usage, source = "", result.usage, ""
            read = Reading(reason=result.kind)
        return {
            "call": self.key,
            "p": self.stream.p,
            "x": job.ask.x,
            "index": job.trial.index,
            "step": job.step,
            "redraw": job.redraw,
            "draw": job.request.draw,
            "request": job.digest,
            "text_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "decision": read.value,
            "reason": read.reason,
            "usage": [usage.prompt, usage.completion],
            "cost": result.cost,
            "source": source,
        }

    def deliver(self, job: Job, line: Mapping[str, Any]) -> None:
        trial, place = job.trial, job.place
        value = frozen(line["decision"])
        malformed = value is None
        self._count(trial.index, line, malformed)
        if trial.index not in self.open:
            return  # another question of this proposal was answered badly for good
        if malformed and trial.redraws[place] < self.engine.redraws:
            trial.redraws[place] += 1
            return
        if malformed and trial.asks[place].required:
            trial.generator.close()
            self._finish(trial, _Done(MALFORMED, line["x"], (), 0.0))
            return
        trial.values[place] = value
        trial.waiting.discard(place)
        if not trial.waiting:
            self._advance(trial, tuple(trial.values))

    def again(self, job: Job, retries: int) -> bool:
        """Whether a call that failed is sent again in the next wave."""
        job.trial.failed += 1
        return job.trial.failed <= retries

    def _count(self, index: int, line: Mapping[str, Any], malformed: bool) -> None:
        self.by_index[index] = self.by_index.get(index, 0) + 1
        counts = self.by_x.setdefault(frozen(line["x"]), [0, 0])
        counts[0] += 1
        counts[1] += malformed
        for name, tokens in zip(self.usage, line["usage"], strict=True):
            had = self.usage[name]
            self.usage[name] = None if had is None or tokens is None else had + tokens
        self.cost = None if self.cost is None or line["cost"] is None else self.cost + line["cost"]
        if line["source"]:
            self.sources[line["source"]] = None

    def _advance(self, trial: _Open, values: Any) -> None:
        trial.step += len(trial.asks)
        try:
            asks = list(trial.generator.send(values))
        except StopIteration as end:
            outcome: Outcome = end.value
            decision = ACCEPT if outcome.values else REJECT
            self._finish(trial, _Done(decision, outcome.x, tuple(outcome.values), outcome.bits))
            return
        if not asks:
            raise VRSError(f"proposal {trial.index} asks nothing: it must yield questions or return an Outcome")
        if trial.step + len(asks) > STEPS:
            raise VRSError(f"proposal {trial.index} needs more than {STEPS} questions: this coin is too one-sided")
        trial.asks, trial.values = asks, [None] * len(asks)
        trial.redraws, trial.waiting = [0] * len(asks), set(range(len(asks)))

    def _finish(self, trial: _Open, done: _Done) -> None:
        del self.open[trial.index]
        self.done[trial.index] = done
        self.had += len(done.values)

    def _complete(self) -> bool:
        """Whether the first n values in index order are settled: no proposal before the last of them is open."""
        if self.ended:
            return True
        if self.had < self.stream.n:
            return False
        values = 0
        for index in range(self.stream.first_index, self.next_index):
            if index in self.open:
                return False
            values += len(self.done[index].values)
            if values >= self.stream.n:
                break
        # proposals beyond the last that is used need not be finished
        for trial in self.open.values():
            trial.generator.close()
        self.open.clear()
        self.ended = True
        return True

    def result(self) -> SampleSet:
        stream = self.stream
        values: list[Any] = []
        used: list[int] = []
        bits = 0.0
        last = self.next_index
        for index in range(stream.first_index, self.next_index):
            done = self.done.get(index)
            if done is None:
                continue
            bits += done.bits
            kept = done.values[: stream.n - len(values)]
            values += kept
            used += [index] * len(kept)
            if len(values) >= stream.n:
                last = index + 1
                break
        answered = []
        for index in range(stream.first_index, self.next_index):
            if index not in self.done:
                break
            answered.append(self.done[index])
        flags = list(stream.flags)
        malformed = sum(m for _, m in self.by_x.values())
        if len(values) < stream.n:
            flags.append(
                f"partial: {len(values)} of {stream.n} draws after {self.cap} proposals, the most that are made"
            )
        samples = SampleSet(
            values=tuple(values),
            proposals=tuple(d.x for d in answered),
            accepted_index=tuple(used),
            malformed=malformed,
            calls=sum(self.by_index.values()),
            usage=dict(self.usage),
            outside_bits=bits,
            flags=tuple(flags),
            decisions=tuple(d.decision for d in answered),
            malformed_by_x=tuple(sorted(((x, c, m) for x, (c, m) in self.by_x.items()), key=repr)),
            unused_calls=sum(calls for index, calls in self.by_index.items() if index >= last),
            cost=self.cost,
            first_index=stream.first_index,
            next_index=self.next_index,
            n=stream.n,
            sampler=str(stream.description.get("sampler", "")),
            target=str(stream.description.get("target", "")),
            p=stream.p,
            sources=tuple(self.sources),
        )
        return replace(samples, flags=samples.flags + stream.remarks(samples)) if stream.remarks else samples
