"""Small models for the tests."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from poet.models import build_llama
from poet.settings import ModelSettings

TINY = ModelSettings("tiny", hidden=16, mlp=32, heads=2, layers=2, positions=64, vocabulary=50)


def tiny_llama(seed: int = 0, dtype: torch.dtype = torch.float32, **sizes: Any) -> Any:
    settings = ModelSettings(**{**vars(TINY), **sizes})
    return build_llama(settings, settings.vocabulary or 50, seed).to(dtype)


def tokens(sequences: int = 4, length: int = 12, seed: int = 0, vocabulary: int = 50) -> torch.Tensor:
    return torch.randint(0, vocabulary, (sequences, length), generator=torch.Generator().manual_seed(seed))


def linear(m: int, n: int, bias: bool = False, dtype: torch.dtype = torch.float64, seed: int = 0) -> nn.Linear:
    torch.manual_seed(seed)
    return nn.Linear(n, m, bias=bias, dtype=dtype)


def turn(layer: Any, size: float = 0.1, seed: int = 0) -> None:
    """Give a layer's rotations some angle."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for Q in layer.Q:
            Q.copy_(size * torch.randn(Q.shape, generator=generator, dtype=torch.float64))
