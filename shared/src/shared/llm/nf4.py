"""Linear layers in 4-bit NormalFloat by bitsandbytes (QLoRA, arXiv 2305.14314, §3)."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn


def nf4_config(dtype: torch.dtype) -> Any:
    """transformers' settings for NF4 with double quantisation, products in `dtype`, embeddings and head left alone."""
    from transformers import BitsAndBytesConfig

    # On import bitsandbytes warns that it lacks a kernel for packed weights, which keep_differentiable rules out.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )


def keep_differentiable(model: nn.Module) -> None:
    """Keeps bitsandbytes from repacking 4-bit weights for inference on a CPU with AVX512-BF16 instructions.

    bitsandbytes 0.50 repacks a layer at its first forward in evaluation mode without gradients. From then on the
    layer computes in bfloat16 whatever its compute dtype, and passes no gradient to its input, in training mode
    either: one evaluation in the middle of a training run would end the training, without an error.
    """
    from bitsandbytes.nn import Linear4bit

    for module in model.modules():
        if isinstance(module, Linear4bit):
            module.support_avx512bf16_for_cpu = False
