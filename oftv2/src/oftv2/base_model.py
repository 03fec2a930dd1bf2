"""The frozen base: loaded for training, or built without its files for a dry run."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import nn

from shared.llm import ModelError, load_causal_lm

from .errors import OFTError
from .quant import keep_trainable
from .settings import LaunchSettings, ModelSettings


def load_base(model: ModelSettings, quant: str, launch: LaunchSettings) -> tuple[nn.Module, Any]:
    """(model, tokenizer), for diffusion (transformer, pipeline); the model in evaluation mode on this process's device.

    Raises:
        OFTError: it cannot be loaded as asked.
    """
    device = this_device(launch)
    if quant == "awq" and model.awq_path is None:
        raise OFTError(f"quant=awq needs a published AWQ variant, and model {model.name} has no awq_path")
    path = model.awq_path if quant == "awq" and model.awq_path else model.path
    try:
        if model.kind == "seq2seq":
            return _seq2seq(path, model, quant, device)
        if model.kind == "diffusion":
            from .diffusion import load_pipeline

            return load_pipeline(model, quant, device)
        base, tokenizer = load_causal_lm(
            path,
            dtype=model.dtype,
            device=device,
            revision=model.revision,
            quantization="nf4" if quant == "nf4" else None,
            attn_implementation=model.attention,
        )
    except ModelError as error:
        raise OFTError(str(error)) from error
    keep_trainable(base)
    return base, tokenizer


def _seq2seq(path: str, model: ModelSettings, quant: str, device: torch.device) -> tuple[nn.Module, Any]:
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, BitsAndBytesConfig

    options: dict[str, Any] = {"dtype": getattr(torch, model.dtype), "use_safetensors": True}
    if quant == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=options["dtype"],
        )
        options["device_map"] = {"": device}
    try:
        base = AutoModelForSeq2SeqLM.from_pretrained(path, revision=model.revision or "main", **options)
        tokenizer = AutoTokenizer.from_pretrained(path, revision=model.revision or "main")
    except (OSError, ValueError, ImportError) as error:
        raise OFTError(f"cannot load {path!r}: {str(error).strip().splitlines()[0]}") from error
    if quant != "nf4":
        base.to(device)
    keep_trainable(base)
    return base.eval(), tokenizer


def meta_model(model: ModelSettings) -> Any:
    """An `nn.Module` of the model's shapes on the meta device, from the sizes in its settings: no weights, no network.

    Raises:
        OFTError: no sizes are given, or its library is not installed.
    """
    sizes = dict(model.architecture)
    if not sizes:
        raise OFTError(f"model {model.name} has no architecture in its settings, which a dry run needs")
    kind = sizes.pop("model_type", None)
    with torch.device("meta"):
        if model.kind == "diffusion":
            from .diffusion import import_diffusers

            return import_diffusers().SD3Transformer2DModel(**sizes)
        from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

        config = AutoConfig.for_model(kind, **sizes)
        auto = AutoModelForSeq2SeqLM if model.kind == "seq2seq" else AutoModelForCausalLM
        return auto.from_config(config, dtype=getattr(torch, model.dtype))


def this_device(launch: LaunchSettings) -> torch.device:
    """The CPU, or this process's GPU under `accelerate launch`."""
    if launch.device == "cpu":
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
