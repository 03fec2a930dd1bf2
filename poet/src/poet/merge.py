"""Merge-then-reinitialise and the optimizer's state of Q, in one function so that they cannot drift apart.

At the end of an interval: W ← R W P, Q ← 0, a new pattern, and the optimizer's state of Q as `state_at_merge` says.
When a block leaves the trust region within an interval: W ← R W P, Q ← 0, and the same pattern and state go on. The
coordinates of Q then mean the same as before, at a point that is a little further along; so a tight region costs
nothing but the merge, where beginning a new interval each time would throw the moments away every few steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from shared.orthogonal import angle_bound, spectral_angle

from .distributed import agree, is_sharded, largest, local
from .linear import MergeStats, PoetLinear, poet_layers

POWER_ITERATIONS = 8
POWER_MARGIN = 1.1  # power iterations approach ‖Q‖₂ from below
REACH = 0.8  # no block goes further in one step: beyond, a series has no rotation near it


def merge_layers(
    layers: Sequence[PoetLinear], optimizer: Optimizer | None = None, *, advance: bool = True
) -> list[MergeStats]:
    """Merge layers and, with `advance`, begin their next interval with the optimizer's state of Q as configured.

    Raises:
        PoetError: see `PoetLinear.merge`; or processes that disagree about the result.
    """
    stats = []
    for layer in layers:
        stats.append(layer.merge(advance=advance))
        if advance and optimizer is not None:
            reset_state(optimizer, layer.Q, layer.config.state_at_merge)
    agree(layers)
    return stats


def merge_all(model: nn.Module, optimizer: Optimizer | None = None) -> list[MergeStats]:
    """Merge every layer of a model and begin the next interval: before saving, and after the last step."""
    return merge_layers(poet_layers(model), optimizer)


def reset_state(optimizer: Optimizer, parameters: Iterable[Tensor], policy: str) -> None:
    """What the optimizer remembers of Q when its meaning changes.

    reset         nothing: moments and step count are zero, the bias correction starts again (the paper)
    reset_moment  the second moment and its step count; a first moment from zero is then a short warm-up
    keep          everything
    """
    if policy == "keep":
        return
    for parameter in parameters:
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and (policy == "reset" or key in ("exp_avg", "momentum_buffer")):
                value.zero_()


@torch.no_grad()
def beyond_trust(layers: Sequence[PoetLinear]) -> list[PoetLinear]:
    """Layers with a block whose ‖Q‖₂ exceeds their theta_max; the cheap bound ‖Q‖_F/√2 is tried first. Blocks that one
    step has carried beyond 0.8 are brought back to there."""
    bounded = [layer for layer in layers if layer.config.theta_max is not None]
    if not bounded:
        return []
    if _all_small(bounded):
        return []
    bounds = torch.stack([_largest_angle(layer, angle_bound) for layer in bounded]).tolist()
    suspects = [x for x, bound in zip(bounded, bounds, strict=True) if not bound <= (x.config.theta_max or 0)]
    if not suspects:
        return []
    angles = torch.stack([_largest_angle(layer, _estimate) for layer in suspects]).tolist()
    for layer, angle in zip(suspects, angles, strict=True):
        if angle > REACH:
            shorten(layer)
    return [x for x, angle in zip(suspects, angles, strict=True) if not angle <= (x.config.theta_max or 0)]


def _all_small(layers: Sequence[PoetLinear]) -> bool:
    """Whether every block of every layer is within the tightest region, by one bound over all: the usual case."""
    by_length: dict[int, list[Tensor]] = {}
    for layer in layers:
        for Q in layer.Q:
            if is_sharded(Q):
                return False
            by_length.setdefault(Q.shape[-1], []).append(Q)
    largest = torch.stack([angle_bound(torch.cat(tensors).float()).amax() for tensors in by_length.values()]).amax()
    return bool(largest <= min(layer.config.theta_max or 0 for layer in layers))


def shorten(layer: PoetLinear) -> None:
    """Scale down the blocks that a single step has carried out of reach."""
    for Q in layer.Q:
        packed = local(Q)
        packed.mul_((REACH / _estimate(packed.float()).clamp_min(REACH)).to(packed.dtype).unsqueeze(-1))
    layer.invalidate()


def _estimate(packed: Tensor) -> Tensor:
    bound = angle_bound(packed)
    return torch.minimum(POWER_MARGIN * spectral_angle(packed, iterations=POWER_ITERATIONS), bound)


def _largest_angle(layer: PoetLinear, measure) -> Tensor:
    angles = [measure(local(Q).float()).amax() for Q in layer.Q if local(Q).numel()]
    if not angles:
        angles = [torch.zeros((), device=layer.interval.device)]
    return largest(torch.stack(angles).amax(), any(is_sharded(Q) for Q in layer.Q))
