"""Small models and adapters that several tests use."""

from __future__ import annotations

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from oftv2 import AdapterHandle

LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


def tiny_llama(dtype: torch.dtype = torch.float32, seed: int = 0, **changes) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    settings = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 128,
        "max_position_embeddings": 64,
    } | changes
    return LlamaForCausalLM(LlamaConfig(**settings)).to(dtype).eval()


def tokens(rows: int = 2, length: int = 9, seed: int = 1) -> torch.Tensor:
    return torch.randint(0, 128, (rows, length), generator=torch.Generator().manual_seed(seed))


def fill(parameters: list[nn.Parameter], scale: float = 0.05, seed: int = 2) -> None:
    """Random values, so that rotations are not the identity."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * scale)


def fill_adapter(handle: AdapterHandle, name: str = "default", scale: float = 0.05, seed: int = 2) -> None:
    fill([layer.packed[name] for layer in handle.layers(name).values()], scale, seed)


def gradients(model: nn.Module, parameters: list[nn.Parameter], ids: torch.Tensor) -> list[torch.Tensor]:
    for parameter in parameters:
        parameter.grad = None
    model(ids, labels=ids).loss.backward()
    return [parameter.grad.clone() for parameter in parameters]


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).detach().norm() / b.detach().norm())
