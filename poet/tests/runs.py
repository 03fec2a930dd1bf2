"""A small training for the tests of resuming and of several processes; as a script, one that can be killed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from models import tiny_llama
from torch import Tensor

from poet.data import Data
from poet.diagnostics import VectorProbe
from poet.evaluation import Batch
from poet.linear import poet_layers
from poet.merge import merge_all
from poet.methods import Trainee, make_trainee, prepare_model
from poet.settings import MethodSettings, TrainingSettings
from poet.training import Record, train

BS = {"block": 8, "merge_every": 4}
METHODS = {
    "poet_bs": MethodSettings("poet_bs", "poet", lr=2e-2, poet=BS),
    "poet_keep": MethodSettings("poet_keep", "poet", lr=2e-2, poet={**BS, "state_at_merge": "reset_moment"}),
    "poet_bs_muon": MethodSettings("poet_bs_muon", "poet", lr=2e-2, poet=BS, q_optimizer="skew_muon"),
    "poet_fs": MethodSettings("poet_fs", "poet", lr=2e-2, poet={"variant": "full", "block": 0.5, "merge_every": 4}),
    "poet_int8": MethodSettings(
        "poet_int8", "poet", lr=2e-2, poet={**BS, "base": "int8", "rounding": "stochastic", "master": "fp32_host"}
    ),
    "poet_slow": MethodSettings("poet_slow", "poet", lr=2e-3, base_lr=1e-3, poet=BS),
    "muon": MethodSettings("muon", "muon", lr=1e-2),
    "galore": MethodSettings("galore", "galore", lr=1e-2, options={"rank": 4, "gap": 3, "scale": 0.25}),
    "lora": MethodSettings("lora", "lora", lr=1e-2, options={"match_block": 8}),
}


class RandomText(Data):
    """Sequences that are a function of the step, with a few positions left out of the loss."""

    vocabulary, byte_lengths, tokenizer = 50, None, None

    def __init__(self, rank: int = 0, world: int = 1, sequences: int = 4):
        self.rank, self.world, self.sequences = rank, world, sequences

    def batch(self, step: int) -> Batch:
        generator = torch.Generator().manual_seed(step % 3)
        ids = torch.randint(0, 50, (self.sequences, 12), generator=generator)
        labels = ids.clone()
        for row in range(self.sequences):  # unequal numbers of predicted tokens
            labels[row, 12 - row :] = -100
        return Batch(ids[self.rank :: self.world], labels[self.rank :: self.world])

    def held_out(self, split: str, sequences: int | None = None) -> Iterator[Batch]:
        yield self.batch(99)

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        pass


def prepare(name: str, training: TrainingSettings, dtype: torch.dtype = torch.float32) -> Trainee:
    model = tiny_llama(dtype=dtype)
    prepare_model(model, METHODS[name], 0)
    return make_trainee(model, METHODS[name], training)


def run(
    name: str, folder: Path, steps: int = 11, **settings: Any
) -> tuple[Record, dict[str, Tensor], dict[str, float]]:
    """(record, tensors of the model, cosines of a probe) of a training in `folder`."""
    progress = settings.pop("progress", None)
    training = TrainingSettings(**{"steps": steps, "sequences": 4, "length": 12, "save_seconds": 0, **settings})
    trainee = prepare(name, training)
    probe = VectorProbe(trainee.model)
    record = train(
        trainee, RandomText(), training, folder, identity={"method": name}, observed=probe.vectors, progress=progress
    )
    if poet_layers(trainee.model):
        merge_all(trainee.model)
    return record, dict(trainee.model.state_dict()), probe.cosines()


if __name__ == "__main__":
    torch.set_num_threads(1)
    where = Path(sys.argv[1])
    told = lambda step, steps, values: print(step, flush=True)  # noqa: E731
    record, _, _ = run("poet_bs", where, steps=int(sys.argv[2]), progress=told)
    (where / "losses.json").write_text(json.dumps(record.losses))
