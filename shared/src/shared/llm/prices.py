"""What a completion costs, and how many tokens it may take at worst or is likely to take."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from .completion import Usage
from .errors import RequestError
from .request import Request

TEMPLATE_TOKENS = 16  # around each message, at most
PATCH = 14  # pixels; no vision model in use cuts pictures finer
LEAST_IMAGE_TOKENS = 1500  # what tiling providers charge for a picture of any size, at most
CHARACTERS_PER_TOKEN = 4  # of English, for estimates


@dataclass(frozen=True, slots=True)
class Prices:
    """USD for a million tokens. `cached` is for prompt tokens that the provider had in its cache; None: as `input`.

    Raises:
        RequestError: a price that is no finite number from 0.
    """

    input: float
    output: float
    cached: float | None = None

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if value is None and f.name == "cached":
                continue
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
                raise RequestError(f"prices.{f.name} must be USD for a million tokens, from 0, not {value!r}")

    def cost(self, usage: Usage) -> float | None:
        """USD of these tokens; None where the endpoint did not tell them."""
        if usage.prompt is None or usage.completion is None:
            return None
        cached = min(usage.cached_prompt or 0, usage.prompt)
        cheap = self.input if self.cached is None else self.cached
        return ((usage.prompt - cached) * self.input + cached * cheap + usage.completion * self.output) / 1e6

    def most(self, prompt: int, completion: int) -> float:
        """USD of so many tokens, none of them cached for less."""
        return (prompt * max(self.input, self.cached or 0.0) + completion * self.output) / 1e6


def prices_from(settings: Mapping[str, Any] | None) -> Prices | None:
    """Prices from a config mapping; None where it is empty or holds nulls: an unknown price is never 0.

    Raises:
        RequestError: an unknown field, or one of input and output alone.
    """
    given = {name: value for name, value in dict(settings or {}).items() if value is not None}
    known = [f.name for f in fields(Prices)]
    if unknown := [name for name in given if name not in known]:
        raise RequestError(f"prices has no field {unknown[0]!r}; its fields are {', '.join(known)}")
    if not given:
        return None
    if missing := {"input", "output"} - set(given):
        raise RequestError(f"prices lacks {min(missing)!r}: both input and output are needed")
    return Prices(**given)


def prompt_bound(request: Request) -> int:
    """Tokens that no prompt of this text exceeds: a token holds a byte at least, and templates add some."""
    texts = sum(len(m.text.encode()) + TEMPLATE_TOKENS for m in request.messages)
    schema = len(str(dict(request.schema)).encode()) if request.schema else 0
    return texts + schema + len((request.prefix or "").encode()) + TEMPLATE_TOKENS + picture_bound(request)


def picture_bound(request: Request) -> int:
    """Tokens that the request's pictures do not exceed."""
    sizes = [image.size for m in request.messages for image in m.images]
    return sum(max(LEAST_IMAGE_TOKENS, math.ceil(w / PATCH) * math.ceil(h / PATCH)) for w, h in sizes)


def completion_bound(request: Request, assumed: int | None) -> int | None:
    """Tokens that no completion exceeds; None where neither the request nor `assumed` says."""
    bound = request.sampling.max_tokens or assumed
    if request.choices is not None:
        longest = max(len(choice.encode()) for choice in request.choices) + 1
        return longest if bound is None else min(longest, bound)
    return bound


def prompt_guess(request: Request, count: Callable[[str], int | None] | None) -> int:
    """Tokens of the prompt's texts as counted, or a quarter of their characters; pictures at their bound."""
    text = "".join(m.text for m in request.messages) + (request.prefix or "")
    known = count(text) if count else None
    return (math.ceil(len(text) / CHARACTERS_PER_TOKEN) if known is None else known) + picture_bound(request)
