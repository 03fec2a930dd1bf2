"""train.py and eval.py as a user runs them, on a small corpus and few steps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from poet.corpus import FORMAT, train_tokenizer

PAPER = Path(__file__).parents[1]
LABELS = ("adamw", "muon", "galore", "lora", "adamw_normalized", "poet_bs", "poet_bs_muon", "poet_fs")
SMALL = (
    "training.steps=12",
    "training.sequences=8",
    "training.length=16",
    "training.measure_every=4",
    "training.measure_sequences=8",
    "method.members.poet_bs.poet.merge_every=5",
    "method.members.poet_bs_muon.poet.merge_every=5",
    "method.members.poet_fs.poet.merge_every=5",
    "method.members.galore.options.gap=5",
    "pretrained.enabled=false",
    "sweep.file=sweep.json",
    "sweep.steps=2",
    "sweep.seeds=[0,1]",
    "data.vocabulary=300",
)


def call(script: str, *overrides: str, cwd: Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PAPER / script), *overrides],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def small_corpus(folder: Path) -> None:
    """What reading the standard library leaves, of a few generated sentences."""
    import platform

    texts = [f"The value of item {i} is {i * i}, which is more than {i}." for i in range(300)]
    tokenizer = train_tokenizer(texts, 300)
    tokenizer.save_pretrained(folder / "tokenizer")
    parts = {"train": texts[:240], "dev": texts[240:270], "validation": texts[270:]}
    tokens = {k: torch.tensor([i for t in v for i in tokenizer(t)["input_ids"]]).int() for k, v in parts.items()}
    save_file(tokens, folder / "tokens.safetensors")
    facts = {
        "recipe": {"format": FORMAT, "python": platform.python_version(), "vocabulary": 300},
        "sha256": "0" * 64,
        "tokens": {k: len(v) for k, v in tokens.items()},
        "overlap": {"dev": 0.0, "validation": 0.0},
    }
    (folder / "corpus.json").write_text(json.dumps(facts))


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str, str]:
    """(folder, what train.py said, what eval.py said) of a whole run."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "results" / "parts" / "corpus").mkdir(parents=True)
    small_corpus(folder / "results" / "parts" / "corpus")
    return folder, call("train.py", *SMALL, cwd=folder), call("eval.py", *SMALL, cwd=folder)


def test_the_whole_run_leaves_report_metrics_and_figures(finished):
    folder, _, said = finished
    names = {path.name for path in (folder / "results").iterdir()}
    pictures = {"loss.png", "spectra.png", "geometry.png", "probes.png", "cost.png"}
    assert names == {"parts", "report.md", "metrics.json", *pictures}
    assert {path.name for path in folder.iterdir()} == {"results"}  # Hydra leaves nothing behind
    assert "report: results/report.md" in said and all(label in said for label in LABELS)
    metrics = json.loads((folder / "results" / "metrics.json").read_text())
    assert set(metrics["runs"]) == set(LABELS) and metrics["environment"]["versions"]["torch"]


def test_every_claim_has_a_verdict_in_the_report(finished):
    folder, *_ = finished
    metrics = json.loads((folder / "results" / "metrics.json").read_text())
    report = (folder / "results" / "report.md").read_text()
    allowed = {"shown", "partly", "not shown", "not testable at this scale"}
    assert len(metrics["claims"]) >= 12 and {c["verdict"] for c in metrics["claims"]} <= allowed
    assert all(c["claim"] in report and c["measured"].replace("|", "\\|") in report for c in metrics["claims"])
    verdicts = {c["claim"]: c["verdict"] for c in metrics["claims"]}
    assert verdicts["the singular values of every weight are preserved"] == "shown"
    assert verdicts["a merged model costs nothing extra at inference"] == "shown"
    assert "There is no sweep of these methods" in report


def test_poet_keeps_its_spectrum_and_reloaded_models_are_the_trained_ones(finished):
    folder, *_ = finished
    runs = json.loads((folder / "results" / "metrics.json").read_text())["runs"]
    for label, run in runs.items():
        assert abs(run["reloaded"]["loss"] - run["validation"]["loss"]) < 1e-4
        drift = run["record"]["measured"][-1]["drift_max"]
        assert drift < 1e-5 if label.startswith("poet") else drift > 1e-4
    assert abs(runs["lora"]["trained"] / runs["poet_bs"]["trained"] - 1) < 0.03


def test_a_second_run_reuses_everything_and_a_lost_model_is_made_again_alone(finished):
    folder, *_ = finished
    model = folder / "results" / "parts" / "poet_fs" / "model"
    before = (model / "model.safetensors").read_bytes()
    shutil.rmtree(model)
    said = call("train.py", *SMALL, cwd=folder)
    assert said.count(": reused") == 7 and "poet_fs: done" in said
    assert (model / "model.safetensors").read_bytes() == before


def test_the_sweep_tries_every_rate_and_seed_and_goes_on_where_it_was(finished):
    folder, *_ = finished
    sweep = (*SMALL, "sweep.enabled=true", "only=[adamw,poet_bs]")
    call("train.py", *sweep, cwd=folder)
    table = json.loads((folder / "sweep.json").read_text())
    for name in ("adamw", "poet_bs"):
        cells = [c for c in table["cells"] if c["method"] == name]
        assert len(cells) == 6 and sum("validation_loss" in c for c in cells) == 2
        assert [c["lr"] for c in cells if c["seed"] == 0] == table["ladders"][name]
    table["cells"] = table["cells"][1:]
    (folder / "sweep.json").write_text(json.dumps(table))
    call("train.py", *sweep, cwd=folder)
    again = json.loads((folder / "sweep.json").read_text())
    assert len(again["cells"]) == 12 and again["cells"][1:] == table["cells"]


def test_inspections_and_refusals_write_nothing(tmp_path):
    assert "truncated" in call("train.py", "diagnostics=series", cwd=tmp_path)
    said = call(
        "train.py", "method.members.poet_bs.poet.block=48", f"output_dir={tmp_path / 'r'}", cwd=tmp_path, code=2
    )
    assert said.startswith("train: block 48 does not divide the size 64")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
