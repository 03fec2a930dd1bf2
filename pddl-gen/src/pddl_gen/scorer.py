"""S (eq. 1, 2): the log-likelihood of an answer, under a local model by teacher forcing where the writer reports none.

p_t(w) = exp(logit(w) / tau) / sum_v exp(logit(v) / tau);  S = sum_t log p_t(w_t) over the answer's tokens: headings
and fences count, the prompt and the end token do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from .errors import PDDLGenError

KINDS = ("raw", "tempered", "scorer", "none")  # whose log-probabilities a sum holds
SCORES = ("sum", "mean", "power")


@dataclass(frozen=True, slots=True)
class Likelihood:
    """S in nats, L in tokens, and whose probabilities they are."""

    total: float
    tokens: int
    kind: str

    def value(self, score: str = "sum", alpha: float = 0.6) -> float:
        """S, S / L, or S / L^alpha. A sum favours short answers.

        Raises:
            PDDLGenError: another score.
        """
        if score not in SCORES:
            raise PDDLGenError(f"method.bon.score must be one of {', '.join(SCORES)}, not {score!r}")
        exponent = {"sum": 0.0, "mean": 1.0, "power": alpha}[score]
        return self.total / max(self.tokens, 1) ** exponent


class LocalScorer:
    """Teacher forcing by a causal language model.

    Args:
        model: what shared.llm.load_causal_lm takes.
        temperature: tau of eq. 1; 1 is the model's own distribution.
    """

    def __init__(self, model: str = "smollm2-135m-instruct", *, temperature: float = 0.7, lm: Any = None) -> None:
        if not (isinstance(temperature, int | float) and math.isfinite(temperature) and temperature > 0):
            raise PDDLGenError(f"the scorer's temperature must be a number above 0, not {temperature!r}")
        from shared.llm.scoring import Scorer

        if lm is None:
            from shared.llm import load_causal_lm

            lm = load_causal_lm(model)
        self.lm, self.tokenizer = lm
        self.model, self.temperature = model, temperature
        self._scorer = Scorer(self.lm)

    def tokens(self, prompt: str, answer: str) -> tuple[tuple[int, ...], int]:
        """Prompt (in the chat template) and answer as tokens, and where the answer begins."""
        if getattr(self.tokenizer, "chat_template", None):
            head = self.tokenizer.apply_chat_template(
                [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
            )
        else:
            head = prompt
        first = self.tokenizer(head, add_special_tokens=False)["input_ids"]
        rest = self.tokenizer(answer, add_special_tokens=False)["input_ids"]
        return (*first, *rest), len(first)

    def __call__(self, prompt: str, answers: Sequence[str]) -> list[Likelihood | None]:
        """S of each answer to one prompt; None for an answer without tokens. The prompt is computed once."""
        from shared.llm.scoring import Scored

        pairs = [self.tokens(prompt, answer) for answer in answers]
        full = [Scored(tokens, start) for tokens, start in pairs if len(tokens) > start]
        hook = self.lm.register_forward_hook(self._temper)
        try:
            sums = iter([float(v.sum()) for v in self._scorer(full)])
        finally:
            hook.remove()
        return [Likelihood(next(sums), len(t) - s, "scorer") if len(t) > s else None for t, s in pairs]

    def _temper(self, module: Any, inputs: Any, output: Any) -> Any:
        output.logits = output.logits / self.temperature
        return output
