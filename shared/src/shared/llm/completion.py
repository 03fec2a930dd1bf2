"""What comes back: a completion, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

SourceKind = Literal["live", "cache", "replay"]
FailureKind = Literal[
    "refused",
    "too_long",
    "bad_request",
    "rate_limit",
    "server",
    "timeout",
    "connection",
    "malformed",
    "budget",
    "cancelled",
]
FAILURE_KINDS: tuple[FailureKind, ...] = FailureKind.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one completion. None where the endpoint does not say."""

    prompt: int | None = None
    cached_prompt: int | None = None  # of the prompt's, those read from the provider's own cache
    completion: int | None = None
    reasoning: int | None = None  # of the completion's, those spent before the answer

    def __add__(self, other: Usage) -> Usage:
        def total(a: int | None, b: int | None) -> int | None:
            return None if a is None and b is None else (a or 0) + (b or 0)

        return Usage(
            total(self.prompt, other.prompt),
            total(self.cached_prompt, other.cached_prompt),
            total(self.completion, other.completion),
            total(self.reasoning, other.reasoning),
        )


@dataclass(frozen=True, slots=True)
class Source:
    """Who answered. `kind` is live, cache or replay; `origin` says in words what a recording was made from."""

    kind: SourceKind
    backend: str
    model: str
    date: str  # ISO 8601, when the model answered
    origin: str = ""


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of the completion with its natural-log probability, and those of its best alternatives."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Completion:
    """An answer.

    `finish` is "stop", "length", "refusal", or the provider's own word. `choice_logprobs` holds, for a request with
    choices on a backend that can, the natural-log probability of each choice as the next text, not renormalised.
    `cost` is in USD, None where the price is not known.
    """

    text: str
    finish: str = "stop"
    reasoning: str | None = None
    usage: Usage = Usage()
    tokens: tuple[TokenLogprob, ...] | None = None
    choice_logprobs: Mapping[str, float] | None = None
    model_reported: str | None = None
    source: Source = Source("live", "", "", "")
    attempts: int = 1
    latency_s: float = 0.0
    cost: float | None = None
    request_id: str | None = None
    data: Any = None  # the answer's JSON, for a request with a schema

    ok = True

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Completion:
        """The inverse of to_json, from plain JSON values."""
        values = dict(record)
        values["usage"] = Usage(**values.get("usage") or {})
        values["source"] = Source(**values["source"])
        if values.get("tokens") is not None:
            values["tokens"] = tuple(
                TokenLogprob(t["token"], t["logprob"], tuple((a, b) for a, b in t.get("top", ())))
                for t in values["tokens"]
            )
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a request has no completion. `status` is the HTTP status where there was one."""

    kind: FailureKind
    message: str
    status: int | None = None
    attempts: int = 0
    usage: Usage = field(default_factory=Usage)
    cost: float | None = None

    ok = False


Result = Completion | Failure
