"""A frozen layer behind a learned rotation of its input.

    Linear      y = (x · R) Wᵀ + bias              merged: W Rᵀ
    Conv1D      y = (x · R) W + bias               merged: R W          (weights stored (in, out))
    Embedding   y = E[ids] · R                     merged: E R          (the output is rotated)
    Conv        y = conv(x, W Rᵀ) + bias           merged: W Rᵀ         (W flattened over channels and kernel)

A linear layer's weight is never touched, so whatever the wrapped module does (NF4, AWQ, plain) it goes on doing. A
convolution is rotated through its weight: an overlapping patch cannot be rotated in the image, and the weight's
rotation costs little beside the convolution. With `groups` > 1 the rotation acts on the inputs of one group and is the
same for all groups.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn

from shared.orthogonal import block_rotate_weight, packed_length, rotate

from .config import OFTConfig
from .errors import OFTError
from .groups import rotate_inputs
from .slot import RotationSlot


class OFTLayer(nn.Module):
    """What all wrapped layers share: the base layer, and per adapter packed parameters and their slot."""

    base_layer: Any  # a linear layer, an embedding or a convolution

    def __init__(self, base_layer: nn.Module, path: str):
        super().__init__()
        self.base_layer = base_layer
        self.path = path
        self.packed = nn.ParameterDict()
        self.rescale = nn.ParameterDict()
        self.slots: dict[str, RotationSlot] = {}
        self.active: tuple[str, ...] = ()
        self.merged: tuple[str, ...] = ()
        self.width = width_of(base_layer)

    def add_adapter(self, name: str, config: OFTConfig, blocks: tuple[int, int] | None = None) -> None:
        """Give this layer an adapter at the identity; `blocks` is (r, b), from the configuration where omitted."""
        r, b = blocks or config.blocks_of(self.width)
        if r * b != self.width:
            raise OFTError(f"{self.path}: {r} blocks of size {b} do not make up its width {self.width}")
        weight = some_tensor(self.base_layer)
        stored = 1 if config.block_share else r
        self.packed[name] = nn.Parameter(torch.zeros(stored, packed_length(b), device=weight.device))
        if config.rescale:
            self.rescale[name] = nn.Parameter(torch.ones(self.outputs, device=weight.device))
        self.slots[name] = RotationSlot(
            packed=lambda: self.packed[name],
            width=self.width,
            block_size=b,
            parameterization=config.parameterization,
            terms=config.terms,
            apply_dtype=apply_dtype(config, self.base_layer),
            dropout=config.block_dropout,
            training=lambda: self.training,
        )

    def remove_adapter(self, name: str) -> None:
        del self.packed[name], self.slots[name]
        if name in self.rescale:
            del self.rescale[name]
        self.active = tuple(n for n in self.active if n != name)

    @property
    def outputs(self) -> int:
        raise OFTError(f"{self.path}: a layer of type {type(self.base_layer).__name__} has no rescale vector")

    @property
    def weight(self) -> Tensor:
        return self.base_layer.weight

    @property
    def bias(self) -> Tensor | None:
        return getattr(self.base_layer, "bias", None)

    def _working(self) -> tuple[str, ...]:
        """Adapters to apply now; none once they are merged."""
        return () if self.merged else self.active

    def _scaled(self, y: Tensor, names: tuple[str, ...], bias: Tensor | None) -> Tensor:
        """OFTv1's factor on each output, which spares the bias."""
        for name in names:
            if name in self.rescale:
                factor = self.rescale[name].to(y.dtype)
                y = y * factor if bias is None else (y - bias) * factor + bias
        return y

    def rotated_weight(self, W: Tensor, names: tuple[str, ...]) -> Tensor:
        """The weight that makes the base layer do what the adapters do, in W's dtype.

        Active adapters a, b compose as `x·R_a·R_b`, so `W (R_a R_b)ᵀ = (W R_bᵀ) R_aᵀ`: the last comes first.
        """
        raise NotImplementedError

    def __deepcopy__(self, memo):
        raise OFTError(
            "a model with orthogonal adapters cannot be copied by deepcopy: copy the base, then load the saved adapter"
        )

    def extra_repr(self) -> str:
        blocks = ", ".join(f"{n}: {s.num_blocks} x {s.block_size}" for n, s in self.slots.items())
        return f"{blocks}; active={list(self.active)}"


class OFTLinear(OFTLayer):
    """A linear layer of any kind behind the rotation of its input. Shapes: x (..., in), y (..., out)."""

    @property
    def in_features(self) -> int:
        return self.width

    @property
    def out_features(self) -> int:
        return outputs_of(self.base_layer)

    @property
    def outputs(self) -> int:
        return self.out_features

    def forward(self, x: Tensor, *args, **kwargs) -> Tensor:
        names = self._working()
        if not names:
            return self.base_layer(x, *args, **kwargs)
        return self.apply_base(rotate_by([self.slots[name] for name in names], x), *args, **kwargs)

    def apply_base(self, rotated: Tensor, *args, **kwargs) -> Tensor:
        """The frozen layer on an input that is rotated already."""
        y = self.base_layer(rotated, *args, **kwargs)
        return self._scaled(y, self._working(), self.bias) if self.rescale else y

    def single_slot(self) -> RotationSlot | None:
        """The one rotation to apply now; None where there is none or there are several."""
        names = self._working()
        return self.slots[names[0]] if len(names) == 1 else None

    def rotated_weight(self, W: Tensor, names: tuple[str, ...]) -> Tensor:
        stored_in_out = is_conv1d(self.base_layer)
        with torch.no_grad():
            for name in reversed(names):
                R = full_rotation(self.slots[name], W.dtype)
                if stored_in_out:
                    W = block_rotate_weight(W, R, side="output")
                else:
                    W = block_rotate_weight(W, R, side="input")
                if name in self.rescale:
                    factor = self.rescale[name].to(W.dtype)
                    W = W * factor if stored_in_out else W * factor[:, None]
        return W


class OFTEmbedding(OFTLayer):
    """An embedding whose vectors are rotated. Shapes: ids (...), y (..., width)."""

    def forward(self, ids: Tensor) -> Tensor:
        y = self.base_layer(ids)
        for name in self._working():
            slot = self.slots[name]
            y = rotate(y, slot.rotation())
        return y

    def rotated_weight(self, W: Tensor, names: tuple[str, ...]) -> Tensor:
        with torch.no_grad():
            for name in names:
                W = rotate(W, full_rotation(self.slots[name], W.dtype), backend="torch")
        return W


class OFTConv(OFTLayer):
    """A convolution of one to three dimensions with rotated weights, any kernel, stride, padding, dilation, groups."""

    @property
    def outputs(self) -> int:
        return self.base_layer.out_channels

    def forward(self, x: Tensor) -> Tensor:
        names = self._working()
        if not names:
            return self.base_layer(x)
        base = self.base_layer
        W = base.weight.flatten(1)
        for name in reversed(names):
            W = block_rotate_weight(W, self.slots[name].rotation())
            if name in self.rescale:
                W = W * self.rescale[name].to(W.dtype)[:, None]
        return base._conv_forward(x, W.view_as(base.weight), base.bias)

    def rotated_weight(self, W: Tensor, names: tuple[str, ...]) -> Tensor:
        flat = W.flatten(1)
        with torch.no_grad():
            for name in reversed(names):
                flat = block_rotate_weight(flat, full_rotation(self.slots[name], W.dtype))
                if name in self.rescale:
                    flat = flat * self.rescale[name].to(W.dtype)[:, None]
        return flat.view_as(W)


def rotate_by(slots: list[RotationSlot], x: Tensor) -> Tensor:
    """`x · R_1 · R_2 ...` under autocast in its dtype; together with sibling layers where there is one rotation."""
    if torch.is_autocast_enabled(x.device.type):
        x = x.to(torch.get_autocast_dtype(x.device.type))
    if len(slots) == 1:
        slot = slots[0]
        if slot.group is not None and not torch.compiler.is_compiling():
            return slot.group.rotate(slot, x)
        return rotate_inputs(x, [slot.rotation()])[0]
    for slot in slots:
        x = rotate(x, slot.rotation())
    return x


def apply_dtype(config: OFTConfig, layer: nn.Module) -> torch.dtype:
    """The dtype in which R meets the activations: as set, else the one the layer computes in."""
    if config.rotation_dtype != "auto":
        return getattr(torch, config.rotation_dtype)
    computes = getattr(layer, "compute_dtype", None) or some_tensor(layer).dtype
    return computes if computes.is_floating_point else torch.float32


def some_tensor(layer: nn.Module) -> Tensor:
    """A parameter or buffer of a layer, for its device and dtype."""
    return next(itertools.chain(layer.parameters(), layer.buffers()))


def full_rotation(slot: RotationSlot, dtype: torch.dtype) -> Tensor:
    """R of a slot at inference, `(r or 1, b, b)`, built in float32 or float64 whatever it is applied in."""
    from .rotation import rotation_from

    wide = torch.float64 if dtype == torch.float64 else torch.float32
    with torch.no_grad():
        return rotation_from(slot.scaled().to(wide), slot.parameterization, slot.terms).to(dtype)


def is_conv1d(layer: Any) -> bool:
    """transformers' Conv1D (GPT-2), which stores its weight (in, out)."""
    return type(layer).__name__ == "Conv1D" and hasattr(layer, "nf")


def is_linear(layer: nn.Module) -> bool:
    """Any layer that maps `in_features` to `out_features`: plain, bitsandbytes, GPTQ, AWQ, Conv1D."""
    if is_conv1d(layer):
        return True
    return isinstance(getattr(layer, "in_features", None), int) and isinstance(
        getattr(layer, "out_features", None), int
    )


def width_of(layer: Any) -> int:
    """How many numbers the rotation of a layer acts on.

    Raises:
        OFTError: this kind of layer cannot be rotated.
    """
    if is_conv1d(layer):
        return layer.weight.shape[0]
    if isinstance(layer, nn.Embedding):
        return layer.embedding_dim
    if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    if is_linear(layer):
        return layer.in_features
    raise OFTError(
        f"a layer of type {type(layer).__name__} cannot be rotated: linear layers (quantised ones too), Conv1D, "
        "embeddings and 1- to 3-dimensional convolutions can"
    )


def outputs_of(layer: Any) -> int:
    return layer.nf if is_conv1d(layer) else layer.out_features


def wrap(layer: nn.Module, path: str) -> OFTLayer:
    """The wrapper for a layer of this kind."""
    width_of(layer)
    if isinstance(layer, nn.Embedding):
        return OFTEmbedding(layer, path)
    if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return OFTConv(layer, path)
    return OFTLinear(layer, path)
