"""train.py and eval.py as a user runs them: the paper's whole study on a stand-in, one sample, a certificate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PAPER = Path(__file__).parents[1]
SMALL = ("llm=fake", "study.grid=11", "study.draws=10", "study.recognition.repeats=1", "study.simulation.replicates=50")
FIGURES = {"overview.png", "simple.png", "reasoning.png", "recognition.png"}


def call(script: str, *overrides: str, cwd: Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, str(PAPER / script), *overrides],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[Path, str, str]:
    """(folder, what train.py said, what eval.py said) of the paper's study, small and on a stand-in."""
    folder = tmp_path_factory.mktemp("run")
    arguments = ("scale=paper", *SMALL)
    return folder, call("train.py", *arguments, cwd=folder), call("eval.py", *arguments, cwd=folder)


def test_the_paper_s_study_runs_end_to_end(finished):
    """All five prompt variants in four phrasings, seven lengths of reasoning, two recognition matrices."""
    folder, train, evaluate = finished
    metrics = json.loads((folder / "results" / "metrics.json").read_text())
    settings = [c["setting"] for c in metrics["curves"].values()]
    for sampler in ("direct", "vrs", "vrs_m", "vrs_simple", "vrs_simple_m"):
        own = {s["phrasing"] for s in settings if s["sampler"] == sampler and s["cot"] == "auto"}
        assert own == {"P1", "P0", "P10", "P01"}
    assert [s["cot"] for s in settings if s["cot"] != "auto"] == [0, 10, 50, 100, 200, 300, 500]
    assert set(metrics["recognition"]) == {"python", "model"}
    assert all(len(r["matrix"]) == 11 for r in metrics["recognition"].values())
    assert "model calls: 0" not in train and "report: results/report.md" in evaluate
    assert metrics["sources"] == ["fake: fake"] and metrics["environment"]["versions"]["numpy"]


def test_the_run_leaves_its_report_its_figures_and_nothing_else(finished):
    folder, *_ = finished
    assert {path.name for path in folder.iterdir()} == {"results"}
    names = {path.name for path in (folder / "results").iterdir()}
    assert names == {"samples", "report.md", "metrics.json", *FIGURES}
    report = (folder / "results" / "report.md").read_text()
    assert "A rehearsal" in report.splitlines()[2]
    for figure in FIGURES:
        assert f"({figure})" in report


def test_every_claim_has_a_verdict_from_its_numbers(finished):
    folder, *_ = finished
    claims = json.loads((folder / "results" / "metrics.json").read_text())["claims"]
    report = (folder / "results" / "report.md").read_text()
    assert len(claims) == 9
    assert {c["verdict"] for c in claims} <= {"shown", "partly", "not shown", "not testable at this scale"}
    for claim in claims:
        assert claim["claim"] in report and claim["measured"].replace("|", "\\|") in report
    verdicts = {c["claim"]: c["verdict"] for c in claims}
    # the stand-in recognises draws, and the study has no hybrid
    assert verdicts["a model recognises the draws of a Bernoulli that it can describe"] == "shown"
    assert verdicts["part of the gain comes from the algorithm, not from the prompt"] == "not testable at this scale"


def test_an_estimate_calls_nothing_and_writes_nothing(tmp_path):
    said = call("train.py", "scale=paper", "estimate=true", cwd=tmp_path)
    calls = {line.rsplit(maxsplit=4)[0]: int(line.split()[-4].replace(",", "")) for line in said.splitlines()[2:]}
    assert calls["direct"] == 40_400 and calls["vrs_simple"] + calls["vrs_simple_m"] == 80_800
    assert abs(calls["vrs"] / 60_800 - 1) < 0.01 and abs(calls["vrs_m"] / 60_800 - 1) < 0.01
    assert calls["recognition"] == 1210 and list(tmp_path.iterdir()) == []


def test_one_sample_and_its_bill_and_the_same_again(tmp_path):
    arguments = ("task=sample", "task.p=0.3", "task.n=40", "llm=fake")
    first, second = (call("train.py", *arguments, cwd=tmp_path) for _ in range(2))
    values = first.splitlines()[0].split()
    assert len(values) == 40 and set(values) == {"0", "1"} and first == second
    assert "p = 0.3: 40 draws, share of ones" in first and "calls (" in first
    ledgers = list((tmp_path / "results" / "samples").glob("single-*.jsonl"))
    before = ledgers[0].read_bytes()
    # until the band is narrow: the first draws are those that were had
    longer = call("train.py", *arguments[:2], "task.n=400", "task.within=0.25", "llm=fake", cwd=tmp_path)
    assert longer.splitlines()[0].split()[:40] == values
    assert ledgers[0].read_bytes().startswith(before) and len(ledgers) == 1


def test_a_certificate(tmp_path):
    said = call("train.py", "task=certify", "task.question=forced", "task.p=0.3", "llm=fake", cwd=tmp_path)
    assert "TV at most" in said and "with confidence 0.95" in said


def test_eval_without_train_is_a_sentence(tmp_path):
    said = call("eval.py", cwd=tmp_path, code=2)
    assert said.startswith("eval: there is no results/samples/scores.jsonl: run train.py first")
    assert said.count("\n") == 1 and list(tmp_path.iterdir()) == []
