"""Reweighted labels: where the model tells its probabilities P̂, shift the logits so that they become P.

    bias(x) = log P(x) − log P̂(x),      of two labels: bias = logit(p) − logit(p̂)

`via="logit_bias"` sends the bias with each call, to an endpoint that adds it to the logits of the labels' tokens, whose
numbers `tokens` gives. `via="coupling"` needs no such door and has the same law: the model's own draw y ~ P̂ is kept
with probability min(1, P(y)/P̂(y)), and otherwise replaced by a draw from max(0, P − P̂).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import numpy as np

from shared.llm.request import Sampling

from ..asking import Ask
from ..bits import knuth_yao
from ..errors import VRSError
from ..scoring import Exactly, scores
from ..stream import Outcome, Trial
from ..targets import fraction
from ..wording import Question, Worded
from .base import Exact, Plan, Sampler

LIMIT = 100.0  # the largest bias that endpoints take


@dataclass(frozen=True, kw_only=True)
class LogitExact(Sampler):
    """One call a draw, after one exact score of the prompt."""

    question: Question = field(default_factory=lambda: Worded(forced=True))
    via: Literal["coupling", "logit_bias"] = "coupling"
    tokens: Mapping[str, int] | None = None  # label -> its token's number, for logit_bias
    measured: tuple[tuple[str, tuple[float, ...]], ...] = ()  # (target, P̂ over its support), by `prepared`

    name: ClassVar[str] = "logit_exact"

    def __post_init__(self) -> None:
        if self.via not in ("coupling", "logit_bias"):
            raise VRSError(f"logit_exact.via is coupling or logit_bias, not {self.via!r}")
        if self.via == "logit_bias" and not self.tokens:
            raise VRSError("logit_exact.via=logit_bias needs logit_exact.tokens, the number of each label's token")

    def settings(self) -> Mapping[str, Any]:
        tokens = dict(sorted(self.tokens.items())) if self.tokens else None
        return {**super().settings(), "via": self.via, "tokens": tokens}

    def ask(self, target: Any) -> Ask:
        ask = self.question.ways(target)[0][1]
        if not ask.forced:
            raise VRSError("logit_exact needs the answer at once, one of its labels: set forced=true")
        return ask

    def prepared(self, targets: Sequence[Any], seed: int) -> LogitExact:
        found = scores(self.llm, [self.ask(target) for target in targets], ledger=self.ledger)
        measured = tuple(
            (repr(target), tuple(round(score.probabilities.get(x, 0.0), 6) for x in target.support))
            for target, score in zip(targets, found, strict=True)
        )
        return replace(self, measured=measured)

    def plan(self, target: Any) -> Plan:
        return Plan(calls=1, bits=0 if self.via == "logit_bias" else 2)

    def trials(self, target: Any) -> Callable[[np.random.Generator], Trial]:
        ask = self.ask(target)
        P = np.array([float(fraction(target, x)) for x in target.support])
        P_hat = np.array(dict(self.measured)[repr(target)])
        P_hat = P_hat / P_hat.sum()
        if self.via == "logit_bias":
            return self._biased(ask, target.support, P, P_hat)
        keep = np.divide(P, P_hat, out=np.ones_like(P), where=P_hat > 0).clip(max=1)
        missing = (P - P_hat).clip(min=0)
        place = {x: i for i, x in enumerate(target.support)}

        def trial(rng: np.random.Generator) -> Trial:
            (y,) = yield (ask,)
            k = keep[place[y]]
            bits = knuth_yao([k, 1 - k])
            if rng.random() < k:
                return Outcome((y,), x=y, bits=bits)
            rest = missing / missing.sum()
            return Outcome((target.support[int(rng.choice(len(rest), p=rest))],), x=y, bits=bits + knuth_yao(rest))

        return trial

    def _biased(
        self, ask: Ask, support: Sequence[Any], P: np.ndarray, P_hat: np.ndarray
    ) -> Callable[[np.random.Generator], Trial]:
        assert self.tokens is not None
        place = {x: i for i, x in enumerate(support)}
        bias = {}
        for label, value in ask.labels:
            if label.strip() not in self.tokens:
                raise VRSError(f"logit_exact.tokens gives no number for the label {label!r}")
            shift = log_ratio(P[place[value]], P_hat[place[value]])
            bias[str(self.tokens[label.strip()])] = round(min(max(shift, -LIMIT), LIMIT), 6)
        own = ask.sampling or getattr(self.llm, "sampling", None) or Sampling()
        biased = replace(ask, sampling=replace(own, extra={**own.extra, "logit_bias": bias}))

        def trial(_: np.random.Generator) -> Trial:
            (value,) = yield (biased,)
            return Outcome((value,))

        return trial

    def exactly(self, target: Any) -> Exactly[Exact]:
        """P̂·e^bias, renormalised: P wherever P̂ > 0."""
        (score,) = yield (self.ask(target),)
        P = np.array([float(fraction(target, x)) for x in target.support])
        P_hat = np.array([score.probabilities.get(x, 0.0) for x in target.support])
        bias = np.array([log_ratio(p, q) for p, q in zip(P, P_hat, strict=True)])
        weights = P_hat * np.exp(np.minimum(bias, LIMIT))
        return Exact(weights / weights.sum(), mass=score.mass)


def log_ratio(p: float, q: float) -> float:
    if p == 0:
        return -math.inf
    return math.log(p) - math.log(q) if q > 0 else LIMIT
