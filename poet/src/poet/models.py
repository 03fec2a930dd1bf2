"""Llama models from sizes, as the paper trains them (Table 8)."""

from __future__ import annotations

from typing import Any

import torch

from .errors import PoetError
from .settings import ModelSettings

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16}


def llama_config(settings: ModelSettings, vocabulary: int | None = None) -> Any:
    """A transformers LlamaConfig: SiLU, rotary positions, RMS norm with eps 1e-6, untied head, initializer_range 0.02.

    Raises:
        PoetError: heads that do not divide the width, or a tokenizer larger than the embedding.
    """
    from transformers import LlamaConfig

    if settings.hidden % settings.heads:
        raise PoetError(f"model.heads={settings.heads} does not divide model.hidden={settings.hidden}")
    if vocabulary is not None and settings.vocabulary is not None and vocabulary > settings.vocabulary:
        raise PoetError(
            f"the tokenizer has {vocabulary} tokens and the embedding of model {settings.name} only "
            f"{settings.vocabulary} rows: raise model.vocabulary"
        )
    return LlamaConfig(
        vocab_size=settings.vocabulary or vocabulary or 32000,
        hidden_size=settings.hidden,
        intermediate_size=settings.mlp,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        num_key_value_heads=settings.heads,
        max_position_embeddings=settings.positions,
        rms_norm_eps=1e-6,
        initializer_range=0.02,
        tie_word_embeddings=False,
        use_cache=False,
        bos_token_id=None,
        eos_token_id=settings.eos,
        pad_token_id=settings.pad,
    )


def build_llama(settings: ModelSettings, vocabulary: int, seed: int) -> Any:
    """A freshly initialised model in `settings.dtype`; the same for a seed in every process."""
    from transformers import LlamaForCausalLM

    config = llama_config(settings, vocabulary)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = LlamaForCausalLM(config)
    return model.to(DTYPES[settings.dtype])
