"""What train.py does: the strands, each resumable on its own from its ledger."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.llm import LLM, Limits, Sampling, open_llm

from . import datasets, recorded
from .engine import IVML, BestOfN, Candidate, RunResult, TestTimeScaling
from .errors import PDDLGenError
from .items import Item, suite_items
from .ledger import Ledger, ask
from .planner import Limits as PlanLimits
from .roles import generate
from .scorer import LocalScorer
from .simulate import GAMMA, ErrorModel, Simulated, right, simulated_items

Settings = Mapping[str, Any]


@dataclass(slots=True)
class Strand:
    """A finished run of the engine, read back from its ledger."""

    items: dict[str, list[Item]]
    result: RunResult
    plans: dict[str, str] = field(default_factory=dict)  # planner baseline: item -> answer
    totals: dict[str, Any] = field(default_factory=dict)
    origin: str = ""
    asked: int = 0


def parts(settings: Settings) -> Path:
    return Path(str(settings["output_dir"])) / "parts"


def train(settings: Settings) -> None:
    """Runs the strands that the settings name."""
    for name in settings["strands"]:
        began = time.perf_counter()
        print(f"== {name}", flush=True)
        folder = parts(settings) / name
        if not settings["resume"] and folder.exists():
            shutil.rmtree(folder)
        words = {"recorded": train_recorded, "simulated": train_simulated, "live": train_live, "run": train_run}[name](
            settings
        )
        print(f"{words} ({time.perf_counter() - began:.1f} s)", flush=True)
    print(f"ledgers and domains are in {parts(settings)}; now: python eval.py")


# recorded


def recorded_strand(settings: Settings) -> Strand:
    """The recorded strand; nothing is asked that its ledger holds."""
    about = recorded.strand()
    groups = recorded.items()
    ledger = Ledger(parts(settings) / "recorded" / "ledger.jsonl")
    backend = {"backend": "replay", "recording": str(recorded.RECORDING)}
    with open_llm(backend, progress=False) as llm:
        scorer = recorded.KeptScores()
        select = "likelihood" if scorer.values else "validator"
        engine = TestTimeScaling(BestOfN(about["n"], select=select), IVML(about["rounds"]), about["start_n"])
        both = [item for task in recorded.TASKS for item in groups[task]]
        result = engine.run(both, llm, ledger, recorded.SAMPLING, scorer=scorer)
        planners = groups["planner_baseline"]
        answers = ask(llm, [generate(item, 0, recorded.SAMPLING) for item in planners], ledger)
        origin = llm.backend.recording.header.source  # type: ignore[attr-defined]
    ledger.close()
    plans = {item.id: record["text"] or "" for item, record in zip(planners, answers, strict=True)}
    return Strand(groups, result, plans, ledger.totals(), origin, ledger.asked)


def train_recorded(settings: Settings) -> str:
    strand = recorded_strand(settings)
    write_domains(parts(settings) / "recorded" / "domains", strand.result)
    count = sum(len(c) for c in strand.result.candidates.values())
    return f"{count} first answers, {strand.totals['calls']} calls, {strand.asked} of them now"


def write_domains(folder: Path, result: RunResult) -> None:
    """Every domain that was read from an answer, under names that are ours alone."""
    for item, candidates in result.candidates.items():
        place = folder / re.sub(r"[^a-z0-9_.-]+", "_", item.lower())
        place.mkdir(parents=True, exist_ok=True)
        for c in candidates:
            if c.domain is not None:
                (place / f"sample{c.sample}.pddl").write_text(c.domain, encoding="utf-8", errors="replace")
        chains = [("first", result.from_first.get(item)), *(("chosen", t) for t in result.from_chosen.get(item, []))]
        for number, (name, chain) in enumerate(chains):
            for i, c in enumerate(chain.iterates[1:] if chain else [], 1):
                if c.domain is not None:
                    (place / f"{name}{number}_round{i}.pddl").write_text(c.domain, encoding="utf-8", errors="replace")


# simulated


def simulations() -> dict[str, tuple[ErrorModel, int]]:
    """Settings of the simulated strand: error model and N."""
    return {
        "s = .7": (ErrorModel(), 8),
        "s = .7, nu = .05": (ErrorModel(new=0.05), 8),
        "rates of NL2Domain, s = .865": (ErrorModel(repaired=0.135, gamma=GAMMA["nl2domain"]), 32),
        "rates of Prob2Domain, s = .865": (ErrorModel(repaired=0.135, gamma=GAMMA["prob2domain"]), 8),
    }


def simulate(model: ErrorModel, n: int, rounds: int, trials: int, seed: int) -> dict[str, Any]:
    """Successes of the engine under an error model: coverage and selection for each N, chains from both starts."""
    items = simulated_items(trials)
    group = {item.id: item.group for item in items}
    ledger = Ledger()
    with LLM(Simulated(model, seed), limits=Limits(concurrency=64)) as llm:
        engine = TestTimeScaling(BestOfN(n), IVML(rounds), start_n=min(8, n))
        result = engine.run(items, llm, ledger, Sampling(temperature=0.7, logprobs=0), logprob_kind="raw")
    good = {i: [right(c.domain, group[i]) for c in found] for i, found in result.candidates.items()}
    sizes = [k for k in (1, 2, 4, 8, 16, 32) if k <= n]

    def chain(chains: Mapping[str, Any], t: int) -> int:
        return sum(right(c.iterates[t].domain, group[i]) for i, c in chains.items())

    by_item = {item.id: item for item in items}
    return {
        "trials": trials,
        "coverage": {k: sum(any(g[:k]) for g in good.values()) for k in sizes},
        "selected": {
            k: sum(
                right(BestOfN(k).choose(by_item[i], found)[0].domain, group[i])
                for i, found in result.candidates.items()
            )
            for k in sizes
        },
        "single": [chain(result.from_first, t) for t in range(rounds + 1)],
        "bon8": [chain({i: c[0] for i, c in result.from_chosen.items()}, t) for t in range(rounds + 1)],
        "completion_tokens": ledger.totals()["by_role"],
        "calls": len(ledger.records),
    }


def train_simulated(settings: Settings) -> str:
    given = settings["simulated"]
    folder = parts(settings) / "simulated"
    folder.mkdir(parents=True, exist_ok=True)
    done = 0
    for number, (name, (model, n)) in enumerate(simulations().items()):
        trials = given["trials"] if n <= 8 and model.gamma is None else max(1, given["trials"] // 4)
        mark = {"name": name, "trials": trials, "rounds": given["rounds"], "seed": settings["seed"], "n": n}
        path = folder / f"{number}.json"
        if path.exists() and json.loads(path.read_text(encoding="utf-8")).get("mark") == mark:
            continue
        found = simulate(model, n, given["rounds"], trials, settings["seed"])
        beside = path.with_suffix(".tmp")
        beside.write_text(json.dumps({"mark": mark, **found}), encoding="utf-8")
        beside.replace(path)
        print(f"  {name}: {trials} trials, {found['calls']} calls", file=sys.stderr, flush=True)
        done += 1
    return f"{len(simulations())} settings, {done} of them now"


# live


def train_live(settings: Settings) -> str:
    from .live import run_live

    return run_live(settings["live"], parts(settings) / "live")


# the user's own run


def run_items(settings: Settings) -> list[Item]:
    """The items of task and data. Raises PDDLGenError for what does not go together."""
    task, data = settings["task"]["name"], settings["data"]
    kind = data["kind"]
    if kind == "suite":
        found = suite_items(
            task,
            data["domains"],
            description=data["description"],
            action_names=data["action_names"],
            example=data["example_problem"],
        )
    elif kind == "folder":
        found = datasets.from_folder(data["path"], task)
    elif kind == "ipc":
        found = datasets.from_ipc(data["path"], task)
    elif kind == "llmp":
        found = datasets.from_llmp(data["path"], example=data["example_problem"], action_names=data["action_names"])
    elif kind == "planetarium":
        found = datasets.from_rows(data["path"], data["columns"])
    else:
        raise PDDLGenError(f"data.kind must be suite, folder, ipc, llmp or planetarium, not {kind!r}")
    return found[: data["limit"]] if data["limit"] else found


def run_strand(settings: Settings) -> Strand:
    """Task, method, llm and data as they are set."""
    items = run_items(settings)
    task = settings["task"]["name"]
    method, llm_settings = settings["method"], settings["llm"]
    sampling = Sampling(**{k: v for k, v in method["sampling"].items() if v is not None})
    kind = llm_settings["logprob_kind"]
    if kind != "none":
        sampling = Sampling(**{k: v for k, v in method["sampling"].items() if v is not None}, logprobs=0)
    ledger = Ledger(parts(settings) / "run" / "ledger.jsonl")
    if ledger.notice:
        print(ledger.notice, file=sys.stderr)
    scorer = None
    if llm_settings["scorer"]:
        scorer = LocalScorer(llm_settings["scorer"], temperature=method["sampling"]["temperature"] or 1.0)
    client = dict(llm_settings["client"])
    if client["backend"] == "replay" and not client.get("recording"):
        client["recording"] = str(recorded.RECORDING)
        sampling, scorer = recorded.SAMPLING, recorded.KeptScores()  # type: ignore[assignment]
    with _client(client, settings, ledger) as llm:
        if task in ("planner_baseline", "nl2problem"):
            records = ask(llm, [generate(item, 0, sampling) for item in items], ledger)
            plans = {i.id: r["text"] or "" for i, r in zip(items, records, strict=True)}
            result = RunResult()
            if task == "nl2problem":
                result.candidates = {i.id: [Candidate.of(r)] for i, r in zip(items, records, strict=True)}
        else:
            engine = TestTimeScaling(
                BestOfN(**method["bon"]),
                IVML(method["ivml"]["rounds"], settings["feedback"]["name"], method["ivml"]["returns"]),
                single_start=method["single_start"],
            )
            result = engine.run(items, llm, ledger, sampling, scorer=scorer, logprob_kind=kind)
            plans = {}
        origin = getattr(getattr(llm.backend, "recording", None), "header", None)
        name = llm.model
    ledger.close()
    return Strand({task: items}, result, plans, ledger.totals(), origin.source if origin else name, ledger.asked)


def _client(client: dict[str, Any], settings: Settings, ledger: Ledger) -> LLM:
    budget = settings["budget"]
    used = ledger.totals()
    spent = (used["prompt_tokens"] or 0) + (used["completion_tokens"] or 0)
    limits = dict(client.get("limits") or {})
    if budget["tokens"] is not None:
        limits["max_tokens_total"] = max(0, int(budget["tokens"]) - spent)
    if budget["usd"] is not None:
        limits["max_cost"] = max(0.0, float(budget["usd"]) - (used["usd"] or 0.0))
    return open_llm({**client, "limits": limits})


def train_run(settings: Settings) -> str:
    strand = run_strand(settings)
    write_domains(parts(settings) / "run" / "domains", strand.result)
    return f"{strand.totals['calls']} calls, {strand.asked} of them now"


def plan_limits(settings: Settings) -> PlanLimits:
    planner = settings["planner"]
    return PlanLimits(planner["seconds"], planner["memory_mb"], settings["evaluation"]["expansions"])


def finished(settings: Settings, name: str) -> bool:
    """Whether train.py left something of a strand."""
    return any((parts(settings) / name).glob("*.json*"))
