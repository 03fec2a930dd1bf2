"""Training FLOPs with attention counted by the ones of the mask.

For each layer and token: 2 FLOPs a weight of the matrices, and 4·H·D for each visible key (scores and weighted values).
The paper reports FLOPs shares (Table 3) without its formula, so these do not have to agree with it to the digit.
"""

from __future__ import annotations

from typing import Any

from .errors import SepLLMError


def flops_per_token(config: Any, visible: float, training: bool = True) -> float:
    """FLOPs of a token that sees `visible` keys on the mean over layers.

    Args:
        config: a transformers config of a Llama-like decoder or of GPT-NeoX.
        training: with the backward pass, three times the forward.
    """
    config = config.get_text_config(decoder=True)
    layers, width, heads = config.num_hidden_layers, config.hidden_size, config.num_attention_heads
    head = getattr(config, "head_dim", None) or width // heads
    kv = getattr(config, "num_key_value_heads", None) or heads
    if config.model_type == "gpt_neox":
        projections = 4 * width * width
        mlp = 2 * width * config.intermediate_size
    elif hasattr(config, "intermediate_size"):
        projections = 2 * width * heads * head + 2 * width * kv * head
        mlp = 3 * width * config.intermediate_size  # gate, up, down
    else:
        raise SepLLMError(
            f"the matrices of model type {config.model_type!r} are not known here: llama-like or gpt_neox"
        )
    forward = layers * (2 * (projections + mlp) + 4 * heads * head * visible) + 2 * width * config.vocab_size
    return 3 * forward if training else forward


def kv_bytes_per_token(config: Any, element_bytes: int) -> int:
    """κ = 2 · layers · key/value heads · head size · bytes: what a kept token costs."""
    config = config.get_text_config(decoder=True)
    heads = config.num_attention_heads
    head = getattr(config, "head_dim", None) or config.hidden_size // heads
    return 2 * config.num_hidden_layers * (getattr(config, "num_key_value_heads", None) or heads) * head * element_bytes


def speedup_bound(weight_bytes: float, full_kv: float, kept_kv: float) -> float:
    """The most that decoding can gain where it is bound by bytes read: (W + full KV) / (W + kept KV)."""
    return (weight_bytes + full_kv) / (weight_bytes + kept_kv)
