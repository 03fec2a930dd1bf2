"""results/report.md and metrics.json: every answer on the ladder, the paper's claims beside what was measured."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import experiment, recorded
from .engine import BestOfN, Candidate
from .experiment import Settings, Strand, parts
from .extract import extract_plan
from .items import Item
from .ladder import RUNGS, Budget, Evaluator, Job
from .parse import parse_domain, parse_problem
from .planval import PlanValidator
from .stats import paired_bootstrap, wilson

SHOWN = (
    "val_pass",
    "strict_pass",
    "fits",
    "solvable",
    "sound",
    "complete",
    "cross",
    "cost_equal",
    "ew",
    "bisimilar",
    "same_schemas",
)
Rows = list[dict[str, Any]]
Values = dict[str, list[Any]]  # by item, rungs of the answers that a method gives


def evaluate(settings: Settings) -> None:
    """Climbs the ladder with what train.py left, and writes the report."""
    given = settings["evaluation"]
    budget = Budget(given["seconds"], given["memory_mb"], given["state_cap"], given["seconds"] / 2, given["expansions"])
    judge = Evaluator(parts(settings) / "evaluations.jsonl", budget, settings["workers"])
    sections: list[str] = [HEAD]
    metrics: dict[str, Any] = {
        "settings": {k: settings[k] for k in ("seed", "strands", "evaluation", "simulated", "live")}
    }
    claims: Rows = []
    printed: list[str] = []
    for name in settings["strands"]:
        if not experiment.finished(settings, name):
            sections.append(f"## {name}\n\nnot run: `python train.py` did not leave this strand")
            continue
        text, found, claimed = {"recorded": _recorded, "simulated": _simulated, "live": _live, "run": _run}[name](
            settings, judge
        )
        sections.append(text)
        metrics[name] = found
        claims += claimed
        printed.append(text)
    table = _table(claims, ("claim", "paper", "here", "scale", "source of completions")) if claims else ""
    if table:
        sections.insert(1, "## The abstract's claims\n\n" + table)
        metrics["claims"] = claims
    out = Path(str(settings["output_dir"]))
    out.mkdir(parents=True, exist_ok=True)
    if "simulated" in metrics:
        from .figures import draw

        for path in draw(metrics["simulated"], out):
            sections.append(f"![{path.stem}]({path.name})")
    _write(out / "metrics.json", json.dumps(metrics, indent=1, ensure_ascii=False) + "\n")
    _write(out / "report.md", "\n\n".join(sections) + "\n")
    print("\n\n".join([*printed, *([table] if table else [])]))
    print(f"\nreport: {out / 'report.md'}")


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


HEAD = (
    "# pddl-gen: results\n\n"
    "Rungs: `val_pass` is the paper's success (VAL would report no error), which is grammar and types only; "
    "`strict_pass` our stricter rules; `fits` the problems type-check; `solvable` every held-out problem has a plan; "
    "`sound` those plans are valid in the reference; `complete` the reference's optimal plans are valid here; "
    "`cross` both; "
    "`cost_equal` optimal costs equal; `ew` exploration-walk score; `bisimilar` the transition systems of the held-out "
    "problems are bisimilar (evidence, not proof, for other problems); `same_schemas` equal up to names of parameters "
    "and order. `?n` counts answers of which a rung is not known (a limit was met, or the actions do not correspond); "
    "rates are over the known ones. Intervals are Wilson's, 95 %."
)


# methods


def methods(strand: Strand, items: Sequence[Item], start_n: int | None) -> dict[str, dict[str, list[Candidate]]]:
    """Method -> item -> the candidates it answers with: one, or several where any may count (coverage)."""
    result = strand.result
    n = max((len(c) for c in result.candidates.values()), default=0)
    rounds = max((len(t.iterates) - 1 for t in result.from_first.values()), default=0)
    chosen_rounds = max((len(t.iterates) - 1 for ts in result.from_chosen.values() for t in ts), default=0)
    found: dict[str, dict[str, list[Candidate]]] = {
        "single (first draw)": {i.id: result.candidates[i.id][:1] for i in items}
    }
    sizes = [k for k in (2, 4, 8, 16, 32, 64, 128, 256) if k <= n]
    if n > 1 and n not in sizes:
        sizes.append(n)
    for k in sizes:
        for select, words in (("likelihood", "selected by S"), ("validator", "selected by validator")):
            try:
                pick = {i.id: BestOfN(k, select=select).choose(i, result.candidates[i.id]) for i in items}
            except ValueError:
                continue
            found[f"BoN-{k}, {words}"] = pick
        found[f"BoN-{k}, coverage"] = {i.id: result.candidates[i.id][:k] for i in items}
    for t in range(1, rounds + 1):
        found[f"iVML-{t} from the first draw"] = {i.id: [result.from_first[i.id].iterates[t]] for i in items}
    for t in range(1, chosen_rounds + 1):
        found[f"BoN-{start_n or n} then iVML-{t}"] = {
            i.id: [c.iterates[t] for c in result.from_chosen[i.id]] for i in items
        }
    if chosen_rounds:
        for how in ("first_valid", "best"):
            found[f"BoN-{start_n or n} then iVML-{chosen_rounds}, returning {how}"] = {
                i.id: [c.returned(chosen_rounds, how) for c in result.from_chosen[i.id]] for i in items
            }
    return found


def climb(
    judge: Evaluator, items: Sequence[Item], found: Mapping[str, Mapping[str, list[Candidate]]]
) -> dict[str, Values]:
    """The rungs of every method's answers."""
    by_id = {i.id: i for i in items}
    jobs: dict[str, dict[str, list[Job]]] = {
        m: {i: [Job(c.domain, by_id[i].reference, by_id[i].problems) for c in cs] for i, cs in each.items()}
        for m, each in found.items()
    }
    flat = [job for each in jobs.values() for group in each.values() for job in group]
    for left in judge.progress(flat):
        if left % 20 == 0:
            print(f"  {left} domains to judge", file=sys.stderr, flush=True)
    return {m: {i: [judge.known[j.key] for j in group] for i, group in each.items()} for m, each in jobs.items()}


def any_of(rungs: Sequence[Mapping[str, Any]], rung: str) -> Any:
    """Of several answers: the best EW, or whether any climbs the rung; unknown where only an unknown one might."""
    values = [r[rung] for r in rungs]
    if rung == "ew":
        known = [v for v in values if v is not None]
        return max(known) if known else None
    return True if True in values else None if None in values else False


def rates(values: Values) -> dict[str, dict[str, Any]]:
    """For each rung: rate, interval, known and unknown items."""
    out: dict[str, dict[str, Any]] = {}
    for rung in RUNGS:
        seen = [any_of(r, rung) for r in values.values()]
        known = [v for v in seen if v is not None]
        total = sum(float(v) for v in known)
        low, high = wilson(round(total), len(known)) if rung != "ew" else (None, None)
        rate = total / len(known) if known else None
        out[rung] = {"rate": rate, "low": low, "high": high, "known": len(known), "unknown": len(seen) - len(known)}
    return out


def _cell(r: Mapping[str, Any], rung: str) -> str:
    if r["rate"] is None:
        return f"?{r['unknown']}"
    text = f"{r['rate']:.2f}" if rung == "ew" else f"{100 * r['rate']:.0f}"
    if rung in ("val_pass", "bisimilar") and r["low"] is not None:
        text += f" [{100 * r['low']:.0f}, {100 * r['high']:.0f}]"
    return text + (f" ?{r['unknown']}" if r["unknown"] else "")


def ladder_table(
    strand: Strand, judge: Evaluator, task: str, start_n: int | None
) -> tuple[str, dict[str, Any], dict[str, Values]]:
    """The table methods x rungs of one task, with its numbers, and a word on every rung where all methods tie."""
    items = strand.items[task]
    climbed = climb(judge, items, methods(strand, items, start_n))
    numbers = {m: rates(v) for m, v in climbed.items()}
    rows = [{"method": m, **{r: _cell(n[r], r) for r in SHOWN}} for m, n in numbers.items()]
    ties = [r for r in SHOWN if len({json.dumps(n[r]["rate"]) for n in numbers.values()}) == 1]
    words = f"All {len(numbers)} rows tie on: {', '.join(ties)}." if ties and len(numbers) > 1 else ""
    head = f"### {task}: {len(items)} items, % of items (ew in [0, 1])"
    return f"{head}\n\n{_table(rows, ('method', *SHOWN))}\n\n{words}".strip(), numbers, climbed


def gain(
    climbed: Mapping[str, Values], before: str, after: str, rung: str, groups: Mapping[str, str], seed: int
) -> str:
    """Difference of two methods in points, resampling domains."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    for item, rungs in climbed[before].items():
        a, b = any_of(rungs, rung), any_of(climbed[after][item], rung)
        if a is not None and b is not None:
            pairs.setdefault(groups[item], []).append((float(a), float(b)))
    mean, low, high = paired_bootstrap(pairs, seed)
    return f"{100 * mean:+.0f} points [{100 * low:+.0f}, {100 * high:+.0f}]"


# recorded


def _recorded(settings: Settings, judge: Evaluator) -> tuple[str, dict[str, Any], Rows]:
    about = recorded.strand()
    strand = experiment.recorded_strand(settings)
    check = recorded.verify()
    source = f"{strand.origin}, {check['date']} ({check['completions']} completions; {check['settings']})"
    lines = [f"## Recorded strand\n\nSource of completions: {source}."]
    found: dict[str, Any] = {"source": check, "ledger": strand.totals}
    all_climbed: dict[str, dict[str, Values]] = {}
    for task in recorded.TASKS:
        text, numbers, climbed = ladder_table(strand, judge, task, about["start_n"])
        lines.append(text)
        found[task] = numbers
        all_climbed[task] = climbed
    found["selection"] = _selection(strand)
    lines.append(_selection_words(found["selection"]))
    planner, planner_numbers = _planner(settings, strand, judge, all_climbed["nl2domain"])
    lines.append(planner)
    found["planner_baseline"] = planner_numbers
    totals = strand.totals
    lines.append(_bill(totals, "counted by the tokenizer of SmolLM2"))
    groups = {i.id: i.group for task in recorded.TASKS for i in strand.items[task]}
    claims = _claims(found, all_climbed, groups, about, settings["seed"], source, planner_numbers)
    return "\n\n".join(lines), found, claims


def _selection(strand: Strand) -> dict[str, float]:
    taus, chosen, lengths = [], [], []
    for item, candidates in strand.result.candidates.items():
        pairs = [(c.likelihood.total, c.likelihood.tokens) for c in candidates if c.likelihood]
        lengths += [n for _, n in pairs]
        chosen += [c.likelihood.tokens for c in strand.result.chosen[item] if c.likelihood]
        taus.append(spearman([a for a, _ in pairs], [float(b) for _, b in pairs]))
    known = [t for t in taus if t is not None]

    def mean(values: Sequence[float]) -> float:
        return sum(values) / len(values) if values else math.nan

    return {"rank_correlation": mean(known), "chosen_tokens": mean(chosen), "tokens": mean(lengths)}


def _selection_words(found: Mapping[str, float]) -> str:
    kept = recorded.KeptScores()
    if not kept.values:
        words = "The model that wrote the answers told no probabilities and no local model scored them"
        return f"{words}: selection is by the validator."
    return (
        f"S is that of {kept.model} at temperature {kept.temperature} by teacher forcing (the model that wrote the "
        "answers told no probabilities). Rank correlation of S with the length of the answer, mean over items: "
        f"{found['rank_correlation']:.2f}; the chosen answers have {found['chosen_tokens']:.0f} tokens on average, all "
        f"answers {found['tokens']:.0f}: a sum favours short answers."
    )


def spearman(a: Sequence[float], b: Sequence[float]) -> float | None:
    """Rank correlation; None where one side is constant."""

    def ranks(values: Sequence[float]) -> list[float]:
        order = sorted(values)
        return [order.index(v) + (order.count(v) - 1) / 2 for v in values]

    x, y = ranks(a), ranks(b)
    n = len(x)
    if not n:
        return None
    mx, my = sum(x) / n, sum(y) / n
    sx, sy = math.sqrt(sum((v - mx) ** 2 for v in x)), math.sqrt(sum((v - my) ** 2 for v in y))
    return sum((p - mx) * (q - my) for p, q in zip(x, y, strict=True)) / (sx * sy) if sx and sy else None


def _planner(
    settings: Settings, strand: Strand, judge: Evaluator, climbed: Mapping[str, Values]
) -> tuple[str, dict[str, Any]]:
    """The model as planner beside its domain with a search, on the same problems."""
    single = climbed["single (first draw)"]
    rows = {"model": [0, 0], "search": [0, 0]}
    count = 0
    for item in strand.items["planner_baseline"]:
        name, problem = item.id.split("/")[1:]
        index = int(problem[1:]) - 1
        count += 1
        plan, _ = extract_plan(strand.plans.get(item.id, ""))
        domain = parse_domain(item.reference or "").value
        assert domain is not None
        asked = parse_problem(item.problems[0], domain).value
        assert asked is not None
        if plan is not None:
            verdict = PlanValidator(domain, asked)(plan)
            rows["model"][0] += verdict.valid
            rows["model"][1] += verdict.valid and verdict.cost == _optimal(name, index)
        solved = single[f"nl2domain/{name}/terse"][0]["problems"]
        if len(solved) > index:
            rows["search"][0] += solved[index]["sound"] is True
            rows["search"][1] += solved[index]["optimal"] is True
    table = _table(
        [
            {"planner": words, "valid": f"{v[0]} of {count}", "optimal": f"{v[1]} of {count}"}
            for words, v in (
                ("the model itself, with every rule stated", rows["model"]),
                ("search in its first domain from the terse description", rows["search"]),
            )
        ],
        ("planner", "valid", "optimal"),
    )
    return f"### Model as planner\n\n{table}", {"problems": count, **rows}


def _optimal(name: str, index: int) -> float:
    from . import suite

    return suite.load(name).optimal_costs[index]


def _bill(totals: Mapping[str, Any], how: str) -> str:
    rows = [
        {
            "role": role,
            **{
                k: "-" if v[k] is None else f"{v[k]:,}"
                for k in ("calls", "failed", "prompt_tokens", "completion_tokens")
            },
        }
        for role, v in (*totals["by_role"].items(), ("all", totals))
    ]
    usd = "not known" if totals["usd"] is None else f"{totals['usd']:.4f} USD"
    table = _table(rows, ("role", "calls", "failed", "prompt_tokens", "completion_tokens"))
    return f"### The bill\n\n{table}\n\nTokens: {how}. Money: {usd}."


def _claims(
    found: Mapping[str, Any],
    climbed: Mapping[str, dict[str, Values]],
    groups: Mapping[str, str],
    about: Mapping[str, Any],
    seed: int,
    source: str,
    planner: Mapping[str, Any],
) -> Rows:
    def rate(task: str, method: str, rung: str) -> str:
        value = found[task][method][rung]["rate"]
        return "unknown" if value is None else f"{100 * value:.0f} %"

    scale = " + ".join(str(len(climbed[t]["single (first draw)"])) for t in recorded.TASKS) + " items"
    last = next(reversed([m for m in found["nl2domain"] if "returning" not in m]))
    rows: Rows = [
        {
            "claim": "over 50 % on both tasks (VAL pass)",
            "paper": "Qwen2.5-Coder-7B, iVML-5-BoN-8: 85.2 / 71.4 %",
            "here": f"{last}: {rate('nl2domain', last, 'val_pass')} / {rate('prob2domain', last, 'val_pass')}; "
            f"bisimilar {rate('nl2domain', last, 'bisimilar')} / {rate('prob2domain', last, 'bisimilar')}",
        }
    ]
    if about["rounds"]:
        start = f"BoN-{about['start_n']}, selected by S"
        end = f"BoN-{about['start_n']} then iVML-{about['rounds']}"
        words = "; ".join(
            f"{rung} {gain(climbed['nl2domain'], start, end, rung, groups, seed)} / "
            f"{gain(climbed['prob2domain'], start, end, rung, groups, seed)}"
            for rung in ("val_pass", "bisimilar")
        )
    else:
        words = "not measured: the recording holds no iVML rounds (see the simulated strand)"
    rows.append({"claim": "iVML adds to BoN", "paper": "BoN-8 73.1 / 63.3 %, then iVML-5 85.2 / 71.4 %", "here": words})
    rows.append(
        {
            "claim": "PDDL and search beat the model as planner",
            "paper": "Table 5: o1-preview pass@1 0.0-38.1 %, Coder 7B BoN-16-iVML-5 81.0-100 %",
            "here": f"of {planner['problems']} problems, optimal plans: model {planner['model'][1]}, search in its "
            f"domain {planner['search'][1]} (valid: {planner['model'][0]}, {planner['search'][0]})",
        }
    )
    return [{**row, "scale": scale, "source of completions": source} for row in rows]


# simulated


def _simulated(settings: Settings, judge: Evaluator) -> tuple[str, dict[str, Any], Rows]:
    head = (
        "## Simulated strand\n\nNo language model: a known error model corrupts references, through the real engine, "
        "reader and ledger (simulate.py). z = (measured - closed form) / standard error."
    )
    lines = [head]
    out: dict[str, Any] = {}
    for number, (name, (model, _)) in enumerate(experiment.simulations().items()):
        path = parts(settings) / "simulated" / f"{number}.json"
        if not path.exists():
            continue
        kept = json.loads(path.read_text(encoding="utf-8"))
        n = kept["trials"]
        rounds = len(kept["single"]) - 1
        rows: Rows = []

        def row(what: str, count: int, value: float | None, rows: Rows = rows, n: int = n) -> None:
            p = count / n
            words = {"what": what, "measured": f"{p:.4f}"}
            if value is not None:
                error = math.sqrt(value * (1 - value) / n)
                words |= {"closed form": f"{value:.4f}", "z": f"{(p - value) / error:+.1f}" if error else "-"}
            rows.append({"closed form": "-", "z": "-", **words})

        for k, count in kept["coverage"].items():
            row(f"BoN-{k}, coverage", count, model.coverage(int(k)))
        for k, count in kept["selected"].items():
            row(f"BoN-{k}, selected by S", count, model.coverage(int(k)))
        for t in sorted({0, 1, rounds}):
            row(f"single, T = {t}", kept["single"][t], model.single(t) if model.gamma is None else None)
            row(f"BoN-8, T = {t}", kept["bon8"][t], model.bon_then_ivml(8, t))
        lines.append(f"### {name} ({n} trials, simulated)\n\n{_table(rows, ('what', 'measured', 'closed form', 'z'))}")
        out[name] = {**kept, "table": rows}
    return "\n\n".join(lines), out, []


# live


def _live(settings: Settings, judge: Evaluator) -> tuple[str, dict[str, Any], Rows]:
    from . import suite
    from .extract import extract
    from .live import live_answers

    rows: Rows = []
    out: dict[str, Any] = {}
    for way, answers in live_answers(settings["live"], parts(settings) / "live").items():
        jobs = []
        for _, name, text in answers:
            about = suite.load(name)
            jobs.append(Job(extract(text).domain_text, about.domain, about.problems))
        values: Values = {str(i): [r] for i, r in enumerate(judge(jobs))}
        numbers = rates(values)
        out[way] = {"samples": len(jobs), **numbers}
        rows.append({"decoding": way, "samples": len(jobs), **{r: _cell(numbers[r], r) for r in ("extracted", *SHOWN)}})
    words = (
        "## Live strand: passing VAL is not understanding\n\n"
        f"{settings['live']['model']}, Prob2Domain, in this process. "
        "The staged grammar makes every sample a correct, well-typed domain; it adds no meaning."
    )
    return f"{words}\n\n{_table(rows, ('decoding', 'samples', 'extracted', *SHOWN))}", out, []


# the user's run


def _run(settings: Settings, judge: Evaluator) -> tuple[str, dict[str, Any], Rows]:
    strand = experiment.run_strand(settings)
    task = settings["task"]["name"]
    if task == "planner_baseline":
        valid = 0
        for item in strand.items[task]:
            plan, _ = extract_plan(strand.plans.get(item.id, ""))
            domain = parse_domain(item.reference or "").value
            asked = parse_problem(item.problems[0], domain).value if domain else None
            valid += bool(plan is not None and domain and asked and PlanValidator(domain, asked)(plan).valid)
        count = len(strand.items[task])
        return f"## Run: {task}\n\n{valid} of {count} plans are valid", {"valid": valid, "items": count}, []
    if task == "nl2problem":
        from .problems import score

        right, count = score(strand)
        return f"## Run: {task}\n\n{right} of {count} problems are right", {"right": right, "items": count}, []
    text, numbers, _ = ladder_table(strand, judge, task, None)
    groups: dict[str, list[Item]] = {}
    for item in strand.items[task]:
        groups.setdefault(item.group, []).append(item)
    words = f"{len(strand.items[task])} items in {len(groups)} groups of equal domains."
    findings = [_findings(item, strand) for item in strand.items[task][:3]]
    bill = _bill(strand.totals, "as the server counted")
    lines = [f"## Run: {task}, {strand.origin}", words, text, *findings, bill]
    return "\n\n".join(lines), {"methods": numbers, "ledger": strand.totals, "groups": len(groups)}, []


def _findings(item: Item, strand: Strand) -> str:
    from .diagnostics import render
    from .lint import hints

    chains = strand.result.from_chosen.get(item.id)
    best = chains[0].iterates[-1] if chains else strand.result.chosen[item.id][0]
    if best.domain is None:
        return f"### {item.id}\n\nno domain in the answer"
    parsed = parse_domain(best.domain)
    found = render([d for d in parsed.diagnostics if d.severity != "info"], best.domain, "human") or "no finding"
    lines = hints(parsed.value, item.shown) if parsed.ok and parsed.value is not None else []
    more = "\n".join(f"- {line}" for line in lines)
    fence = "~~~~"
    code = f"{fence}\n{best.domain.replace(fence, '')}{fence}"
    return f"### {item.id}\n\n{code}\n\n{fence}\n{found}\n{fence}\n\n{more}".rstrip()


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += [
        "| " + " | ".join(str(r.get(c, "")).replace("|", "\\|").replace("\n", " ") for c in columns) + " |"
        for r in rows
    ]
    return "\n".join(lines)
