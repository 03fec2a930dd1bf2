"""A model that is none, for tests, documentation and rehearsals: it answers from distributions that it is given.

Every completion and every report names it "fake".
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib
import math
import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from ..backend import CallError, Capabilities
from ..completion import Completion, Source, TokenLogprob, Usage
from ..errors import ModelError
from ..key import request_key
from ..request import Request

Answer = Mapping[str, float] | str | Completion | CallError
LEAST = 5e-324  # what a probability of 0 counts as, so that its logarithm is a number
WORDS = (
    "river",
    "stone",
    "lamp",
    "garden",
    "cloud",
    "letter",
    "winter",
    "bridge",
    "candle",
    "harbour",
    "map",
    "violin",
)


def rambling(request: Request) -> Answer:
    """The default: one of the choices, all alike; without choices some words."""
    if request.choices:
        return dict.fromkeys(request.choices, 1 / len(request.choices))
    count = min(request.sampling.max_tokens or 12, 12)
    rng = random.Random(f"{request.draw}/{request.messages[-1].text}")
    return " ".join(rng.choice(WORDS) for _ in range(count))


@dataclass(frozen=True)
class Bernoulli:
    """Answers `labels[1]` with probability curve(p), where p is what `read` finds in the request, else `labels[0]`."""

    read: Callable[[Request], float]
    curve: Callable[[float], float] = float
    labels: tuple[str, str] = ("0", "1")

    def __call__(self, request: Request) -> Answer:
        chance = min(1.0, max(0.0, self.curve(self.read(request))))
        return {self.labels[0]: 1 - chance, self.labels[1]: chance}


class Fake:
    """Answers by a rule, after a time by a law.

    What is drawn depends on seed, request and number of the draw, never on the order of the calls.

    Args:
        respond: from a request to a distribution over texts, or to the text itself, a Completion, or a CallError,
            which is raised. As text, "module:function" or "module:function()" names one, or makes it by a call.
        latency: seconds, or a function of (request, text).
        malformed: the share of answers that are nonsense, or a function of the request. Choices are never malformed.
        batch: above 1, requests are answered many at a time in a thread, as a model in this process answers them.
        capabilities: what it says that it can.

    Raises:
        ModelError: a share outside [0, 1], a negative latency, or no such function.
    """

    name = "fake"

    def __init__(
        self,
        respond: Callable[[Request], Answer] | str = rambling,
        *,
        model: str = "fake",
        seed: int = 0,
        latency: float | Callable[[Request, str], float] = 0.0,
        malformed: float | Callable[[Request], float] = 0.0,
        batch: int = 1,
        capabilities: Capabilities | None = None,
    ) -> None:
        if not callable(malformed) and not 0 <= malformed <= 1:
            raise ModelError(f"malformed must be a share in [0, 1], not {malformed!r}")
        if not callable(latency) and not latency >= 0:
            raise ModelError(f"latency must be seconds from 0, not {latency!r}")
        if not isinstance(batch, int) or batch < 1:
            raise ModelError(f"batch must be a whole number from 1, not {batch!r}")
        self.model, self.seed, self.batch = model, seed, batch
        self.calls = 0
        self._rule = respond if isinstance(respond, str) else re.sub(r" at 0x[0-9a-f]+", "", repr(respond))
        self._respond = _named(respond) if isinstance(respond, str) else respond
        self._latency = latency if callable(latency) else lambda request, text: latency
        self._malformed = malformed if callable(malformed) else lambda request: malformed
        self.capabilities = capabilities or Capabilities(
            top_k=True,
            min_p=True,
            seed=True,
            reasoning_effort=True,
            logprobs=20,
            prefix=True,
            choices=True,
            choice_logprobs=True,
            images=True,
        )

    def identity(self) -> Mapping[str, Any]:
        return {"backend": self.name, "model": self.model, "seed": self.seed, "respond": self._rule}

    async def complete(self, request: Request) -> Completion:
        begun = time.perf_counter()
        completion, wait = self._answer(request)
        if wait > 0:
            await asyncio.sleep(wait)
        return replace(completion, latency_s=time.perf_counter() - begun)

    def complete_many(self, requests: Sequence[Request]) -> list[Completion | CallError]:
        answers: list[Completion | CallError] = []
        longest = 0.0
        for request in requests:
            try:
                completion, wait = self._answer(request)
            except CallError as error:
                answers.append(error)
                continue
            longest = max(longest, wait)
            answers.append(completion)
        time.sleep(longest)
        return answers

    def count_tokens(self, text: str) -> int:
        return len(text.split())

    async def close(self) -> None:
        pass

    def _answer(self, request: Request) -> tuple[Completion, float]:
        """The completion and the seconds it takes. Raises CallError where the rule says so."""
        self.calls += 1
        rng = self._generator(request)
        answer = self._respond(request)
        if isinstance(answer, CallError):
            raise answer
        if isinstance(answer, Completion):
            return answer, self._latency(request, answer.text)
        weights = {answer: 1.0} if isinstance(answer, str) else dict(answer)
        if request.choices is not None:
            weights = {choice: weights.get(choice, 0.0) for choice in request.choices}
            if not sum(weights.values()):
                weights = dict.fromkeys(request.choices, LEAST)
        spoilt = rng.random() < self._malformed(request) and request.choices is None
        text = rng.choices(list(weights), list(weights.values()))[0]
        chosen = weights[text]
        if spoilt:
            text, chosen = " ".join(rng.choices(WORDS, k=5)), LEAST
        logprobs = {choice: math.log(max(p, LEAST)) for choice, p in weights.items()}
        prompt = sum(len(m.text.split()) for m in request.messages)
        completion = Completion(
            text,
            usage=Usage(prompt=prompt, completion=max(1, len(text.split()))),
            tokens=None if request.sampling.logprobs is None else (TokenLogprob(text, math.log(max(chosen, LEAST))),),
            choice_logprobs=logprobs if request.choices is not None else None,
            model_reported=self.model,
            source=Source("live", self.name, self.model, datetime.now(UTC).isoformat(timespec="seconds")),
        )
        return completion, self._latency(request, text)

    def _generator(self, request: Request) -> random.Random:
        key = request_key(self.identity(), replace(request, draw=0, tag=""))
        digest = hashlib.sha256(f"{self.seed}/{key}/{request.draw}".encode()).digest()
        return random.Random(int.from_bytes(digest[:16], "big"))


def _named(place: str) -> Callable[[Request], Answer]:
    """The function that "module:function" names; with "()" at its end it is called to make the rule."""
    module, _, name = place.removesuffix("()").partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
        return found() if place.endswith("()") else found
    except (ImportError, AttributeError, ValueError) as error:
        raise ModelError(
            f"respond must name a function as 'module:function', and {place!r} names none: {error}"
        ) from error
