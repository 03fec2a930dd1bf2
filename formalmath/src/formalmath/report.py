"""results/report.md and results/metrics.json, written from the finished parts. Every table names its authority."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from .claims import Claim, claims, comparisons, domain_shares, judged
from .entry import Parts, write
from .evaluate import evaluate_all
from .figures import draw_all
from .lean.policy import load_policy
from .metrics import paper
from .metrics.intervals import wilson
from .metrics.paired import roc
from .metrics.passk import PassCurve, pass_curve
from .pipeline.funnel import caught, statements
from .provers.prompts import MODES, template_hash
from .settings import Settings

PACKAGES = ("torch", "transformers", "numpy", "scipy", "sympy", "mpmath")


def write_report(settings: Settings) -> tuple[Path, list[dict[str, Any]]]:
    """Measures what is missing, writes metrics.json, figures and report.md. Returns the report's path and a table."""
    parts = Parts(settings.output_dir / "parts", settings.resume)
    made = statements(settings, parts) if (settings.output_dir / "parts" / "statements.json").exists() else None
    found = evaluate_all(settings, parts)
    authority = {"repl": "lean", "lean_interact": "lean", "kimina": "lean"}.get(
        settings.lean["name"], settings.lean["name"]
    )
    curves = curves_of(settings, found)
    given = commands()
    rows = claims(made, found, f"python eval.py{given}", f"python train.py{given}", settings.scale != "paper")
    names = draw_all(made, found, curves, settings.output_dir, authority)
    metrics = {
        "settings": settings.plain(),
        "seed": settings.seed,
        "environment": environment(),
        "authority": authority,
        "policy": {"name": settings.policy, "digest": load_policy(settings.policy).digest},
        "prompts": {m: template_hash(m) for m in MODES},
        "claims": [asdict(c) for c in rows],
        "funnel": {"authority": "structural, fragment", "rows": made["funnel"] if made else None},
        "caught": {
            "authority": "structural, fragment; truth by construction",
            "rows": caught(made["rows"]) if made else None,
        },
        "provers": {
            name: prover_numbers(found, name, curves[name], authority) for name in found.get("single_pass") or {}
        },
        "search": {name: {**r, "authority": authority} for name, r in (found.get("best_first") or {}).items()},
        "comparisons": {"authority": authority, "rows": comparisons(found)},
        "perplexity": {"authority": "SmolLM2-135M-Instruct", **found["perplexity"]} if "perplexity" in found else None,
        "adversary": {"authority": "gate, verdict rule, fragment", **found["adversary"]},
        "recorded": {"authority": "recorded completions; proofs by fragment", **found["recorded"]}
        if "recorded" in found
        else None,
        "paper": {"authority": "the paper's printed numbers, as counts", **paper_numbers()},
        "wall_seconds": parts.seconds,
    }
    write(
        settings.output_dir / "metrics.json", json.dumps(metrics, indent=1, ensure_ascii=False, default=_plain) + "\n"
    )
    text = "\n\n".join(p for p in sections(settings, made, found, curves, rows, names, authority) if p) + "\n"
    write(settings.output_dir / "report.md", text)
    return settings.output_dir / "report.md", prover_table(found, curves, authority)


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def commands() -> str:
    return "".join(f" {a}" for a in sys.argv[1:] if "=" in a)


def environment() -> dict[str, Any]:
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return {
        "python": platform.python_version(),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "versions": found,
        "date": time.strftime("%Y-%m-%d"),
    }


def curves_of(settings: Settings, found: Mapping[str, Any]) -> dict[str, PassCurve]:
    curves = {}
    for name, r in (found.get("single_pass") or {}).items():
        n = r["n"]
        ks = [n] if r["early_stop"] == "first_proof" else range(1, n + 1)
        curves[name] = pass_curve(
            n, np.array(r["accepted"]), list(ks), open_samples=np.array(r["open"]), seed=settings.seed
        )
    return curves


def prover_numbers(found: Mapping[str, Any], name: str, curve: PassCurve, authority: str) -> dict[str, Any]:
    r = found["single_pass"][name]
    return {
        **r,
        "authority": authority,
        "curve": {"K": curve.ks, "pass": curve.mean, "interval": curve.interval, "if open passed": curve.high},
        "domains": domain_shares(found["problems"], r["accepted"]),
    }


def prover_table(found: Mapping[str, Any], curves: Mapping[str, PassCurve], authority: str) -> list[dict[str, Any]]:
    rows = []
    for name, r in (found.get("single_pass") or {}).items():
        c, n = curves[name], r["n"]
        row: dict[str, Any] = {"prover": name}
        for k in (1, 8, n):
            if k in c.ks:
                mean, low, high = c.at(k)
                row[f"pass@{k}"] = f"{100 * mean:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
        row["if open passed"] = f"{100 * float(c.high[-1]):.1f}"
        row["samples"] = n * c.problems
        row["checked"] = r["checked"]
        row["authority"] = authority
        rows.append(row)
    for name, r in (found.get("best_first") or {}).items():
        solved = sum(r["solved"])
        low, high = wilson(solved, len(r["solved"]))
        rows.append(
            {
                "prover": f"{name}, best-first {r['attempts']}×{r['tactics']}×{r['expansions']}",
                f"solved of {len(r['solved'])}": f"{100 * solved / len(r['solved']):.1f} [{100 * low:.1f}, "
                f"{100 * high:.1f}]",
                "checked": r["spent"].get("tactics"),
                "authority": authority,
            }
        )
    return rows


def paper_numbers() -> dict[str, Any]:
    return {
        "full set": [asdict(s) for s in paper.full_set()],
        "tests": paper.tests(),
        "lite": [asdict(s) for s in paper.lite()],
        "ensemble": paper.ensemble(),
        "budget": paper.gain_of_budget(),
        "consistency": paper.consistency(),
    }


def sections(
    settings: Settings,
    made: Mapping[str, Any] | None,
    found: Mapping[str, Any],
    curves: Mapping[str, PassCurve],
    rows: Sequence[Claim],
    names: Sequence[str],
    authority: str,
) -> list[str]:
    """The paragraphs of the report."""
    return [
        "# FormalMATH: what the paper claims and what this run shows",
        setting_sentence(settings, made, found, authority),
        "## Claims",
        markdown(
            [
                {
                    "claim of the abstract": c.claim,
                    "paper": c.paper,
                    "measured here": c.measured,
                    "scale": settings.scale,
                    "source or authority": c.source,
                    "verdict": f"**{c.verdict}**",
                    "measure it again": f"`{c.command}`",
                }
                for c in rows
            ]
        ),
        *not_lean(authority),
        *(pipeline_sections(made, found, names) if made else []),
        "## Provers",
        markdown(prover_table(found, curves, authority)),
        (
            "Whole proofs: unbiased pass@K over problems with 95 % intervals (Wilson at K = n, bootstrap below). `if "
            "open passed` counts samples "
            "without a verdict (unsupported, unknown, infra) as proofs: they never count as failures silently. Equal "
            "proofs are checked once."
        ),
        figure("passk.png", "pass@K", names),
        "### The same problems, two provers" if len(curves) > 1 else "",
        markdown(comparisons(found)),
        "### By domain" if curves else "",
        domain_table(found),
        figure("domains.png", "by domain", names),
        "### Why proofs fail" if curves else "",
        error_table(found),
        *recorded_sections(found),
        "## Perplexity under the prompt modes" if "perplexity" in found else "",
        perplexity_text(found),
        figure("ppl.png", "perplexity", names),
        "## Attempts to cheat",
        cheating_text(found),
        "## The paper's numbers as counts",
        *paper_sections(),
        "## Where the time went",
        times(settings),
    ]


def setting_sentence(
    settings: Settings, made: Mapping[str, Any] | None, found: Mapping[str, Any], authority: str
) -> str:
    e = environment()
    versions = ", ".join(f"{k} {v}" for k, v in e["versions"].items() if v)
    first = f"{made['candidates']:,} candidates for {made['problems']} problems, " if made else ""
    return (
        f"Scale {settings.scale}: data {settings.data['name']}, {first}{len(found['problems'])} problems for the "
        f"provers, n = {settings.n}, "
        f"verdicts by `{settings.lean['name']}` (authority {authority}), policy {settings.policy} "
        f"({load_policy(settings.policy).digest}), seed "
        f"{settings.seed}. Machine: {e['processor']}, {e['cores']} cores; Python {e['python']}, {versions}."
    )


def not_lean(authority: str) -> list[str]:
    if authority in ("lean", "replay"):
        return []
    return [
        (
            "> **What is not Lean here.** No Lean ran. `structural` reads the text of a statement; `fragment` "
            "computes exactly with Lean's conventions "
            "over ℕ ℤ ℚ ℝ and checks a few dozen tactics of its own making. Neither gives a Lean verdict, and no "
            "number of theirs stands in a column "
            "with Lean's. Problems are generated from templates; provers are menus of tactics. With Lean (`make "
            "lean`), `lean=repl` runs the same "
            "evaluation with authority `lean`."
        )
    ]


def pipeline_sections(made: Mapping[str, Any], found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    rows = made["rows"]
    gold = [r for r in rows if r["correct"]]
    refuted = [r for r in gold if r["disproof"] and r["disproof"]["outcome"] in ("refuted", "vacuous")]
    return [
        "## The statement pipeline",
        markdown(
            [
                {
                    "stage": r["stage"],
                    "kept": r["kept"],
                    "% of candidates": f"{100 * r['share']:.1f} [{100 * r['low']:.1f}, {100 * r['high']:.1f}]",
                    "erroneous among them": f"{r['erroneous']} ({100 * r['erroneous share']:.1f} %)",
                    "paper, % of problems": list(paper.RETENTION.values())[i],
                }
                for i, r in enumerate(made["funnel"])
            ]
        ),
        figure("funnel.png", "the funnel beside the paper's", names),
        (
            "Candidates are correct statements, some with one planted error in the shares of the paper's Table 7; the "
            "truth is known by construction, and "
            "the last stage applies it in place of annotators. Compile check: structural. Disproof: exact "
            "counterexamples (fragment). The semantic vote "
            "is measured, not applied, where the truth is known: see below."
        ),
        f"Control: {len(refuted)} of {len(gold)} distinct correct statements were refuted or called vacuous.",
        "### Which stage catches which error",
        markdown(
            [
                {
                    **{k: r[k] for k in ("error", "kind", "n", "compile", "negation", "left for review")},
                    "caught by machine": f"{100 * r['caught']:.0f} % [{100 * r['low']:.0f}, {100 * r['high']:.0f}]",
                }
                for r in caught(rows)
            ]
        ),
        (
            "Distinct statements; Wilson's 95 % intervals. Errors that leave a true statement (a repeated condition, "
            "a stronger hypothesis) cannot be "
            "refuted: they are what the vote and the annotators are for."
        ),
        "### Judges",
        judges_text(made, found),
        *examples(rows),
    ]


def judges_text(made: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    text = []
    scores, labels = judged(made)
    if scores:
        yes = sum(s > 0 for s in scores)
        text.append(
            f"SmolLM2-135M judged {len(scores)} distinct candidates by log p(True) − log p(False): {yes} are above 0."
        )
        if len(set(labels)) == 2:
            _, _, area = roc(scores, labels)
            text.append(
                f"Its score separates correct from erroneous statements with an area under the ROC curve of "
                f"{area:.3f} (0.5 is chance)."
            )
    return " ".join(text) or "No judge was run."


def examples(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    hits = [r for r in rows if r["disproof"] and r["disproof"]["outcome"] == "refuted" and r["disproof"]["values"]][:3]
    if not hits:
        return []
    text = ["### Refutations, as Lean scripts (not checked by Lean)"]
    for r in hits:
        values = ", ".join(f"{x} = {v}" for x, v in r["disproof"]["values"].items())
        text.append(
            f"{r['operator']}: false at {values}.\n\n```lean\n{r['disproof']['negation']}\n{r['disproof']['proof']}```"
        )
    return text


def domain_table(found: Mapping[str, Any]) -> str:
    single = found.get("single_pass") or {}
    if not single:
        return ""
    tables = {
        name: {s["domain"]: s for s in domain_shares(found["problems"], r["accepted"])} for name, r in single.items()
    }
    rows = []
    for domain in next(iter(tables.values())):
        row: dict[str, Any] = {"domain": domain, "n": next(iter(tables.values()))[domain]["n"]}
        for name, t in tables.items():
            s = t[domain]
            row[name] = f"{100 * s['share']:.0f} [{100 * s['low']:.0f}, {100 * s['high']:.0f}]"
        rows.append(row)
    return markdown(rows)


def error_table(found: Mapping[str, Any]) -> str:
    single = {k: r for k, r in (found.get("single_pass") or {}).items() if "patterns" in r}
    if not single:
        return ""
    rows = []
    for pattern in next(iter(single.values()))["patterns"]:
        row: dict[str, Any] = {"pattern": pattern}
        for name, r in single.items():
            count, n = r["patterns"][pattern]
            row[f"{name}, %"] = f"{100 * count / max(1, n):.0f} (n = {n})"
        if pattern in paper.TABLE_4:
            row["paper, " + "/".join(paper.TABLE_4_PROVERS)] = "/".join(map(str, paper.TABLE_4[pattern]))
        rows.append(row)
    return (
        markdown(rows)
        + "\n\nBy a labeller from messages and text, over samples of 100 failed proofs; the paper's labels come "
        "from a language model."
    )


def recorded_sections(found: Mapping[str, Any]) -> list[str]:
    if "recorded" not in found:
        return []
    r = found["recorded"]
    counts: dict[str, int] = {}
    for p in r["proofs"]:
        counts[p["verdict"]] = counts.get(p["verdict"], 0) + 1
    by_problem: dict[str, list[str]] = {}
    for p in r["proofs"]:
        by_problem.setdefault(p["problem"], []).append(p["verdict"])
    n = len(by_problem)
    solved = sum("proved" in v for v in by_problem.values())
    open_ = sum("proved" not in v and "unsupported" in v for v in by_problem.values())
    low, high = wilson(solved, n)
    agree = sum(len(set(v["ballots"].values())) == 1 for v in r["votes"])
    return [
        "## A recorded large model",
        (
            f"Source: {r['source']} ({r['model']}, {r['date']}). {len(r['votes'])} statements got two votes each, {n} "
            f"problems two proofs each; every "
            "completion was stored word for word and is read, gated and checked here."
        ),
        markdown(
            [
                {
                    "truth": v["operator"] if v["operator"] != "identity" else "correct",
                    "votes": "/".join(v["ballots"].values()),
                    "unanimous": "accept" if v["accepted"] else "reject",
                }
                for v in sorted(r["votes"], key=lambda v: (not v["correct"], v["operator"]))
            ]
        ),
        f"The two votes agree on {agree} of {len(r['votes'])} statements.",
        (
            f"Proofs (authority fragment): {', '.join(f'{c} {v}' for v, c in sorted(counts.items()))}. pass@2: "
            f"{solved} of {n} problems "
            f"({100 * solved / n:.0f} % [{100 * low:.0f}, {100 * high:.0f}]), {100 * (solved + open_) / n:.0f} % if "
            f"what the fragment does not know were right."
        ),
    ]


def perplexity_text(found: Mapping[str, Any]) -> str:
    if "perplexity" not in found:
        return ""
    rows = found["perplexity"]["rows"]
    table = []
    for mode in ("cot", "nl_cot", "vanilla"):
        a, c = np.array([r[mode]["all"] for r in rows]), np.array([r[mode]["code"] for r in rows])
        table.append(
            {
                "prompt": mode,
                "mean": float(a.mean()),
                "median": float(np.median(a)),
                "code tokens, median": float(np.median(c)),
                "tokens": sum(r[mode]["tokens"] for r in rows),
                "code tokens": sum(r[mode]["code_tokens"] for r in rows),
                "paper (SFT)": paper.PERPLEXITY[mode],
            }
        )
    return markdown(table) + (
        "\n\nUnder SmolLM2-135M, over fixed reference proofs: vanilla is the proof alone, the other two carry a "
        "comment before each line. The "
        "paper's perplexities are of each prover's own proofs, so only the order compares. Comment tokens are "
        "easier than code and dilute the mean; "
        "the code column leaves them out."
    )


def cheating_text(found: Mapping[str, Any]) -> str:
    a = found["adversary"]
    layers = ", ".join(f"{k} {v}" for k, v in sorted(a["layers"].items()))
    listed = "; ".join(a["official accepts"])
    return (
        f"{a['cases']} attempts to have a false statement accepted, {a['accepted']} accepted; stopped by "
        f"{layers}. {len(a['honest refused'])} honest "
        f"proofs with suspicious words in comments, strings or names were refused. The released code's rule, on "
        f"the suite's REPL answers, accepts "
        f"{len(a['official accepts'])}: {listed}."
    )


def paper_sections() -> list[str]:
    full = [
        {
            "prover": s.name,
            "pass@32, %": s.percent,
            "problems of 5,560": s.count,
            "95 %": f"[{s.low:.1f}, {s.high:.1f}]",
        }
        for s in paper.full_set()
    ]
    tests = [{**t, "z": round(t["z"], 1), "told apart": "yes" if t["told apart"] else "no"} for t in paper.tests()]
    lite = []
    for k, row in paper.TABLE_3.items():
        lite.append({"K": k, **{name: f"{p} ({paper.share(name, p, paper.LITE).count})" for name, p in row.items()}})
    search = [
        {"N × 32 × 100": k, **{name: f"{p} ({paper.share(name, p, paper.LITE).count})" for name, p in row.items()}}
        for k, row in paper.TABLE_3_SEARCH.items()
    ]
    e = paper.ensemble()
    return [
        markdown(full),
        markdown(tests),
        (
            f"Lite (425 problems), per cent and problems. A Wilson interval at n = 425 is ±{paper.LITE_HALF_WIDTH} "
            f"points wide around such shares, so most "
            "neighbours in this table cannot be told apart. Half of Lite was chosen because one prover solves it: "
            "Lite and All must not be compared."
        ),
        markdown(lite),
        markdown(search),
        (
            f"The ensemble of four provers solves {e['ensemble']} problems and STP alone {e['STP']}: "
            f"{e['difference']:.2f} points, printed as {e['printed']}."
        ),
    ]


def times(settings: Settings) -> str:
    rows = []
    for path in sorted((settings.output_dir / "parts").glob("*.json")):
        record = json.loads(path.read_text())
        if "seconds" in record:
            rows.append(
                {"part": path.stem, "wall s": record["seconds"], "CPU s (this process)": record.get("cpu_seconds")}
            )
    return markdown(rows)


def figure(name: str, title: str, names: Sequence[str]) -> str:
    return f"![{title}]({name})" if name in names else ""


def markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as a table."""
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name in row))

    def cell(value: Any) -> str:
        text = "-" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
        return text.replace("|", "\\|").replace("\n", " ")

    lines = [f"| {' | '.join(names)} |", f"|{' --- |' * len(names)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cell(row.get(n)) for n in names)} |" for row in rows)])
