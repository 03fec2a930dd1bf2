"""eval.py's measurements: provers, search, perplexity, the adversarial suite, recorded votes and proofs."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

import numpy as np
from tqdm import tqdm

from .entry import Parts
from .errors import FormalMathError
from .fragment.check import check, initial_goal
from .lean.assemble import Proof, extract_proof
from .lean.backend import open_backend, open_tactics
from .lean.policy import Policy, Refusal, load_policy
from .lean.verdict import FAILURES, Fingerprint
from .metrics import errors
from .metrics.perplexity import Perplexity, code_mask, perplexity, proof_logprobs
from .problems import Problem, digest, load, mini
from .provers.best_first import SearchSettings, attempt, llm_propose
from .provers.menu import Fitted, MenuPolicy, SmallModel, Weigh, menu, uniform
from .provers.prompts import open_fence, prompt, template_hash
from .provers.single_pass import sample_llm, sample_menu
from .run.ray_shard import RayShard
from .run.schedule import Local, Results, Sample, verify
from .run.store import Store
from .settings import Settings

SMALL_MODEL = {"backend": "transformers", "model": "smollm2-135m-instruct", "options": {"dtype": "float32"}}


def eval_problems(settings: Settings) -> list[Problem]:
    d = settings.data
    found = load(
        d["name"],
        path=d.get("path"),
        count=d.get("count") or 0,
        seed=settings.seed,
        split=d.get("split"),
        fields=d.get("fields"),
        prefix="eval",
    )
    return found[: d["count"]] if d.get("count") else found


def evaluate_all(settings: Settings, parts: Parts) -> dict[str, Any]:
    """All parts, those that are finished reused."""
    problems = eval_problems(settings)
    base = [settings.data, settings.seed, digest(problems), settings.lean, settings.policy, asdict(settings.limits)]
    found: dict[str, Any] = {"problems": [{"id": p.id, "domain": p.domain, "level": p.level} for p in problems]}
    found["adversary"] = parts.make("adversary", [settings.policy, 1], lambda: adversary(load_policy(settings.policy)))
    if settings.prover["kind"] == "menu":
        menus = Menus(settings, problems)
        for name in settings.prover["menus"]:
            if settings.search == "single_pass":
                shape = [*base, name, settings.n, settings.early_stop, settings.evaluation.fitted_on]
                found.setdefault("single_pass", {})[name] = parts.make(
                    f"prover-{name}", shape, partial(single_pass, settings, problems, menus, name)
                )
            if settings.evaluation.search_problems != 0:
                shape = [*base, name, asdict(settings.evaluation)]
                found.setdefault("best_first", {})[name] = parts.make(
                    f"search-{name}", shape, partial(best_first, settings, problems, menus, name)
                )
    elif settings.search == "single_pass":
        shape = [*base, settings.prover, settings.n, settings.prompt, settings.early_stop]
        found["single_pass"] = {
            "llm": parts.make("prover-llm", shape, lambda: summary(verify_llm(settings, problems, "llm")))
        }
    else:
        shape = [*base, settings.prover, asdict(settings.evaluation)]
        found["best_first"] = {"llm": parts.make("search-llm", shape, lambda: best_first_llm(settings, problems))}
    if settings.evaluation.reference_proofs:
        shape = [
            settings.seed,
            settings.evaluation.reference_proofs,
            [template_hash(m) for m in ("vanilla", "cot", "nl_cot")],
        ]
        found["perplexity"] = parts.make("perplexity", shape, lambda: perplexities(settings))
    if settings.evaluation.recorded:
        from .recorded import RECORDING

        if RECORDING.exists():
            stamp = RECORDING.stat().st_size
            found["recorded"] = parts.make(
                "recorded", [settings.policy, stamp, 1], lambda: recorded(load_policy(settings.policy))
            )
    return found


class Menus:
    """The three ways to weigh a menu, made when they are first asked for."""

    def __init__(self, settings: Settings, problems: Sequence[Problem]):
        self.settings, self.problems = settings, problems
        self._made: dict[str, Weigh] = {}

    def __getitem__(self, name: str) -> Weigh:
        if name not in self._made:
            self._made[name] = {"uniform": lambda: uniform, "fitted": self._fitted, "smollm2": self._small}[name]()
        return self._made[name]

    def _fitted(self) -> Weigh:
        return Fitted.fit(mini(self.settings.evaluation.fitted_on, self.settings.seed, "fitted"))

    def _small(self) -> Weigh:
        from shared.llm.backends.transformers import Local as LocalModel

        model = LocalModel(SMALL_MODEL["model"], dtype="float32")
        weigh = SmallModel(lambda pairs: model.continuation_logprobs(pairs))
        for p in tqdm(self.problems, desc="menus by smollm2", disable=None, leave=False):
            goal = initial_goal(p.statement)
            weigh.learn([(goal.pretty(), menu(goal))])
        return weigh


def rooted(weigh: Weigh, problem: Problem) -> Weigh:
    """A model's weights at the root, carried into the search: a tactic of that text keeps its weight, others get the
    mean
    of their kind, or the least. A model is asked once a problem, not once a state."""
    goal = initial_goal(problem.statement)
    choices = menu(goal)
    weights = np.asarray(weigh(goal, choices))
    by_text = dict(zip((c.text for c in choices), weights, strict=True))
    by_kind: dict[str, float] = {}
    for c, w in zip(choices, weights, strict=True):
        by_kind[c.kind] = max(by_kind.get(c.kind, 0.0), float(w))

    def inner(_: Any, found: Sequence[Any]) -> np.ndarray:
        values = np.array([by_text.get(c.text, by_kind.get(c.kind, float(weights.min()))) for c in found])
        return values / values.sum()

    return inner


def open_store(settings: Settings, name: str, fingerprint: Fingerprint) -> Store:
    return Store(settings.output_dir / "parts" / f"verdicts-{name}", fingerprint.digest, settings.allow_mixed)


def verified(
    settings: Settings,
    problems: Sequence[Problem],
    samples: Iterable[Sample],
    name: str,
    fence: bool = False,
    early_stop: str | None = None,
) -> Results:
    """Verdicts of samples by the run's backend, on this machine or on Ray."""
    from .lean.replay import Recorder

    policy = load_policy(settings.policy)
    recorder: Any = None
    backend = open_backend(settings.lean, policy)
    if settings.lean.get("record"):
        from pathlib import Path

        recorder = Recorder(Path(settings.lean["record"]), backend.fingerprint)
        backend.record = recorder
    shard: Any = Local(backend)
    if settings.shard["kind"] == "ray":
        lean = dict(settings.lean)
        shard = RayShard(
            lambda: open_backend(lean, policy),
            settings.shard.get("actors"),
            settings.shard.get("address"),
            float(settings.shard.get("cpus") or 1),
        )
    store = open_store(settings, name, backend.fingerprint)
    bar = tqdm(desc=f"verify {name}", disable=None, leave=False)

    def progress(done: int, total: int) -> None:
        bar.total = total
        bar.n = done
        bar.refresh()

    try:
        return verify(
            problems,
            samples,
            shard,
            policy,
            store,
            open_fence=fence,
            limits=settings.limits,
            early_stop=early_stop or settings.early_stop,
            progress=progress,
            say=tqdm.write,
        )
    finally:
        bar.close()
        store.close()
        asyncio.run(backend.close())


def single_pass(settings: Settings, problems: Sequence[Problem], menus: Menus, name: str) -> dict[str, Any]:
    samples = list(sample_menu(problems, menus[name], settings.n, settings.seed))
    results = verified(settings, problems, samples, name)
    found = summary(results)
    texts = {(s.problem_id, s.sample_id): s.text for s in samples}
    found["patterns"] = patterns(problems, results, texts, settings.seed)
    return found


def verify_llm(settings: Settings, problems: Sequence[Problem], name: str, early_stop: str | None = None) -> Results:
    """Samples of the configured language model, verified. Completions are cached, so a second run asks for what is
    missing."""
    from shared.llm import open_llm

    with open_llm(settings.prover["llm"], cache_dir=settings.output_dir) as llm:
        samples = list(sample_llm(llm, problems, settings.prompt, settings.n, llm.sampling))
    return verified(settings, problems, samples, name, open_fence(settings.prompt), early_stop)


def summary(results: Results) -> dict[str, Any]:
    """Counts, accepted and open samples by problem, and the cost."""
    return {
        "accepted": results.accepted(),
        "open": results.open_samples(),
        "n": results.samples(),
        "verdicts": dict(results.counts()),
        "authorities": dict(Counter(r["authority"] for r in results.rows)),
        "checked": results.checked,
        "shared": results.shared,
        "seconds": results.seconds,
        "early_stop": results.early_stop,
        "labels": dict(Counter(errors.label(r.get("reason", "")) for r in results.rows if r["verdict"] in FAILURES)),
    }


def patterns(
    problems: Sequence[Problem], results: Results, texts: dict[tuple[str, int], str], seed: int, sample: int = 100
) -> dict[str, Any]:
    """Table 4's patterns over a sample of failed proofs, by the deterministic labeller."""
    by_id = {p.id: p for p in problems}
    failed = sorted((r for r in results.rows if r["verdict"] in FAILURES), key=lambda r: (r["problem"], r["sample"]))
    chosen = random.Random(seed).sample(failed, min(sample, len(failed)))
    labelled = [
        errors.deterministic(
            by_id[r["problem"]].statement, texts[r["problem"], r["sample"]], r["verdict"], r.get("reason", "")
        )
        for r in chosen
    ]
    return errors.shares(labelled)


def best_first(settings: Settings, problems: Sequence[Problem], menus: Menus, name: str) -> dict[str, Any]:
    e = settings.evaluation
    chosen = list(problems)[: e.search_problems] if e.search_problems else list(problems)
    search = SearchSettings(e.attempts, e.tactics, e.expansions, e.alpha, settings.seed)
    weigh = menus[name]

    def proposer(p: Problem) -> Any:
        local = rooted(weigh, p) if name == "smollm2" else weigh
        policy = MenuPolicy(local)
        return lambda state, count, rng: policy(state.handle, count, rng)

    return run_search(settings, chosen, search, proposer, name)


def best_first_llm(settings: Settings, problems: Sequence[Problem]) -> dict[str, Any]:
    from shared.llm import open_llm

    e = settings.evaluation
    search = SearchSettings(e.attempts, e.tactics, e.expansions, e.alpha, settings.seed)
    with open_llm(settings.prover["llm"], cache_dir=settings.output_dir, progress=False) as llm:
        propose = llm_propose(llm)
        return run_search(settings, list(problems)[: e.search_problems], search, lambda p: propose, "llm")


def run_search(
    settings: Settings,
    problems: Sequence[Problem],
    search: SearchSettings,
    proposer: Callable[[Problem], Any],
    name: str,
) -> dict[str, Any]:
    """N attempts a problem; found scripts are verified as whole files, and only those that pass count."""

    async def run() -> tuple[list[Sample], dict[str, Any]]:
        backend = open_tactics(settings.lean)
        scripts: list[Sample] = []
        spent: Counter[str] = Counter()
        try:
            for p in tqdm(problems, desc=f"search {name}", disable=None, leave=False):
                propose = proposer(p)
                for number in range(search.attempts):
                    try:
                        a = await attempt(backend, p.statement, propose, search, number)
                    except FormalMathError:
                        spent["no first state"] += 1
                        continue
                    spent.update(expansions=a.expansions, tactics=a.tactics)
                    spent["milliseconds"] += round(1000 * a.seconds)
                    scripts.append(Sample(p.id, number, a.script if a.script is not None else "  sorry"))
        finally:
            await backend.close()
        return scripts, dict(spent)

    scripts, spent = asyncio.run(run())
    results = verified(replace(settings, early_stop="full"), problems, scripts, f"search-{name}")
    claimed = {s.problem_id for s in scripts if s.text != "  sorry"}
    accepted = [int(any(v == "proved" for v in results.verdicts[p.id].values())) for p in problems]
    return {
        "solved": accepted,
        "claimed": len(claimed),
        "spent": spent,
        "attempts": search.attempts,
        "tactics": search.tactics,
        "expansions": search.expansions,
        "authorities": dict(Counter(r["authority"] for r in results.rows)),
    }


def perplexities(settings: Settings) -> dict[str, Any]:
    """Perplexity of reference proofs under the three prompt modes (Fig. 6b's question, with the proof's text fixed)."""
    from shared.llm import load_causal_lm

    lm, tokenizer = load_causal_lm()
    count = settings.evaluation.reference_proofs
    problems = mini(count, settings.seed, "perplexity")
    rows: list[dict[str, Any]] = []
    for p in tqdm(problems, desc="perplexity", disable=None, leave=False):
        commented = commented_proof(p)
        row: dict[str, Any] = {"id": p.id}
        for mode in ("vanilla", "cot", "nl_cot"):
            proof = p.reference if mode == "vanilla" else commented
            values, spans = proof_logprobs(lm, tokenizer, prompt(p, mode), proof)
            row[mode] = asdict(perplexity(values.tolist(), code_mask(spans, proof)))
        rows.append(row)
    return {"rows": rows}


def commented_proof(p: Problem) -> str:
    """The reference proof with a comment before each line, as chain-of-thought prompts ask for."""
    lines = []
    for line in p.reference.strip("\n").splitlines():
        word = line.split()[0]
        lines.append(f"  -- {COMMENTS.get(word, 'Use what is known.')}\n{line}")
    return "\n" + "\n".join(lines) + "\n"


COMMENTS = {
    "linarith": "The goal follows from the linear hypotheses.",
    "nlinarith": "Use that a square is not negative.",
    "ring": "Both sides are the same polynomial.",
    "norm_num": "Compute both sides.",
    "omega": "Linear arithmetic over the integers.",
    "decide": "Check by computation.",
    "interval_cases": "There are finitely many cases.",
    "have": "First find the value.",
    "rw": "Replace by what is known.",
    "subst": "Put the value in.",
}


def adversary(policy: Policy) -> dict[str, Any]:
    from .run.adversary import honest_refused, official_would_accept, suite

    outcomes = suite(policy)
    return {
        "cases": len(outcomes),
        "accepted": sum(o.accepted for o in outcomes),
        "layers": dict(Counter(o.layer for o in outcomes)),
        "elsewhere": [o.case.name for o in outcomes if o.layer != o.case.layer],
        "honest refused": honest_refused(policy),
        "official accepts": [c.name for c in official_would_accept()],
    }


def recorded(policy: Policy) -> dict[str, Any]:
    """The recorded model's votes and proofs: every completion read, gated and checked here."""
    from shared.llm import Recording, open_llm

    from .pipeline.judge import decide, read_vote
    from .recorded import RECORDING, proof_asked, proof_problems, vote_asked, vote_items

    header = Recording.open(RECORDING).header
    with open_llm({"backend": "replay", "recording": str(RECORDING)}, progress=False) as llm:
        votes = [(r.tag, c.text) for r, c in zip(vote_asked(), llm.complete(vote_asked()), strict=True)]
        proofs = [(r.tag, c.text) for r, c in zip(proof_asked(), llm.complete(proof_asked()), strict=True)]
    ballots: dict[str, dict[str, str]] = {}
    for tag, text in votes:
        item, _, draw = tag.rpartition("/")
        ballots.setdefault(item, {})[draw] = read_vote(text)
    vote_rows = [
        {
            "id": i.id,
            "operator": i.operator,
            "correct": i.operator == "identity",
            "ballots": ballots[i.id],
            "accepted": decide(ballots[i.id]).accepted,
        }
        for i in vote_items()
    ]
    by_id = {p.id: p for p in proof_problems()}
    proof_rows = []
    for tag, text in proofs:
        problem, _, draw = tag.rpartition("/")
        p = by_id[problem]
        found = extract_proof(text, p.statement, policy)
        if isinstance(found, Refusal):
            verdict, reason = found.verdict, f"{found.layer}: {found.reason}"
        else:
            assert isinstance(found, Proof)
            checked = check(p.statement, found.body)
            verdict, reason = checked.verdict, checked.reason
        proof_rows.append(
            {"problem": problem, "draw": int(draw), "domain": p.domain, "verdict": verdict, "reason": reason[:300]}
        )
    return {
        "source": header.source,
        "model": header.model,
        "date": header.date,
        "votes": vote_rows,
        "proofs": proof_rows,
    }


__all__ = ["Perplexity", "evaluate_all", "verified", "verify_llm"]
