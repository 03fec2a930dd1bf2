"""What a run would be, without weights: shapes checked and parameters counted on the meta device."""

from __future__ import annotations

import torch
from torch import nn

from shared.orthogonal import rotate

from .base_model import meta_model
from .errors import OFTError
from .layers import OFTLayer
from .settings import Settings
from .trainee import Trainee, make_trainee


def dry_run(settings: Settings) -> list[dict[str, object]]:
    """A row for each method: layers adapted, parameters trained, and the recipe.

    Eight tokens go through every adapted layer, so every product is checked.

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
        layers = check_layers(model)
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
                "layers": layers,
                "as expected": "yes" if comparable and expected is not None else "not stated",
                "storage": method.quant,
                "learning rate": recipe.learning_rate,
                "length": f"{recipe.steps} steps" if recipe.steps is not None else f"{recipe.epochs:g} epochs",
                "batch": f"{recipe.batch_size} x {recipe.accumulation}",
            }
        )
    return rows


def check_layers(model: nn.Module) -> int:
    """Send eight tokens through every adapted layer; returns how many there are."""
    layers = {path: module for path, module in model.named_modules() if hasattr(module, "base_layer")}
    for path, layer in layers.items():
        base = layer.base_layer
        x = torch.empty(8, base.in_features, dtype=base.weight.dtype, device="meta")
        with torch.no_grad():
            if isinstance(layer, OFTLayer):
                # its forward asks for autocast, which the meta device does not know
                rotations = [slot.build() for slot in layer.slots.values()]
                y = base(rotate(x, rotations[0]))
            else:
                y = layer(x)
        if tuple(y.shape) != (8, base.out_features):
            raise OFTError(f"{path} answers in shape {tuple(y.shape)}, not (8, {base.out_features})")
    return len(layers)
