"""Tiny random models in float64, and a tokenizer over single characters."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

VOCABULARY = 64
SEPARATORS = (3, 4, 5)


class ExactRotary(torch.nn.Module):
    """Rotary angles in float64: transformers forms them in float32, which shows when equal distances are compared."""

    rope_type = "default"

    def __init__(self, inv_freq: torch.Tensor):
        super().__init__()
        self.register_buffer("inv_freq", inv_freq.double())

    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        angle = position_ids[..., None].double() * self.inv_freq
        angle = torch.cat([angle, angle], -1)
        return angle.cos(), angle.sin()


@cache
def tiny(kind: str = "llama", layers: int = 2, attention: str = "sdpa") -> Any:
    """A causal language model with two layers and grouped queries (where its kind has them), in float64."""
    from transformers import (
        GPTNeoXConfig,
        GPTNeoXForCausalLM,
        LlamaConfig,
        LlamaForCausalLM,
        Qwen2Config,
        Qwen2ForCausalLM,
    )

    torch.manual_seed(0)
    common: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "max_position_embeddings": 4096,
        "attn_implementation": attention,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }
    if kind == "gpt_neox":
        model = GPTNeoXForCausalLM(GPTNeoXConfig(**common, rotary_pct=0.5))
    elif kind == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**common, num_key_value_heads=2))
    else:
        model = LlamaForCausalLM(LlamaConfig(**common, num_key_value_heads=2))
    model.generation_config.pad_token_id, model.generation_config.eos_token_id = 0, None
    # larger weights: attention is then far from uniform, and a wrong mask shows
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2 and "embed" not in name:
            torch.nn.init.normal_(parameter, std=0.25)
    decoder = model.get_decoder()
    decoder.rotary_emb = ExactRotary(decoder.rotary_emb.inv_freq)
    return model.double().eval()
