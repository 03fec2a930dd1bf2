"""What a caller holds after `inject`: the adapters of one model."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from shared.orthogonal import angle_bound, orthogonality_error, spectral_angle

from .bank import RotationBank
from .config import OFTConfig
from .errors import OFTError
from .fusion import Fusion
from .groups import find_groups
from .layers import OFTEmbedding, OFTLayer, full_rotation
from .rotation import project_to_ball
from .saved_tensors import SavedTensors
from .slot import RotationSlot

if TYPE_CHECKING:
    from .io import Adapter
    from .merge import MergeReport

ANGLE_WARNING = 0.5  # above this θ the Cayley-Neumann series is visibly no rotation any more


class AdapterHandle:
    """The adapters of one model. Made by `inject`; `AdapterHandle.of(model)` finds it again."""

    def __init__(self, model: nn.Module, *, build: str = "graph", fuse: bool = True, recompute_inputs: bool = False):
        self.model = model
        self.active: tuple[str, ...] = ()
        self.merged: tuple[str, ...] = ()
        self._configs: dict[str, OFTConfig] = {}
        self._layers: dict[str, dict[str, OFTLayer]] = {}
        self._saved = SavedTensors(model)
        self._kept: dict[str, tuple[Any, Tensor | None]] = {}  # what merging replaced, by path
        self._steps = 0
        self._warned = False
        self.bank = RotationBank(self._active_slots, build)
        self._hooks = self.bank.attach(*entry_points(model))
        self.bank.on_refresh(self._forget_groups)
        self._fusion = Fusion(model, swiglu=fuse, recompute_inputs=recompute_inputs)
        object.__setattr__(model, "_oft_handle", self)

    @staticmethod
    def of(model: nn.Module) -> AdapterHandle | None:
        return model.__dict__.get("_oft_handle")

    # -- what there is

    @property
    def names(self) -> list[str]:
        return list(self._configs)

    def config(self, name: str = "default") -> OFTConfig:
        self._check(name)
        return self._configs[name]

    def layers(self, name: str = "default") -> dict[str, OFTLayer]:
        """The wrapped layers of an adapter, by their path in the base model."""
        self._check(name)
        return dict(self._layers[name])

    def parameters(self, name: str | None = None) -> list[nn.Parameter]:
        """Trainable parameters of one adapter (of the active ones where omitted)."""
        found: list[nn.Parameter] = []
        for adapter in self.active if name is None else (name,):
            self._check(adapter)
            for layer in self._layers[adapter].values():
                found.append(layer.packed[adapter])
                if adapter in layer.rescale:
                    found.append(layer.rescale[adapter])
            found += self._saved.parameters(adapter)
        return found

    def parameter_count(self, name: str = "default") -> int:
        return sum(p.numel() for p in self.parameters(name))

    def rotations(self, name: str = "default") -> dict[str, Tensor]:
        """R of every layer, `(r or 1, b, b)` in float32, without gradient."""
        return {path: full_rotation(layer.slots[name], torch.float32) for path, layer in self.layers(name).items()}

    def report(self, name: str = "default") -> list[dict]:
        """A row for each layer: blocks, their largest θ = ‖Q‖₂, and the worst ‖RᵀR - I‖_F."""
        rows = []
        for path, layer in self.layers(name).items():
            slot = layer.slots[name]
            packed = slot.scaled().detach()
            rows.append(
                {
                    "module": path,
                    "blocks": slot.num_blocks,
                    "block_size": slot.block_size,
                    "theta_max": float(spectral_angle(packed).max()),
                    "orthogonality_error": float(orthogonality_error(full_rotation(slot, torch.float32)).max()),
                }
            )
        return rows

    # -- which adapters act, and how strongly

    def set_active(self, names: Sequence[str] | str) -> None:
        """Choose the adapters that act, in this order: the input meets the first one's rotation first.

        Several adapters may act together only where none of them trains modules whole.
        """
        names = (names,) if isinstance(names, str) else tuple(names)
        for name in names:
            self._check(name)
        if self.merged:
            raise OFTError("adapters are merged: call unmerge() before choosing others")
        owners = [name for name in names if self._saved.shapes(name)]
        if owners and len(names) > 1:
            raise OFTError(f"{owners[0]!r} trains modules whole (modules_to_save or biases) and cannot act with others")
        self.active = names
        for layers in self._layers.values():
            for layer in layers.values():
                layer.active = tuple(name for name in names if name in layer.slots)
        for name, layers in self._layers.items():
            for layer in layers.values():
                layer.packed[name].requires_grad_(name in names)
                if name in layer.rescale:
                    layer.rescale[name].requires_grad_(name in names)
        self._saved.switch(owners[0] if owners else None)
        self.bank.forget()
        self._forget_groups()

    @contextlib.contextmanager
    def disabled(self) -> Iterator[None]:
        """The base model, as it was, inside a `with`."""
        before = self.active
        self.set_active(())
        try:
            yield
        finally:
            self.set_active(before)

    def scale(self, name: str = "default", alpha: float = 1.0) -> None:
        """Strength of an adapter: rotations are built from alpha·Q, a path from I (0) through R (1).

        -1 gives the inverse (exactly so for `cayley`); below 1 backs off, which often recovers general ability at
        little cost.
        """
        self._check(name)
        if not (isinstance(alpha, (int, float)) and math.isfinite(alpha)):
            raise OFTError(f"the strength of adapter {name!r} must be a finite number, not {alpha!r}")
        if self.merged:
            raise OFTError("adapters are merged: call unmerge() before scaling")
        for layer in self._layers[name].values():
            layer.slots[name].alpha = float(alpha)
        self.bank.forget()

    # -- training

    def finish_gradients(self) -> None:
        """With `build="step"`: bring the collected gradients to the parameters. Call it before clipping."""
        self.bank.finish_gradients()

    def after_step(self) -> None:
        """Call it after the optimizer: keeps constrained adapters on their ball, and watches the angles."""
        for name in self.active:
            config = self._configs[name]
            if config.coft:
                self._project(name)
        if self._steps % 25 == 0 and not self._warned:
            self._watch_angles()
        self._steps += 1

    def _project(self, name: str) -> None:
        with torch.no_grad():
            for layer in self._layers[name].values():
                packed = layer.packed[name]
                packed.copy_(project_to_ball(packed, self._configs[name].eps))

    def _watch_angles(self) -> None:
        for name in self.active:
            if not self._configs[name].parameterization.startswith("cayley_neumann"):
                continue
            for path, layer in self._layers[name].items():
                packed = layer.packed[name].detach()
                if float(angle_bound(packed).max()) <= ANGLE_WARNING:  # cheap upper bound first
                    continue
                theta = float(spectral_angle(packed, iterations=20).max())
                if theta > ANGLE_WARNING:
                    self._warned = True
                    warnings.warn(
                        f"{path}: the largest angle of adapter {name!r} is θ = {theta:.2f}; above {ANGLE_WARNING} the "
                        "Cayley-Neumann series is no longer a rotation: lower the learning rate, or use "
                        "parameterization='cayley'",
                        stacklevel=3,
                    )
                    return

    # -- files

    def state(self, name: str = "default") -> Adapter:
        """Everything that makes up an adapter, on the CPU."""
        from .io import Adapter

        packed: dict[str, Tensor] = {}
        embeddings: dict[str, Tensor] = {}
        rescale: dict[str, Tensor] = {}
        for path, layer in self.layers(name).items():
            into = embeddings if isinstance(layer, OFTEmbedding) else packed
            into[path] = layer.packed[name].detach().cpu().contiguous()
            if name in layer.rescale:
                rescale[path] = layer.rescale[name].detach().cpu().contiguous()
        saved = {path: value.cpu().contiguous() for path, value in self._saved.values(name).items()}
        return Adapter(
            config=self._configs[name],
            packed=packed,
            embeddings=embeddings,
            rescale=rescale,
            saved=saved,
            source="native",
            notes=[],
        )

    def load_state(self, adapter: Adapter, name: str = "default", strict: bool = True) -> None:
        """Take over an adapter's values. Everything is checked before anything is changed.

        Raises:
            OFTError: shapes differ, values are missing or (with `strict`) left over, or the parameterization differs.
        """
        self._check(name)
        if self.merged:
            raise OFTError("adapters are merged: call unmerge() before loading")
        ours = self._configs[name]
        theirs = adapter.config
        if (ours.parameterization, ours.terms) != (theirs.parameterization, theirs.terms):
            raise OFTError(
                f"the adapter was made with {theirs.parameterization}({theirs.terms}) and would act differently under "
                f"{ours.parameterization}({ours.terms}): inject it with its own settings"
            )
        layers = self._layers[name]
        values = {**adapter.packed, **adapter.embeddings}
        saved = adapter.saved
        expected_saved = self._saved.shapes(name)
        missing = [p for p in (*layers, *expected_saved) if p not in values and p not in saved]
        extra = [p for p in (*values, *saved) if p not in layers and p not in expected_saved]
        extra += [p for p in adapter.rescale if p not in layers or name not in layers[p].rescale]
        if missing:
            raise OFTError(f"the adapter lacks parameters for {_few(missing)}")
        if extra and strict:
            raise OFTError(f"the adapter has parameters that this model does not take: {_few(extra)}")
        for path, layer in layers.items():
            if values[path].shape != layer.packed[name].shape:
                raise OFTError(
                    f"{path}: packed rotations of shape {tuple(values[path].shape)} do not fit, "
                    f"{tuple(layer.packed[name].shape)} is expected"
                )
        for path, shape in expected_saved.items():
            if saved[path].shape != shape:
                raise OFTError(f"{path}: shape {tuple(saved[path].shape)} does not fit, {tuple(shape)} is expected")
        with torch.no_grad():
            for path, layer in layers.items():
                layer.packed[name].copy_(values[path])
                if name in layer.rescale and path in adapter.rescale:
                    layer.rescale[name].copy_(adapter.rescale[path])
        self._saved.load(name, {p: saved[p] for p in expected_saved})
        if ours.coft:
            self._project(name)
        self.bank.forget()

    def save(self, directory: str | Path, name: str = "default", format: str = "peft") -> None:
        """Write an adapter folder, in PEFT's format (opened by `PeftModel.from_pretrained`) or our own."""
        from .io import write_adapter

        write_adapter(self.state(name), directory, format)

    def load(self, directory: str | Path, name: str = "default", strict: bool = True) -> None:
        """Load a folder in any format that `read_adapter` knows into an adapter that is there already."""
        from .io import read_adapter

        self.load_state(read_adapter(directory), name, strict)

    # -- merging

    def merge(
        self, names: Sequence[str] | None = None, into: str = "auto", keep_base: bool = True, untie: bool = False
    ) -> MergeReport:
        """Fold adapters into the weights; see merge.py."""
        from .merge import merge

        return merge(self, tuple(names) if names is not None else self.active, into, keep_base, untie)

    def unmerge(self) -> None:
        """Take merged adapters out of the weights again; see merge.py."""
        from .merge import unmerge

        unmerge(self)

    def remove(self, name: str) -> None:
        """Take one adapter out of the model. Layers stay wrapped; without an adapter they do what they wrap."""
        self._check(name)
        if self.merged:
            raise OFTError("adapters are merged: call unmerge() before removing one")
        self.set_active([n for n in self.active if n != name])
        for layer in self._layers.pop(name).values():
            layer.remove_adapter(name)
        self._saved.remove(name)
        del self._configs[name]

    def unload(self) -> nn.Module:
        """Remove the wrappers and return the plain model: the base, or the merged model after `merge()`."""
        if not self.merged:
            self.set_active(())
        for path, layer in [(p, m) for p, m in self.model.named_modules() if isinstance(m, OFTLayer)]:
            self.model.set_submodule(path, layer.base_layer)
        for hook in self._hooks:
            hook.remove()
        self._fusion.remove()
        self._configs, self._layers = {}, {}
        del self.model.__dict__["_oft_handle"]
        return self.model

    # -- inside

    def register(self, name: str, config: OFTConfig, layers: dict[str, OFTLayer], modules_to_save: list[str]) -> None:
        """Take a new adapter into the books and make it the active one. Called by `inject`."""
        self._configs[name] = config
        self._layers[name] = layers
        self._saved.add(name, self._saved_paths(config, layers, modules_to_save))
        for layer in layers.values():
            layer.slots[name].bank = self.bank
        find_groups({p: layer.slots[name] for p, layer in layers.items() if not isinstance(layer, OFTEmbedding)})
        self._fusion.install()
        self.set_active(name)

    def _saved_paths(self, config: OFTConfig, layers: dict[str, OFTLayer], modules: list[str]) -> list[str]:
        paths = [f"{m}.{p}" for m in modules for p, _ in self.model.get_submodule(m).named_parameters()]
        if config.bias == "all":
            paths += [p for p, _ in self.model.named_parameters() if p.rpartition(".")[2] == "bias"]
        elif config.bias == "oft_only":
            paths += [f"{path}.base_layer.bias" for path, layer in layers.items() if layer.bias is not None]
        return list(dict.fromkeys(paths))

    def _active_slots(self) -> list[RotationSlot]:
        return [layer.slots[name] for name in self.active for layer in self._layers[name].values()]

    def _forget_groups(self) -> None:
        for slot in self._active_slots():
            if slot.group is not None:
                slot.group.forget()

    def _check(self, name: str) -> None:
        if name not in self._configs:
            raise OFTError(f"there is no adapter named {name!r}; there are {', '.join(self._configs) or 'none'}")


def entry_points(model: nn.Module) -> list[nn.Module]:
    """The module itself and the decoder body that some losses call directly."""
    points = [model]
    for find in ("get_decoder", "get_encoder"):
        try:
            body = getattr(model, find, lambda: None)()
        except (AttributeError, NotImplementedError, ValueError):
            body = None
        if isinstance(body, nn.Module) and all(body is not p for p in points):
            points.append(body)
    return points


def _few(names: list[str]) -> str:
    shown = ", ".join(names[:10])
    return shown if len(names) <= 10 else f"{shown} and {len(names) - 10} more"
