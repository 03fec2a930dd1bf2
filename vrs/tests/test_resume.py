"""A run that is killed and started again ends as one that was not, and pays for no answer twice."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from counted import LOG

PAPER = Path(__file__).parents[1]
CONCURRENCY = 4
CURVES = (
    "study.curves=[{sampler: vrs, phrasings: [P01]},{sampler: factory, question: in_context},"
    "{sampler: inversion, question: in_context, options: {pilot: 5}},"
    "{sampler: direct, question: forced, draws: exact},{sampler: vrs_hybrid, question: in_context, draws: exact}]"
)
RUN = (
    "scale=paper",
    "llm=fake",
    "llm.options.respond='counted:answer()'",
    "+llm.options.latency=0.002",
    "+llm.options.malformed=0.1",
    f"+llm.limits.concurrency={CONCURRENCY}",
    "study.grid=6",
    "study.draws=15",
    "study.recognition={levels: 3, draws: 10, repeats: 1, sources: [python, model]}",
    "study.simulation.replicates=50",
    CURVES,
)


def start(folder: Path, script: str = "train.py") -> subprocess.Popen:
    env = {**os.environ, LOG: str(folder / "calls.log"), "PYTHONPATH": str(Path(__file__).parent)}
    command = [sys.executable, str(PAPER / script), *RUN]
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(folder: Path, script: str = "train.py") -> str:
    process = start(folder, script)
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return out


def calls(folder: Path) -> list[str]:
    log = folder / "calls.log"
    return log.read_text().splitlines() if log.exists() else []


def metrics(folder: Path) -> dict:
    finish(folder, "eval.py")
    found = json.loads((folder / "results" / "metrics.json").read_text())
    del found["times"]
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    finish(folder)
    return folder


def test_a_second_run_calls_nothing_and_finds_the_same(whole):
    made, first = calls(whole), metrics(whole)
    assert len(made) == len(set(made)) > 500
    out = finish(whole)
    assert calls(whole) == made and "model calls: 0" in out and "done in" not in out
    assert metrics(whole) == first


def test_killed_three_times_it_ends_with_the_same_numbers(whole, tmp_path):
    total, rng = len(calls(whole)), random.Random(5)
    for _ in range(3):
        before, further = len(calls(tmp_path)), rng.randrange(20, total // 4)
        process = start(tmp_path)
        while process.poll() is None and len(calls(tmp_path)) < before + further:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    finish(tmp_path)
    made = Counter(calls(tmp_path))
    assert set(made) == set(calls(whole))
    # only what was on its way at a kill is asked again (a client holds twice its concurrency), or a probe not yet noted
    assert sum(made.values()) - len(made) <= 3 * 2 * CONCURRENCY + 8
    assert metrics(tmp_path) == metrics(whole)


def test_an_interrupt_keeps_what_was_answered_and_says_so(tmp_path):
    process = start(tmp_path)
    while process.poll() is None and len(calls(tmp_path)) < 60:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1].startswith("train: interrupted") and "Traceback" not in errors
    kept = sum(line.count('"call":') for p in (tmp_path / "results" / "samples").glob("*.jsonl") for line in p.open())
    assert kept >= len(calls(tmp_path)) - 8 - 2 * CONCURRENCY  # eight of them were the probe's
