"""All stages in turn (paper Figure 2): candidates, compile, vote, negation, review; and how much each stage keeps."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from ..entry import Parts, write
from ..lean.goal import parse_goal
from ..lean.statement import parse_statement
from ..metrics.intervals import wilson
from ..problems import Problem, load
from ..run.journal import Journal
from ..settings import Settings
from . import autoformalize, compile, judge
from .autoformalize import Candidate
from .disprove import disprove, negation_problems
from .review import Decision, Ledger

STAGES = ("candidates", "compiles", "semantic vote", "negation not proved", "accepted")
ON_LEAN = ("repl", "lean_interact", "kimina")


def make_statements(settings: Settings) -> list[dict[str, Any]]:
    """Runs the pipeline, writes statements.jsonl, queue.jsonl and the ledger. Returns the funnel, a row a stage."""
    found = statements(settings, Parts(settings.output_dir / "parts", settings.resume))
    folder = settings.output_dir / "parts"
    accepted = [r for r in found["rows"] if r["stage"] == "accepted"]
    write(folder / "statements.jsonl", "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in accepted))
    queue = [review_item(r) for r in found["rows"] if r["stage"] in ("accepted", "review")]
    write(folder / "queue.jsonl", "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in queue))
    return found["funnel"]


def train_problems(settings: Settings) -> list[Problem]:
    d = settings.data
    found = load(
        d["name"],
        path=d.get("path"),
        count=d.get("train") or 0,
        seed=settings.seed,
        split=d.get("split"),
        fields=d.get("fields"),
        prefix="train",
    )
    return found[: d["train"]] if d.get("train") else found


def statements(settings: Settings, parts: Parts) -> dict[str, Any]:
    """Every distinct candidate with what each stage said of it, and the funnel over all candidates."""
    shape = [
        settings.data,
        settings.autoformalizer,
        settings.judge,
        settings.lean,
        asdict(settings.disprove),
        settings.seed,
    ]
    return parts.make("statements", shape, lambda: _statements(settings))


def _statements(settings: Settings) -> dict[str, Any]:
    problems = train_problems(settings)
    by_id = {p.id: p for p in problems}
    candidates = make_candidates(settings, problems)
    groups: dict[str, list[Candidate]] = {}
    for c in candidates:
        groups.setdefault(key_of(c.problem_id, c.text), []).append(c)
    firsts = {key: members[0] for key, members in groups.items()}
    compiled = compile_all(settings, firsts)
    passing = [k for k in groups if compiled[k]["ok"]]
    votes = vote_all(settings, {k: (by_id[firsts[k].problem_id], firsts[k].text) for k in passing})
    disproofs = disprove_all(settings, {k: (firsts[k].text, compiled[k]["goal"]) for k in passing})
    rows = []
    for key, members in groups.items():
        c = members[0]
        row: dict[str, Any] = {
            "key": key,
            "problem": c.problem_id,
            "words": by_id[c.problem_id].words,
            "text": c.text,
            "count": len(members),
            "operator": c.operator,
            "kind": c.kind,
            "correct": c.correct,
            "compiled": compiled[key],
            "vote": votes.get(key),
            "disproof": disproofs.get(key),
        }
        row["stage"] = stage_of(row)
        rows.append(row)
    if all(r["correct"] is not None for r in rows):
        review_by_construction(settings, rows)
    return {"rows": rows, "funnel": funnel(rows), "candidates": len(candidates), "problems": len(problems)}


def key_of(problem: str, text: str) -> str:
    return hashlib.sha256(f"{problem}\0{text}".encode()).hexdigest()[:20]


def make_candidates(settings: Settings, problems: Sequence[Problem]) -> list[Candidate]:
    auto = settings.autoformalizer
    if auto["kind"] == "synthetic":
        return autoformalize.synthetic(problems, auto["n_candidates"], settings.seed, auto["rates"])
    from shared.llm import open_llm

    with open_llm(auto["llm"], cache_dir=settings.output_dir) as llm:
        return list(autoformalize.from_llm(llm, llm.model, problems, auto["n_candidates"], llm.sampling))


def compile_all(settings: Settings, firsts: Mapping[str, Candidate]) -> dict[str, Any]:
    if settings.lean["name"] not in ON_LEAN:
        return {k: compile.structural(c.text).to_json() for k, c in firsts.items()}
    from ..lean.pool import Worker, settings_from

    async def run() -> dict[str, Any]:
        worker = Worker(settings_from(settings.lean))
        try:
            return {
                k: (await compile.by_lean(worker, c.text, settings.limits.seconds)).to_json() for k, c in firsts.items()
            }
        finally:
            worker.process.kill()

    return asyncio.run(run())


def vote_all(settings: Settings, pairs: Mapping[str, tuple[Problem, str]]) -> dict[str, Any]:
    """Ballots and scores by key, for at most `judge.cap` candidates; the rest are not voted on."""
    from shared.llm import open_llm

    config = settings.judge
    keys = list(pairs)
    if config.get("cap") and len(keys) > config["cap"]:
        keys = sorted(random.Random(settings.seed).sample(keys, config["cap"]))
    ballots: dict[str, dict[str, str]] = {k: {} for k in keys}
    scores: dict[str, dict[str, float]] = {k: {} for k in keys}
    for name, llm_settings in config["judges"].items():
        journal = Journal(settings.output_dir / "parts" / f"votes-{name}-{settings.seed}.jsonl", settings.resume)

        def ask(missing: list[str], llm_settings: Any = llm_settings, name: str = name) -> Iterator[tuple[str, Any]]:
            with open_llm(llm_settings, cache_dir=settings.output_dir, progress=False) as llm:
                if config["kind"] == "choice":
                    for begin in tqdm(range(0, len(missing), 10), desc=f"judge {name}", disable=None, leave=False):
                        part = missing[begin : begin + 10]
                        yield from zip(
                            part,
                            judge.true_false_scores(llm, [(pairs[k][0].words, pairs[k][1]) for k in part]),
                            strict=True,
                        )
                else:
                    vote = judge.llm_judge(llm, llm.sampling, config["mode"])
                    for k in tqdm(missing, desc=f"judge {name}", disable=None, leave=False):
                        yield k, vote(pairs[k][0].words, pairs[k][1])

        for k, value in journal.fill(keys, ask).items():
            if config["kind"] == "choice":
                scores[k][name] = value
                ballots[k][name] = "True" if value > 0 else "False"
            else:
                ballots[k][name] = value
    return {
        k: {
            "ballots": ballots[k],
            "scores": scores[k],
            "accepted": judge.decide(ballots[k], config["rule"], config["k"]).accepted,
        }
        for k in keys
    }


def disprove_all(settings: Settings, texts: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """Disproofs by key: the fragment's always, and a prover's where Lean and a language model are there."""
    journal = Journal(
        settings.output_dir / "parts" / f"disproofs-{settings.disprove.budget}-{settings.seed}.jsonl", settings.resume
    )

    def run(missing: list[str]) -> Iterator[tuple[str, Any]]:
        jobs = [(k, *texts[k], settings.disprove.budget, settings.seed) for k in missing]
        with ProcessPoolExecutor(os.cpu_count()) as pool:
            yield from tqdm(
                pool.map(_disprove, jobs, chunksize=4), total=len(jobs), desc="disprove", disable=None, leave=False
            )

    found = journal.fill(texts, run)
    if settings.lean["name"] in ON_LEAN and settings.prover["kind"] == "llm":
        for key in disproved_by_lean(settings, {k: t for k, (t, _) in texts.items()}):
            found[key] = {
                "outcome": "disproved",
                "authority": "lean",
                "detail": settings.prover["llm"].get("model") or "",
            }
    return found


def _disprove(job: tuple[str, str, str, float, int]) -> tuple[str, Any]:
    key, text, goal, budget, seed = job
    return key, asdict(disprove(parse_statement(text), budget, seed, parse_goal(goal) if goal else None, probe=True))


def disproved_by_lean(settings: Settings, texts: Mapping[str, str]) -> list[str]:
    """Keys of the statements whose negation the prover proves."""
    from ..evaluate import verify_llm

    problems = negation_problems([Problem(k, "", t) for k, t in texts.items()], settings.disprove.style)
    results = verify_llm(settings, problems, "negations", early_stop="first_proof")
    return [p.id.removesuffix("_negative") for p, c in zip(problems, results.accepted(), strict=True) if c]


def stage_of(row: Mapping[str, Any]) -> str:
    """Where a candidate stops: compile, vote, negation, review (rejected by a human), or accepted."""
    if not row["compiled"]["ok"]:
        return "compile"
    if row["vote"] is not None and not row["vote"]["accepted"] and row["correct"] is None:
        return "vote"
    if row["disproof"]["outcome"] in ("refuted", "disproved", "vacuous"):
        return "negation"
    if row["correct"] is False:
        return "review"
    return "accepted"


def funnel(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Candidates left after each stage, with the erroneous ones among them. The vote is measured beside the funnel: a
    judge whose votes are not independent of the truth is needed before it may filter."""
    total = sum(r["count"] for r in rows)
    out = []
    gone: set[str] = set()
    known = all(r["correct"] is not None for r in rows)
    vote = "semantic vote (measured, not applied)" if known else "semantic vote"
    for stage, drops in (
        ("candidates", ()),
        ("compiles", ("compile",)),
        (vote, ("vote",)),
        ("negation not proved", ("negation",)),
        ("accepted by review", ("review",)),
    ):
        gone |= {r["key"] for r in rows if r["stage"] in drops}
        left = [r for r in rows if r["key"] not in gone]
        kept = sum(r["count"] for r in left)
        wrong = sum(r["count"] for r in left if r["correct"] is False)
        low, high = wilson(kept, total)
        out.append(
            {
                "stage": stage,
                "kept": kept,
                "share": kept / total,
                "low": low,
                "high": high,
                "erroneous": wrong,
                "erroneous share": wrong / kept if kept else 0.0,
            }
        )
    return out


def caught(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each planted error: which stage caught it, over distinct candidates."""
    table: dict[str, dict[str, int]] = {}
    kinds = {}
    for r in rows:
        if r["correct"] is False:
            kinds[r["operator"]] = r["kind"]
            table.setdefault(r["operator"], {}).setdefault(r["stage"], 0)
            table[r["operator"]][r["stage"]] += 1
    out = []
    for name, counts in sorted(table.items(), key=lambda item: (kinds[item[0]], item[0])):
        n = sum(counts.values())
        machine = counts.get("compile", 0) + counts.get("negation", 0)
        low, high = wilson(machine, n)
        out.append(
            {
                "error": name,
                "kind": kinds[name],
                "n": n,
                "compile": counts.get("compile", 0),
                "negation": counts.get("negation", 0),
                "left for review": counts.get("review", 0),
                "caught": machine / n,
                "low": low,
                "high": high,
            }
        )
    return out


def review_by_construction(settings: Settings, rows: Sequence[Mapping[str, Any]]) -> None:
    """The ledger of a synthetic run: the truth is known, and the ledger says that it comes from there."""
    path = settings.output_dir / "parts" / "ledger.jsonl"
    path.unlink(missing_ok=True)
    ledger = Ledger(path)
    for r in rows:
        if r["stage"] in ("review", "accepted"):
            decision = "accept" if r["correct"] else "reject"
            ledger.add(
                Decision(
                    r["key"],
                    "construction",
                    decision,
                    "" if r["correct"] else r["kind"],
                    r["operator"],
                    by="construction",
                )
            )


def review_item(row: Mapping[str, Any]) -> dict[str, Any]:
    """A queue entry for `formalmath review`."""
    from ..lean.lint import lint, parts

    st = parse_statement(row["text"])
    return {
        "id": row["key"],
        "words": row["words"],
        "lean": row["text"],
        "lints": list(parts(lint(st))),
        "near_misses": [row["disproof"]["detail"]] if row["disproof"] else [],
    }
