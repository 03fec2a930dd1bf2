"""Two processes that share out the sequences of a step learn what one process learns from all of them."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch
from distributed_worker import learn_all
from preloaded import Running
from safetensors.torch import load_file
from tiny_model import write_tiny_model

ALONE = ("oftv2-single", "lora-single", "full-single")
RUNS = ("oftv2-replicate", "lora-replicate", "oftv2-shard", "full-shard")


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("distributed")
    model = write_tiny_model(folder / "model")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    ranks = [{**meeting, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]
    processes = [
        Running(learn_all, str(model), folder, runs, cwd=folder, said=folder / f"process{i}", **environment)
        for i, (runs, environment) in enumerate(((ALONE, {}), (RUNS, ranks[0]), (RUNS, ranks[1])))
    ]
    for process in processes:
        done = process.wait(240)
        assert done.returncode == 0, done.stderr[-3000:]
    return {run: folder / f"{run}.safetensors" for run in (*ALONE, *RUNS)}


@pytest.mark.parametrize("run", RUNS)
def test_two_processes_learn_what_one_does(learned, run):
    name = run.split("-")[0]
    one, two = load_file(learned[f"{name}-single"]), load_file(learned[run])
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-4, atol=2e-6)
