"""Small layers of one shape built and differentiated together.

A layer of 64×64 multiplies for less time than its dozens of small operations take to start. `batch_layers` groups
layers of the same shape and blocks: R W P of a whole group is built in one batch, each layer multiplies by its own like
a plain linear layer, and when a backward pass is over, the gradients by all those products become gradients by Q in one
batch (the `weight` plan of plans.py). It costs a copy of the grouped weights, and needs `loss.backward()`:
`torch.autograd.grad` by Q and DDP see nothing of it, so use it in one process.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from .linear import PoetLinear, poet_layers

SMALL = 2**17  # numbers of a weight up to which a layer is grouped


def batch_layers(model: nn.Module, small: int = SMALL) -> int:
    """Group the small layers of a wrapped model; returns how many were grouped."""
    alike: dict[tuple, list[PoetLinear]] = {}
    for layer in poet_layers(model):
        m, n = layer.out_features, layer.in_features
        if m * n <= small and layer.weight is not None and layer.config.plan in ("auto", "weight"):
            alike.setdefault((m, n, layer.blocks, layer.weight.dtype, layer.parameterization), []).append(layer)
    for layers in alike.values():
        group = LayerGroup(layers)
        for layer in layers:
            layer.group = group
            layer.invalidate()  # what it built alone
    return sum(map(len, alike.values()))


class LayerGroup:
    """Layers of one layout. Tensors are stacked along a first dimension, the layer."""

    def __init__(self, layers: Sequence[PoetLinear]):
        self.layers = list(layers)
        self.map = layers[0].parameterization
        self.leaves: list[Tensor] = []
        self._bases: tuple[tuple, Tensor, tuple[Tensor, Tensor]] | None = None
        self._queued = False

    def refresh(self) -> None:
        """Build R W P of all layers, and hand each its own."""
        W, indices = self._base()
        with torch.no_grad():
            self.packed = [torch.stack(tuple(x.Q[i] for x in self.layers)) for i in range(len(self.layers[0].Q))]
            self.G = [self.map.blocks(q.flatten(0, 1)).unflatten(0, q.shape[:2]) for q in self.packed]
            for side in (0, 1):
                for run, index in enumerate(self._runs(side, indices)):
                    W = turn(W, self._blocks(side, run, self.G), index, side)
        self.effective, self.indices = W, indices
        self.leaves = [w.detach().requires_grad_() for w in W]
        for leaf in self.leaves:
            leaf.register_post_accumulate_grad_hook(self._queue)
        for i, layer in enumerate(self.layers):
            layer.keep_built([G[i] for G in self.G], W[i])

    def leaf(self, layer: PoetLinear) -> Tensor:
        """R W P of one layer, which collects its gradient."""
        layer.built()
        return self.leaves[self.layers.index(layer)]

    def _queue(self, leaf: Tensor) -> None:
        if not self._queued:
            self._queued = True
            torch.autograd.Variable._execution_engine.queue_callback(self._finish)

    @torch.no_grad()
    def _finish(self) -> None:
        """From the gradients by R W P to those by Q, added to what is there."""
        self._queued = False
        zero = torch.zeros_like(self.effective[0])
        dW = torch.stack([zero if leaf.grad is None else leaf.grad for leaf in self.leaves])
        dW, W = dW.to(self.G[0].dtype), self.effective.to(self.G[0].dtype)
        for leaf in self.leaves:
            leaf.grad = None
        sums: list[list[Tensor]] = []
        for side in (0, 1):
            parts = []
            for run, index in enumerate(self._runs(side, self.indices)):
                b = self.layers[0].blocks[side][run][0]
                a, c = (pick(x, index, side).unflatten(1, (-1, b)) for x in ((dW, W) if side == 0 else (W, dW)))
                parts.append(a @ c.mT)
            sums.append(parts)
        for i, ((out, inp), packed, G) in enumerate(zip(self.layers[0].rows, self.packed, self.G, strict=True)):
            inverse = self.map.inverse_transpose(G.flatten(0, 1)).unflatten(0, G.shape[:2])
            dG = [sums[0][run] @ inverse[:, start:stop] for run, (start, stop) in out]
            dG += [inverse[:, start:stop] @ sums[1][run] for run, (start, stop) in inp]
            flat = [x.flatten(0, 1) for x in (packed, G, torch.cat(dG, 1))]
            for layer, gradient in zip(self.layers, self.map.gradient(*flat).view(packed.shape), strict=True):
                held = layer.Q[i].grad
                layer.Q[i].grad = gradient.clone() if held is None else held.add_(gradient)

    def _base(self) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """W and the two indices of all layers, stacked anew only when a merge has changed them."""
        held = [t for x in self.layers for t in (x.base(), x.index_out, x.index_in)]
        key = tuple((id(t), t._version) for t in held)
        if self._bases is None or self._bases[0] != key:
            stacked = [torch.stack(held[i::3]) for i in range(3)]
            self._bases = key, stacked[0].detach(), (stacked[1], stacked[2])
        return self._bases[1], self._bases[2]

    def _runs(self, side: int, indices: tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
        return indices[side].split([size * count for size, count in self.layers[0].blocks[side]], dim=1)

    def _blocks(self, side: int, run: int, tensors: list[Tensor]) -> Tensor:
        for tensor, rows in zip(tensors, self.layers[0].rows, strict=True):
            for at, (start, stop) in rows[side]:
                if at == run:
                    return tensor[:, start:stop]
        raise AssertionError("every run has its rows")


def pick(W: Float[Tensor, "L m n"], index: Int[Tensor, "L c"], side: int) -> Float[Tensor, "L c k"]:
    """The chosen rows (side 0), or the chosen columns as rows (side 1)."""
    if side == 0:
        return W.gather(1, index[:, :, None].expand(-1, -1, W.shape[2]))
    return W.gather(2, index[:, None, :].expand(-1, W.shape[1], -1)).mT


def turn(
    W: Float[Tensor, "L m n"], G: Float[Tensor, "L r b b"], index: Int[Tensor, "L c"], side: int
) -> Float[Tensor, "L m n"]:
    """R W (side 0) or W P (side 1) of every layer."""
    chosen = pick(W, index, side).unflatten(1, G.shape[1:3])
    turned = ((G if side == 0 else G.mT).to(W.dtype) @ chosen).flatten(1, 2)
    if side == 0:
        return W.scatter(1, index[:, :, None].expand_as(turned), turned)
    return W.scatter(2, index[:, None, :].expand(-1, W.shape[1], -1), turned.mT)
