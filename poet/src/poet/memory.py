"""Bytes that training holds: counted on real tensors, and forecast from shapes before anything is allocated.

Per m×n matrix, in numbers of parameters and AdamW's moments (POET Table 1, without gradients):

    AdamW    3mn              GaLore   mn + mr + 2nr  (m ≤ n)
    POET-FS  mn + 3b(b−1)     POET-BS  mn + 1.5(m+n)(b−1)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .config import PoetConfig
from .errors import PoetError
from .linear import poet_layers
from .wrap import linears, targeted, wrap

OPTIMIZERS = ("adamw", "muon", "galore", "lora", "skew_muon")


@dataclass(frozen=True)
class TensorBytes:
    """Bytes by what they are for."""

    parameters: int  # trained and frozen weights, and buffers
    gradients: int
    optimizer_state: int
    built_weights: int = 0  # R W P kept from one optimiser step to the next
    activations: int = 0  # a forecast only: what a plain Llama keeps for backward

    @property
    def total(self) -> int:
        return sum(asdict(self).values())


def measured_bytes(model: nn.Module, optimizers: Iterable[Optimizer]) -> TensorBytes:
    """Walk the tensors; each storage once. Gradients are those of the trained parameters, present or not."""
    held = {id(t): t for t in (*model.parameters(), *model.buffers())}
    trained = [p for p in model.parameters() if p.requires_grad]
    built = [layer._built[2] for layer in poet_layers(model) if layer._built is not None]
    return TensorBytes(
        sum(map(size, held.values())), sum(map(size, trained)), state_bytes(optimizers), sum(map(size, built))
    )


def state_bytes(optimizers: Iterable[Optimizer]) -> int:
    """Bytes of tensors in the optimizers' states, projection matrices of GaLore included."""
    total = 0
    for optimizer in optimizers:
        for state in optimizer.state.values():
            for value in state.values():
                value = getattr(value, "ortho_matrix", value)
                total += size(value) if isinstance(value, Tensor) else 0
    return total


def size(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()


def forecast_memory(
    model_config: Any,
    poet: PoetConfig | None = None,
    batch: int = 0,
    length: int = 0,
    dtype: torch.dtype = torch.float32,
    optimizer: str = "adamw",
    rank: int | None = None,
) -> TensorBytes:
    """Bytes of a training before it begins, from a transformers config: the model is built on the meta device.

    Args:
        poet: None for a plain model.
        batch, length: of a forward, for the activations; 0 leaves them out.
        optimizer: adamw, muon, galore, lora; for a POET model adamw or skew_muon (of Q).
        rank: of galore and lora.

    Raises:
        PoetError: an unknown optimizer, or galore and lora without a rank.
    """
    from transformers import AutoModelForCausalLM

    if optimizer not in OPTIMIZERS:
        raise PoetError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, not {optimizer!r}")
    if optimizer in ("galore", "lora") and not rank:
        raise PoetError(f"a forecast of {optimizer} needs its rank")
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(model_config, dtype=dtype)
    built = 0
    hidden: Mapping[int, Tensor] = {}
    if poet is not None:
        wrap(model, poet)
        layers = poet_layers(model)
        hidden = {id(q): q for layer in layers for q in layer.Q}
        width = torch.tensor([], dtype=dtype).element_size()
        keeps = poet.plan != "activation" and poet.base == "dense"
        built = sum(layer.out_features * layer.in_features * width for layer in layers) if keeps else 0
    else:
        everywhere = PoetConfig()
        hidden = {id(m.weight): m.weight for name, m in linears(model) if targeted(name, everywhere)}
    parameters = sum(size(t) for t in (*model.parameters(), *model.buffers()))
    gradients = state = 0
    for p in model.parameters():
        if not p.requires_grad:
            continue
        if id(p) not in hidden or optimizer == "adamw":
            gradients, state = gradients + size(p), state + 2 * size(p) + 4
        elif optimizer in ("muon", "skew_muon"):
            gradients, state = gradients + size(p), state + size(p)
        else:
            m, n = sorted(p.shape)
            r = min(rank or 0, m)
            if optimizer == "galore":
                gradients, state = gradients + size(p), state + p.element_size() * (m * r + 2 * n * r)
            else:
                lora = p.element_size() * r * (m + n)
                parameters, gradients, state = parameters + lora, gradients + lora, state + 2 * lora + 8
    return TensorBytes(parameters, gradients, state, built, activation_bytes(model_config, batch, length, dtype))


def activation_bytes(config: Any, batch: int, length: int, dtype: torch.dtype) -> int:
    """What a Llama keeps for backward, to within about a third: 8 tensors of the hidden width and 4 of the MLP's a
    layer and token, and the logits in float32."""
    tokens = batch * length
    width = torch.tensor([], dtype=dtype).element_size()
    a_layer = tokens * width * (8 * config.hidden_size + 4 * config.intermediate_size)
    return config.num_hidden_layers * a_layer + 8 * tokens * config.vocab_size


def table_numbers(m: int, n: int, *, b: int | None = None, full: bool = False, rank: int | None = None) -> float:
    """The formulas above, for one matrix: AdamW without b and rank, GaLore with a rank, POET with b."""
    if rank is not None:
        return m * n + min(m, n) * rank + 2 * max(m, n) * rank
    if b is None:
        return 3 * m * n
    return m * n + (3 * b * (b - 1) if full else 1.5 * (m + n) * (b - 1))
