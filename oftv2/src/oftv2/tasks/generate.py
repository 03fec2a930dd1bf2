"""Greedy answers to many prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from .batching import Batch, pad_token_id, prompt_batch

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
    with the end token.

    Args:
        prompts: token ids, template and all.
        beams: 1 for greedy decoding, more for beam search.
    """
    pad = pad_token_id(tokenizer)
    encoder_decoder = bool(getattr(getattr(model, "config", None), "is_encoder_decoder", False))
    own = getattr(model, "generation_config", None)
    ends = getattr(own, "eos_token_id", None) or tokenizer.eos_token_id
    device = next(model.parameters()).device
    order = sorted(range(len(prompts)), key=lambda i: (len(prompts[i]), i))
    answers = [""] * len(prompts)
    training = model.training
    model.eval()
    try:
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            batch = prompt_batch([prompts[i] for i in chosen], pad, left=not encoder_decoder).to(device)
            with torch.no_grad():
                if encoder_decoder or beams > 1:
                    new = _generate(model, batch, pad, ends, max_new_tokens, beams)
                else:
                    new = _greedy_rows(model, batch, ends, max_new_tokens)
            for i, text in zip(chosen, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True):
                answers[i] = text.strip()
            if progress is not None:
                progress(min(start + batch_size, len(order)), len(order))
    finally:
        model.train(training)
    return answers


def _generate(model: Any, batch: Batch, pad: int, ends: Any, max_new_tokens: int, beams: int) -> list[list[int]]:
    """By transformers: for encoder-decoders and beam search."""
    from transformers import GenerationConfig

    # The model's own generation settings may sample; only what is named here holds.
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens,
        do_sample=False,
        num_beams=beams,
        eos_token_id=ends,
        pad_token_id=pad,
        decoder_start_token_id=getattr(getattr(model, "generation_config", None), "decoder_start_token_id", None),
    )
    ids = model.generate(input_ids=batch.input_ids, attention_mask=batch.attention_mask, generation_config=settings)
    start = 0 if model.config.is_encoder_decoder else batch.input_ids.shape[1]
    return ids[:, start:].tolist()


def _greedy_rows(model: Any, batch: Batch, ends: int | list[int], max_new_tokens: int) -> list[list[int]]:
    """Greedy tokens of a batch padded on the left. Finished rows leave it, which generate() goes on computing."""
    from transformers import DynamicCache

    ids, mask = batch.input_ids, batch.attention_mask
    positions = (mask.cumsum(-1) - 1).clamp(min=0)  # the first token of a prompt is at 0
    stops = torch.tensor([ends] if isinstance(ends, int) else ends, device=ids.device)
    cache = DynamicCache(config=model.config)
    rows = torch.arange(len(ids), device=ids.device)
    found: list[list[int]] = [[] for _ in rows]
    for _ in range(max_new_tokens):
        out = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        new = out.logits[:, -1].argmax(-1)
        for row, token in zip(rows.tolist(), new.tolist(), strict=True):
            found[row].append(token)
        alive = (~torch.isin(new, stops)).nonzero()[:, 0]
        if len(alive) == 0:
            break
        positions = positions[:, -1:] + 1
        ids = new[:, None]
        if len(alive) < len(rows):
            cache.batch_select_indices(alive)
            rows, ids, mask, positions = rows[alive], ids[alive], mask[alive], positions[alive]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], dim=1)
    return found
