"""The log-probabilities of a prompt's choices, found once for all draws of the prompt."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .backend import CallError
from .choices import ChoiceTokens, choice_tokens
from .errors import RequestError
from .prompting import Prompting
from .request import Request
from .trie import Tokens

Score = Callable[[Sequence[tuple[Tokens, int]]], list[np.ndarray]]


@dataclass(frozen=True, slots=True)
class Weighed:
    """Choices of one prompt with the natural-log probabilities of their tokens, and of each whole choice."""

    split: ChoiceTokens
    token_logprobs: list[np.ndarray]
    logprobs: dict[str, float]


class Weigher:
    """Weighs the choices of requests and remembers the last `size` of them, by messages, prefix and choices."""

    def __init__(self, size: int):
        self.size = size
        self._memo: OrderedDict[Any, Weighed] = OrderedDict()

    def __len__(self) -> int:
        return len(self._memo)

    def forget(self) -> None:
        self._memo.clear()

    def __call__(
        self, requests: Sequence[Request], prompting: Prompting, window: int, score: Score
    ) -> list[Weighed | CallError]:
        """For each request its choices' log-probabilities, or why they cannot be had.

        What is not remembered goes to `score` in one call: (tokens, start) pairs, whose tokens from `start` on are
        to be scored.
        """
        asked = [(r.messages, r.prefix, r.choices) for r in requests]
        found: dict[Any, Weighed | CallError] = {}
        splits: dict[Any, ChoiceTokens] = {}
        for one in dict.fromkeys(asked):
            if one in self._memo:
                self._memo.move_to_end(one)
                found[one] = self._memo[one]
                continue
            messages, prefix, choices = one
            try:
                text = prompting.text(messages, prefix)
                split = choice_tokens(prompting.tokens([text + c for c in choices or ()]), choices or ())
            except RequestError as error:
                found[one] = CallError("bad_request", str(error))
                continue
            longest = len(split.context) + max(map(len, split.rests))
            if longest > window:
                found[one] = too_long(longest, window, prompting.model)
            else:
                splits[one] = split
        pairs = [(s.context + rest, len(s.context)) for s in splits.values() for rest in s.rests]
        values = iter(score(pairs) if pairs else ())
        for one, split in splits.items():
            token_logprobs = [next(values) for _ in split.rests]
            sums = (float(v.sum()) for v in token_logprobs)
            found[one] = self._memo[one] = Weighed(split, token_logprobs, dict(zip(one[2] or (), sums, strict=True)))
        while len(self._memo) > self.size:
            self._memo.popitem(last=False)
        return [found[one] for one in asked]


def too_long(tokens: int, window: int, model: str) -> CallError:
    return CallError("too_long", f"{tokens} tokens are over the {window} that {model} reads")
