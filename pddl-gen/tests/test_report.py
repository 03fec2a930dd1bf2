"""The report over the recorded and live strands, with an evaluation that is quick: rung 1 is real, meaning unknown."""

from __future__ import annotations

import json

import pytest

from pddl_gen import report
from pddl_gen.experiment import train_recorded
from pddl_gen.ladder import MEANING, RUNGS, Evaluator
from pddl_gen.valmode import val_verdict


@pytest.fixture
def quick(monkeypatch):
    def progress(self, jobs):
        for job in jobs:
            rungs = dict.fromkeys(RUNGS, job.domain is not None)
            rungs["val_pass"] = job.domain is not None and val_verdict(job.domain).passes
            rungs |= dict.fromkeys(MEANING)
            self.known[job.key] = {**rungs, "notes": [], "witness": None, "problems": []}
        return iter(())

    monkeypatch.setattr(Evaluator, "progress", progress)


def settings(folder, strands):
    return {
        "strands": strands, "seed": 0, "workers": 1, "output_dir": str(folder),
        "simulated": {"trials": 5, "rounds": 1},
        "live": {"model": "tiny", "domains": ["ferry"], "samples": 1, "max_tokens": 16},
        "evaluation": {"seconds": 60, "memory_mb": 1024, "state_cap": 10, "expansions": 10},
    }  # fmt: skip


def test_tables_claims_ties_and_bill(tmp_path, quick, capsys):
    given = settings(tmp_path, ["recorded", "live"])
    train_recorded(given)
    live = tmp_path / "parts" / "live"
    live.mkdir()
    line = {"model": "tiny", "item": "prob2domain/ferry", "sample": 0, "domain": "(define (domain d))"}
    (live / "constrained.jsonl").write_text(json.dumps(line) + "\n")
    report.evaluate(given)
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| BoN-4, coverage |" in text and "| BoN-4, coverage |" in capsys.readouterr().out
    for words in ("| single (first draw) |", "rows tie on", "Model as planner", "The bill", "staged grammar", "?8"):
        assert words in text, words
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert len(metrics["claims"]) == 3 and all(c["source of completions"] for c in metrics["claims"])
    assert metrics["recorded"]["ledger"]["calls"] == metrics["recorded"]["source"]["completions"]
    report.evaluate(given)
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8")) == metrics
