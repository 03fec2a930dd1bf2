"""What the loop trains and eval.py scores: a model with some parameters that learn, whatever the method."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from .config import OFTConfig
from .errors import OFTError
from .handle import AdapterHandle
from .inject import inject
from .io import Adapter, read_adapter, write_adapter
from .quant import dequantise
from .settings import MethodSettings, ModelSettings
from .v1 import Form, inject_v1


class Trainee:
    """A model under one method. Subclasses say which parameters learn and how they are stored."""

    def __init__(self, name: str, model: nn.Module):
        self.name = name
        self.model = model

    def named_parameters(self) -> dict[str, nn.Parameter]:
        return {name: p for name, p in self.model.named_parameters() if p.requires_grad}

    def parameters(self) -> list[nn.Parameter]:
        return list(self.named_parameters().values())

    @property
    def parameter_count(self) -> int:
        return sum(p.numel() for p in self.parameters())

    def finish_gradients(self) -> None:
        """Called after the last backward of a step, before clipping."""

    def after_step(self) -> None:
        """Called after the optimizer."""

    def collect(self) -> None:
        """Called in every process before the first one saves: what is sharded is gathered here."""

    def save(self, directory: Path) -> None:
        """Write what was trained into an existing folder."""
        raise NotImplementedError

    def load(self, directory: Path) -> None:
        raise NotImplementedError

    def updates(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        """(path, weight before, weight after) of every adapted layer, in float32, one at a time."""
        raise NotImplementedError


class OFTTrainee(Trainee):
    """OFTv2 and QOFT."""

    def __init__(self, name: str, model: nn.Module, handle: AdapterHandle):
        super().__init__(name, model)
        self.handle = handle

    def finish_gradients(self) -> None:
        self.handle.finish_gradients()

    def after_step(self) -> None:
        self.handle.after_step()

    def save(self, directory: Path) -> None:
        # PEFT has no series but its own: what it would store as another one is kept in our format.
        exact = self.handle.config().parameterization in ("cayley_neumann", "cayley_peft_exact")
        self.handle.save(directory, format="peft" if exact else "native")

    def load(self, directory: Path) -> None:
        self.handle.load(directory)

    @torch.no_grad()
    def updates(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        for path, layer in self.handle.layers().items():
            before = dequantise(layer.base_layer)
            yield path, before, layer.rotated_weight(before, ("default",))


class V1Trainee(Trainee):
    """The weight-centric original, dense as PEFT <= 0.15.2 has it unless `form` says blockwise."""

    def __init__(self, name: str, model: nn.Module, config: OFTConfig, form: Form = "dense"):
        targets = config.target_modules
        self.handle = inject_v1(model, config.block_size or 32, form, targets, config.parameterization)
        self.config = config
        super().__init__(name, model)

    def save(self, directory: Path) -> None:
        packed = {path: p.detach().cpu().contiguous() for path, p in self.handle.named_packed().items()}
        adapter = Adapter(self.config, packed, {}, {}, {}, source="native", notes=[])
        write_adapter(adapter, directory, "native")

    def load(self, directory: Path) -> None:
        stored = read_adapter(directory).packed
        for path, parameter in self.handle.named_packed().items():
            if path not in stored or stored[path].shape != parameter.shape:
                raise OFTError(f"the adapter in {directory} does not fit {path}")
            with torch.no_grad():
                parameter.copy_(stored[path])

    @torch.no_grad()
    def updates(self) -> Iterator[tuple[str, Tensor, Tensor]]:
        for path, layer in self.handle.layers().items():
            yield path, layer.base_layer.weight.float(), layer.rotated_weight().float()


def make_trainee(method: MethodSettings, model: nn.Module, base: ModelSettings, seed: int) -> Trainee:
    """Freeze `model` and put the method's trainable parameters into it, drawn from `seed`.

    Raises:
        OFTError: the method cannot be put on this model.
    """
    torch.manual_seed(seed)
    if method.name in ("oftv2", "qoft"):
        # One build a step pays where several forwards share it; block dropout draws anew in every forward.
        shared = method.training.accumulation > 1 and method.oft is not None and method.oft.block_dropout == 0
        return OFTTrainee(method.name, model, inject(model, method.oft, build="step" if shared else "graph"))
    if method.name == "oftv1":
        config = method.oft or OFTConfig(parameterization="cayley")
        return V1Trainee(method.name, model, config, method.options.get("form", "dense"))
    from .baselines import FullTrainee, PeftTrainee

    if method.name == "full":
        return FullTrainee(method.name, model)
    return PeftTrainee(method, model, base.target_modules)
