"""Exact answers: the probability of each label, read from the model instead of counted.

What the labels of a question get together, its choice mass, is what the model would answer if it were not held to them.
Below 0.5 a warning is given; below 0.01 the numbers say nothing about the model's own answer and are refused.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from shared.llm.completion import Completion
from shared.llm.request import Sampling

from .asking import Ask, Ways
from .errors import VRSError
from .ledger import Ledger, told_source

WARN, REFUSE = 0.5, 0.01
IMPOSSIBLE = -1e4


@dataclass(frozen=True)
class Score:
    """Probabilities of the values that a question's labels stand for, summing to 1, and the mass of its labels."""

    probabilities: Mapping[Any, float]
    mass: float

    def __getitem__(self, value: Any) -> float:
        return self.probabilities[value]


def mixed(ways: Ways, found: Sequence[Score], support: Sequence[Any]) -> np.ndarray:
    """The law of an answer whose wording is drawn at random, Σ_w weight_w · P_w(x), over the support, (K,)."""
    table = np.array([[score.probabilities.get(x, 0.0) for x in support] for score in found])
    return ways.weights @ table


def chance(ways: Ways, found: Sequence[Score]) -> float:
    """The probability that the answer is 1."""
    return float(mixed(ways, found, (1,))[0])


def chances(questions: Sequence[Ways], found: Sequence[Score]) -> np.ndarray:
    """The same for each of several questions, whose scores follow one another, (questions,)."""
    rest = iter(found)
    return np.array([chance(ways, [next(rest) for _ in ways.asks]) for ways in questions])


T = TypeVar("T")
Exactly = Generator[Sequence[Ask], Sequence[Score], T]


def scores(llm: Any, asks: Sequence[Ask], *, force: bool = False, ledger: Ledger | None = None) -> list[Score]:
    """The score of each question; equal questions are asked once, all of them in one batch, and none that the ledger
    holds.

    Raises:
        VRSError: a question without forced labels, a model without log-probabilities, a failed call, or a choice mass
            below 0.01 unless `force`.
    """
    if any(not ask.forced for ask in asks):
        raise VRSError(
            "an exact score needs the answer at once, one of its labels: set forced=true (no reasoning before it), or "
            "use the estimator rao_blackwell or count"
        )
    if not getattr(llm.capabilities, "choice_logprobs", False):
        raise VRSError(f"{llm.name} tells no log-probabilities of choices: use the estimator count")
    ledger = Ledger() if ledger is None else ledger
    ledger.bind(model=llm.model, backend=llm.name)
    default = getattr(llm, "sampling", None) or Sampling()
    wanted = {ask.digest: ask for ask in asks if ledger.score(ask.digest) is None}
    if wanted:
        asked = list(wanted.items())
        for place, result in llm.as_completed([ask.request(0, default) for _, ask in asked]):
            digest, ask = asked[place]
            ledger.add_score(digest, _logprobs(ask, result, llm.name), told_source(result))
        ledger.sync()
    found = [_score(ask, ledger.score(ask.digest) or {}) for ask in asks]
    lowest = min((s.mass for s in found), default=1.0)
    if lowest < REFUSE and not force:
        raise VRSError(
            f"the labels get a probability of {lowest:.2g} together, below {REFUSE}: this prompt does not lead to "
            "them, and force=true scores it all the same"
        )
    if lowest < WARN:
        few = sum(s.mass < WARN for s in found)
        warnings.warn(
            f"in {few} of {len(found)} questions the labels get a probability below {WARN} together, in one "
            f"{lowest:.2g}: the model would rather write something else",
            stacklevel=2,
        )
    return found


def _logprobs(ask: Ask, result: Any, name: str) -> dict[str, float]:
    if not isinstance(result, Completion):
        raise VRSError(f"a score could not be had ({result.kind}: {result.message})")
    logprobs = result.choice_logprobs
    if logprobs is None:
        raise VRSError(f"{name} returned no log-probabilities of choices")
    # an impossible label: JSON has no infinity
    return {label: max(float(logprobs[label]), IMPOSSIBLE) for label, _ in ask.labels}


def _score(ask: Ask, logprobs: Mapping[str, float]) -> Score:
    weights: dict[Any, float] = {}
    for label, value in ask.labels:
        weights[value] = weights.get(value, 0.0) + math.exp(logprobs[label])
    mass = sum(weights.values())
    if not 0 < mass <= 1 + 1e-6:
        raise VRSError(f"the labels {ask.choices} get a probability of {mass} together, which is none")
    return Score({value: weight / mass for value, weight in weights.items()}, min(mass, 1.0))


def solve(llm: Any, generators: Sequence[Exactly[T]], *, force: bool = False, ledger: Ledger | None = None) -> list[T]:
    """What generators return that yield questions and are sent their scores; each round is one batch for all."""
    results: list[Any] = [None] * len(generators)
    wanted: dict[int, Sequence[Ask]] = {}
    for i, generator in enumerate(generators):
        _step(generator, None, i, wanted, results)
    while wanted:
        batch = [(i, ask) for i, asks in wanted.items() for ask in asks]
        found = scores(llm, [ask for _, ask in batch], force=force, ledger=ledger)
        answers: dict[int, list[Score]] = {i: [] for i in wanted}
        for (i, _), score in zip(batch, found, strict=True):
            answers[i].append(score)
        wanted = {}
        for i, got in answers.items():
            _step(generators[i], tuple(got), i, wanted, results)
    return results


def _step(generator: Exactly[Any], sent: Any, i: int, wanted: dict[int, Sequence[Ask]], results: list[Any]) -> None:
    try:
        wanted[i] = generator.send(sent)
    except StopIteration as end:
        results[i] = end.value
