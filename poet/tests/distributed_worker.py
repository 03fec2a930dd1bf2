"""One process of test_distributed.py: trains with each strategy and dtype and leaves losses, weights and what it
sent."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
import torch.distributed as dist
from accelerate import Accelerator
from models import tiny_llama
from runs import METHODS, RandomText
from safetensors.torch import save_file

from poet.export import merged_state
from poet.linear import poet_layers
from poet.merge import merge_layers
from poet.methods import make_trainee, prepare_model
from poet.settings import TrainingSettings
from poet.training import shard, train

STEPS = 13  # three merges of four steps, and one step more
RUNS = (
    "poet_slow-replicate-float32",
    "poet_bs-replicate-float64",
    "poet_fs-replicate-float64",
    "poet_bs-shard-float64",
)


def learn(out: Path, run: str) -> None:
    name, strategy, dtype = run.split("-")
    accelerator = Accelerator(cpu=True)
    rank, world = accelerator.process_index, accelerator.num_processes
    training = TrainingSettings(steps=STEPS, sequences=4, length=12, micro_batch=1, save_seconds=1e9)
    model = tiny_llama(dtype=getattr(torch, dtype))
    prepare_model(model, METHODS[name], 0)
    if strategy == "shard" and world > 1:
        shard(model)
    trainee = make_trainee(model, METHODS[name], training)
    record = train(
        trainee,
        RandomText(rank, world),
        training,
        out / f"states-{run}-{world}",
        identity={},
        accelerator=accelerator,
    )
    state = merged_state(model)
    if accelerator.is_main_process:
        save_file({k: v.contiguous().clone() for k, v in state.items()}, out / f"{run}-{world}.safetensors")
        found = {"losses": record.losses, "merges": [m["step"] for m in record.merges]}
        if world > 1 and strategy == "replicate":
            found["sent"] = sent_at_a_merge(model)
        (out / f"{run}-{world}.json").write_text(json.dumps(found))
    elif strategy == "replicate":
        sent_at_a_merge(model)


def sent_at_a_merge(model) -> int:
    """Bytes that the processes exchange when every layer is merged."""
    total, before = 0, dist.all_reduce

    def counting(tensor, *args, **kwargs):
        nonlocal total
        total += tensor.numel() * tensor.element_size()
        return before(tensor, *args, **kwargs)

    dist.all_reduce = counting
    try:
        merge_layers(poet_layers(model))
    finally:
        dist.all_reduce = before
    return total


if __name__ == "__main__":
    torch.set_num_threads(1)
    for run in sys.argv[2:]:
        learn(Path(sys.argv[1]), run)
    if dist.is_initialized():
        layer = None
        if sys.argv[2:]:  # a process whose weight differs is found at the next merge
            model = tiny_llama()
            prepare_model(model, METHODS["poet_bs"], 0)
            layer = poet_layers(model)[3]
            with torch.no_grad():
                layer.weight[0, 0] += dist.get_rank()
            try:
                merge_layers(poet_layers(model))
                said = ""
            except ValueError as error:
                said = str(error)
            Path(sys.argv[1], f"apart-{dist.get_rank()}.txt").write_text(said)
        dist.destroy_process_group()
