"""Perplexity of proofs under a prover (paper Fig. 6b): exp of the mean negative log-likelihood of the proof's tokens.

Comments are easy to predict and dilute the mean, so the perplexity of code tokens alone is given beside the paper's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..lean.lexer import lex


@dataclass(frozen=True)
class Perplexity:
    """Over all tokens of the proof and over those that touch code, with their numbers."""

    all: float
    code: float
    tokens: int
    code_tokens: int


def code_mask(spans: Sequence[tuple[int, int]], proof: str) -> np.ndarray:
    """Which spans (start, end) of the proof's text touch a Lean token, and not only blanks and comments."""
    code = np.zeros(len(proof) + 1, bool)
    for token in lex(proof).tokens:
        code[token.start : token.end] = True
    return np.array([bool(code[a:b].any()) for a, b in spans])


def perplexity(logprobs: Sequence[float], mask: np.ndarray) -> Perplexity:
    nll = -np.asarray(logprobs)
    inside = nll[mask]
    return Perplexity(
        float(np.exp(nll.mean())), float(np.exp(inside.mean())) if inside.size else float("nan"), nll.size, inside.size
    )


def proof_logprobs(lm: Any, tokenizer: Any, prompt: str, proof: str) -> tuple[np.ndarray, list[tuple[int, int]]]:
    """Log-probabilities of the proof's tokens after the prompt, and their places in the proof.

    Prompt and proof are put into tokens together; a token across the border counts as prompt.
    """
    import torch

    encoded = tokenizer(prompt + proof, return_offsets_mapping=True, add_special_tokens=False)
    ids, offsets = encoded["input_ids"], encoded["offset_mapping"]
    first = next(i for i, (a, _) in enumerate(offsets) if a >= len(prompt))
    with torch.inference_mode():
        logits = lm(input_ids=torch.tensor([ids])).logits[0, first - 1 : -1].double()
    targets = torch.tensor(ids[first:])
    values = torch.log_softmax(logits, -1).gather(1, targets[:, None])[:, 0].numpy()
    return values, [(a - len(prompt), b - len(prompt)) for a, b in offsets[first:]]
