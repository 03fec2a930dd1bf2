"""The layers and optimizers that are set side by side."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from poet import PoetConfig, PoetLinear, PoetOptimizer
from poet.methods import hidden_linears
from poet.wrap import wrap
from shared.orthogonal import packed_length

NN, OFFICIAL, PEFT = "nn.Linear", "POET-X approach, eager", "OFT (PEFT)"
PLANS = {f"ours, {plan}": plan for plan in ("auto", "lie", "weight", "activation")}


class PoetXApproach(nn.Module):
    """How the public implementation computes a layer where it has no Triton: the whole rotation is built anew in every
    forward, activations are gathered, rotated in blocks, multiplied by W, rotated and gathered back; autograd does the
    rest. G = I + 2Q + 2Q² + 2Q³ + Q⁴ in three products."""

    def __init__(self, m: int, n: int, b: int):
        super().__init__()
        self.b, self.r_out = b, m // b
        self.weight = nn.Parameter(torch.randn(m, n) / n**0.5, requires_grad=False)
        self.packed = nn.Parameter(torch.zeros((m + n) // b, packed_length(b)))
        self.register_buffer("into", torch.randperm(n))
        self.register_buffer("back", torch.randperm(m))
        self.register_buffer("upper", torch.triu_indices(b, b, 1))

    def rotations(self) -> Tensor:
        Q = self.packed.new_zeros(len(self.packed), self.b, self.b)
        Q[:, self.upper[0], self.upper[1]] = self.packed
        Q = Q - Q.mT
        Q2 = Q @ Q
        Q3 = Q2 @ Q
        return torch.eye(self.b) + 2 * (Q + Q2 + Q3) + Q3 @ Q

    def forward(self, x: Tensor) -> Tensor:
        G = self.rotations()
        z = x[..., self.into].unflatten(-1, (-1, self.b))
        z = torch.einsum("...rb,rbc->...rc", z, G[self.r_out :]).flatten(-2)
        y = F.linear(z, self.weight).unflatten(-1, (-1, self.b))
        return torch.einsum("...rb,rbc->...rc", y, G[: self.r_out]).flatten(-2)[..., self.back]


def official_layer(checkout: Path) -> Callable[[int, int, int], nn.Module]:
    """The public implementation's own layer, from a checkout of its repository."""
    sys.path.insert(0, str(checkout))
    from poet_torch.layers.poet_linear import POETLinear  # type: ignore[import-not-found]

    def make(m: int, n: int, b: int) -> nn.Module:
        layer = POETLinear(n, m, block_size=b)
        nn.init.normal_(layer.weight, std=n**-0.5)
        return layer

    return make


def layers(m: int, n: int, b: int, official: Path | None) -> dict[str, nn.Module]:
    """One layer of every kind, of n inputs and m outputs."""
    from peft import OFTConfig, inject_adapter_in_model

    def plain() -> nn.Linear:
        return nn.Linear(n, m, bias=False)

    adapted = nn.Sequential(plain())
    oft = OFTConfig(oft_block_size=b, target_modules=["0"], use_cayley_neumann=True, num_cayley_neumann_terms=5)
    inject_adapter_in_model(oft, adapted)
    made: dict[str, nn.Module] = {NN: plain()}
    for name, plan in PLANS.items():
        made[name] = PoetLinear(plain(), PoetConfig(block=b, plan=plan), "layer")
    made |= {OFFICIAL: PoetXApproach(m, n, b), PEFT: adapted}
    if official is not None:
        made["official layer"] = official_layer(official)(m, n, b)
    for layer in made.values():
        with torch.no_grad():
            for p in layer.parameters():
                if p.requires_grad and p.shape[-1] == packed_length(b):
                    p.normal_(std=0.01 / b**0.5)
    return made


def optimizers(
    model: Callable[[], Any], b: int, rank: int
) -> dict[str, Callable[[], tuple[Any, list[Any], list[nn.Parameter]]]]:
    """name -> a function that makes (model, optimizers of the hidden matrices, the parameters they train)."""

    def plain(make: Callable[[list[nn.Parameter]], Any]):
        def build():
            made = model()
            hidden = [linear.weight for _, linear in hidden_linears(made)]
            return made, [make(hidden)], hidden

        return build

    def poet(q_optimizer: str):
        def build():
            made = model()
            wrap(made, PoetConfig(block=b, merge_every=10**9))
            hidden = [q for m in made.modules() if isinstance(m, PoetLinear) for q in m.Q]
            for p in made.parameters():  # the hidden matrices alone
                p.requires_grad_(any(p is q for q in hidden))
            rate = 1e-7  # the trust region is checked and never left
            return made, [PoetOptimizer(made, poet_lr=rate, q_optimizer=q_optimizer)], hidden

        return build

    def low_rank(package: str, name: str, **options: Any):
        def make(hidden: list[nn.Parameter]):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = __import__(package)
                group = {"params": hidden, "rank": rank, "update_proj_gap": 200, "scale": 0.25, "proj_type": "std"}
                return getattr(module, name)([group | options], lr=1e-3, no_deprecation_warning=True)

        return make

    return {
        "AdamW": plain(lambda hidden: torch.optim.AdamW(hidden, lr=1e-3, foreach=True)),
        "Muon": plain(lambda hidden: torch.optim.Muon(hidden, lr=1e-3, adjust_lr_fn="match_rms_adamw")),
        "GaLore": plain(low_rank("galore_torch", "GaLoreAdamW")),
        "APOLLO": plain(low_rank("apollo_torch", "APOLLOAdamW", proj="random", scale_type="channel")),
        "ours, AdamW on Q": poet("adamw"),
        "ours, Skew-Muon": poet("skew_muon"),
    }
