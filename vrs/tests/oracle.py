"""The library's stand-in for a model, behind the tests' client: latency, concurrency, malformed replies."""

from __future__ import annotations

import random
from dataclasses import dataclass

from standin import StandIn

from shared.llm.request import Request
from vrs import oracle
from vrs.oracle import leaning, straight, told

__all__ = ["Oracle", "leaning", "straight", "told"]


@dataclass
class Oracle(oracle.Oracle):
    mass: float = 0.9
    malformed: float = 0.0

    def scored(self, request: Request) -> dict[str, float]:
        table = self.chances(request)
        return {choice: max(self.mass * table[choice.strip()], 1e-300) for choice in request.choices}

    def answer(self, request: Request) -> str:
        rng = random.Random(f"{request.messages[-1].text}/{request.prefix}/{request.draw}")
        if request.choices is None and rng.random() < self.malformed:
            return "Explanations: it could be either.\nOutput: 0 or 1"
        table = self(request)
        return table if isinstance(table, str) else rng.choices(list(table), weights=list(table.values()))[0]

    def client(self, **kwargs) -> StandIn:
        return StandIn(self.answer, chances=self.scored, **kwargs)
