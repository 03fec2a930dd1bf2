"""Three ways to compute `y = R W P x` and the gradients of R and P, for T tokens, W of m×n and blocks of size b.

    plan        FLOPs of a step                  kept for backward
    lie         4Tmn + 2Tb(m+n) + 2mnb·2         x, y (and W_eff, for the interval between two optimiser steps)
    weight      6Tmn + 4mnb    + 2mnb·2          x
    activation  4Tmn + 6Tb(m+n)                  x and rotated x, y before its rotation (POET-X); or x alone

A plain trained linear layer is 6Tmn. `lie` and `weight` multiply by W_eff = R W P, built once an optimiser step. Their
gradients use that R and P are (nearly) a group: with g = ∂L/∂y, dx = W_effᵀ g, per block

    ∂L/∂G_out = (Σ_t g yᵀ) G_out⁻ᵀ        ∂L/∂G_in = G_in⁻ᵀ (Σ_t dx xᵀ)

so neither rotated activations nor, for `lie`, a weight gradient is needed. `weight` reads the same sums off gᵀx.
`activation` is plain autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from shared.orthogonal.indexed import indexed_gram, rotate_columns

if TYPE_CHECKING:
    from .linear import PoetLinear

Sums = list[Tensor]  # Σ_t over tokens, one (r, b, b) for each run of equal blocks


def choose(plan: str, tokens: int, m: int, n: int, b: int, reuses_weight: bool) -> str:
    """The plan that `auto` takes: fewest FLOPs, with what a gather of activations costs counted as 40 FLOPs a number.

    `reuses_weight` is False where W_eff cannot be kept (a sharded or quantised base): keeping it would undo the saving.
    """
    if plan != "auto":
        return plan
    if not reuses_weight:
        return "activation"
    build = 4 * m * n * b
    gathers = 40 * 2 * tokens * (m + n)
    costs = {
        "lie": 4 * tokens * m * n + 2 * tokens * b * (m + n) + build + gathers,
        "weight": 6 * tokens * m * n + 4 * m * n * b + build,
        "activation": 4 * tokens * m * n + 6 * tokens * b * (m + n) + 2 * gathers,
    }
    return min(costs, key=lambda name: costs[name])


def equivalent_linear(layer: PoetLinear, x: Float[Tensor, "*batch n"], plan: str) -> Float[Tensor, "*batch m"]:
    """The layer's output under a plan, differentiable in x, bias and Q."""
    if plan == "activation":
        if layer.config.recompute and torch.is_grad_enabled():
            return checkpoint(_rotate_activations, layer, x, use_reentrant=False)
        return _rotate_activations(layer, x)
    return _EquivalentLinear.apply(x, layer.bias, layer, plan, *layer.Q)


def _rotate_activations(layer: PoetLinear, x: Tensor) -> Tensor:
    G_out, G_in = layer.split([layer.parameterization.blocks(Q).to(x.dtype) for Q in layer.Q])
    for G, index in layer.runs(1, G_in):
        x = rotate_columns(x, G.mT, index)
    y = F.linear(x, layer.base())
    for G, index in layer.runs(0, G_out):
        y = rotate_columns(y, G.mT, index)
    return y if layer.bias is None else y + layer.bias


class _EquivalentLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x: Tensor, bias: Tensor | None, layer: PoetLinear, plan: str, *Q: Tensor) -> Tensor:
        rotations, W = layer.built()
        y = F.linear(x, W, bias)
        ctx.layer, ctx.rotations, ctx.W, ctx.plan = layer, rotations, W, plan
        ctx.save_for_backward(x, bias, y if plan == "lie" else None, *Q)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        x, bias, y, *Q = ctx.saved_tensors
        layer, W = ctx.layer, ctx.W
        g = grad.reshape(-1, grad.shape[-1])
        x2 = x.reshape(-1, x.shape[-1])
        dx = g @ W
        dbias = g.sum(0) if bias is not None else None
        dQ: list[Tensor | None] = [None] * len(Q)
        if any(ctx.needs_input_grad[4:]):
            if ctx.plan == "weight":
                sums = _sums_from_weight(layer, W, g.mT @ x2)
            else:
                sums = _sums_from_tokens(layer, x2, dx, g, y.reshape(-1, y.shape[-1]), bias, dbias)
            dQ = list(rotation_gradients(layer, Q, ctx.rotations, *sums))
        return dx.view(x.shape) if ctx.needs_input_grad[0] else None, dbias, None, None, *dQ


def _sums_from_tokens(
    layer: PoetLinear, x: Tensor, dx: Tensor, g: Tensor, y: Tensor, bias: Tensor | None, dbias: Tensor | None
) -> tuple[Sums, Sums]:
    out = [indexed_gram(g, y, index, size) for size, index in layer.index_runs(0)]
    if bias is not None and dbias is not None:  # y was kept with the bias on it
        for total, (size, index) in zip(out, layer.index_runs(0), strict=True):
            left, right = dbias[index].view(-1, size, 1), bias[index].view(-1, 1, size)
            total -= (left * right).to(total.dtype)
    return out, [indexed_gram(dx, x, index, size) for size, index in layer.index_runs(1)]


def _sums_from_weight(layer: PoetLinear, W: Tensor, dW: Tensor) -> tuple[Sums, Sums]:
    """Σ g yᵀ = dW·W_effᵀ and Σ dx xᵀ = W_effᵀ·dW, their diagonal blocks."""
    kind = torch.float64 if W.dtype == torch.float64 else torch.float32
    W, dW = W.to(kind), dW.to(kind)
    out = [
        torch.bmm(dW[index].unflatten(0, (-1, size)), W[index].unflatten(0, (-1, size)).mT)
        for size, index in layer.index_runs(0)
    ]
    return out, [indexed_gram(W, dW, index, size) for size, index in layer.index_runs(1)]


def rotation_gradients(
    layer: PoetLinear, Q: list[Tensor], rotations: list[Tensor], out: Sums, inp: Sums
) -> Iterator[Tensor]:
    """Gradient by every packed parameter of a layer from the two kinds of sums."""
    map_ = layer.parameterization
    for packed, G, (rows_out, rows_in) in zip(Q, rotations, layer.rows, strict=True):
        inverse = map_.inverse_transpose(G)
        parts = []
        for run, (start, stop) in rows_out:
            parts.append(out[run].to(G.dtype) @ inverse[start:stop])
        for run, (start, stop) in rows_in:
            parts.append(inverse[start:stop] @ inp[run].to(G.dtype))
        yield map_.gradient(packed, G, torch.cat(parts) if len(parts) > 1 else parts[0]).to(packed.dtype)


Observer = Callable[["PoetLinear", list[Tensor], list[Tensor]], None]
