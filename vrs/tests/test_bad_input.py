"""Configurations that cannot be run: one sentence that names value, range and place, before anything is written."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from vrs.study.collect import certificate, collect, one_sample
from vrs.study.entry import run
from vrs.study.estimate import estimated

CONF = Path(__file__).parents[1] / "conf"


def curve(text: str) -> tuple[str, ...]:
    return ("llm=fake", f"study.curves=[{{sampler: direct, grid: 3, draws: 2, {text}}}]")


def refused(monkeypatch, capsys, tmp_path, body, *overrides: str) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", *overrides])
    with pytest.raises(SystemExit) as ended:
        run(body, "train", CONF)
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("train: ")]
    assert ended.value.code == 2 and len(errors) == 1, errors
    return errors[0]


@pytest.mark.parametrize(
    "overrides, sentence",
    [
        (("llm=gpt5",), "Could not find 'llm/gpt5'"),
        (("llm=fake", "llm.backend=oracle"), "llm.backend must be one of"),
        (("llm=fake", "llm.backend=null"), "llm.backend is missing"),
        (("llm=fake", "+llm.colour=red"), "llm has no setting 'colour'"),
        (("llm=fake", "llm.options.respond=nowhere:nothing"), "respond must name a function"),
        (("llm=replay",), "nothing.jsonl|completions.jsonl"),
        (("seed=-1",), "seed must be a whole number from 0, not -1"),
        (("seed=x",), "seed must be a whole number from 0, not 'x'"),
        (("colour=red",), "Could not override 'colour'"),
        (("+study.colour=red",), "study has no field 'colour'"),
        (("study.grid=1", "study.curves=[{sampler: direct}]"), "grid must be a number of levels from 2 to 1001, not 1"),
        (("study.curves=[]",), "the study has no curves"),
        (("study.curves=[5]",), "study.curves must be fields with values, not 5"),
        (curve("colour: red"), "study.curves has no field 'colour'"),
        (curve("sampler: vsr"), "sampler must be one of direct, .*, not 'vsr'"),
        (curve("question: whispered"), "question must be one of free, forced, in_context"),
        (curve("phrasings: [P7]"), "phrasing must be one of P1, .*, not 'P7'"),
        (curve("phrasings: []"), "has no phrasings"),
        (curve("relabel: mirror"), "relabel must be one of off"),
        (curve("cot: -5"), "cot must be 'auto' or a number of words from 0, not -5"),
        (curve("question: forced, cot: 100"), "cot must be 0, not 100"),
        (curve("draws: some"), "draws must be 'exact' or a whole number from 1, not 'some'"),
        (curve("draws: exact"), r"set forced=true \(no reasoning before it\)"),
        (curve("options: {bits: 3}"), "the sampler direct has no option 'bits'; it has none"),
        (curve("sampler: adaptive_q, options: {q: 3}"), "has no option 'q'; its options are inner, bits"),
        (curve("sampler: vrs, question: in_context"), "the sampler vrs asks in words of its own"),
        (curve("question: in_context, relabel: random_tokens"), "is off or swap, not 'random_tokens'"),
        (curve("engine: {margin: -1}"), "margin and retries must be at least 0"),
        (curve("engine: {speed: 2}"), "the engine has no option 'speed'; its options are redraws"),
        ((*curve("cot: 5"), "study.recognition={levels: 1}"), "recognition.levels must be a whole number from 2"),
        ((*curve("cot: 5"), "study.simulation.replicates=0"), "replicates must be a whole number from 1, not 0"),
    ],
)
def test_studies_that_cannot_be(monkeypatch, capsys, tmp_path, overrides, sentence):
    assert re.search(sentence, refused(monkeypatch, capsys, tmp_path, collect, *overrides))
    assert not list(tmp_path.rglob("*.md")) and not any('"call"' in p.read_text() for p in tmp_path.rglob("*.jsonl"))


@pytest.mark.parametrize(
    "body, overrides, sentence",
    [
        (one_sample, ("task.p=1.5",), r"task.p must be in \[0, 1\], not 1.5"),
        (one_sample, ("task.p=nan",), "task.p must be a finite number, not nan"),
        (one_sample, ("task.n=0",), "task.n, the number of draws, must be a whole number from 1, not 0"),
        (one_sample, ("task.sampler=coin",), "task.sampler must be one of"),
        (one_sample, ("task.within=2",), r"task.within, the width of the band, must be in \(0, 1\]"),
        (one_sample, ("task.colour=red",), "Could not override 'task.colour'"),
        (certificate, ("task=certify", "task.tv=0.7"), "tv, the error allowed, must be between 0 and 0.5, not 0.7"),
        (certificate, ("task=certify", "task.confidence=1"), "confidence must be between 0 and 1"),
        (certificate, ("task=certify", "task.budget=5"), "budget must be a whole number of calls from 100, not 5"),
        (estimated, ("+llm.prices={input: 1.0}",), "llm.prices need input and output"),
    ],
)
def test_tasks_that_cannot_be(monkeypatch, capsys, tmp_path, body, overrides, sentence):
    if not any(o.startswith("task=") for o in overrides):
        overrides = ("task=sample", *overrides)
    assert re.search(sentence, refused(monkeypatch, capsys, tmp_path, body, "llm=fake", *overrides))


def test_a_place_that_cannot_be_written_is_named(monkeypatch, capsys, tmp_path):
    (tmp_path / "file").write_text("")
    said = refused(monkeypatch, capsys, tmp_path, collect, *curve("cot: 5"), "output_dir=file")
    assert "file" in said and "cannot" in said


def test_a_run_record_that_is_broken_is_begun_anew(monkeypatch, capsys, tmp_path):
    folder = tmp_path / "results" / "samples"
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{not json")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train.py", *curve("cot: 5")])
    run(collect, "train", CONF)
    assert "model calls: 14" in capsys.readouterr().out  # eight of the probe
