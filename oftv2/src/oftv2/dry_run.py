"""What a run would be, without weights: shapes checked and parameters counted on the meta device."""

from __future__ import annotations

import torch
from torch import nn

from .base_model import meta_model
from .errors import OFTError
from .layers import OFTLayer
from .settings import Settings
from .trainee import Trainee, make_trainee


def dry_run(settings: Settings) -> list[dict[str, object]]:
    """A row for each method: layers adapted, parameters trained, and the recipe.

    A forward of eight tokens goes through every adapted model, so every product of its layers is checked.

    Raises:
        OFTError: shapes do not fit, or the count is not the one that the settings expect.
    """
    rows = []
    for method in settings.methods:
        model = meta_model(settings.model)
        base = sum(p.numel() for p in model.parameters())
        if method.name == "full":
            model.requires_grad_(True)
            trainee = Trainee("full", model)
        else:
            trainee = make_trainee(method, model, settings.model, settings.seed)
        check_forward(model, settings.model.kind)
        count = trainee.parameter_count
        family, standard = ("oft", 32) if method.oft is not None else ("lora", 16)
        size = method.oft.block_size if method.oft is not None else method.options.get("r")
        expected = settings.model.expected_parameters.get(family)
        comparable = size == standard and method.name not in ("dora", "boft", "full")
        if comparable and expected is not None and count != expected:
            raise OFTError(f"method {method.name} trains {count} parameters on {settings.model.name}, not {expected}")
        recipe = method.training
        rows.append(
            {
                "method": method.name,
                "base parameters": base,
                "trained": count,
                "layers": sum(isinstance(m, OFTLayer) for m in model.modules()) or _adapted(model),
                "as expected": "yes" if comparable and expected is not None else "not stated",
                "storage": method.quant,
                "learning rate": recipe.learning_rate,
                "length": f"{recipe.steps} steps" if recipe.steps is not None else f"{recipe.epochs:g} epochs",
                "batch": f"{recipe.batch_size} x {recipe.accumulation}",
            }
        )
    return rows


def check_forward(model: nn.Module, kind: str) -> None:
    """Eight tokens through a model of shapes; the outputs must have the vocabulary's width."""
    if kind == "diffusion":
        return
    tokens = torch.zeros(1, 8, dtype=torch.long, device="meta")
    inputs = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    if kind == "seq2seq":
        inputs["decoder_input_ids"] = tokens
    with torch.no_grad():
        logits = model(**inputs, use_cache=False).logits
    vocabulary = model.config.vocab_size
    if tuple(logits.shape) != (1, 8, vocabulary):
        raise OFTError(f"the adapted model answers in shape {tuple(logits.shape)}, not (1, 8, {vocabulary})")


def _adapted(model: nn.Module) -> int:
    return sum(hasattr(module, "base_layer") for module in model.modules())
