"""Which of several texts comes next: their tokens, and a draw from their probabilities.

A text's tokens depend on what stands beside them. In SmolLM2 "0" is [32], " 0" is [216, 32] and " 1" is [216, 33]:
after `Output:` both answers begin with token 216, and its probability tells nothing of which one follows. So prompt
and choice are put into tokens together, what all choices begin with counts as prompt, and a choice is scored by all
the tokens after that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from .errors import RequestError
from .request import Sampling
from .trie import Tokens, common_prefix


@dataclass(frozen=True, slots=True)
class ChoiceTokens:
    """What all choices begin with, prompt included, and what each has after it."""

    context: Tokens
    rests: tuple[Tokens, ...]


def choice_tokens(encoded: Sequence[Tokens], choices: Sequence[str]) -> ChoiceTokens:
    """Splits the tokens of prompt + choice, given for each choice, after their longest common beginning.

    Raises:
        RequestError: the choices share all tokens, one begins with all the tokens of another (their probabilities
            would overlap), or there is no token before them.
    """
    shared = min(common_prefix(encoded[0], other) for other in encoded[1:])
    if not shared:
        raise RequestError("choices need at least one token before them: the prompt is empty")
    rests = tuple(tokens[shared:] for tokens in encoded)
    order = sorted(range(len(rests)), key=lambda i: rests[i])
    # sorted, a sequence stands right before those that begin with it
    for one, other in pairwise(order):
        if rests[one] == rests[other]:
            raise RequestError(f"the choices {choices[one]!r} and {choices[other]!r} share all tokens")
        if rests[one] == rests[other][: len(rests[one])]:
            raise RequestError(
                f"the choice {choices[one]!r} is how {choices[other]!r} begins, token for token, so that they do not "
                "exclude one another: end every choice with a mark, such as a newline"
            )
    return ChoiceTokens(encoded[0][:shared], rests)


def cumulative(logprobs: Sequence[float], sampling: Sampling) -> Float[np.ndarray, " choices"]:
    """Cumulative probabilities of the choices alone, tempered and cut as `sampling` asks (no temperature means 1)."""
    return np.cumsum(probabilities(np.asarray(logprobs, dtype=np.float64), sampling))


def probabilities(logprobs: Float[np.ndarray, " n"], sampling: Sampling) -> Float[np.ndarray, " n"]:
    """Probabilities after temperature, top_k, top_p and min_p, in this order; they sum to 1."""
    temperature = 1.0 if sampling.temperature is None else sampling.temperature
    scaled = logprobs - logprobs.max()
    if temperature == 0:
        return (np.arange(len(scaled)) == scaled.argmax()).astype(np.float64)
    p = np.exp(scaled / temperature)
    p /= p.sum()
    if sampling.top_k is not None and sampling.top_k < len(p):
        p[p < np.partition(p, -sampling.top_k)[-sampling.top_k]] = 0
        p /= p.sum()
    if sampling.top_p is not None and sampling.top_p < 1:
        falling = np.sort(p)[::-1]
        # the fewest whose sum reaches top_p; the sum of all may fall short of it by rounding
        fewest = int(np.searchsorted(np.cumsum(falling), sampling.top_p))
        p[p < falling[min(fewest, len(falling) - 1)]] = 0
    if sampling.min_p is not None:
        p[p < sampling.min_p * p.max()] = 0
    return p / p.sum()


def pick(cumulated: Float[np.ndarray, " n"], u: float) -> int:
    """Where u in [0, 1) falls among cumulative probabilities; never on an index of probability 0."""
    total = cumulated[-1]
    return int(np.searchsorted(cumulated, min(u * total, np.nextafter(total, 0)), side="right"))
