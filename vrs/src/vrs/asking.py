"""One question to a model: the prompt, how the reply is read, and the draw number that tells its repeats apart.

Draw numbers. Two calls with the same prompt must never share a draw number, or a cache would hand both the same
reply. A draw number is a 63-bit whole number made of four fields:

    slot (28 bits)     which stream: sampler, settings, target and seed, hashed
    index (20 bits)    which proposal of that stream
    step (12 bits)     which question of that proposal (a factory asks many, a self-proposing sampler two)
    redraw (3 bits)    0, or the how-manieth repeat after a malformed reply

Different values of p may ask the same prompt (Bern(3/7) is asked for p = 0.3 with x = 1 and for p = 0.7 with x = 0),
and so may two samplers: the slot keeps their draws apart.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from shared.llm.messages import Message
from shared.llm.request import Request, Sampling

from .bits import knuth_yao
from .errors import VRSError
from .parse import Reading

SLOTS, INDICES, STEPS, REDRAWS = 1 << 28, 1 << 20, 1 << 12, 1 << 3


@dataclass(frozen=True)
class Ask:
    """A question.

    `labels` pairs each answer as the model writes it with what it means: ("T", 1), ("F", 0). With `forced` the answer
    is one of the labels, directly after `prefix` (how the reply begins); otherwise the reply is free text, `read` makes
    a value of it, and `slot` is how the line begins that holds the answer. `x` is the proposal that the question is
    about. A malformed reply is asked for again a few times; after that a `required` question rejects its proposal,
    another one is answered None.
    """

    messages: tuple[Message, ...]
    read: Callable[[str], Reading]
    labels: tuple[tuple[str, Any], ...] = ()
    prefix: str | None = None
    slot: str = ""
    forced: bool = False
    sampling: Sampling | None = None  # None: what the model is set to
    x: Any = None
    required: bool = True

    def __post_init__(self) -> None:
        if self.forced and len(self.labels) < 2:
            raise VRSError(f"a forced answer needs two or more labels, not {self.labels!r}")

    @property
    def choices(self) -> tuple[str, ...] | None:
        return tuple(label for label, _ in self.labels) if self.forced else None

    def request(self, draw: int, default: Sampling) -> Request:
        return Request(self.messages, self.sampling or default, draw=draw, prefix=self.prefix, choices=self.choices)

    def reading(self, text: str) -> Reading:
        """The value of a reply. A forced answer is a label and nothing else."""
        if self.forced:
            for label, value in self.labels:
                if text == label or text.strip() == label.strip():
                    return Reading(value)
            return Reading(reason=f"none of the labels {[label for label, _ in self.labels]}")
        return self.read(text)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that is sent, but for the model's own settings; 16 hexadecimal digits."""
        parts = [[m.role, m.text, [i.digest for i in m.images]] for m in self.messages]
        sampling = None if self.sampling is None else asdict(self.sampling)
        material = [parts, self.prefix, self.choices, sampling]
        return hashlib.sha256(json.dumps(material, ensure_ascii=True).encode()).hexdigest()[:16]


class Ways:
    """Several ways to put one question, each with its weight: orders of examples, swapped labels, two levels.

    One of them is drawn for each call with outside randomness, whose price is `bits` a draw.
    """

    def __init__(self, ways: Sequence[tuple[float, Ask]]) -> None:
        if not ways:
            raise VRSError("a question needs at least one wording")
        weights = np.array([weight for weight, _ in ways], dtype=float)
        if (weights < 0).any() or abs(weights.sum() - 1) > 1e-9:
            raise VRSError(f"the weights of a question's wordings must be at least 0 and sum to 1, not {weights}")
        kept = [i for i, weight in enumerate(weights) if weight > 0]
        self.asks = tuple(ways[i][1] for i in kept)
        self.weights = weights[kept]
        self._cumulative = np.cumsum(self.weights)
        self.bits = 0.0 if len(kept) == 1 else knuth_yao(self.weights.tolist())

    def about(self, x: Any) -> Ways:
        """The same questions, asked about the proposal x."""
        other = copy(self)
        other.asks = tuple(replace(ask, x=x) for ask in self.asks)
        return other

    def choose(self, rng: np.random.Generator) -> Ask:
        if len(self.asks) == 1:
            return self.asks[0]
        at = int(np.searchsorted(self._cumulative, rng.random(), side="right"))
        return self.asks[min(at, len(self.asks) - 1)]


def draw_number(slot: int, index: int, step: int, redraw: int) -> int:
    """The draw number of a call; see the module's head.

    Raises:
        VRSError: a field that does not fit.
    """
    fields = (("slot", slot, SLOTS), ("index", index, INDICES), ("step", step, STEPS), ("redraw", redraw, REDRAWS))
    number = 0
    for name, value, size in fields:
        if not 0 <= value < size:
            raise VRSError(f"a draw's {name} must lie in [0, {size}), not {value}")
        number = number * size + value
    return number


def stream_key(description: Mapping[str, Any]) -> str:
    """A stream's name: 16 hexadecimal digits of the SHA-256 of what it is."""
    text = json.dumps(description, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def slot_of(key: str) -> int:
    return int(key, 16) % SLOTS
