"""The paper's claims beside what was measured. Every verdict and every sentence follows from the numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .metrics import paper
from .metrics.intervals import wilson
from .metrics.paired import mcnemar, roc
from .metrics.passk import pass_at_k

SHOWN, PARTLY, NOT_SHOWN, NOT_TESTABLE = "shown", "partly", "not shown", "not testable at this scale"
Results = Mapping[str, Any]


@dataclass(frozen=True)
class Claim:
    """A row of the claims table."""

    claim: str
    paper: str
    measured: str
    source: str
    verdict: str
    command: str


def claims(statements: Results | None, found: Results, command: str, train_command: str, laptop: bool) -> list[Claim]:
    """All claims in the abstract's order; those without numbers are marked not testable."""
    rows = [
        scale_claim(),
        *([pipeline_claim(statements, train_command), negation_claim(statements, train_command)] if statements else []),
        vote_claim(statements, found, command),
        provers_claim(found, command),
        domains_claim(found, command),
        budget_claim(found, command),
        solutions_claim(found, command),
    ]
    rows.append(cheating_claim(found, command))
    if laptop:
        rows.append(
            Claim(
                "human annotators accept 72.09 % of what the machine hands them",
                "Table 2: 12 annotators, $6.89 a statement, 22 days",
                "nothing: the review of this run is by construction",
                "Table 2",
                NOT_TESTABLE,
                "formalmath review queue.jsonl --annotator NAME",
            )
        )
    return rows


def scale_claim() -> Claim:
    c = paper.consistency()
    return Claim(
        "5,560 formally verified statements, 22.8 times miniF2F",
        "5,560; Table 6; Fig. 2b: 21.7 % of all problems",
        f"the printed counts agree: {c['kept']:,} of {c['problems']:,} problems are {c['share']:.2f} %; "
        f"{5560 / 244:.1f} times 244",
        "arithmetic on Tables 1 and 6",
        SHOWN if round(c["share"], 1) == c["printed"] else NOT_SHOWN,
        "formalmath paper",
    )


def pipeline_claim(statements: Results, command: str) -> Claim:
    rows = statements["funnel"]
    first, last = rows[0], rows[-2]
    return Claim(
        "the pipeline keeps 72 % of statements before human review, by three machine stages",
        "Fig. 2b: 92.4 % compile, 31.7 % pass the vote, 30.1 % the negation",
        f"of {first['kept']:,} candidates with {100 * first['erroneous share']:.0f} % planted errors "
        f"{100 * last['share']:.0f} % "
        f"[{100 * last['low']:.0f}, {100 * last['high']:.0f}] reach review, {100 * last['erroneous share']:.0f} % "
        f"of them erroneous",
        "structural compile check and fragment disprover, not Lean; the small judge does not filter",
        PARTLY if last["erroneous share"] < first["erroneous share"] else NOT_SHOWN,
        command,
    )


def negation_claim(statements: Results, command: str) -> Claim:
    rows = [r for r in statements["rows"] if r["compiled"]["ok"]]
    wrong = [r for r in rows if r["correct"] is False]
    hit = sum(r["disproof"]["outcome"] in ("refuted", "vacuous", "disproved") for r in wrong)
    gold = [r for r in rows if r["correct"]]
    false_alarms = sum(r["disproof"]["outcome"] in ("refuted", "vacuous", "disproved") for r in gold)
    low, high = wilson(hit, len(wrong))
    return Claim(
        "negation-based disproof filters out unprovable statements that the compiler passes",
        "Fig. 2b: 1.6 % of all problems (5 % of those left)",
        f"{hit} of {len(wrong)} distinct erroneous statements that pass the structural check are refuted or vacuous "
        f"({100 * hit / max(1, len(wrong)):.0f} % [{100 * low:.0f}, {100 * high:.0f}]); {false_alarms} of "
        f"{len(gold)} correct ones",
        "fragment: exact counterexamples",
        SHOWN if hit and low > 0.2 and not false_alarms else PARTLY if hit else NOT_SHOWN,
        command,
    )


def vote_claim(statements: Results | None, found: Results, command: str) -> Claim:
    claim, printed = (
        "several language models vote on the meaning of a statement",
        "Fig. 2b: the vote removes 60.7 % of all problems",
    )
    measured = []
    verdict = NOT_TESTABLE
    if statements:
        scores, labels = judged(statements)
        if len(set(labels)) == 2:
            _, _, area = roc(scores, labels)
            measured.append(
                f"SmolLM2-135M's score separates correct from erroneous with area {area:.2f} (n = {len(labels)}; "
                f"0.5 is chance)"
            )
            verdict = SHOWN if area > 0.75 else NOT_SHOWN
    if "recorded" in found:
        rows = found["recorded"]["votes"]
        good = sum(r["accepted"] for r in rows if r["correct"])
        n = sum(r["correct"] for r in rows)
        bad = sum(not r["accepted"] for r in rows if not r["correct"])
        m = sum(not r["correct"] for r in rows)
        measured.insert(
            0,
            f"a recorded large model, two votes, unanimous: accepts {good} of {n} correct statements, rejects "
            f"{bad} of {m} erroneous",
        )
        verdict = SHOWN if good / n > 0.7 and bad / m > 0.7 else PARTLY if good / n + bad / m > 1.2 else NOT_SHOWN
    return Claim(claim, printed, "; ".join(measured) or "nothing", "truth by construction", verdict, command)


def judged(statements: Results) -> tuple[list[float], list[bool]]:
    """Scores of the choice judge and the truth, over distinct candidates that were judged."""
    rows = [r for r in statements["rows"] if r["vote"] and r["vote"]["scores"] and r["correct"] is not None]
    return [next(iter(r["vote"]["scores"].values())) for r in rows], [bool(r["correct"]) for r in rows]


def provers_claim(found: Results, command: str) -> Claim:
    single = found.get("single_pass") or {}
    if len(single) < 2:
        return Claim(
            "even the best provers solve few problems",
            "16.46 % at pass@32 on the full set",
            "one prover was run",
            "README, Fig. 2a",
            NOT_TESTABLE,
            command,
        )
    texts = []
    for name, r in single.items():
        solved = int((np.array(r["accepted"]) > 0).sum())
        low, high = wilson(solved, len(r["accepted"]))
        texts.append(f"{name} {100 * solved / len(r['accepted']):.0f} % [{100 * low:.0f}, {100 * high:.0f}]")
    return Claim(
        "even the best provers solve few problems (16.46 % at pass@32)",
        "Kimina-Prover-7B 915 of 5,560 [15.5, 17.5]",
        f"pass@{next(iter(single.values()))['n']} of tactic menus on generated problems: "
        + ", ".join(texts)
        + ": problems and provers are not the paper's",
        "fragment",
        NOT_TESTABLE,
        command,
    )


def domains_claim(found: Results, command: str) -> Claim:
    claim, printed = (
        "provers are biased towards some domains",
        "Goedel-Prover at pass@32: UG algebra 50 %, integration 0 %",
    )
    single = found.get("single_pass") or {}
    if not single:
        return Claim(claim, printed, "nothing", "Fig. 5", NOT_TESTABLE, command)
    name = "uniform" if "uniform" in single else next(iter(single))
    shares = domain_shares(found["problems"], single[name]["accepted"])
    best, worst = max(shares, key=lambda r: r["share"]), min(shares, key=lambda r: r["share"])
    apart = best["low"] > worst["high"]
    return Claim(
        claim,
        printed,
        f"{name}: {best['domain']} {100 * best['share']:.0f} % (n = {best['n']}), {worst['domain']} "
        f"{100 * worst['share']:.0f} % (n = {worst['n']}); "
        f"intervals {'do not overlap' if apart else 'overlap'}",
        "fragment; generated problems",
        PARTLY if apart else NOT_SHOWN,
        command,
    )


def domain_shares(problems: Sequence[Mapping[str, Any]], accepted: Sequence[int]) -> list[dict[str, Any]]:
    """Solved share by domain with Wilson's interval; fewer than 20 problems are marked."""
    out = []
    for domain in dict.fromkeys(p["domain"] for p in problems):
        solved = [int(c > 0) for p, c in zip(problems, accepted, strict=True) if p["domain"] == domain]
        low, high = wilson(sum(solved), len(solved))
        out.append(
            {
                "domain": domain,
                "n": len(solved),
                "solved": sum(solved),
                "share": sum(solved) / len(solved),
                "low": low,
                "high": high,
                "few": len(solved) < 20,
            }
        )
    return out


def budget_claim(found: Results, command: str) -> Claim:
    claim = "more samples buy little: a hundred times the budget adds 1 to 6 points on Lite"
    gains = paper.gain_of_budget()
    printed = "Table 3, pass@32 to pass@3200: " + ", ".join(f"{g['prover']} +{g['points']:.2f}" for g in gains)
    single = found.get("single_pass") or {}
    if not single:
        return Claim(claim, printed, "nothing", "Table 3", NOT_TESTABLE, command)
    texts, small = [], True
    for name, r in single.items():
        n = r["n"]
        curve = pass_at_k(n, np.array(r["accepted"]), [max(1, n // 8), n]).mean(0)
        texts.append(f"{name} +{100 * (curve[1] - curve[0]):.1f} points from K = {max(1, n // 8)} to {n}")
        small &= bool(curve[1] - curve[0] < 0.06)
    return Claim(
        claim,
        printed,
        "; ".join(texts),
        "fragment; other problems and far smaller budgets",
        PARTLY if small else NOT_SHOWN,
        command,
    )


def solutions_claim(found: Results, command: str) -> Claim:
    claim = "natural-language solutions in the prompt make chain-of-thought worse, by way of higher perplexity"
    p = paper.PERPLEXITY
    printed = f"Fig. 6b: perplexity CoT {p['cot']}, NL-augmented {p['nl_cot']}, vanilla {p['vanilla']}"
    if "perplexity" not in found:
        return Claim(claim, printed, "nothing", "Fig. 6b", NOT_TESTABLE, command)
    rows = found["perplexity"]["rows"]
    n = len(rows)
    higher = sum(r["vanilla"]["all"] > r["cot"]["all"] for r in rows)
    worse = sum(r["nl_cot"]["all"] > r["cot"]["all"] for r in rows)
    code = sum(r["vanilla"]["code"] > r["cot"]["code"] for r in rows)
    means = {m: float(np.mean([r[m]["all"] for r in rows])) for m in ("cot", "nl_cot", "vanilla")}
    verdict = SHOWN if higher > 0.8 * n and worse > 0.8 * n else PARTLY if higher > 0.8 * n else NOT_SHOWN
    return Claim(
        claim,
        printed,
        f"SmolLM2-135M, fixed proofs: vanilla over CoT in {higher} of {n} (over code tokens alone {code}), "
        f"NL-augmented over CoT in {worse} of {n}; "
        f"means CoT {means['cot']:.2f}, NL-augmented {means['nl_cot']:.2f}, vanilla {means['vanilla']:.2f}",
        "own reference proofs, comments written by rule",
        verdict,
        command,
    )


def cheating_claim(found: Results, command: str) -> Claim:
    a = found["adversary"]
    return Claim(
        "(ours) no proof is accepted that is none",
        "the released rule accepts what has no error message and no key `sorries`",
        f"{a['accepted']} of {a['cases']} attempts accepted, {len(a['honest refused'])} honest proofs refused; "
        f"the released rule accepts "
        f"{len(a['official accepts'])} of the suite's REPL answers",
        "gate, verdict rule, fragment",
        SHOWN if not a["accepted"] and not a["honest refused"] else NOT_SHOWN,
        command,
    )


def comparisons(found: Results) -> list[dict[str, Any]]:
    """Each pair of provers on the same problems: McNemar with Holm's correction."""
    from .metrics.paired import holm, paired_difference

    single = found.get("single_pass") or {}
    names = list(single)
    rows = []
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            x, y = (np.array(single[k]["accepted"]) > 0 for k in (a, b))
            test = mcnemar(x, y)
            mean, low, high = paired_difference(x, y)
            rows.append(
                {
                    "first": a,
                    "second": b,
                    "difference": mean,
                    "low": low,
                    "high": high,
                    "only first": test.only_first,
                    "only second": test.only_second,
                    "p": test.p,
                }
            )
    for row, p in zip(rows, holm([r["p"] for r in rows]), strict=True):
        row["p (Holm)"] = p
    return rows
