"""One process of test_distributed.py: trains with each strategy and leaves what it learned."""

from __future__ import annotations

from pathlib import Path

import torch
from accelerate import Accelerator
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM

from oftv2.checkpoint import gathered
from oftv2.config import OFTConfig
from oftv2.loop import train
from oftv2.settings import MethodSettings, ModelSettings, TrainingSettings
from oftv2.tasks.answer_loss import answer_loss
from oftv2.tasks.batching import Batch
from oftv2.trainee import make_trainee

STEPS, SEQUENCES = 3, 8
METHODS = {"oftv2": {"oft": OFTConfig(block_size=8)}, "lora": {"options": {"r": 4}}, "full": {}}


def sequences(step: int) -> list[Batch]:
    """All eight sequences of a step, each of its own length."""
    draw = torch.Generator().manual_seed(step)
    ids = [torch.randint(5, 200, (1, 6 + i), generator=draw) for i in range(SEQUENCES)]
    return [Batch(x, torch.ones_like(x), x) for x in ids]


def learn(model_folder: str, out: Path, name: str, strategy: str) -> None:
    accelerator = Accelerator(cpu=True)
    rank, world = accelerator.process_index, accelerator.num_processes
    recipe = TrainingSettings(learning_rate=1e-3, batch_size=1, accumulation=SEQUENCES // world, steps=STEPS)
    method = MethodSettings(name, recipe, **METHODS[name])
    model = AutoModelForCausalLM.from_pretrained(model_folder, dtype=torch.float32)
    trainee = make_trainee(method, model, ModelSettings("tiny", model_folder), seed=0)
    mine = lambda step: sequences(step)[rank::world]  # noqa: E731
    where = out / f"states-{name}-{strategy}-{world}"
    record = train(
        trainee, mine, answer_loss, recipe, STEPS, where, fingerprint="", accelerator=accelerator, strategy=strategy
    )
    learned = {key: gathered(p.detach()).contiguous() for key, p in trainee.named_parameters().items()}
    learned["losses"] = torch.tensor([row["loss"] for row in record.rows])
    if accelerator.is_main_process:
        # the wrapper that shards puts its own name in front
        save_file(
            {k.removeprefix("model.model."): v for k, v in learned.items()}, out / f"{name}-{strategy}.safetensors"
        )


def learn_all(model_folder: str, out: Path, runs: tuple[str, ...]) -> None:
    for name, strategy in (run.split("-") for run in runs):
        learn(model_folder, out, name, strategy)
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
