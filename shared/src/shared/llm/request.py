"""A question to a model: messages, how to sample, and which draw of it this is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .errors import RequestError
from .messages import Message, user
from .plain import plain

REASONING_EFFORTS = (None, "none", "minimal", "low", "medium", "high")
RESERVED = ("model", "messages", "stream", "stream_options", "n")  # of the body, which extra may not set


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw. None means *not sent*: the provider's own default applies, and that is what is recorded.

    Raises:
        RequestError: a value outside its range.
    """

    temperature: float | None = None  # >= 0
    top_p: float | None = None  # in (0, 1]
    top_k: int | None = None  # >= 1
    min_p: float | None = None  # in [0, 1]
    max_tokens: int | None = None  # >= 1, of the completion
    stop: tuple[str, ...] = ()  # texts at which the completion ends; they are not part of it
    seed: int | None = None  # sent as it is; a fixed one makes every draw equal on servers that honour it
    reasoning_effort: str | None = None  # none, minimal, low, medium or high
    logprobs: int | None = None  # how many alternatives to report at each token; 0 reports the chosen one alone
    extra: Mapping[str, Any] = field(default_factory=dict)  # fields of a provider's own, sent in the body

    def __post_init__(self) -> None:
        object.__setattr__(self, "stop", (self.stop,) if isinstance(self.stop, str) else tuple(self.stop))
        object.__setattr__(self, "extra", plain(self.extra))
        _within("temperature", self.temperature, 0, 100)
        _within("top_p", self.top_p, 0, 1, open_below=True)
        _within("min_p", self.min_p, 0, 1)
        for name in ("temperature", "top_p", "min_p"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, float(value))  # 1 and 1.0 are one setting, and have one key
        _within("top_k", self.top_k, 1, 1 << 31, whole=True)
        _within("max_tokens", self.max_tokens, 1, 1 << 31, whole=True)
        _within("seed", self.seed, -(1 << 63), (1 << 64) - 1, whole=True)
        _within("logprobs", self.logprobs, 0, 100, whole=True)
        if not all(isinstance(text, str) and text for text in self.stop):
            raise RequestError(f"stop must be texts, none of them empty, not {self.stop!r}")
        if not isinstance(self.extra, dict):
            raise RequestError(f"extra must be a mapping, not {self.extra!r}")
        if taken := [name for name in RESERVED if name in self.extra]:
            raise RequestError(f"extra may not hold {taken[0]!r}: it is set by the client")
        if self.reasoning_effort not in REASONING_EFFORTS:
            raise RequestError(
                f"reasoning_effort must be one of {REASONING_EFFORTS[1:]} or None, not {self.reasoning_effort!r}"
            )


@dataclass(frozen=True, slots=True)
class Request:
    """One completion that is wanted.

    `draw` tells repeats of one prompt apart: draws 0 … 99 of a prompt are a hundred completions, in the cache too.
    `tag` is the caller's own mark; it is neither sent nor part of the key.

    Raises:
        RequestError: no messages, a negative draw, fewer than two distinct choices, a schema that is no mapping.
    """

    messages: tuple[Message, ...]
    sampling: Sampling = field(default_factory=Sampling)
    draw: int = 0
    prefix: str | None = None  # how the answer begins; the completion holds what follows it
    choices: tuple[str, ...] | None = None  # the answer is one of these
    schema: Mapping[str, Any] | None = None  # JSON schema that the answer's JSON satisfies
    tag: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.messages, str):
            object.__setattr__(self, "messages", (user(self.messages),))
        elif isinstance(self.messages, Message):
            object.__setattr__(self, "messages", (self.messages,))
        object.__setattr__(self, "messages", tuple(self.messages))
        if not self.messages or not all(isinstance(m, Message) for m in self.messages):
            raise RequestError("a request needs at least one Message")
        if not isinstance(self.draw, int) or isinstance(self.draw, bool) or self.draw < 0:
            raise RequestError(f"draw must be a whole number from 0, not {self.draw!r}")
        if self.choices is not None:
            object.__setattr__(self, "choices", tuple(self.choices))
            if len(set(self.choices)) < 2 or len(set(self.choices)) != len(self.choices) or "" in self.choices:
                raise RequestError(f"choices must be two or more distinct texts, not {self.choices!r}")
        if self.schema is not None and not isinstance(self.schema, Mapping):
            raise RequestError(f"schema must be a mapping (a JSON schema), not {type(self.schema).__name__}")
        if self.schema is not None and self.choices is not None:
            raise RequestError("a request has choices or a schema, not both")


def sampling_from(settings: Mapping[str, Any] | None) -> Sampling:
    """Sampling from a config mapping.

    Raises:
        RequestError: a field that Sampling has not.
    """
    settings = dict(settings or {})
    known = [f.name for f in fields(Sampling)]
    if unknown := [name for name in settings if name not in known]:
        raise RequestError(f"sampling has no field {unknown[0]!r}; its fields are {', '.join(known)}")
    return Sampling(**{k: v for k, v in settings.items() if v is not None})


def _within(
    name: str, value: float | None, low: float, high: float, *, open_below: bool = False, whole: bool = False
) -> None:
    if value is None:
        return
    number = isinstance(value, int if whole else int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or not (low < value if open_below else low <= value) or value > high:
        what = "a whole number in " if whole else "in "
        raise RequestError(f"{name} must be {what}{'(' if open_below else '['}{low}, {high}], not {value!r}")
