"""train.py and eval.py as a user runs them, on a random model of two layers; kills and resumes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_model import write_small_model

PAPER = Path(__file__).parents[1]
SMALL = (
    "workers=0",
    "model.dtype=float32",
    (
        "post.recipe={steps: 4, batch: 1, length: 64, learning_rate: 1e-3, evaluate_every: 2, first_scored: 32,"
        " held_out_windows: 2}"
    ),
    "post.arms.sep.n=8",
    (
        "scratch.recipe={steps: 4, batch: 2, length: 64, learning_rate: 1e-3, evaluate_every: 2, first_scored: 32,"
        " held_out_windows: 2}"
    ),
    "scratch.vocabulary=300",
    "scratch.architecture.num_hidden_layers=1",
    "scratch.architecture.hidden_size=32",
    "attention={length: 48, windows: 1, near: 12}",
    "ppl={length: 64, first: 32, windows: 2, sweep_windows: 2, a: 2, n: 8, sweep: [4], trained_windows: 2}",
    "probe={a: 2, n: 8, passage: 10, filler: 20, length: 64, first: 32, windows: 2}",
    "speed.contexts=[64]",
    "speed.repeats=1",
    "speed.prefill=[32]",
    "speed.policies.StreamingPolicy={name: streaming, a: 2, s: 4, w: 8, c: 24}",
    (
        "streaming={tokens: 512, full_tokens: 256, every: 128, protocol: continuous, small_tokens: 600,"
        " small_every: 100, policies: {sep: {name: streaming, a: 2, s: 4, w: 16, c: 40},"
        " sink: {name: sink, a: 2, c: 40}},"
        " small_policy: {name: streaming, a: 2, s: 4, w: 16, c: 40}}"
    ),
    "generate.new_tokens=4",
)


def small(*sections: str) -> tuple[str, ...]:
    """The overrides of these sections, for runs that leave the others out."""
    return tuple(s for s in SMALL if s.split("=")[0].split(".")[0] in ("workers", "model", *sections))


def command(script: str, *overrides: str) -> list[str]:
    return [sys.executable, str(PAPER / script), *overrides]


def call(script: str, *overrides: str, cwd: Path, code: int = 0) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command(script, *overrides), capture_output=True, text=True, timeout=300, cwd=cwd, env=environment
    )
    assert done.returncode == code, done.stderr
    return done.stderr if code else done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, tuple[str, ...], str]:
    """(folder, overrides, what eval.py said) of a whole run."""
    folder = tmp_path_factory.mktemp("run")
    overrides = (*SMALL, f"model.path={write_small_model(folder / 'model')}")
    call("train.py", *overrides, cwd=folder)
    return folder, overrides, call("eval.py", *overrides, cwd=folder)


def test_the_whole_run_leaves_report_metrics_and_figures(finished):
    folder, _, said = finished
    results = folder / "results"
    figures = {"attention_share.png", "ppl_vs_kv.png", "loss_vs_flops.png", "decode.png", "stream.png"}
    assert {path.name for path in results.iterdir()} == {"parts", "report.md", "metrics.json", *figures}
    assert {path.name for path in folder.iterdir()} == {"model", "results"}  # Hydra leaves nothing behind
    assert "report: results/report.md" in said
    metrics = json.loads((results / "metrics.json").read_text())
    allowed = {"✓ shown", "~ partly", "✗ not shown", "not testable at this scale"}
    assert len(metrics["claims"]) == 15 and {c["verdict"] for c in metrics["claims"]} <= allowed
    assert [c["claim"] for c in metrics["claims"] if c["verdict"] == "not testable at this scale"] == [
        "on GSM8K-CoT and MMLU Llama-3-8B-Instruct keeps its scores"
    ]
    report = (results / "report.md").read_text()
    assert all(claim["measured"] in report for claim in metrics["claims"])
    assert "sep, rule fused" in report and "swapped" in report and "After post-training" in report


def test_the_matched_window_keeps_the_same_within_a_key(finished):
    folder, *_ = finished
    rows = json.loads((folder / "results" / "metrics.json").read_text())["parts"]["ppl"]["result"]
    for group in {r["group"] for r in rows}:
        found = {r["label"]: r for r in rows if r["group"] == group}
        assert abs(found["sep"]["kept"] - found["window, same KV"]["kept"]) <= 0.5


def test_memory_of_a_stream_is_constant(finished):
    folder, *_ = finished
    parts = json.loads((folder / "results" / "metrics.json").read_text())["parts"]
    for name in ("stream-small", "stream-sep-continuous", "stream-sink-continuous"):
        assert len({row["kv_bytes"] for row in parts[name]["result"]["rows"]}) == 1, name
    assert parts["stream-sep-continuous"]["result"]["formula_size"] == 31


def test_a_second_run_reuses_everything(finished):
    folder, overrides, _ = finished
    said = call("eval.py", *overrides, cwd=folder)
    assert ": done in" not in said and "probe-trained: reused" in said


def test_official_lines_are_reported_apart(finished):
    folder, overrides, _ = finished
    call(
        "eval.py",
        *small("streaming"),
        overrides[-1],
        "train=[]",
        "eval=stream",
        "streaming.protocol=official_lines",
        "streaming.small_tokens=0",
        cwd=folder,
    )
    rows = json.loads((folder / "results" / "metrics.json").read_text())["parts"]["stream-sep-official_lines"]
    last = rows["result"]["rows"][-1]
    assert last["first_scored"] > 0 and last["scored"] > 0
    assert "first words of lines" in (folder / "results" / "report.md").read_text()


def test_refusals_are_one_sentence(tmp_path):
    cases = {
        ("post.arms.sep.n=0",): "policy.n must be a whole number of at least 1, not 0",
        ("streaming.policies.sep.c=10",): "a + s + w must be less than the capacity c",
        ("separators.rule=commas",): "separators.rule must be one of paper, fused, ends, official",
        ("model.path=/nowhere/model.gguf",): "there is no file",
    }
    for overrides, words in cases.items():
        said = call("train.py", *overrides, "workers=0", "train=post", cwd=tmp_path, code=2)
        assert words in said and len(said.strip().splitlines()) == 1, said


def kill_when(path: Path, arguments: list[str], cwd: Path) -> None:
    """Start a run and kill it as soon as a file is there."""
    process = subprocess.Popen(
        arguments,
        cwd=cwd,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    begun = time.monotonic()
    while not path.exists() and process.poll() is None and time.monotonic() - begun < 200:
        time.sleep(0.005)
    assert process.poll() is None, "the run ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()


def test_a_killed_training_and_stream_end_with_the_same_numbers(tmp_path):
    """SIGKILL after the first saved state; the same command then goes on, and nothing differs."""
    model = write_small_model(tmp_path / "model")
    overrides = [
        *small("scratch", "streaming"), f"model.path={model}", "train=scratch", "eval=stream",
        "scratch.arms={sep: {name: sep, a: 2, n: 8}}",
        "scratch.recipe.steps=40", "streaming.tokens=3000", "streaming.full_tokens=256",
        "streaming.policies={sep: {name: streaming, a: 2, s: 4, w: 16, c: 24}}",
    ]  # fmt: skip
    results = {}
    for name in ("whole", "killed"):
        folder = tmp_path / name
        folder.mkdir()
        parts = folder / "results" / "parts"
        if name == "killed":
            kill_when(parts / "scratch-sep-0" / "state.safetensors", command("train.py", *overrides), folder)
            assert not (parts / "scratch-sep-0.json").exists()
        call("train.py", *overrides, cwd=folder)
        if name == "killed":
            kill_when(parts / "stream-sep-continuous" / "state.json", command("eval.py", *overrides), folder)
            assert not (parts / "stream-sep-continuous.json").exists()
        call("eval.py", *overrides, cwd=folder)
        training = json.loads((parts / "scratch-sep-0.json").read_text())["result"]["curve"]
        streamed = json.loads((parts / "stream-sep-continuous.json").read_text())["result"]["rows"]
        timed = ("seconds", "rss")
        results[name] = (training, [{k: v for k, v in row.items() if k not in timed} for row in streamed])
    assert results["killed"] == results["whole"]
    assert [row["step"] for row in results["whole"][0]] == list(range(0, 41, 2))
