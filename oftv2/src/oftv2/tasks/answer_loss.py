"""Cross-entropy of the target tokens, with the output head evaluated at those tokens only.

In short question-answer sequences most tokens belong to the prompt, and the head (hidden size times vocabulary) is a
fifth of a small model's work; at long contexts its logits are what fills the memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from ..errors import OFTError
from .batching import NO_LABEL, Batch

CHUNK = 2048  # positions whose logits exist at one time
# settings of models whose forward does more to the logits than apply the head
LOGIT_SETTINGS = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier")


def answer_loss(model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
    """(summed cross-entropy, number of tokens in the sum) over the batch's labels; differentiable, a scalar.

    The decoder runs over all positions, the head over those that predict a label. A model that is not of this plain
    shape (an encoder-decoder, or one that rescales its logits) runs whole. The sum is accumulated in float32.

    Raises:
        OFTError: the batch has no labels.
    """
    if batch.labels is None:
        raise OFTError("a loss needs a batch with labels")
    batch = batch.to(next(model.parameters()).device)
    assert batch.labels is not None
    encoder_decoder = getattr(getattr(model, "config", None), "is_encoder_decoder", False)
    labels = batch.labels if encoder_decoder else batch.labels[:, 1:]
    asked = labels != NO_LABEL
    targets = labels[asked]
    if len(targets) == 0:
        raise OFTError("no position of the batch has a label")
    inputs: dict[str, Any] = {"input_ids": batch.input_ids, "attention_mask": batch.attention_mask}
    if batch.position_ids is not None:
        inputs["position_ids"] = batch.position_ids

    body, head = decoder_and_head(model)
    if body is None or head is None:
        if encoder_decoder:
            inputs["labels"] = batch.labels
        logits = model(**inputs, use_cache=False).logits
        return _cross_entropy((logits if encoder_decoder else logits[:, :-1])[asked], targets), len(targets)
    hidden = body(**inputs, use_cache=False).last_hidden_state[:, :-1][asked]
    if len(targets) <= CHUNK:
        return _cross_entropy(head(hidden), targets), len(targets)
    total = hidden.new_zeros((), dtype=torch.float32)
    for part, wanted in zip(hidden.split(CHUNK), targets.split(CHUNK), strict=True):
        # Only the hidden states of a part are kept for backward; its logits are computed again there.
        total = total + checkpoint(lambda h, t: _cross_entropy(head(h), t), part, wanted, use_reentrant=False)
    return total, len(targets)


def decoder_and_head(model: nn.Module) -> tuple[nn.Module | None, nn.Module | None]:
    """The model without its head, and the head; (None, None) where logits are not simply head(decoder(x))."""
    config = getattr(model, "config", None)
    if config is None or getattr(config, "is_encoder_decoder", False):
        return None, None
    if any(getattr(config, name, None) not in (None, 1, 1.0) for name in LOGIT_SETTINGS):
        return None, None
    get_body, get_head = getattr(model, "get_decoder", None), getattr(model, "get_output_embeddings", None)
    body, head = (get() if get else None for get in (get_body, get_head))
    return (body, head) if body is not None and body is not model and head is not None else (None, None)


def mean_answer_loss(model: nn.Module, batches: list[Batch]) -> float:
    """Mean cross-entropy per target token, without gradients; the model's training mode is left as it was."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            sums = [answer_loss(model, batch) for batch in batches]
    finally:
        model.train(training)
    return sum(float(total) for total, _ in sums) / sum(count for _, count in sums)


def _cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(logits.float(), targets, reduction="sum")
