"""The weight that a linear layer applies, whatever trains it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .distributed import whole
from .linear import PoetLinear


def is_lora(module: Any) -> bool:
    return hasattr(module, "get_delta_weight") and hasattr(module, "get_base_layer")


@torch.no_grad()
def effective_weight(module: nn.Module) -> Tensor | None:
    """(m, n) of a POET layer, a PEFT LoRA layer or a plain linear layer; None of anything else."""
    if isinstance(module, PoetLinear):
        return module.weight_effective()
    if is_lora(module):
        layer: Any = module
        weight = whole(layer.get_base_layer().weight)
        for name in layer.active_adapters:
            weight = weight + layer.get_delta_weight(name).to(weight.dtype)
        return weight
    return whole(module.weight).detach() if isinstance(module, nn.Linear) else None


def effective_weights(model: nn.Module, exclude: tuple[str, ...] = ("lm_head",)) -> dict[str, Tensor]:
    """All of them by name, without those inside an adapter and without the excluded ones."""
    found: dict[str, Tensor] = {}
    adapters = tuple(f"{name}." for name, module in model.named_modules() if is_lora(module))
    for name, module in model.named_modules():
        if name.startswith(adapters) or name.rpartition(".")[2] in exclude:
            continue
        weight = effective_weight(module)
        if weight is not None:
            found[name] = weight
    return found
