"""Recognition (arXiv 2506.09998, Fig. 3): can the model tell whether numbers were drawn from Bern(p_j)?

For p_i = i/10, 100 numbers are drawn from Bern(p_i), by Python's generator or by the model itself (direct sampling,
phrasing P1). For each pair (i, j) the model is asked Yes or No: were these drawn from Bern(p_j)? An 11 × 11 matrix,
several times over. Yes is right on the diagonal and No off it; the score is the share of right answers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .asking import Ways
from .engine import Engine
from .errors import VRSError
from .ledger import Ledger
from .samplers.base import Sampler, derived
from .scoring import chances, scores
from .stream import Outcome, Stream, Trial
from .targets import Bernoulli
from .wording import Worded

PAPER_LEVELS = tuple(f"{i / 10:.1f}" for i in range(11))


@dataclass(frozen=True)
class Recognition:
    """`yes` is (repeats, levels, levels): 1 for Yes, 0 for No, NaN where no well-formed answer came; [r, i, j] asks
    whether the numbers drawn from level i came from level j. In exact mode it holds probabilities."""

    levels: tuple[str, ...]
    yes: np.ndarray
    calls: int
    malformed: int

    @property
    def matrix(self) -> np.ndarray:
        """The share of Yes, (levels, levels)."""
        with np.errstate(invalid="ignore"):
            return np.nansum(self.yes, axis=0) / (~np.isnan(self.yes)).sum(axis=0)

    @property
    def right(self) -> np.ndarray:
        """How far each answer is right, (repeats, levels, levels); an answer that is missing is wrong."""
        diagonal = np.eye(len(self.levels), dtype=bool)
        return np.nan_to_num(np.where(diagonal, self.yes, 1 - self.yes), nan=0.0)

    @property
    def accuracy(self) -> float:
        """The mean over all pairs and repeats. Always No has 1 − 1/levels, 0.909 with the paper's eleven."""
        return float(self.right.mean())

    @property
    def balanced_accuracy(self) -> float:
        """The mean of the diagonal's and the rest's; always No has one half."""
        diagonal = np.eye(len(self.levels), dtype=bool)
        return float((self.right[:, diagonal].mean() + self.right[:, ~diagonal].mean()) / 2)


def drawn_by_python(
    levels: Sequence[str] = PAPER_LEVELS, draws: int = 100, repeats: int = 5, seed: int = 0
) -> np.ndarray:
    """Numbers from an outside generator, (repeats, levels, draws)."""
    rng = np.random.default_rng(seed)
    p = np.array([float(level) for level in levels])
    return (rng.random((repeats, len(p), draws)) < p[None, :, None]).astype(int)


def drawn_by(
    sampler: Sampler, levels: Sequence[str] = PAPER_LEVELS, draws: int = 100, repeats: int = 5, seed: int = 0
) -> np.ndarray:
    """Numbers from a sampler, (repeats, levels, draws): consecutive parts of one sample a level."""
    found = sampler.sample_many([Bernoulli(level) for level in levels], draws * repeats, rng=seed)
    if short := [s for s in found if not s.complete]:
        raise VRSError(f"the sampler {sampler.name} gave too few draws to be recognised: {short[0].flags}")
    return np.array([s.values for s in found]).reshape(len(found), repeats, draws).transpose(1, 0, 2)


def recognition(
    llm: Any,
    numbers: np.ndarray,
    levels: Sequence[str] = PAPER_LEVELS,
    *,
    question: Worded | None = None,
    ledger: Ledger | None = None,
    engine: Engine | None = None,
    seed: int = 0,
    exact: bool = False,
) -> Recognition:
    """The matrix for given numbers, (repeats, levels, draws): repeats · levels² calls.

    Raises:
        VRSError: numbers of another shape, or other than 0 and 1.
    """
    numbers = np.asarray(numbers)
    if numbers.ndim != 3 or numbers.shape[1] != len(levels) or not np.isin(numbers, (0, 1)).all():
        raise VRSError(
            f"recognition needs numbers 0 and 1 of shape (repeats, {len(levels)} levels, draws), not {numbers.shape}"
        )
    words = question or Worded(phrasing="P1", forced=exact)
    repeats, size = numbers.shape[0], len(levels)
    asked = [
        (f"{r}/{i}/{j}", Ways(words.recognise(Bernoulli(levels[j]), numbers[r, i].tolist())))
        for r in range(repeats)
        for i in range(size)
        for j in range(size)
    ]
    if exact:
        found = scores(llm, [ask for _, ways in asked for ask in ways.asks], ledger=ledger)
        yes = chances([ways for _, ways in asked], found)
        return Recognition(tuple(levels), yes.reshape(repeats, size, size), len(asked), 0)
    shown = hashlib.sha256(np.ascontiguousarray(numbers, dtype=np.int8).tobytes()).hexdigest()[:16]
    asked_of = {"sampler": "recognition", "settings": words.settings(), "levels": size, "numbers": shown}
    streams = [
        Stream(
            description={**asked_of, "target": place},
            trial=_asking(ways),
            n=1,
            seed=derived(seed, "recognition", shown, place),
        )
        for place, ways in asked
    ]
    samples = (engine or Engine()).run(streams, llm, ledger)
    answers = np.array([s.values[0] for s in samples], dtype=float)
    return Recognition(
        tuple(levels),
        np.where(answers < 0, np.nan, answers).reshape(repeats, size, size),
        sum(s.calls for s in samples),
        sum(s.malformed for s in samples),
    )


def _asking(ways: Ways) -> Any:
    def trial(rng: np.random.Generator) -> Trial:
        ask = ways.choose(rng)
        (yes,) = yield (ask,)
        # a missing answer is a result too: -1
        return Outcome((-1 if yes is None else int(yes),))

    return trial
