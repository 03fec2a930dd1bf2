"""From a plain model to a POET model and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from .config import PoetConfig
from .distributed import is_sharded
from .errors import PoetError
from .linear import PoetLinear, poet_layers
from .primitives import Indivisible


@dataclass
class WrapReport:
    """What `wrap` did."""

    layers: dict[str, tuple[int, int]] = field(default_factory=dict)  # name -> (m, n) of each POET layer
    skipped: dict[str, str] = field(default_factory=dict)  # name -> why a linear layer is trained as it is
    rotation_parameters: int = 0  # trained numbers in the POET layers, without biases
    other_parameters: int = 0  # trained numbers elsewhere

    def sentence(self) -> str:
        text = (
            f"{len(self.layers)} POET layers with {self.rotation_parameters:,} trained numbers in rotations and "
            f"{self.other_parameters:,} elsewhere"
        )
        return text + "".join(f"; {name}: {why}" for name, why in self.skipped.items())


def wrap(model: nn.Module, config: PoetConfig) -> WrapReport:
    """Turn the chosen linear layers into POET layers, in place. Everything else keeps training as it was.

    With `init="keep"` the model computes what it did before; other schemes draw new weights for the wrapped layers.

    Raises:
        PoetError: already wrapped, nothing to wrap, a tied or half-precision layer among the targets, or block sizes
            that do not fit (with `on_indivisible="error"`).
    """
    if poet_layers(model):
        raise PoetError("the model is wrapped already: unwrap it first")
    report = WrapReport()
    chosen = [(name, module) for name, module in linears(model) if targeted(name, config)]
    if not chosen:
        raise PoetError(f"no linear layer of the model matches targets {config.targets} outside {config.exclude}")
    tied = tied_weights(model)
    made: list[tuple[str, PoetLinear]] = []
    for name, linear in chosen:
        if id(linear.weight) in tied:
            raise PoetError(
                f"{name} shares its weight with {tied[id(linear.weight)]} and cannot be rotated: exclude it"
            )
        try:
            made.append((name, PoetLinear(linear, config, name)))
        except Indivisible as error:
            if config.on_indivisible != "dense":
                raise
            report.skipped[name] = f"trained as a plain linear layer, as {error}"
    for name, layer in made:
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, layer)
        report.layers[name] = (layer.out_features, layer.in_features)
    report.rotation_parameters = sum(q.numel() for _, layer in made for q in layer.Q)
    report.other_parameters = sum(p.numel() for p in model.parameters() if p.requires_grad) - report.rotation_parameters
    return report


def unwrap(model: nn.Module) -> nn.Module:
    """The same model with plain linear layers that hold the effective weights; in place.

    Raises:
        PoetError: the weights are sharded (gather them first: `save_merged` does).
    """
    for name, layer in [(n, m) for n, m in model.named_modules() if isinstance(m, PoetLinear)]:
        if any(is_sharded(p) for p in layer.parameters()):
            raise PoetError(f"{name} is sharded over processes: save with save_merged and load the folder instead")
        linear = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        linear.weight = nn.Parameter(layer.weight_effective())
        if layer.bias is not None:
            linear.bias = layer.bias
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, linear)
    return model


def linears(model: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Linear layers with their names."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear):
            yield name, module


def targeted(name: str, config: PoetConfig) -> bool:
    last = name.rpartition(".")[2]
    if last in config.exclude or name in config.exclude:
        return False
    return config.targets is None or last in config.targets or name in config.targets


def tied_weights(model: nn.Module) -> dict[int, str]:
    """id of a weight -> the first other module that holds it too."""
    holders: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        weight: Any = getattr(module, "weight", None)
        if isinstance(weight, torch.Tensor):
            holders.setdefault(id(weight), []).append(name)
    return {key: names[0] for key, names in holders.items() if len(names) > 1}
