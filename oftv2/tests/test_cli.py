"""train.py and eval.py as a user runs them, on a random model of two layers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import preloaded
import pytest
from tiny_model import write_tiny_model

SMALL = (
    "training.steps=2",
    "training.batch_size=2",
    "training.warmup_steps=1",
    "task.options.test=4",
    "evaluation.problems=4",
    "evaluation.probe_problems=2",
    "evaluation.probe_tokens=8",
    "evaluation.max_new_tokens=4",
    "evaluation.strength_problems=2",
    "evaluation.alphas=[0.5]",
    "evaluation.terms=[4,5]",
)


def call(script: str, *overrides: str, cwd: Path) -> str:
    done = preloaded.call(script, *overrides, cwd=cwd, said=cwd.parent / f"{cwd.name}-said")
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, tuple[str, ...], str, str]:
    """(folder, overrides, what train.py said, what eval.py said) of a whole run."""
    folder = tmp_path_factory.mktemp("run")
    model = write_tiny_model(folder / "model")
    overrides = (*SMALL, f"model.path={model}", "task.sweep_file=none.json")
    return folder, overrides, call("train.py", *overrides, cwd=folder), call("eval.py", *overrides, cwd=folder)


def test_the_whole_run_leaves_report_metrics_and_four_figures(finished):
    folder, _, _, said = finished
    results = folder / "results"
    names = {path.name for path in results.iterdir()}
    assert names == {"parts", "report.md", "metrics.json", "tradeoff.png", "cost.png", "defect.png", "survival.png"}
    assert {path.name for path in folder.iterdir()} == {"model", "results"}  # Hydra leaves nothing behind
    assert "report: results/report.md" in said
    metrics = json.loads((results / "metrics.json").read_text())
    assert metrics["seed"] == 0 and metrics["environment"]["versions"]["torch"]
    assert {"oftv2", "qoft", "oftv1", "lora", "qlora", "base"} <= set(metrics["parts"])
    assert all(part["seconds"] >= 0 for named in metrics["parts"].values() for part in named.values())


def test_the_report_has_every_claim_with_a_verdict(finished):
    folder, *_ = finished
    metrics = json.loads((folder / "results" / "metrics.json").read_text())
    allowed = {"shown", "partly", "not shown", "not testable at this scale"}
    assert len(metrics["claims"]) >= 10 and {c["verdict"] for c in metrics["claims"]} <= allowed
    report = (folder / "results" / "report.md").read_text()
    for claim in metrics["claims"]:
        assert claim["claim"] in report and claim["measured"] in report


def test_oftv1_and_oftv2_with_exact_cayley_have_the_same_losses(finished):
    folder, *_ = finished
    parts = json.loads((folder / "results" / "metrics.json").read_text())["parts"]
    losses = {k: [row["loss"] for row in parts[k]["train"]["result"]["rows"]] for k in parts if "train" in parts[k]}
    for label in ("oftv1_blockwise", "oftv2_exact"):
        assert losses[label] == pytest.approx(losses["oftv1"], abs=1e-4)


def test_a_second_run_reuses_everything_and_a_lost_adapter_is_made_again_alone(finished):
    folder, overrides, *_ = finished
    parts = folder / "results" / "parts"
    before = (parts / "lora" / "adapter" / "adapter_model.safetensors").read_bytes()
    shutil.rmtree(parts / "lora" / "adapter")
    said = call("train.py", *overrides, cwd=folder)
    assert "lora/train: done" in said and said.count("/train: done") == 1 and said.count("/train: reused") == 7
    assert (parts / "lora" / "adapter" / "adapter_model.safetensors").read_bytes() == before
    said = call("eval.py", *overrides, cwd=folder)
    assert ": done in" not in said and "oftv2/score: reused" in said


def test_configuration_and_dry_run_write_nothing(tmp_path):
    assert "batch_size" in call("train.py", "--cfg", "job", cwd=tmp_path)
    assert "17,649,664" in call("train.py", "scale=paper", "dry_run=true", cwd=tmp_path)
    assert list(tmp_path.iterdir()) == []
