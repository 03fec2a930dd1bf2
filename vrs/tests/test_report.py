"""What the report says follows from the curves: which half shows, every verdict, and the committed results."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from oracle import Oracle, leaning, straight

from vrs.calibration import calibration
from vrs.engine import Engine
from vrs.in_context import InContext
from vrs.recognition import Recognition
from vrs.samplers import VRS, Direct, VRSHybrid, VRSSimple
from vrs.study import paper
from vrs.study.claims import NOT_SHOWN, NOT_TESTABLE, PARTLY, SHOWN, claims
from vrs.study.report import opening
from vrs.study.run import Found, Measured
from vrs.study.score import pairs, pick, reads_p, scored, scored_all
from vrs.study.settings import CurveSettings, Settings, StudySettings
from vrs.study.theory_tables import simulated_theory, theory_text
from vrs.study.writing import to_json
from vrs.wording import Worded

FORCED = Worded(phrasing="P01", forced=True)
MODEL = {"backend": "transformers", "model": "small"}


class Deaf(Oracle):
    """Draws with a bias and judges whatever it reads by the toss of one coin: what a small model does."""

    def chances(self, request):
        if "Target distribution P:" in request.messages[-1].text:
            return {"T": 0.4, "F": 0.6}
        return super().chances(request)


def found(oracle, draws="exact") -> Found:
    """Direct, VRS, VRS-simple and the hybrid on 21 levels, forced, and two of them in context, relabelled."""
    llm, measured = oracle.client(concurrency=16), {}
    relabelled = InContext(relabel="swap")
    for kind, question, context in (
        (Direct, FORCED, "forced"),
        (VRS, FORCED, "forced"),
        (VRSSimple, FORCED, "forced"),
        (VRSHybrid, FORCED, "forced"),
        (Direct, relabelled, "in_context"),
        (VRSHybrid, relabelled, "in_context"),
    ):
        relabel = "swap" if context == "in_context" else "off"
        own = CurveSettings(kind.name, context, ("P01",), relabel, grid=21, draws=draws)
        made = kind(llm, question=question)
        curve = calibration(made, own.levels, 100 if draws == "exact" else draws, exact=draws == "exact")
        phrasing = own.wordings[0]
        measured[own.label(phrasing)] = Measured(own, phrasing, curve)
    return Found(curves=measured)


def settings(**llm) -> Settings:
    return Settings({**MODEL, **llm}, StudySettings("test", (CurveSettings("direct"),)))


def verdicts(curves, recognised=()) -> dict[str, str]:
    made = claims(settings(), curves, simulated_theory(50), dict(recognised))
    return {c.claim: c.verdict for c in made}


VRS_CLAIM = "verbalized rejection sampling reduces that bias"
PROMPT_CLAIM = "part of the gain comes from the prompt alone (VRS-simple: no generator, one decision a draw)"
ALGORITHM_CLAIM = "part of the gain comes from the algorithm, not from the prompt"


def test_a_deaf_model_shows_the_algorithm_half_alone():
    curves = scored_all(found(Deaf(leaning)))
    told = verdicts(curves)
    assert told[VRS_CLAIM] == told[PROMPT_CLAIM] == NOT_SHOWN
    assert told["asked for draws of it, the model draws with a bias"] == SHOWN
    assert told[ALGORITHM_CLAIM] == SHOWN
    said = opening(settings(), curves)
    first, second = said.split("\n\n")
    assert first.startswith("**Verbalized rejection sampling shows no effect on `small`.**")
    assert "heeds neither p nor the proposed value" in first and "prompt half" in first
    (h, d) = next(iter(pairs(curves, "vrs_hybrid", "direct", relabel="swap")))
    assert "**The algorithm half shows**" in second and f"{h['stvd'] / d['stvd']:.2f} of it" in second
    assert h["stvd"] / d["stvd"] < 0.7


def test_a_model_that_follows_its_prompts_shows_the_effect():
    """A judge with small errors beside a draw with large ones."""

    class Better(Oracle):
        def chances(self, request):
            own = self if "Target distribution P:" not in request.messages[-1].text else Oracle(straight)
            return super(Better, own).chances(request) if own is self else own.chances(request)

    curves = scored_all(found(Better(leaning)))
    told = verdicts(curves)
    assert told[VRS_CLAIM] == SHOWN and told[PROMPT_CLAIM] == SHOWN
    assert "follows the prompts" in opening(settings(), curves)


def test_a_true_coin_has_no_bias_to_show_and_drawn_curves_are_judged_against_their_noise():
    exact, drawn = (scored_all(found(Oracle(straight), draws)) for draws in ("exact", 100))
    bias = "asked for draws of it, the model draws with a bias"
    assert verdicts(exact)[bias] == verdicts(drawn)[bias] == NOT_SHOWN
    biased = scored_all(found(Oracle(leaning), 100))
    assert verdicts(biased)[bias] == SHOWN
    (c,) = pick(biased, "direct", question="forced").values()
    assert c["z"] > 5 and c["p_value"] < 1e-3 and c["rejected_levels"] > 3 and len(c["wilson"]) == 21


def test_what_was_not_measured_is_not_judged():
    told = verdicts({})
    simulated = {"with errors of one size VRS is closer to the target than direct sampling"}
    simulated |= {"Llama computes P/Q and leaves out M"}
    assert {claim for claim, verdict in told.items() if verdict != NOT_TESTABLE} == simulated
    assert "no whole curve of verbalized rejection sampling" in opening(settings(), {})


def test_replies_that_cannot_be_read_are_no_evidence():
    """A curve without draws at some level is told and not judged."""
    llm = Oracle(straight, malformed=0.95).client()
    own = CurveSettings("direct", "free", ("P01",), grid=3, draws=2, engine={"redraws": 0, "cap": 1})
    made = replace(Direct(llm, question=Worded(phrasing="P01")), engine=Engine(redraws=0, cap=1))
    curves = scored_all(Found(curves={"x": Measured(own, "P01", calibration(made, own.levels, 2))}))
    assert curves["x"]["levels_without_draws"] > 0 and curves["x"]["parse_rate"] < 0.5
    assert set(curves["x"]["malformed"]) == {"0", "0.5", "1"}
    assert verdicts(curves)["asked for draws of it, the model draws with a bias"] == NOT_TESTABLE
    assert not reads_p(curves["x"])


@pytest.mark.parametrize("right, verdict", [(0.95, SHOWN), (0.7, PARTLY), (0.5, NOT_SHOWN)])
def test_recognition_is_judged_by_its_balanced_accuracy(right, verdict):
    yes = np.where(np.eye(3, dtype=bool), right, 1 - right)[None]
    found_ = {"python": Recognition(("0", "0.5", "1"), yes, 9, 0)}
    assert verdicts({}, found_)["a model recognises the draws of a Bernoulli that it can describe"] == verdict


def test_a_score_of_an_exact_curve_tells_what_draws_would_show():
    curve = calibration(Direct(Oracle(leaning).client(), question=FORCED), [i / 100 for i in range(101)], exact=True)
    found_ = scored(curve)
    assert found_["expected_stvd"] > found_["stvd"] > found_["floor"] == pytest.approx(3.114, abs=1e-3)
    assert found_["worst_at"] == 0 and found_["worst_tv"] == pytest.approx(0.15)
    assert found_["mass"] == pytest.approx(0.9) and json.dumps(found_)


def test_the_predictions_stand_beside_the_paper_s_figures_as_ours():
    text = theory_text(simulated_theory(100))
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert "6.29" in rows["omits m"] and rows["omits m"].rstrip("| ").endswith("6.20")
    assert "11.40" in rows["vrs simple omits m"] and rows["vrs simple omits m"].rstrip("| ").endswith("11.85")
    assert "is our observation, not the paper's" in text


def test_a_stuck_coin_by_hand():
    """P̃ of the unsure value is ½/(1 + ½) for every p, so that TV = |P(x̂) − ⅓|; at p = ½ nothing is unsure."""
    stuck = simulated_theory(10)["stuck"]
    least = [min(i, 100 - i) / 100 for i in range(101)]
    assert stuck["hybrid"] == pytest.approx(sum(abs(p - 1 / 3) for p in least if p != 0.5))
    assert stuck["direct"] == pytest.approx(25.5)


# -- the paper's figures, and our committed ones


def test_the_paper_s_means_are_those_of_its_rows():
    for model, rows in paper.TABLE_1.items():
        for name, row in rows.items():
            # Llama's mean for VRS is printed as 6.20 and comes out as 6.155
            assert np.mean(row[:4]) == pytest.approx(
                row[4], abs=0.05 if (model, name) == (paper.LLAMA, "vrs") else 0.01
            )
    assert [round(paper.reduction(m), 2) for m in paper.TABLE_1] == [0.61, 0.48, 0.67, 0.73]


def test_the_paper_s_tables_are_those_of_the_development_data():
    beside = Path(__file__).parents[3] / "shared" / "data"
    path = Path(os.environ.get("TENFOLD_DATA", beside)) / "vrs" / "paper_tables.json"
    if not path.is_file():
        pytest.skip("there is no ../shared/data/vrs/paper_tables.json")
    numbers = sorted(_numbers(json.loads(path.read_text())))
    own = [v for rows in paper.TABLE_1.values() for row in rows.values() for v in row]
    own += [v for name, row in paper.TABLE_2.items() if name not in ("direct", "vrs") for v in row]
    assert all(any(abs(v - n) < 1e-9 for n in numbers) for v in own)


def _numbers(value):
    if isinstance(value, dict | list):
        return [n for v in (value.values() if isinstance(value, dict) else value) for n in _numbers(v)]
    return [value] if isinstance(value, int | float) else []


RESULTS = Path(__file__).parents[1] / "results"


@pytest.mark.skipif(not (RESULTS / "metrics.json").is_file(), reason="the default run has not been made here")
def test_the_committed_results_show_the_algorithm_half():
    curves = json.loads((RESULTS / "metrics.json").read_text())["curves"]
    (h, d), *_ = pairs(curves, "vrs_hybrid", "direct", question="in_context", relabel="swap", draws="exact")
    assert h["stvd"] / d["stvd"] <= 0.70
    asked = pairs(curves, "vrs_hybrid", "direct", question="forced")
    assert sum(h["stvd"] for h, _ in asked) / sum(d["stvd"] for _, d in asked) <= 0.65
    (factory,) = pick(curves, "factory", draws=100).values()
    assert factory["stvd"] <= 3.75
    report = (RESULTS / "report.md").read_text().splitlines()[:10]
    assert any("shows no effect" in line for line in report)
    assert any("The algorithm half shows" in line for line in report)


def test_json_on_few_lines_is_the_same_json():
    value = {"a": ["two  blanks [ here ]\n", "b"], "empty": [], "n": [[1, 2.5], [None]], "nan": float("nan")}
    text = to_json(value)
    assert json.loads(text) == {**value, "nan": None} and text.count("\n") < 14
