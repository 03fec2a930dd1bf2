"""The methods to compare with, as PEFT implements them, and training of all weights."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from .checkpoint import gathered
from .config import OFTConfig
from .errors import OFTError
from .quant import dequantise
from .settings import MethodSettings
from .targets import find_targets
from .trainee import Trainee


class PeftTrainee(Trainee):
    """LoRA, QLoRA, DoRA, BOFT, or OFTv2 as PEFT has it, on the same layers that OFT would rotate.

    `options` are the fields of PEFT's own config (r, lora_alpha, boft_block_size, ...).
    """

    def __init__(self, method: MethodSettings, model: nn.Module, target_modules: str | tuple[str, ...]):
        import peft

        options: dict[str, Any] = dict(method.options)
        options["target_modules"] = list(find_targets(model, OFTConfig(target_modules=target_modules)))
        kind = {"boft": peft.BOFTConfig, "oft_peft": peft.OFTConfig}.get(method.name, peft.LoraConfig)
        if method.name == "dora":
            options["use_dora"] = True
        meta = next(model.parameters()).is_meta
        if meta and method.name == "boft":
            raise OFTError("PEFT's BOFT computes permutations while it is built, so method boft has no dry run")
        try:
            config = kind(**options)
            with warnings.catch_warnings(), torch.device("meta") if meta else contextlib.nullcontext():
                # transformers has renamed an attribute that PEFT still asks for
                warnings.simplefilter("ignore", FutureWarning)
                self.wrapped = peft.get_peft_model(model, config)
        except (TypeError, ValueError) as error:
            raise OFTError(f"method {method.name} cannot be put on this model: {first_line(error)}") from error
        # PEFT replaces layers inside `model` itself, which therefore stays the thing to call.
        super().__init__(method.name, model)

    def save(self, directory: Path) -> None:
        self.wrapped.save_pretrained(directory, safe_serialization=True, save_embedding_layers=False)

    def load(self, directory: Path) -> None:
        import peft

        path = directory / "adapter_model.safetensors"
        if not path.is_file():
            raise OFTError(f"there is no adapter in {directory}: {path.name} is missing")
        outcome: Any = peft.set_peft_model_state_dict(self.wrapped, load_file(path))
        if outcome.unexpected_keys:
            raise OFTError(f"{path} has parameters that this model does not take: {outcome.unexpected_keys[0]}")

    @torch.no_grad()
    def updates(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        for path, module in self.model.named_modules():
            if hasattr(module, "get_delta_weight") and hasattr(module, "lora_A") and len(module.lora_A):
                if self.name == "dora":
                    raise OFTError("DoRA also rescales its layers, and has no additive update to measure")
                before = dequantise(module.base_layer)
                yield path, before, before + module.get_delta_weight("default").float()


class FullTrainee(Trainee):
    """Every weight is trained."""

    def __init__(self, name: str, model: nn.Module):
        super().__init__(name, model)
        self.tensors: dict[str, Tensor] = {}
        for parameter in model.parameters():
            if not parameter.is_floating_point():
                raise OFTError("method full trains the weights themselves, and some are quantised")
            parameter.requires_grad_(True)

    def collect(self) -> None:
        whole = {name: gathered(p.detach()) for name, p in self.model.named_parameters()}
        self.tensors = {name: tensor.cpu().contiguous() for name, tensor in whole.items()}

    def save(self, directory: Path) -> None:
        # parameters come without duplicates, so tied weights are stored once
        save_file(self.tensors, directory / "model.safetensors")

    def load(self, directory: Path) -> None:
        path = directory / "model.safetensors"
        if not path.is_file():
            raise OFTError(f"there are no weights in {directory}: {path.name} is missing")
        for name, tensor in load_file(path).items():
            with torch.no_grad():
                self.model.get_parameter(name).copy_(tensor)


def first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
