"""Producers that hand their output over rotated, so that it need not be kept for backward.

SwiGLU    `down(silu(gate)·up)`: the product is rotated as it is made; backward makes it again from gate and up,
          which are kept anyway. Plain autograd keeps silu(gate) and the product besides.
RMSNorm   with `recompute_inputs`: the normalised x carries the recipe (h, weight, eps) by which a rotation that reads
          it can make it again in backward, so h and one number a token are all that is kept.

A module is fused only where its class computes, on a probe, exactly what is fused; others are left as they are.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .producers import rmsnorm_rotate, swiglu_rotate
from .slot import RotationSlot


class Fusion:
    """The fused modules of one model."""

    def __init__(self, model: nn.Module, *, swiglu: bool = True, recompute_inputs: bool = False):
        self._model = model
        self._swiglu = swiglu
        self._norms = recompute_inputs
        self._fused: list[nn.Module] = []
        self._verdicts: dict[tuple[type, Callable], bool] = {}

    def install(self) -> None:
        """Fuse what can be fused and is not yet."""
        for module in self._model.modules():
            if "forward" in module.__dict__ or not self._on_real_device(module):
                continue
            if self._swiglu and self._is(module, _is_swiglu):
                module.forward = partial(_swiglu_forward, module)
                self._fused.append(module)
            elif self._norms and self._is(module, _is_rmsnorm):
                module.forward = partial(_rmsnorm_forward, module)
                self._fused.append(module)

    def remove(self) -> None:
        for module in self._fused:
            module.__dict__.pop("forward", None)
        self._fused = []

    def _is(self, module: nn.Module, test: Callable[[nn.Module], bool]) -> bool:
        kind = (type(module), test)
        if kind not in self._verdicts:
            self._verdicts[kind] = test(module)
        return self._verdicts[kind]

    @staticmethod
    def _on_real_device(module: nn.Module) -> bool:
        first = next(module.parameters(), None)
        return first is not None and not first.is_meta


def single_slot(module: Any) -> RotationSlot | None:
    """The one rotation that a wrapped layer applies now, if it applies exactly one."""
    find = getattr(module, "single_slot", None)
    return find() if find is not None else None


def _swiglu_forward(mlp: Any, x: Tensor) -> Tensor:
    slot = single_slot(mlp.down_proj)
    if slot is None or not torch.is_grad_enabled() or torch.compiler.is_compiling() or _autocast(x):
        return type(mlp).forward(mlp, x)
    gate, up = mlp.gate_proj(x), mlp.up_proj(x)
    (rotated,) = swiglu_rotate(gate, up, [slot.rotation()])
    return mlp.down_proj.apply_base(rotated)


def _rmsnorm_forward(norm: Any, h: Tensor) -> Tensor:
    x = type(norm).forward(norm, h)
    if torch.is_grad_enabled() and h.requires_grad and not norm.weight.requires_grad and not _autocast(h):
        x.oft_recipe = partial(_normalised, h, norm.weight, norm.variance_epsilon)
    return x


def _normalised(h: Tensor, weight: Tensor, eps: float, Rs: list[Tensor]) -> list[Tensor]:
    return rmsnorm_rotate(h, weight, eps, Rs)


def _autocast(x: Tensor) -> bool:
    return torch.is_autocast_enabled(x.device.type)


def _is_swiglu(module: nn.Module) -> bool:
    """Whether the module is down(silu(gate(x))·up(x)), by its parts and by a probe."""
    parts: list[Any] = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    if not all(isinstance(part, nn.Module) for part in parts) or len(list(module.children())) != 4:
        return False
    gate, up, down = parts
    dtype = next(module.parameters()).dtype
    if not dtype.is_floating_point:
        dtype = torch.float32
    return _agrees(
        lambda x: type(module).forward(module, x),
        lambda x: down(torch.nn.functional.silu(gate(x)) * up(x)),
        getattr(gate, "in_features", 0),
        module,
        dtype,
    )


def _is_rmsnorm(module: nn.Module) -> bool:
    """Whether the module is weight·(h/rms(h)) with the mean of squares in float32, by its parts and by a probe."""
    weight, eps = getattr(module, "weight", None), getattr(module, "variance_epsilon", None)
    if not isinstance(weight, Tensor) or weight.ndim != 1 or eps is None or list(module.children()):
        return False

    def formula(h: Tensor) -> Tensor:
        wide = h.float()
        return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(h.dtype)

    return _agrees(lambda h: type(module).forward(module, h), formula, weight.numel(), module, weight.dtype)


def _agrees(theirs, ours, width: int, module: nn.Module, dtype: torch.dtype) -> bool:
    device = next(module.parameters()).device
    probe = torch.linspace(-1.5, 2.0, 3 * width, dtype=torch.float32).reshape(3, width).to(device, dtype)
    try:
        with torch.no_grad():
            return bool(torch.equal(theirs(probe), ours(probe)))
    except (RuntimeError, TypeError, AttributeError, ValueError):
        return False
