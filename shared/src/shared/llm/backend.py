"""What a backend is: one model behind one door, and what it can do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from .completion import Completion, FailureKind, Usage
from .request import Request

StopReason = Literal["credentials", "quota", "model"]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What may be asked of a backend. The client refuses the rest before the first call, naming the option."""

    temperature: bool = True
    top_p: bool = True
    top_k: bool = False
    min_p: bool = False
    seed: bool = False
    stop: bool = True
    reasoning_effort: bool = False
    logprobs: int | None = None  # the most alternatives a token; None: no log-probabilities
    prefix: bool = False
    choices: bool = False  # the answer can be held to a list of texts
    choice_logprobs: bool = False  # and the probability of each is told
    schema: bool = False  # the server enforces it; otherwise the client parses, validates and asks again
    images: bool = False
    system: bool = True
    max_tokens: bool = True
    extra: bool = True


@dataclass(slots=True)
class CallError(Exception):
    """One attempt that failed. The client decides whether another follows.

    `stops` is set where no request can succeed: wrong credentials, spent quota, unknown model.
    `retry_after` is in seconds, where the server said.
    """

    kind: FailureKind
    message: str
    status: int | None = None
    retry: bool = False
    retry_after: float | None = None
    stops: StopReason | None = None
    usage: Usage = field(default_factory=Usage)

    def __str__(self) -> str:
        return self.message


class Backend(Protocol):
    """A model behind a door.

    A backend with `batch` 1 answers by `complete`, many calls at a time on one event loop; one with a larger batch
    answers by `complete_many`, up to so many requests in one call in a thread of its own.
    """

    name: str  # openai, transformers, vllm, replay, fake
    model: str
    capabilities: Capabilities
    batch: int

    def identity(self) -> Mapping[str, Any]:
        """What of this backend decides an answer, as plain JSON values: part of every key; never a secret."""
        ...

    async def complete(self, request: Request) -> Completion:
        """One attempt. Raises CallError."""
        ...

    def complete_many(self, requests: Sequence[Request]) -> list[Completion | CallError]:
        """Answers to requests, in their order."""
        ...

    async def close(self) -> None: ...
