"""One optimizer for a POET model: AdamW or Skew-Muon for the rotations, AdamW for the rest, and the merges.

Skew-Muon orthogonalises the momentum of each skew-symmetric block by the odd quintic of Muon, which keeps it skew
exactly; `poet_lr` is then the half-angle θ that every plane of every block turns in a step. It holds one moment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shared.orthogonal import pack_skew, unpack_skew

from .distributed import local
from .errors import PoetError, number, one_of, whole
from .linear import MergeStats, poet_layers
from .merge import beyond_trust, merge_layers

QUINTIC = (3.4445, -4.7750, 2.0315)  # Muon's coefficients: singular values go to 0.7 ... 1.2 in five steps
Q_OPTIMIZERS = ("adamw", "skew_muon")


def auto_poet_lr(block: int) -> float:
    """The paper's rule (Tables 9 and 10): independent of the model's size, 0.256/b for POET-BS."""
    return 0.256 / block


def param_groups(
    model: nn.Module, *, poet_lr: float, base_lr: float, weight_decay: float = 0.01, q_optimizer: str = "adamw"
) -> list[dict[str, Any]]:
    """Rotations at `poet_lr` without decay; other matrices at `base_lr` with decay; vectors at `base_lr` without."""
    rotations = [q for layer in poet_layers(model) for q in layer.Q]
    known = {id(q) for q in rotations}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    groups: list[dict[str, Any]] = [
        {"params": rotations, "lr": poet_lr, "weight_decay": 0.0, "kind": "rotation", "q_optimizer": q_optimizer},
        {"params": [p for p in rest if p.ndim >= 2], "lr": base_lr, "weight_decay": weight_decay, "kind": "base"},
        {"params": [p for p in rest if p.ndim < 2], "lr": base_lr, "weight_decay": 0.0, "kind": "base"},
    ]
    return [group for group in groups if group["params"]]


class PoetOptimizer(torch.optim.AdamW):
    """AdamW that also merges: `step()` counts from 1, and after a step s with s % T_m == 0 every layer is merged and
    the optimizer's state of Q reset; layers outside their trust region are merged early. `events` holds the merges of
    the last step. Works with torch's and transformers' schedulers, and without POET layers is AdamW bit for bit.

    Raises:
        PoetError: a learning rate that is not positive and finite, or another value that is not allowed.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        poet_lr: float | None = None,
        base_lr: float = 1e-2,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        q_optimizer: str = "adamw",
        momentum: float = 0.95,
        post_merge_warmup: int = 0,
    ):
        """
        Args:
            poet_lr: of Q; None is the paper's rule 0.256/b. For skew_muon the half-angle of a step.
            post_merge_warmup: steps over which the rate of Q rises again after a merge.
        """
        self.layers = poet_layers(model)
        one_of("q_optimizer", q_optimizer, Q_OPTIMIZERS)
        if poet_lr is None:
            if q_optimizer == "skew_muon":
                raise PoetError("the rule poet_lr = 0.256/b is AdamW's: give poet_lr for skew_muon, for example 0.02")
            poet_lr = auto_poet_lr(max((b for layer in self.layers for b in layer.sizes), default=256))
        number("poet_lr", poet_lr, above=0)
        number("base_lr", base_lr, above=0)
        number("weight_decay", weight_decay, least=0)
        number("momentum", momentum, least=0, upto=1)
        whole("post_merge_warmup", post_merge_warmup, 0)
        groups = param_groups(
            model, poet_lr=poet_lr, base_lr=base_lr, weight_decay=weight_decay, q_optimizer=q_optimizer
        )
        self.events: list[MergeStats] = []
        super().__init__(groups, lr=base_lr, betas=betas, eps=eps, weight_decay=weight_decay)
        for group in self.param_groups:
            group.setdefault("steps_done", 0)
            group.setdefault("momentum", momentum)
            group.setdefault("post_merge_warmup", post_merge_warmup)

    @property
    def steps_done(self) -> int:
        return self.param_groups[0]["steps_done"] if self.param_groups else 0

    def merge_due(self, step: int) -> bool:
        """Whether the interval ends after this optimiser step, counted from 1."""
        return bool(self.layers) and step % self.layers[0].config.merge_every == 0

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        rates = [group["lr"] for group in self.param_groups]
        for group in self.param_groups:
            if group.get("kind") == "rotation":
                group["lr"] *= self._ramp(group)
        hidden = self._step_skew_muon()
        super().step()
        for parameter, gradient in hidden:
            parameter.grad = gradient
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["lr"] = rate
            group["steps_done"] += 1
        for layer in self.layers:
            layer.invalidate()
        self.events = []
        if self.merge_due(self.steps_done):
            self.events = merge_layers(self.layers, self)
        elif far := beyond_trust(self.layers):
            self.events = merge_layers(far, self, advance=False)
        return loss

    def _ramp(self, group: dict[str, Any]) -> float:
        warmup = group["post_merge_warmup"]
        if not warmup or not self.layers:
            return 1.0
        return min(1.0, (group["steps_done"] % self.layers[0].config.merge_every + 1) / warmup)

    def _step_skew_muon(self) -> list[tuple[Tensor, Tensor | None]]:
        """Step the groups that AdamW is not to see; their gradients are handed back afterwards."""
        hidden: list[tuple[Tensor, Tensor | None]] = []
        for group in self.param_groups:
            if group.get("q_optimizer") != "skew_muon":
                continue
            alike: dict[tuple, list[tuple[Tensor, Tensor]]] = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                gradient = local(parameter.grad)
                state = self.state[parameter]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(gradient)
                momentum = state["momentum_buffer"].mul_(group["momentum"]).add_(gradient)
                nesterov = gradient.add(momentum, alpha=group["momentum"])
                alike.setdefault((nesterov.shape[-1], nesterov.device), []).append((local(parameter), nesterov))
                hidden.append((parameter, parameter.grad))
                parameter.grad = None
            for pairs in alike.values():  # blocks of one size, of all layers, at once
                turns = orthogonalised(torch.cat([nesterov for _, nesterov in pairs]))
                for (parameter, _), turn in zip(pairs, turns.split([len(p) for p, _ in pairs]), strict=True):
                    parameter.sub_(turn, alpha=group["lr"])
        return hidden


def orthogonalised(packed: Float[Tensor, "r n"], steps: int = 5) -> Float[Tensor, "r n"]:
    """Each skew block X brought near to its polar factor: X ← aX + (bA + cA²)X with A = XXᵀ, from X/‖X‖_F.

    A block of zeros stays zero.
    """
    if packed.numel() == 0:
        return packed
    X = unpack_skew(packed / (packed.norm(dim=-1, keepdim=True) * 2**0.5).clamp_min(1e-30))
    a, b, c = QUINTIC
    for _ in range(steps):
        A = X @ X.mT
        X = a * X + (b * A + c * (A @ A)) @ X
    return pack_skew(X)
