"""A hundred draws of VRS from a model that takes 50 ms an answer: one proposal after another, as in the paper's loop,
against numbered proposals in waves. The draws are the same, value by value."""

from __future__ import annotations

import statistics
import time
from typing import Any

from shared.llm import LLM, Limits
from shared.llm.backends.fake import Fake
from vrs.engine import Engine
from vrs.oracle import Oracle
from vrs.samplers import VRS
from vrs.samples import SampleSet
from vrs.targets import Bernoulli
from vrs.wording import Worded

from .simulation import Row

LATENCY, CONCURRENCY, DRAWS = 0.05, 64, 100
LEVELS = ("0.1", "0.3", "0.5", "0.7", "0.9")


def speculative(repeats: int) -> list[Row]:
    """Wall ratio, and the share of calls that go unused; medians over repeats and levels, each level by itself."""
    with LLM(Fake(Oracle(), latency=LATENCY), limits=Limits(concurrency=CONCURRENCY)) as llm:
        ratios, calls, unused = [], 0, 0
        for seed in range(max(1, repeats // 2)):
            for p in LEVELS:
                one, slow = timed(llm, p, seed, Engine(sequential=True))
                many, fast = timed(llm, p, seed, Engine())
                assert one.values == many.values
                ratios.append(slow / fast)
                calls, unused = calls + many.calls, unused + many.unused_calls
    return [
        Row("one after another / in waves, wall", statistics.median(ratios), 20.0),
        Row("share of calls unused", unused / calls, 0.1, at_least=False),
        Row("calls a draw, in waves", calls / (len(ratios) * DRAWS)),
    ]


def timed(llm: Any, p: str, seed: int, engine: Engine) -> tuple[SampleSet, float]:
    begun = time.perf_counter()
    found = VRS(llm, question=Worded(phrasing="P01"), engine=engine).sample(Bernoulli(p), DRAWS, rng=seed)
    return found, time.perf_counter() - begun
