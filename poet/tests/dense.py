"""The paper's equations on dense matrices, in float64: what the layers are measured against."""

from __future__ import annotations

import torch
from torch import Tensor

from poet.linear import PoetLinear


def cayley_neumann(Q: Tensor, k: int, series: str = "product") -> Tensor:
    """Eq. 6, by powers."""
    eye = torch.eye(len(Q), dtype=Q.dtype)
    if series == "truncated":
        return eye + 2 * sum(torch.linalg.matrix_power(Q, i) for i in range(1, k + 1))
    return (eye + Q) @ (eye + sum(torch.linalg.matrix_power(Q, i) for i in range(1, k + 1)))


def skew(packed: Tensor, b: int) -> Tensor:
    rows, cols = torch.triu_indices(b, b, 1)
    Q = torch.zeros(b, b, dtype=packed.dtype)
    Q = Q.index_put((rows, cols), packed)
    return Q - Q.T


def exact(Q: Tensor) -> Tensor:
    eye = torch.eye(len(Q), dtype=Q.dtype)
    return (eye + Q) @ torch.linalg.inv(eye - Q)


def big_rotation(layer: PoetLinear, side: int, packed: list[Tensor]) -> Tensor:
    """The whole R (side 0) or P (side 1) as Eq. 4 and 5 write it, from the packed tensors of a layer."""
    d = layer.in_features if side else layer.out_features
    R = torch.eye(d, dtype=packed[0].dtype)
    config = layer.config
    for at, ((b, _), rows) in enumerate(zip(layer.sizes.items(), layer.rows, strict=True)):
        for run, (start, stop) in rows[side]:
            index = layer.index_runs(side)[run][1]
            for block in range(stop - start):
                Q = skew(packed[at][start + block], b)
                if config.parameterization == "cayley":
                    G = exact(Q)
                elif config.parameterization == "exponential":
                    G = torch.linalg.matrix_exp(2 * Q)
                else:
                    G = cayley_neumann(Q, config.terms, config.series)
                chosen = index[block * b : (block + 1) * b]
                D = torch.eye(d, dtype=R.dtype)[:, chosen]
                R = R + D @ (G - torch.eye(b, dtype=R.dtype)) @ D.T
    return R


def forward(layer: PoetLinear, x: Tensor, packed: list[Tensor], bias: Tensor | None) -> Tensor:
    """y = R W P x + bias."""
    W = big_rotation(layer, 0, packed) @ layer.base().double() @ big_rotation(layer, 1, packed)
    y = x @ W.T
    return y if bias is None else y + bias
