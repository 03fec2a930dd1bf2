"""The paper's claims beside what was measured. Every verdict follows from the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from . import paper
from .records import CATEGORIES

SHOWN, PARTLY, NOT_SHOWN, NOT_TESTABLE = "shown", "partly", "not shown", "not testable at this scale"
RECORDED = "a recorded large general-purpose language model"
COMMAND = "python eval.py"


@dataclass(frozen=True)
class Claim:
    """A row of the claims table."""

    claim: str
    paper: str
    measured: str
    source: str
    verdict: str
    command: str


def claims(m: Mapping[str, Any], command: str = COMMAND) -> list[Claim]:
    """All claims in the paper's order; those without numbers are marked not testable."""
    builders = (hard_for_models, stronger_is_better, colour_is_easy, digits, consistent, tuning_helps, reads, generic)
    return [build(m, command) for build in builders]


def hard_for_models(m: Mapping[str, Any], command: str) -> Claim:
    claim = "questions that anybody who sees the picture can answer are hard for a model that reads the program"
    said = "best model 67.4 %, random 25.9 % (n = 4,340)"
    parts, verdict = [], NOT_TESTABLE
    if before := m.get("before"):
        r = before["categories"]["all"]
        parts.append(f"{m['model']} untuned {_share(r)}")
        verdict = SHOWN if r["cluster"][0] <= 0.30 else PARTLY
    if recorded := m.get("recorded"):
        r = recorded["categories"]["all"]
        parts.append(f"{RECORDED} {_share(r)} on plain scenes and icons")
        verdict = PARTLY if r["value"] > 0.8 and verdict == SHOWN else verdict
    note = "; the scenes here are simpler than the paper's icons" if parts else ""
    return Claim(claim, said, "; ".join(parts) + note, paper.SOURCE, verdict, command)


def stronger_is_better(m: Mapping[str, Any], command: str) -> Claim:
    claim = "stronger models do better"
    said = "Claude 3.5 Sonnet 67.4 %, Llama3.1-8B 46.5 %, Gemma-1.1-2B 31.7 %"
    pair = m.get("small_and_large")
    if not pair:
        return Claim(claim, said, "no recording of a larger model", paper.SOURCE, NOT_TESTABLE, command)
    d = pair["large_minus_small"]
    measured = (
        f"{m['model']} {pair['small']:.0%}, {RECORDED} {pair['large']:.0%} on the same questions: "
        f"{100 * d['difference']:+.0f} points ({_interval(d)}, n = {d['n']})"
    )
    return Claim(claim, said, measured, paper.SOURCE, SHOWN if d["interval"][0] > 0 else NOT_SHOWN, command)


def colour_is_easy(m: Mapping[str, Any], command: str) -> Claim:
    claim = "colour is easy; semantics, counting and reasoning are hard"
    said = "Claude 3.5 Sonnet: color 89.1, shape 75.8, count 58.4, reasoning 52.7, semantics 50.5"
    parts, holds = [], []
    for label, name in (("after", f"{m.get('model')} after tuning"), ("recorded", RECORDED)):
        if rows := m.get(label, {}).get("categories"):
            there = [c for c in ("Color", "Shape", "Count", "Reasoning", "Semantics") if c in rows]
            parts.append(f"{name}: " + ", ".join(f"{c.lower()} {100 * rows[c]['value']:.0f}" for c in there))
            best = max(there, key=lambda c: rows[c]["value"])
            # shown only where colour's interval lies above the mean of the others
            others = sum(rows[c]["value"] for c in there if c != "Color") / (len(there) - 1)
            holds.append(best == "Color" and rows["Color"]["cluster"][0] > others)
    verdict = NOT_TESTABLE if not holds else SHOWN if all(holds) else PARTLY if any(holds) else NOT_SHOWN
    return Claim(claim, said, "; ".join(parts), paper.SOURCE, verdict, command)


def digits(m: Mapping[str, Any], command: str) -> Claim:
    claim = "digits drawn as outlines are read at chance"
    said = "GPT-4o 13.0 %, chance 10 % (n = 1,000)"
    parts, low = [], []
    for label, name in (("before", str(m.get("model"))), ("recorded", RECORDED)):
        if r := m.get(label, {}).get("digits"):
            parts.append(f"{name} {r['value']:.0%} (95 % {r['wilson'][0]:.0%} to {r['wilson'][1]:.0%}, n = {r['n']})")
            low.append(r["wilson"][0] <= 0.1)
    verdict = NOT_TESTABLE if not low else SHOWN if all(low) else PARTLY if any(low) else NOT_SHOWN
    note = "; a wide interval holds chance and much else" if low else ""
    return Claim(claim, said, "; ".join(parts) + note, "Table 3; digits traced from scikit-learn's", verdict, command)


def consistent(m: Mapping[str, Any], command: str) -> Claim:
    claim = "answers stay when the whole picture is moved (SE(2) consistency)"
    said = "most models above 80 % by the paper's rate"
    parts, verdict = [], NOT_TESTABLE
    for label, name in (("after", f"{m.get('model')} after tuning"), ("recorded", RECORDED)):
        if c := m.get(label, {}).get("consistency", {}).get("all"):
            kappa = "undefined" if c["kappa"] is None else f"{c['kappa']:.2f}"
            parts.append(
                f"{name}: {c['rate']:.0%} over {c['versions']} versions ({c['rate_interval'][0]:.0%} to "
                f"{c['rate_interval'][1]:.0%}, n = {c['questions']}), of which independent draws would give "
                f"{c['chance']:.0%}; κ {kappa}; right in all versions {c['all_right']:.0%}"
            )
            good = (
                SHOWN if c["rate_interval"][0] > 0.8 else PARTLY if c["rate_interval"][0] > c["chance"] else NOT_SHOWN
            )
            verdict = good if verdict in (NOT_TESTABLE, good) else PARTLY
    return Claim(claim, said, "; ".join(parts), "§3.3; own motions, exact, with a control", verdict, command)


def tuning_helps(m: Mapping[str, Any], command: str) -> Claim:
    claim = "Symbolic Instruction Tuning raises the score"
    said = "Llama-3.1-8B from 46.5 %, by a few points with 10k to 55k pairs (see the paper)"
    gain = m.get("gain")
    if not gain:
        return Claim(claim, said, "no tuning in this run", "§4, Fig. 6", NOT_TESTABLE, "python train.py")
    g, b = gain["text"], m["after"]["against_baselines"]["all"]
    measured = (
        f"option text {m['before']['categories']['all']['value']:.0%} → "
        f"{m['after']['categories']['all']['value']:.0%}: {100 * g['difference']:+.0f} points ({_interval(g)}, n = "
        f"{g['n']}, McNemar p = {g['p']:.1e}); over the best surface rule ({b['best']}, "
        f"{b['scores'][b['best']]:.0%}) {100 * b['gain']['difference']:+.0f} points ({_interval(b['gain'])}); not "
        f"above it: {_names(m['after']['against_baselines'])}"
    )
    if letters := gain.get("letter"):
        measured += (
            f"; by letters, the paper's format, {100 * letters['difference']:+.0f} points ({_interval(letters)})"
        )
    good = g["interval"][0] > 0 and b["gain"]["interval"][0] > 0
    every = all(r["shown"] for n, r in m["after"]["against_baselines"].items() if n != "all")
    verdict = SHOWN if good and every else PARTLY if good or g["interval"][0] > 0 else NOT_SHOWN
    return Claim(claim, said, measured, "§4; ours trains answers, see the report", verdict, "python train.py")


def reads(m: Mapping[str, Any], command: str) -> Claim:
    claim = "the gain comes from reading the program"
    said = "no such control in the paper"
    if not (s := m.get("after", {}).get("shuffled")):
        return Claim(
            claim, said, "no tuning in this run", "questions beside another scene's program", NOT_TESTABLE, command
        )
    r, blank, prior = s["rate"], s["blank"], s["prior"]
    measured = (
        f"beside another scene's program {_share(r)}, beside an empty one {blank['value']:.0%}, best guess without a "
        f"program {prior:.0%}; beside its own {m['after']['categories']['all']['value']:.0%}"
    )
    own = m["after"]["categories"]["all"]["value"]
    verdict = SHOWN if r["cluster"][0] <= max(prior, blank["value"]) and r["cluster"][1] < own else NOT_SHOWN
    return Claim(claim, said, measured, "questions beside another scene's program", verdict, command)


def generic(m: Mapping[str, Any], command: str) -> Claim:
    rows = ", ".join(f"{n} {paper.GENERIC[n][0]} → {max(paper.GENERIC[n][1:])}" for n in ("AGIEval", "GSM8k", "BBH"))
    return Claim(
        "mixed into generic instruction data, SIT raises general benchmarks",
        f"{rows} (best of SIT, reversed, mixed)",
        "nothing: it takes an 8B model and its instruction data",
        "Table 5",
        NOT_TESTABLE,
        "accelerate launch train.py scale=paper sit=mixed, then lm-eval",
    )


def _share(r: Mapping[str, Any]) -> str:
    low, high = r["cluster"]
    return f"{r['value']:.0%} (95 % {low:.0%} to {high:.0%}, n = {r['n']} in {r['clusters']} programs)"


def _interval(d: Mapping[str, Any]) -> str:
    return f"95 % {100 * d['interval'][0]:+.0f} to {100 * d['interval'][1]:+.0f}"


def _names(rows: Mapping[str, Any]) -> str:
    missed = [c for c in CATEGORIES if c in rows and not rows[c]["shown"]]
    return ", ".join(missed) if missed else "none"
