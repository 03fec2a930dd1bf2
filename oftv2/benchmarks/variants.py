"""The same decoder layers under each method: frozen, ours in its forms, PEFT's methods, the original OFT, full."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import peft
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaModel

from oftv2 import OFTConfig, inject
from oftv2.accelerate_peft import accelerate
from oftv2.v1 import inject_v1

BLOCK, RANK = 32, 16


@dataclass
class Shape:
    """Decoder layers to measure."""

    name: str
    hidden: int
    inner: int
    heads: int
    kv_heads: int
    layers: int

    def model(self, device: torch.device, dtype: torch.dtype) -> LlamaModel:
        torch.manual_seed(0)
        config = LlamaConfig(
            hidden_size=self.hidden,
            intermediate_size=self.inner,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            num_hidden_layers=self.layers,
            vocab_size=64,
        )
        return LlamaModel(config).to(device, dtype)


SMOLLM2 = Shape("SmolLM2-135M layers (d=576)", 576, 1536, 9, 3, 4)
WIDTHS = {
    1024: Shape("one layer, d=1024", 1024, 2816, 16, 4, 1),
    2048: Shape("one layer, d=2048", 2048, 5632, 32, 4, 1),
}
LLAMA3_8B = Shape("Llama-3-8B layers (d=4096)", 4096, 14336, 32, 8, 2)


class Variant:
    """A model under one method and its training step: forward and backward over the decoder layers."""

    def __init__(self, model: nn.Module, x: Tensor, after: Callable[[], None] | None = None):
        self.model = model
        self.body = model.get_base_model() if isinstance(model, peft.PeftModel) else model
        self.x = x
        self.after = after
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self._gradient = torch.ones_like(x)

    def forward(self) -> Tensor:
        return self.body(inputs_embeds=self.x.clone().requires_grad_(), use_cache=False).last_hidden_state

    def step(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None
        self.forward().backward(self._gradient)
        if self.after is not None:
            self.after()


def adapted(model: nn.Module, x: Tensor, **options) -> Variant:
    """A model under this package's adapter."""
    handle = inject(model, OFTConfig(block_size=BLOCK), **options)
    return Variant(model, x, handle.finish_gradients if options.get("build") == "step" else None)


def _v1(base: nn.Module, x: Tensor, form: str) -> Variant:
    model = copy.deepcopy(base)
    inject_v1(model, block_size=BLOCK, form=form)
    return Variant(model, x)


def _frozen(base: nn.Module, x: Tensor) -> Variant:
    return Variant(copy.deepcopy(base).requires_grad_(False), x)


def with_peft(model: nn.Module, x: Tensor, config: peft.PeftConfig) -> Variant:
    """A model under one of PEFT's adapters."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Variant(peft.get_peft_model(model, config), x)


def _peft_oft(base: nn.Module, x: Tensor) -> Variant:
    return with_peft(
        copy.deepcopy(base),
        x,
        peft.OFTConfig(oft_block_size=BLOCK, r=0, target_modules="all-linear", use_cayley_neumann=True),
    )


def _accelerated(base: nn.Module, x: Tensor) -> Variant:
    variant = _peft_oft(base, x)
    accelerate(variant.model)
    return variant


MAKERS: dict[str, Callable[[nn.Module, Tensor], Variant]] = {
    "frozen": _frozen,
    "OFTv2 (ours)": lambda base, x: adapted(copy.deepcopy(base), x),
    "OFTv2 (ours), recompute_inputs": lambda base, x: adapted(copy.deepcopy(base), x, recompute_inputs=True),
    "OFTv2 (ours), build=step": lambda base, x: adapted(copy.deepcopy(base), x, build="step"),
    "OFT (PEFT)": _peft_oft,
    "OFT (PEFT) accelerated": _accelerated,
    "LoRA (PEFT)": lambda base, x: with_peft(
        copy.deepcopy(base), x, peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")
    ),
    "DoRA (PEFT)": lambda base, x: with_peft(
        copy.deepcopy(base), x, peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear", use_dora=True)
    ),
    "BOFT (PEFT)": lambda base, x: with_peft(
        copy.deepcopy(base),
        x,
        peft.BOFTConfig(boft_block_size=BLOCK, boft_n_butterfly_factor=1, target_modules=_leaves(base)),
    ),
    "PSOFT (PEFT)": lambda base, x: with_peft(
        copy.deepcopy(base), x, peft.PsoftConfig(r=RANK, target_modules="all-linear")
    ),
    "OFTv1 dense": lambda base, x: _v1(base, x, "dense"),
    "OFTv1 blockwise": lambda base, x: _v1(base, x, "blockwise"),
    "full finetuning": lambda base, x: Variant(copy.deepcopy(base), x),
}


def _leaves(model: nn.Module) -> list[str]:
    return sorted({path.rpartition(".")[2] for path, m in model.named_modules() if isinstance(m, nn.Linear)})
