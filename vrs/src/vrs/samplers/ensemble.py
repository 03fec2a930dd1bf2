"""Direct sampling with the setting varied from call to call: temperature, persona, a random number in the prompt.

What varies is drawn by an outside generator, a few bits a call. The bias of the mean is the mean of the biases: an
ensemble helps as far as the members err in different directions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from shared.llm.messages import Message, system, user
from shared.llm.request import Sampling

from ..asking import Ask, Ways
from ..bits import knuth_yao
from ..errors import VRSError
from ..scoring import Exactly
from ..stream import Outcome, Trial
from .base import Exact, OneCall, Plan

PERSONAS = (
    "You are a careful statistician.",
    "You are a croupier at a quiet casino.",
    "You are a farmer deciding by the toss of a coin.",
    "You are a clerk who draws names from a drum.",
)


@dataclass(frozen=True, kw_only=True)
class Ensemble(OneCall):
    """One call a draw, with a member drawn at random: every temperature with every persona.

    `seed_digits` > 0 also puts a random number of so many digits into the prompt; every call then has a prompt of its
    own.
    """

    temperatures: tuple[float | None, ...] = (0.7, 1.0, 1.3)
    personas: tuple[str | None, ...] = (None, *PERSONAS)
    seed_digits: int = 0

    name: ClassVar[str] = "ensemble"

    def __post_init__(self) -> None:
        if not self.temperatures or not self.personas:
            raise VRSError("an ensemble needs at least one temperature and one persona; None leaves either as it is")
        if not 0 <= self.seed_digits <= 18:
            raise VRSError(f"ensemble.seed_digits must lie in [0, 18], not {self.seed_digits}")

    def settings(self) -> Mapping[str, Any]:
        return {
            **super().settings(),
            "temperatures": list(self.temperatures),
            "personas": list(self.personas),
            "seed_digits": self.seed_digits,
        }

    def ways(self, target: Any) -> Ways:
        share = 1 / (len(self.temperatures) * len(self.personas))
        return Ways(
            [
                (weight * share, self._member(ask, temperature, persona))
                for weight, ask in self.question.ways(target)
                for temperature in self.temperatures
                for persona in self.personas
            ]
        )

    def _member(self, ask: Ask, temperature: float | None, persona: str | None) -> Ask:
        if temperature is not None:
            own = ask.sampling or getattr(self.llm, "sampling", None) or Sampling()
            ask = replace(ask, sampling=replace(own, temperature=temperature))
        if persona is not None:
            rest = tuple(m for m in ask.messages if m.role != "system")
            ask = replace(ask, messages=(system(persona), *rest))
        return ask

    def plan(self, target: Any) -> Plan:
        return Plan(calls=1, bits=self._price(self.ways(target)))

    def _price(self, members: Ways) -> float:
        digits = knuth_yao([1 / 10] * 10) if self.seed_digits else 0.0
        return members.bits + self.seed_digits * digits

    def trials(self, target: Any) -> Callable[[np.random.Generator], Trial]:
        members = self.ways(target)
        price = self._price(members)

        def trial(rng: np.random.Generator) -> Trial:
            ask = members.choose(rng)
            if self.seed_digits:
                ask = replace(ask, messages=with_seed(ask.messages, rng, self.seed_digits))
            (value,) = yield (ask,)
            return Outcome((value,), bits=price)

        return trial

    def exactly(self, target: Any) -> Exactly[Exact]:
        """The mean over the members at temperature 1; a temperature acts on scores that are not told."""
        if self.seed_digits or any(t not in (None, 1.0) for t in self.temperatures):
            raise VRSError(
                "an ensemble is scored exactly with temperatures (1.0,) or (None,), and no seed in the prompt"
            )
        return (yield from super().exactly(target))


def with_seed(messages: tuple[Message, ...], rng: np.random.Generator, digits: int) -> tuple[Message, ...]:
    """The messages with a line at the head of the first user's turn."""
    number = "".join(str(d) for d in rng.integers(10, size=digits))
    at = next(i for i, m in enumerate(messages) if m.role == "user")
    turn = messages[at]
    return (*messages[:at], user(f"Random seed: {number}\n\n", *turn.parts), *messages[at + 1 :])
