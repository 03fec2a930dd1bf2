"""Validation loss and what follows from it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IGNORED = -100


@dataclass(frozen=True)
class Batch:
    """Token ids (sequences, length), labels with −100 where nothing is predicted, and a mask where there is padding."""

    ids: Tensor
    labels: Tensor
    mask: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        mask = None if self.mask is None else self.mask.to(device)
        return Batch(self.ids.to(device), self.labels.to(device), mask)

    def rows(self, part: slice) -> Batch:
        return Batch(self.ids[part], self.labels[part], None if self.mask is None else self.mask[part])

    def predicted(self) -> int:
        return int((self.labels[:, 1:] != IGNORED).sum())


def summed_loss(model: Any, batch: Batch) -> Tensor:
    """Σ −log p of the predicted tokens, in nats; the softmax in float32 (float64 for a float64 model)."""
    logits = model(input_ids=batch.ids, attention_mask=batch.mask).logits[:, :-1]
    logits = logits if logits.dtype == torch.float64 else logits.float()
    return F.cross_entropy(logits.flatten(0, 1), batch.labels[:, 1:].flatten(), reduction="sum", ignore_index=IGNORED)


@torch.no_grad()
def evaluate(model: nn.Module, batches: Iterable[Batch], byte_lengths: Tensor | None = None) -> dict[str, Any]:
    """Loss, perplexity and bits per byte over fixed batches.

    loss                 Σ nll / number of predicted tokens
    bits_per_byte        Σ nll / (ln 2 · UTF-8 bytes of the predicted tokens)
    ppl_galore_protocol  exp(Σ of batch means / (batches + 1)): what the evaluation function of GaLore's scripts,
                         which the official POET code kept, prints; it is too low
    """
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    nll, tokens, size, means, each = 0.0, 0, 0, [], []
    for batch in batches:
        batch = batch.to(device)
        total, count = float(summed_loss(model, batch)), batch.predicted()
        nll, tokens = nll + total, tokens + count
        means.append(total / max(1, count))
        each.append([total, count])
        if byte_lengths is not None:
            labels = batch.labels[:, 1:].cpu()
            size += int(byte_lengths[labels[labels != IGNORED]].sum())
    model.train(training)
    loss = nll / tokens
    return {
        "loss": loss,
        "ppl": math.exp(min(loss, 700.0)),
        "bits_per_byte": nll / (math.log(2) * size) if size else None,
        "ppl_galore_protocol": math.exp(min(sum(means) / (len(means) + 1), 700.0)),
        "tokens": tokens,
        "batches": each,
    }
