"""Text drawn from a causal language model, many draws at a time, each by a generator of its own.

A draw takes one uniform number a token and picks the token by inverting the cumulative distribution in the order of
the vocabulary, in float64. Which draws run beside it changes its logits by rounding alone, so it writes the same text
in any company, but for a uniform number that falls within rounding of a boundary.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from .choices import pick, probabilities
from .completion import TokenLogprob
from .errors import ModelError
from .request import Sampling
from .trie import Tokens

CELLS = 32_768  # places in the cache of keys and values at a time: rows × (prompt + completion)
CONTEXT = 6  # tokens of the prompt put before those decoded: some tokenizers drop a space at the very beginning


@dataclass(slots=True)
class Draw:
    """A completion to be written, and what is written of it so far."""

    prompt: Tokens
    sampling: Sampling
    limit: int  # tokens it may have
    random: np.random.Generator
    tokens: list[int] = field(default_factory=list)  # with the end token, if the model ends it
    text: str = ""
    finish: Literal["", "stop", "length"] = ""
    logprobs: list[TokenLogprob] = field(default_factory=list)  # where sampling.logprobs asks for them


class Generator:
    """Writes draws with a causal language model of transformers and its tokenizer.

    Args:
        rows: draws at a time; fewer where their prompts are long.
        cells: bound on rows × (prompt + completion) tokens.
    """

    def __init__(self, lm: Any, tokenizer: Any, *, rows: int = 32, cells: int = CELLS):
        self.lm, self.tokenizer, self.rows, self.cells = lm, tokenizer, rows, cells
        self.ends = end_tokens(lm, tokenizer)
        self._takes = inspect.signature(lm.forward).parameters
        if "past_key_values" not in self._takes:
            raise ModelError(f"{type(lm).__name__} keeps no keys and values by position, and cannot write here")

    @torch.inference_mode()
    def __call__(self, draws: Sequence[Draw]) -> None:
        """Writes all draws; those of one prompt share its prefill, and finished ones leave the batch.

        Raises:
            ModelError: the model's logits are not finite.
        """
        for group in self._groups(draws):
            self._write(group)

    def _groups(self, draws: Sequence[Draw]) -> Iterator[list[Draw]]:
        group: list[Draw] = []
        # of like length, so that little is padded; the longest first, so that what does not fit fails at once
        for draw in sorted(draws, key=lambda d: (-len(d.prompt), d.prompt)):
            longest = max(len(d.prompt) + d.limit for d in (*group, draw))
            if group and (len(group) == self.rows or longest * (len(group) + 1) > self.cells):
                yield group
                group = []
            group.append(draw)
        if group:
            yield group

    def _write(self, rows: list[Draw]) -> None:
        prompts = list(dict.fromkeys(d.prompt for d in rows))
        logits, mask, cache = self._prefill(prompts)
        at = torch.tensor([prompts.index(d.prompt) for d in rows], device=self.lm.device)
        logits, mask = logits[at], mask[at]
        cache.batch_select_indices(at)
        while True:
            self._extend(rows, logits)
            going = [i for i, d in enumerate(rows) if not d.finish]
            if not going:
                return
            if len(going) < len(rows):
                rows = [rows[i] for i in going]
                kept = torch.tensor(going, device=self.lm.device)
                mask = mask[kept]
                cache.batch_select_indices(kept)
            mask = torch.cat((mask, mask.new_ones(len(rows), 1)), dim=1)
            logits = self._last_logits(
                input_ids=torch.tensor([[d.tokens[-1]] for d in rows], device=self.lm.device),
                position_ids=mask.sum(1, keepdim=True) - 1,
                attention_mask=mask,
                past_key_values=cache,
            ).logits[:, -1]

    def _prefill(self, prompts: list[Tokens]) -> tuple[Float[Tensor, "prompts V"], Int[Tensor, "prompts L"], Any]:
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(p)) + list(p) for p in prompts], device=self.lm.device)
        lengths = torch.tensor([len(p) for p in prompts], device=self.lm.device)
        mask = (torch.arange(width, device=self.lm.device) >= width - lengths[:, None]).long()
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        output = self._last_logits(input_ids=ids, position_ids=positions, attention_mask=mask)
        return output.logits[:, -1], mask, output.past_key_values

    def _last_logits(self, **inputs: Any) -> Any:
        inputs |= {"use_cache": True, "logits_to_keep": 1}
        return self.lm(**{name: value for name, value in inputs.items() if name in self._takes})

    def _extend(self, rows: list[Draw], logits: Float[Tensor, "rows V"]) -> None:
        table = logits.double().cpu().numpy()
        if not np.isfinite(table.max(1)).all():
            raise ModelError(f"the logits of {self.lm.config.name_or_path!r} are not finite in {self.lm.dtype}")
        for draw, row in zip(rows, table, strict=True):
            token = pick(np.cumsum(probabilities(row, draw.sampling)), draw.random.random())
            draw.tokens.append(token)
            if draw.sampling.logprobs is not None:
                draw.logprobs.append(self._report(row, token, draw.sampling.logprobs))
            self._finish(draw, token)

    def _finish(self, draw: Draw, token: int) -> None:
        if token in self.ends:
            draw.finish = "stop"
        elif draw.sampling.stop and self._stopped(draw):
            draw.finish = "stop"
            whole = self.decode(draw.prompt, draw.tokens)
            draw.text = whole[: min(at for s in draw.sampling.stop if (at := whole.find(s)) >= 0)]
            return
        elif len(draw.tokens) >= draw.limit:
            draw.finish = "length"
        if draw.finish:
            draw.text = self.decode(draw.prompt, draw.tokens)

    def _stopped(self, draw: Draw) -> bool:
        # a new occurrence ends in the last token, and a token holds a byte or more
        reach = max(len(s.encode()) for s in draw.sampling.stop) + 1
        tail = self.decode((*draw.prompt[-CONTEXT:], *draw.tokens[:-reach]), draw.tokens[-reach:])
        return any(s in tail for s in draw.sampling.stop)

    def decode(self, before: Sequence[int], tokens: Sequence[int]) -> str:
        """The text of tokens as it stands after others; special tokens have none."""
        head = list(before[-CONTEXT:])
        start = self.tokenizer.decode(head, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        both = self.tokenizer.decode([*head, *tokens], skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return both[len(start) :]

    def _report(self, logits: Float[np.ndarray, " V"], token: int, alternatives: int) -> TokenLogprob:
        logprobs = logits - logits.max()
        logprobs -= np.log(np.exp(logprobs).sum())
        best = np.argsort(-logprobs, kind="stable")[:alternatives]
        top = tuple((self.tokenizer.decode([i]), float(logprobs[i])) for i in best)
        return TokenLogprob(self.tokenizer.decode([token]), float(logprobs[token]), top)


def end_tokens(lm: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens by which the model ends a completion: the tokenizer's and those of its generation config."""
    config = getattr(lm, "generation_config", None)
    listed = getattr(config, "eos_token_id", None)
    ends = {tokenizer.eos_token_id, *(listed if isinstance(listed, list | tuple) else [listed])}
    return frozenset(e for e in ends if e is not None)
