"""What several processes share: tensors whole or in shards, and proof that all merged alike.

Under DDP only Q, embeddings, head and norms have gradients; W is frozen in every process and each merges by itself,
so nothing but a checksum a layer travels at a merge. Under FSDP2 (`fully_shard`) W and Q are shards (Q on its block
dimension), a merge gathers one layer at a time, and every process keeps its own part of the result.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .errors import PoetError

if TYPE_CHECKING:
    from .linear import PoetLinear


def is_sharded(tensor: Any) -> bool:
    return hasattr(tensor, "full_tensor")


def whole(tensor: Any) -> Tensor:
    """A sharded tensor gathered; others as they are."""
    return tensor.full_tensor() if is_sharded(tensor) else tensor


def local(tensor: Any) -> Tensor:
    return tensor.to_local() if is_sharded(tensor) else tensor


def put(target: Any, value: Tensor) -> None:
    """Write a whole tensor into a parameter or buffer, of which this process may hold a shard only."""
    with torch.no_grad():
        if is_sharded(target):
            from torch.distributed.tensor import distribute_tensor

            # Every process has the value already: each takes its part, and none sends.
            value = value.to(target.device, target.dtype)
            target.copy_(distribute_tensor(value, target.device_mesh, target.placements, src_data_rank=None))
        else:
            target.copy_(value)


def world_size() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def agree(layers: Sequence[PoetLinear]) -> None:
    """Compare one 64-bit checksum of W and interval a layer over all processes.

    Raises:
        PoetError: two processes differ; the sentence names the first such layer.
    """
    if world_size() == 1 or not layers:
        return
    sums = torch.stack([checksum(layer) for layer in layers])
    low, high = sums.clone(), sums.clone()
    dist.all_reduce(low, dist.ReduceOp.MIN)
    dist.all_reduce(high, dist.ReduceOp.MAX)
    apart = (low != high).nonzero().flatten()
    if len(apart):
        raise PoetError(
            f"processes hold different weights of {layers[int(apart[0])].name} after a merge: "
            "start again from the last checkpoint"
        )


def checksum(layer: PoetLinear) -> Tensor:
    """An int64 that depends on every bit of W and on the interval; of a shard, the interval's only."""
    interval = layer.interval.long()
    stored = [t for t in layer.stored() if not is_sharded(t)]
    total = interval * 1_000_003
    for tensor in stored:
        bits = tensor.detach().contiguous().view(-1).view(torch.uint8)
        padded = nn.functional.pad(bits, (0, -len(bits) % 4)).view(torch.int32).long()
        position = torch.arange(len(padded), device=padded.device) % 65_521 + 1
        total = total + (padded * position).sum()
    return total


def largest(value: Tensor, sharded: bool) -> Tensor:
    """The maximum over processes, where each saw its own shard only."""
    if sharded and world_size() > 1:
        dist.all_reduce(value, dist.ReduceOp.MAX)
    return value
