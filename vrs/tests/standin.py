"""A stand-in for the client of a model: answers by a function, in an order that a latency law and a concurrency give.

Time is virtual: nothing waits. A worker takes the next request as soon as it is free, as the real client does.
"""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from shared.llm.backend import Capabilities
from shared.llm.completion import Completion, Result, Source, Usage
from shared.llm.request import Request, Sampling

Answer = Callable[[Request], Any]


@dataclass
class StandIn:
    """`answer` makes a text or a Result of a request, `latency` its virtual seconds; `chances` scores choices."""

    answer: Answer
    latency: Callable[[Request, str], float] = lambda request, text: 1.0
    concurrency: int = 1
    chances: Callable[[Request], dict[str, float]] | None = None
    model: str = "stand-in"
    name: str = "stand-in"
    sampling: Sampling = field(default_factory=Sampling)
    calls: list[Request] = field(default_factory=list)
    elapsed: float = 0.0

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(choices=True, prefix=True, choice_logprobs=self.chances is not None)

    def result(self, request: Request) -> Result:
        self.calls.append(request)
        answer = self.answer(request)
        if not isinstance(answer, str):
            return answer
        scored = None
        if request.choices is not None and self.chances is not None:
            table = self.chances(request)
            scored = {choice: math.log(table[choice]) for choice in request.choices}
        source = Source("live", self.name, self.model, "2025-01-01T00:00:00+00:00")
        return Completion(answer, usage=Usage(prompt=10, completion=2), choice_logprobs=scored, source=source)

    def complete(self, requests: Iterable[Request]) -> list[Result]:
        return [self.result(request) for request in requests]

    def as_completed(self, requests: Iterable[Request]) -> Iterator[tuple[int, Result]]:
        running: list[tuple[float, int, Result]] = []
        now = self.elapsed
        for place, request in enumerate(requests):
            if len(running) == self.concurrency:
                now, at, result = heapq.heappop(running)
                yield at, result
            result = self.result(request)
            text = result.text if isinstance(result, Completion) else ""
            heapq.heappush(running, (now + self.latency(request, text), place, result))
        while running:
            now, at, result = heapq.heappop(running)
            yield at, result
        self.elapsed = now


def coin(
    p: float | Callable[[Request], float], *, labels: tuple[str, str] = ("0", "1"), malformed: float = 0.0
) -> Answer:
    """Answers labels[1] with probability p, and something malformed with probability `malformed`; by draw number."""

    def answer(request: Request) -> str:
        rng = random.Random(f"{request.messages[-1].text}/{request.draw}")
        if rng.random() < malformed:
            return "I would rather not say."
        chance = p(request) if callable(p) else p
        return labels[rng.random() < chance]

    return answer
