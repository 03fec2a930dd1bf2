"""Two processes that share out the sequences of a step learn what one process learns from all of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_model import write_tiny_model

WORKER = Path(__file__).parent / "distributed_worker.py"
RUNS = ("oftv2-replicate", "lora-replicate", "oftv2-shard", "full-shard")


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("distributed")
    model = write_tiny_model(folder / "model")
    alone = [f"{name}-single" for name in ("oftv2", "lora", "full")]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}"]
    for front, runs in (([sys.executable], alone), (launcher, RUNS)):
        command = [*front, str(WORKER), str(model), str(folder), *runs]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=240, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return {run: folder / f"{run}.safetensors" for run in (*alone, *RUNS)}


@pytest.mark.parametrize("run", RUNS)
def test_two_processes_learn_what_one_does(learned, run):
    name = run.split("-")[0]
    one, two = load_file(learned[f"{name}-single"]), load_file(learned[run])
    assert one.keys() == two.keys()
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, rtol=1e-4, atol=2e-6)
