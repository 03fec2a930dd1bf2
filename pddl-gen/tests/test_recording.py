"""The recording: every key follows from the shipped prompts, nothing is missed, S comes with every first answer."""

from __future__ import annotations

import json

from pddl_gen import recorded
from pddl_gen.cli import main
from pddl_gen.report import methods
from shared.llm.recording import Recording


def test_every_request_of_the_default_run_is_answered(capsys):
    found = recorded.verify()
    assert found["missing"] == [] and found["unasked"] == 0
    assert found["completions"] == found["answered"] and found["source"] and found["date"] == "2026-11-24"
    assert main(["record", "verify"]) == 0
    assert json.loads(capsys.readouterr().out) == found


def test_scores_are_there_for_all_first_answers_or_for_none():
    scorer, recording = recorded.KeptScores(), Recording.open(recorded.RECORDING)
    if not scorer.values:
        return
    firsts = 0
    for line in recording.entries.values():
        prompt = line["request"]["messages"][0]["parts"][0]["text"]
        if "generator" in line["tag"] and "planner_baseline" not in line["tag"]:
            (likelihood,) = scorer(prompt, [line["completion"]["text"]])
            assert likelihood is not None and likelihood.total < 0 < likelihood.tokens
            firsts += 1
    assert firsts == recorded.strand()["n"] * sum(
        len(v) for k, v in recorded.strand()["domains"].items() if k != "planner_baseline"
    )


def test_the_strand_replays_through_the_engine(tmp_path):
    from pddl_gen.experiment import recorded_strand

    settings = {"output_dir": str(tmp_path)}
    strand = recorded_strand(settings)
    again = recorded_strand(settings)
    assert strand.asked == strand.totals["calls"] > 60 and again.asked == 0 and again.totals == strand.totals
    assert strand.totals["failed"] == 0 and strand.totals["completion_tokens"] > 10_000
    for task in recorded.TASKS:
        found = methods(strand, strand.items[task], recorded.strand()["start_n"])
        assert "single (first draw)" in found and any("coverage" in m for m in found)
        assert all(len(per_item) == len(strand.items[task]) for per_item in found.values())
