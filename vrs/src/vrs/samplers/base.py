"""What every sampler is: a way to make proposals for a target, and what they cost."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from ..asking import Ways
from ..engine import Engine
from ..errors import VRSError
from ..ledger import Ledger
from ..metrics.sequential import ConfidenceSequence
from ..samples import SampleSet
from ..scoring import Exactly, mixed, solve
from ..stream import Outcome, Stream, Trial, whole_draws
from ..targets import Bernoulli, binary
from ..wording import Question, Worded


@dataclass(frozen=True)
class Plan:
    """What a sampler expects of a target, for a model whose coin is true.

    `calls` and `bits` (fair coin flips from outside the model) are a draw's; `values` is how many draws one proposal
    gives, and M the bound on how many proposals a draw needs on average.
    """

    calls: float
    bits: float = 0.0
    values: float = 1.0
    M: float = 1.0


@dataclass(frozen=True)
class Exact:
    """A sampler's distribution from exact scores: its pmf over the target's support, (K,).

    `acceptance` is the share of proposals that are accepted, `curve` the probability of acceptance of each proposal
    Ã(x), `mass` the least choice mass of the questions, `calls` and `bits` a draw's expected ones with this model.
    """

    pmf: np.ndarray
    mass: float = 1.0
    calls: float = 1.0
    bits: float = 0.0
    acceptance: float = 1.0
    curve: Mapping[Any, float] | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sampler(ABC):
    """Draws of a target from a model, which `question` says how to ask.

    `sample` takes one whole number from `rng`: with the same seed it asks the same questions with the same draw
    numbers, which a ledger or a cache answers without a call. Another seed makes another, independent sample.
    """

    llm: Any
    _: KW_ONLY
    question: Question = field(default_factory=Worded)
    ledger: Ledger | None = None
    engine: Engine = field(default_factory=Engine)

    name: ClassVar[str] = ""

    @abstractmethod
    def trials(self, target: Any) -> Callable[[np.random.Generator], Trial]:
        """What makes a proposal for this target.

        Raises:
            VRSError: the target is not one that this sampler can draw from.
        """

    @abstractmethod
    def plan(self, target: Any) -> Plan:
        """Expected calls and bits of a draw."""

    def settings(self) -> Mapping[str, Any]:
        """What of this sampler decides its questions, as plain JSON values."""
        return {"question": self.question.settings()}

    def exactly(self, target: Any) -> Exactly[Exact]:
        """Yields the questions whose scores give the distribution of a draw, and returns it."""
        raise VRSError(f"the sampler {self.name} has no exact form: its draws can only be counted")

    def flags(self, target: Any) -> tuple[str, ...]:
        """What is amiss with this target, in sentences, before any draw."""
        return ()

    def remarks(self, samples: SampleSet) -> tuple[str, ...]:
        """What is to be said of the draws, in sentences."""
        return ()

    def prepared(self, targets: Sequence[Any], seed: int) -> Sampler:
        """This sampler after its pilot measurements; itself where it has none."""
        return self

    @property
    def words(self) -> Worded:
        """The question, where it can be put in this sampler's own words."""
        if not isinstance(self.question, Worded):
            raise VRSError(f"the sampler {self.name} asks in words of its own: its question is free or forced")
        return self.question

    def sample(self, target: Any, n: int, *, rng: np.random.Generator | int = 0, first_index: int = 0) -> SampleSet:
        """n draws of a target; with `first_index`, the draws from that proposal on."""
        return self.sample_many([target], n, rng=rng, first_index=first_index)[0]

    def sample_many(
        self, targets: Sequence[Any], n: int, *, rng: np.random.Generator | int = 0, first_index: int = 0
    ) -> list[SampleSet]:
        """n draws of each target, their calls in common waves; each as `sample` alone would draw them.

        Raises:
            VRSError: n below 1, no targets, a target that this sampler cannot draw from, or failed calls.
        """
        if not targets:
            raise VRSError(f"the sampler {self.name} was given no targets: the grid is empty")
        whole_draws(n)
        for target in targets:
            self.plan(target)  # refuses a target before a pilot is paid for
        base = int(np.random.default_rng(rng).integers(1 << 63))
        ready = self.prepared(targets, base)
        streams = [ready._stream(target, n, base, first_index) for target in targets]
        return self.engine.run(streams, self.llm, self.ledger)

    def sample_until(
        self,
        target: Any,
        width: float,
        *,
        confidence: float = 0.95,
        first: int = 50,
        most: int = 10_000,
        rng: np.random.Generator | int = 0,
    ) -> tuple[SampleSet, ConfidenceSequence]:
        """Draws of a Bernoulli target until the confidence sequence of its share of ones is narrower than `width`, or
        there are `most` of them; looked at after `first` draws and then whenever there are half as many again.

        Raises:
            VRSError: a width outside (0, 1], or another target.
        """
        if not binary(target):
            raise VRSError(
                f"a confidence sequence is of a share of ones, and {target!r} has other outcomes than 0 and 1"
            )
        ready = replace(self, ledger=Ledger() if self.ledger is None else self.ledger)
        seed, n = rng if isinstance(rng, int) else int(rng.integers(1 << 62)), 0
        while True:
            n = min(max(first, n + n // 2), most)
            # the first draws of a longer sample are the shorter sample, read back from the ledger
            found = ready.sample(target, n, rng=seed)
            band = ConfidenceSequence(confidence)
            band.update(found.values)
            if band.narrower_than(width) or n == most or not found.complete:
                return found, band

    def exact(self, target: Any, *, force: bool = False) -> Exact:
        """The distribution of a draw, without drawing."""
        return self.exact_many([target], force=force)[0]

    def exact_many(self, targets: Sequence[Any], *, force: bool = False) -> list[Exact]:
        """The distribution of a draw for each target, all questions in common batches."""
        return solve(self.llm, [self.exactly(target) for target in targets], force=force, ledger=self.ledger)

    def _stream(self, target: Any, n: int, base: int, first_index: int) -> Stream:
        plan = self.plan(target)
        return Stream(
            description={"sampler": self.name, "settings": dict(self.settings()), "target": repr(target)},
            trial=self.trials(target),
            n=n,
            seed=derived(base, self.name, repr(target)),
            rate=plan.values / plan.M,
            M=plan.M,
            first_index=first_index,
            p=float(target.p) if isinstance(target, Bernoulli) else None,
            flags=self.flags(target),
            remarks=self.remarks,
        )


class OneCall(Sampler):
    """A sampler whose draw is the answer to one question: nothing is proposed and nothing rejected."""

    @abstractmethod
    def ways(self, target: Any) -> Ways:
        """The question for a draw of the target."""

    def plan(self, target: Any) -> Plan:
        return Plan(calls=1, bits=self.ways(target).bits)

    def trials(self, target: Any) -> Callable[[np.random.Generator], Trial]:
        ways = self.ways(target)

        def trial(rng: np.random.Generator) -> Trial:
            (value,) = yield (ways.choose(rng),)
            return Outcome((value,), bits=ways.bits)

        return trial

    def exactly(self, target: Any) -> Exactly[Exact]:
        ways = self.ways(target)
        found = yield ways.asks
        return Exact(mixed(ways, found, target.support), mass=min(s.mass for s in found), bits=ways.bits)


def accepted(
    support: Sequence[Any], shares: np.ndarray, curve: np.ndarray, *, calls: float, bits: float, **told: Any
) -> Exact:
    """The law of what is kept, P̃(x) = Q(x)Ã(x) / Σ QÃ, for Q = `shares` and Ã = `curve`, (K,) each.

    `calls` and `bits` are a proposal's.
    """
    weights = shares * curve
    rate = float(weights.sum())
    return Exact(
        weights / rate,
        calls=calls / rate,
        bits=bits / rate,
        acceptance=rate,
        curve=dict(zip(support, curve.tolist(), strict=True)),
        **told,
    )


def derived(base: int, *names: str) -> int:
    """A seed below 2^63 for one use of a base seed."""
    text = "/".join((str(base), *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
