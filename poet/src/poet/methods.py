"""POET and its peers over one interface: a model and the optimizers that train it.

Muon is torch's, GaLore is galore-torch's, LoRA is PEFT's; embeddings, head and norms are AdamW's in all of them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .config import PoetConfig
from .errors import PoetError
from .initialization import initial_weight
from .linear import MergeStats, poet_layers
from .optim import PoetOptimizer
from .primitives import seeded
from .settings import MethodSettings, TrainingSettings
from .wrap import linears, targeted, wrap


@dataclass
class Trainee:
    """A model with its optimizers; `step` does all that a step needs, merges included."""

    model: Any
    optimizers: list[Optimizer]
    merge_every: int | None = None

    def __post_init__(self) -> None:
        self.peaks = [[group["lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]

    def set_rates(self, factor: float) -> None:
        for optimizer, peaks in zip(self.optimizers, self.peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor

    def step(self) -> list[MergeStats]:
        events: list[MergeStats] = []
        for optimizer in self.optimizers:
            optimizer.step()
            events += getattr(optimizer, "events", [])
            optimizer.zero_grad(set_to_none=True)
        return events

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def hidden_trainables(self) -> int:
        """Trained numbers that stand for the hidden matrices."""
        outside = {id(p) for m in self.model.modules() if not _hidden(m) for p in m.parameters(recurse=False)}
        outside |= {
            id(p) for name, m in linears(self.model) if not targeted(name, PoetConfig()) for p in m.parameters()
        }
        return sum(p.numel() for p in self.parameters if id(p) not in outside)


def _hidden(module: nn.Module) -> bool:
    return isinstance(module, (nn.Linear, nn.ParameterList, nn.ParameterDict)) or hasattr(module, "draw_pattern")


def prepare_model(model: Any, method: MethodSettings, seed: int) -> Any:
    """The model with its hidden matrices as the method wants them: wrapped, adapted or only initialised. Before
    sharding."""
    if method.kind == "poet":
        wrap(model, method.config(seed))
        return model
    hidden = hidden_linears(model)
    if method.init != "standard":
        for name, linear in hidden:
            W = initial_weight(method.init, linear.weight, 1.0, seeded(seed, name, "W0"))
            with torch.no_grad():
                linear.weight.copy_(W)
    if method.kind == "lora":
        add_lora(model, hidden, method, seed)
    return model


def make_trainee(model: Any, method: MethodSettings, training: TrainingSettings) -> Trainee:
    """Optimizers for a prepared (and perhaps sharded) model.

    Raises:
        PoetError: an option that the method does not have.
    """
    adam: dict[str, Any] = {"betas": training.betas, "eps": training.eps}
    if method.kind == "poet":
        optimizer = PoetOptimizer(
            model,
            poet_lr=method.lr,
            base_lr=method.base_lr,
            weight_decay=training.weight_decay,
            q_optimizer=method.q_optimizer,
            momentum=method.momentum,
            post_merge_warmup=method.post_merge_warmup,
            **adam,
        )
        return Trainee(model, [optimizer], poet_layers(model)[0].config.merge_every)
    assert method.lr is not None
    if method.kind == "lora":
        matrices = [p for name, p in model.named_parameters() if p.requires_grad and ".lora_" in name]
    else:
        matrices = [linear.weight for _, linear in hidden_linears(model)]
    known = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if p.requires_grad and id(p) not in known]
    base = [
        {"params": [p for p in rest if p.ndim >= 2], "lr": method.base_lr, "weight_decay": training.weight_decay},
        {"params": [p for p in rest if p.ndim < 2], "lr": method.base_lr, "weight_decay": 0.0},
    ]
    hidden = {"params": matrices, "lr": method.lr, "weight_decay": training.weight_decay}
    if method.kind == "muon":
        muon = torch.optim.Muon(
            matrices,
            lr=method.lr,
            weight_decay=training.weight_decay,
            momentum=method.momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        return Trainee(model, [muon, torch.optim.AdamW(base, **adam)])
    if method.kind == "galore":
        return Trainee(model, [galore([hidden, *base], method, adam)])
    return Trainee(model, [torch.optim.AdamW([hidden, *base], **adam)])


def hidden_linears(model: nn.Module) -> list[tuple[str, nn.Linear]]:
    """The layers that the paper reparameterises: attention and MLP, not the head."""
    return [(name, linear) for name, linear in linears(model) if targeted(name, PoetConfig())]


def galore(groups: Sequence[dict[str, Any]], method: MethodSettings, adam: dict[str, Any]) -> Optimizer:
    options = {"rank": 16, "gap": 200, "scale": 0.25, **method.options}
    if set(options) != {"rank", "gap", "scale"}:
        raise PoetError(f"method galore has the options rank, gap and scale, not {sorted(options)}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # its 8-bit optimizers come along unused
        from galore_torch import GaLoreAdamW

        projected = {
            "rank": options["rank"],
            "update_proj_gap": options["gap"],
            "scale": options["scale"],
            "proj_type": "std",
        }
        return GaLoreAdamW([{**groups[0], **projected}, *groups[1:]], no_deprecation_warning=True, **adam)


def add_lora(model: nn.Module, hidden: Sequence[tuple[str, nn.Linear]], method: MethodSettings, seed: int) -> None:
    """PEFT's LoRA on every hidden matrix, which is frozen; the rest stays trained. With `match_block: b` the ranks are
    r = ⌊(b−1)/2⌋, and one more in the first layers, so that POET-BS with blocks of b trains as many numbers."""
    from peft import LoraConfig, inject_adapter_in_model

    options = {"rank": None, "match_block": None, **method.options}
    if set(options) != {"rank", "match_block"} or (options["rank"] is None) == (options["match_block"] is None):
        raise PoetError("method lora needs exactly one of the options rank and match_block")
    if options["rank"] is not None:
        ranks = {name: options["rank"] for name, _ in hidden}
    else:
        ranks = matched_ranks({name: tuple(linear.weight.shape) for name, linear in hidden}, options["match_block"])
    config = LoraConfig(
        r=min(ranks.values()),
        lora_alpha=2 * min(ranks.values()),
        target_modules=list(ranks),
        rank_pattern=ranks,
        alpha_pattern={name: 2 * r for name, r in ranks.items()},
    )
    trained = [p for p in model.parameters() if p.requires_grad]
    frozen = {id(linear.weight) for _, linear in hidden}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)
    for parameter in trained:
        parameter.requires_grad_(id(parameter) not in frozen)


def matched_ranks(shapes: dict[str, tuple[int, ...]], block: int) -> dict[str, int]:
    """Ranks with Σ r(m+n) as near below Σ (m+n)(b−1)/2 as one more rank in the first layers brings it."""
    low = (block - 1) // 2
    left = sum(sum(shape) for shape in shapes.values()) * ((block - 1) / 2 - low)
    ranks = {}
    for name, shape in shapes.items():
        extra = int(left >= sum(shape))
        left -= extra * sum(shape)
        ranks[name] = low + extra
    return ranks


def trained_tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}
