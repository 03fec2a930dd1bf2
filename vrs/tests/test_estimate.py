"""What a run costs before it is run, and that the calls then made are those."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
from oracle import Oracle

from vrs.calibration import PAPER_GRID, calibration
from vrs.errors import VRSError
from vrs.in_context import InContext
from vrs.samplers import SAMPLERS, VRS, Direct, Inversion, VRSHybrid
from vrs.study.estimate import Bill, drawn, estimated, first_prompt, scored
from vrs.study.settings import Settings
from vrs.targets import Bernoulli
from vrs.wording import Worded

GRID = [Bernoulli(p) for p in PAPER_GRID]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("an estimate opened a connection")

    monkeypatch.setattr(socket, "socket", refuse)


def settings(*curves, **more) -> Settings:
    study = {"name": "test", "curves": list(curves), "simulation": {"replicates": 10}, **more.pop("study", {})}
    return Settings.from_mapping({"llm": {"backend": "fake", **more}, "study": study, "task": {"name": "study"}})


def test_tokens_are_about_the_paper_s():
    """Some 120 tokens in and 200 out of a direct call, 230 and 300 of VRS, by the rule of four characters."""
    rows = {row["sampler"]: row for row in estimated(settings({"sampler": "direct"}, {"sampler": "vrs"}))}
    for name, prompt, reply in (("direct", 120, 200), ("vrs", 230, 300)):
        row = rows[name]
        assert row["prompt tokens"] / row["calls"] == pytest.approx(prompt, rel=0.5)
        assert row["completion tokens"] / row["calls"] == pytest.approx(reply, abs=0.01)
    assert rows["total"]["calls"] == pytest.approx(10_100 + 15_200, abs=1)


def test_prices():
    assert Bill(10, 1e6, 1e5).cost({"input": 0.1, "output": 0.4}) == pytest.approx(0.14)
    # without prices a cost is not known, and is not nought
    assert Bill(10, 1e6, 1e5).cost(None) is None
    assert estimated(settings({"sampler": "direct"}))[0]["cost, USD"] == "unknown"
    with pytest.raises(VRSError, match="need input and output"):
        Bill().cost({"input": 1.0})


def test_forced_answers_and_lengths_of_reasoning():
    (row, _) = estimated(settings({"sampler": "direct", "question": "forced", "grid": 3, "draws": 10}))
    assert row["completion tokens"] == row["calls"] == 30
    (row, _) = estimated(settings({"sampler": "direct", "cot": 300, "grid": 3, "draws": 10}))
    assert row["sampler"] == "direct, 300 words" and row["completion tokens"] == 30 * 410


def test_exact_curves_cost_their_distinct_questions():
    llm = Oracle().client()
    for made in (Direct(None, question=InContext(relabel="swap")), VRS(None, question=Worded(forced=True))):
        bill = scored(made, GRID)
        calibration(replace(made, llm=llm), PAPER_GRID, exact=True)
        assert bill.calls == len({(r.messages, r.prefix, r.choices) for r in llm.calls})
        llm.calls.clear()


def test_a_pilot_is_in_the_bill():
    assert drawn(Inversion(None, pilot=10), GRID, 100).calls == 10_100 + 21 * 10
    assert drawn(Inversion(None, estimator="exact"), GRID, 100).calls == 10_100


def test_recognition_and_the_numbers_it_needs_of_the_model():
    recognition = {"levels": 11, "draws": 100, "repeats": 5, "sources": ["python", "model"]}
    found = estimated(settings({"sampler": "direct"}, study={"recognition": recognition}))
    rows = {row["sampler"]: row["calls"] for row in found}
    assert rows["recognition"] == 1210 and rows["direct, for recognition"] == 5500


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_states_its_cost_without_a_model(name):
    plan = SAMPLERS[name](None).plan(Bernoulli("0.3"))
    assert 0 < plan.calls < 20 and plan.M >= 1
    assert drawn(SAMPLERS[name](None), [Bernoulli("0.3")], 10).prompt > 0


def test_a_sampler_that_may_ask_nothing_has_a_prompt_all_the_same():
    text, forced = first_prompt(VRSHybrid(None), Bernoulli("0.3"))
    assert "0.4286" in text and not forced
    assert first_prompt(VRSHybrid(None), Bernoulli("0.5")) == ("", False)


def test_the_calls_of_a_run_are_those_of_its_estimate():
    llm = Oracle().client(concurrency=64)
    curve = calibration(VRS(llm), PAPER_GRID[::10], 100)
    used = sum(s.calls - s.unused_calls for s in curve.samples)
    assert used == pytest.approx(drawn(VRS(None), GRID[::10], 100).calls, rel=0.05)
    assert curve.parse_rate == 1.0 and curve.summary()["calls"] == len(llm.calls)
