"""The model as a coin: with what probability it answers 1 when it is asked for a draw of Bern(a).

Three estimators:

    exact           the probability of each label, where the answer comes at once; no randomness, one call a wording
    rao_blackwell   n replies are written up to the answer's slot; P(1 | what was written) is read there and averaged:
                    unbiased for P(1), with a variance never above that of counting (Rao 1945, Blackwell 1947)
    count           the share of ones among n draws
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from shared.llm.completion import Completion
from shared.llm.request import Sampling

from .asking import Ask, Ways, draw_number, slot_of, stream_key
from .engine import Engine
from .errors import VRSError
from .ledger import Ledger
from .samplers.direct import Direct
from .samples import SampleSet
from .scoring import Score, chance, scores
from .targets import Bernoulli
from .wording import Question, Worded

ESTIMATORS = ("exact", "rao_blackwell", "count")


@dataclass(frozen=True)
class CoinEstimate:
    """P(1) at a level, with its standard error (0 where exact) and the mean mass of the labels (NaN where counted)."""

    p: float
    se: float
    mass: float
    n_calls: int
    malformed: int = 0


@dataclass(frozen=True)
class Flips:
    """Flips of the coin, 0 or 1, in the order of their draws; `next_draw` is where further ones go on."""

    values: tuple[int, ...]
    next_draw: int
    samples: SampleSet

    @property
    def p(self) -> float:
        return self.samples.p_hat()


class Coin:
    """A model's coin.

    Args:
        llm: the model's client.
        question: how a draw of Bern(a) is asked for.
        estimator: exact, rao_blackwell or count.
        n: draws of count, or replies of rao_blackwell, at each level.
        seed: of the draw numbers; another seed gives independent draws.
        force: take an exact score although the labels' mass is below 0.01.

    Raises:
        VRSError: an unknown estimator, n < 1, or `exact` with a question that leaves room for reasoning.
    """

    def __init__(
        self,
        llm: Any,
        question: Question | None = None,
        *,
        estimator: Literal["exact", "rao_blackwell", "count"] = "exact",
        n: int = 100,
        seed: int = 0,
        ledger: Ledger | None = None,
        engine: Engine | None = None,
        force: bool = False,
    ) -> None:
        if estimator not in ESTIMATORS:
            raise VRSError(f"a coin's estimator is one of {', '.join(ESTIMATORS)}, not {estimator!r}")
        if n < 1:
            raise VRSError(f"a coin's n must be at least 1, not {n}")
        self.llm, self.estimator, self.n, self.seed, self.force = llm, estimator, n, seed, force
        self.question = question if question is not None else Worded(forced=estimator == "exact")
        self._direct = Direct(
            llm, question=self.question, ledger=Ledger() if ledger is None else ledger, engine=engine or Engine()
        )

    def probability(self, a: Any) -> CoinEstimate:
        """P(1) when Bern(a) is asked for."""
        return self.probabilities([a])[0]

    def probabilities(self, levels: Sequence[Any]) -> list[CoinEstimate]:
        """P(1) at each level, their calls together."""
        targets = [bernoulli(a) for a in levels]
        if not targets:
            raise VRSError("a coin was asked for no level")
        if self.estimator == "exact":
            return self._exact(targets)
        if self.estimator == "rao_blackwell":
            return [self._rao_blackwell(target) for target in targets]
        found = self._direct.sample_many(targets, self.n, rng=self.seed)
        return [counted(samples) for samples in found]

    def flip(self, a: Any, n: int, first_draw: int = 0) -> Flips:
        """n flips at level a, those from proposal `first_draw` on.

        With one and the same seed the flips 0 … n are always the same: a cache or a ledger answers them again.
        """
        found = self._direct.sample(bernoulli(a), n, rng=self.seed, first_index=first_draw)
        return Flips(found.values, found.accepted_index[-1] + 1 if found.values else found.next_index, found)

    def _exact(self, targets: Sequence[Any]) -> list[CoinEstimate]:
        ways = [Ways(self.question.ways(target)) for target in targets]
        found = iter(
            scores(self.llm, [ask for w in ways for ask in w.asks], force=self.force, ledger=self._direct.ledger)
        )
        estimates = []
        for w in ways:
            own = [next(found) for _ in w.asks]
            mass = float(w.weights @ [s.mass for s in own])
            estimates.append(CoinEstimate(chance(w, own), 0.0, mass, len(own)))
        return estimates

    def _rao_blackwell(self, target: Any) -> CoinEstimate:
        ways = Ways(self.question.ways(target))
        description = {"estimator": "rao_blackwell", "question": self.question.settings(), "target": repr(target)}
        slot = slot_of(stream_key({**description, "seed": self.seed}))
        default = getattr(self.llm, "sampling", None) or Sampling()
        rng = np.random.default_rng([self.seed, slot])
        asked = [ways.choose(rng) for _ in range(self.n)]
        replies = self.llm.complete([ask.request(draw_number(slot, i, 0, 0), default) for i, ask in enumerate(asked)])
        written = []
        for ask, reply in zip(asked, replies, strict=True):
            if not isinstance(reply, Completion):
                raise VRSError(f"a reply could not be had ({reply.kind}: {reply.message})")
            if (forced := at_the_slot(ask, reply.text)) is not None:
                written.append(forced)
        if not written:
            raise VRSError(f"none of {self.n} replies reached the answer's slot: there is nothing to average")
        found = scores(self.llm, written, force=self.force, ledger=self._direct.ledger)
        return averaged(found, self.n)


def bernoulli(a: Any) -> Any:
    return a if hasattr(a, "support") else Bernoulli(a)


def counted(samples: SampleSet) -> CoinEstimate:
    n = len(samples.values)
    p = samples.p_hat()
    se = math.sqrt(p * (1 - p) / (n - 1)) if n > 1 else float("nan")
    return CoinEstimate(p, se, float("nan"), samples.calls, samples.malformed)


def averaged(found: Sequence[Score], asked: int) -> CoinEstimate:
    values = np.array([score.probabilities.get(1, 0.0) for score in found])
    se = float(values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else float("nan")
    mass = float(np.mean([score.mass for score in found]))
    return CoinEstimate(float(values.mean()), se, mass, asked + len(found), asked - len(found))


def at_the_slot(ask: Ask, reply: str) -> Ask | None:
    """The question whose answer begins with everything that a reply says before its answer; None without a slot.

    The last slot counts, as in parsing.
    """
    if ask.forced or not ask.slot or len(ask.labels) < 2:
        raise VRSError(
            "rao_blackwell needs a question with reasoning before an answer's slot; where the answer comes at once, "
            "use the estimator exact"
        )
    name = re.escape(ask.slot.rstrip().rstrip(":"))
    found = list(re.finditer(rf"^[ \t*]*{name}[ \t*]*:[ \t*\[]*", reply, re.IGNORECASE | re.MULTILINE))
    if not found:
        return None
    before = reply[: found[-1].end()].rstrip(" \t") + " "
    return replace(ask, prefix=(ask.prefix or "") + before, forced=True)
