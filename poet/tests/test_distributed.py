"""Two processes with half of the sequences each learn what one process learns from all of them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distributed_worker import RUNS
from safetensors.torch import load_file

WORKER = Path(__file__).parent / "distributed_worker.py"
ALONE = tuple(dict.fromkeys(run.replace("shard", "replicate") for run in RUNS))


@pytest.fixture(scope="module")
def learned(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", f"--master_port={port}"]
    for front, runs in (([sys.executable], ALONE), (launcher, RUNS)):
        command = [*front, str(WORKER), str(folder), *runs]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=400, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("run", RUNS)
def test_two_processes_learn_what_one_does_over_three_merges(learned, run):
    alone = run.replace("shard", "replicate")
    one, two = (json.loads((learned / f"{name}.json").read_text()) for name in (f"{alone}-1", f"{run}-2"))
    tolerance = 1e-10 if run.endswith("64") else 1e-5
    assert one["merges"] == two["merges"] == [4, 8, 12]
    assert two["losses"] == pytest.approx(one["losses"], abs=tolerance)
    weights, others = load_file(learned / f"{alone}-1.safetensors"), load_file(learned / f"{run}-2.safetensors")
    assert weights.keys() == others.keys()
    for key, value in weights.items():
        torch.testing.assert_close(others[key], value, rtol=0, atol=1e-9 if run.endswith("64") else 1e-3)


def test_a_merge_sends_a_few_bytes_a_layer(learned):
    for run in RUNS:
        found = json.loads((learned / f"{run}-2.json").read_text())
        if "sent" in found:
            assert 0 < found["sent"] / 14 <= 4096


def test_processes_that_differ_are_stopped_with_the_layer_s_name(learned):
    for rank in (0, 1):
        said = (learned / f"apart-{rank}.txt").read_text()
        assert said.startswith("processes hold different weights of model.layers.0.self_attn.o_proj after a merge")
