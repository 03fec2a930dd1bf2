"""Greedy answers to many prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from .batching import pad_token_id, prompt_batch

Progress = Callable[[int, int], None]  # (answers so far, answers in all)


def greedy(
    model: nn.Module,
    tokenizer: Any,
    prompts: Sequence[Sequence[int]],
    *,
    max_new_tokens: int,
    batch_size: int = 50,
    beams: int = 1,
    progress: Progress | None = None,
) -> list[str]:
    """The model's answers, in the order of the prompts, without end and padding tokens.

    Prompts go in batches of similar length, padded on the left (on the right for an encoder-decoder). An answer ends
    with the end token, and a batch when all of its answers have.

    Args:
        prompts: token ids, template and all.
        beams: 1 for greedy decoding, more for beam search.
    """
    from transformers import GenerationConfig

    pad = pad_token_id(tokenizer)
    encoder_decoder = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
    # The model's own generation settings may sample; only what is named here holds.
    own = getattr(model, "generation_config", None)
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=beams,
        eos_token_id=getattr(own, "eos_token_id", None) or tokenizer.eos_token_id,
        pad_token_id=pad,
        decoder_start_token_id=getattr(own, "decoder_start_token_id", None),
    )
    device = next(model.parameters()).device
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    answers = [""] * len(prompts)
    training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = prompt_batch([prompts[i] for i in chosen], pad, left=not encoder_decoder).to(device)
            inputs = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
            with torch.no_grad():
                # generate() counts positions from the attention mask, so the first prompt token is always 0
                ids = model.generate(**inputs, generation_config=settings)  # type: ignore[operator]
            new = ids if encoder_decoder else ids[:, batch.input_ids.shape[1] :]
            for i, text in zip(chosen, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
                answers[i] = text.strip()
            if progress is not None:
                progress(min(start + batch_size, len(order)), len(order))
    finally:
        model.train(training)
    return answers
