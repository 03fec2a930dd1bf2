"""What train.py does: the study's ledgers, one sample, or one certificate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from shared.llm import independence_probe, open_llm

from ..certify import certify
from ..coin import Coin
from ..errors import VRSError
from ..ledger import Ledger
from ..targets import Bernoulli
from .run import Study, question_of, read_run, sampler_of, write_run
from .settings import CurveSettings, Settings


def collect(settings: Settings) -> list[dict[str, Any]]:
    """Every curve of the study, its answers in `output_dir/samples`. A row for each.

    Raises:
        VRSError: the model's draws of one prompt are all alike.
    """

    def opened() -> Any:
        llm = open_llm(settings.llm, progress=True)
        study.run |= checked(llm, settings, study.folder)
        return llm

    study = Study(settings, opened, say=lambda text: print(text, flush=True))
    try:
        found = study.found()
    finally:
        if study.llm is not None:
            study.llm.close()
    print(f"model calls: {study.llm.stats().calls if study.llm else 0}", flush=True)
    return [
        {
            "curve": label,
            "levels": len(m.curve.p),
            "draws": "exact" if m.curve.n is None else m.curve.n,
            "STVD": m.curve.stvd,
            "calls/draw": m.curve.calls_per_sample,
            "bits/draw": m.curve.bits_per_sample,
        }
        for label, m in found.curves.items()
    ]


def one_sample(settings: Settings) -> str:
    """n draws of one Bernoulli, with an interval and the bill."""
    task = settings.task
    curve = CurveSettings(task.sampler, task.question, (task.phrasing,), task.relabel)
    with _opened(settings) as (llm, ledger):
        made = sampler_of(curve, task.phrasing, llm, settings.seed)
        made, target = replace(made, ledger=ledger), Bernoulli(str(task.p))
        if task.within is None:
            drawn = made.sample(target, task.n, rng=settings.seed)
            low, high = drawn.interval()
        else:
            drawn, band = made.sample_until(target, task.within, most=task.n, rng=settings.seed)
            low, high = band.low, band.high
    cost = "" if drawn.cost is None else f", {drawn.cost:.4f} USD"
    lines = [
        " ".join(str(v) for v in drawn.values),
        f"p = {task.p}: {len(drawn.values)} draws, share of ones {drawn.p_hat():.3f} (95 % {low:.3f} to {high:.3f})",
        f"{drawn.calls} calls ({drawn.unused_calls} unused, {drawn.malformed} malformed){cost}",
        f"{drawn.outside_bits:g} outside bits",
        f"answers in {ledger.path}",
        *drawn.flags,
    ]
    return "\n".join(lines)


def certificate(settings: Settings) -> str:
    """The cheapest sampler whose result is within the allowed total variation, from measurements of the coin."""
    task = settings.task
    curve = CurveSettings("direct", task.question, (task.phrasing,), task.relabel)
    with _opened(settings) as (llm, ledger):
        exact = task.question != "free" and llm.capabilities.choice_logprobs
        question = question_of(curve, task.phrasing, settings.seed)
        coin = Coin(llm, question, estimator="exact" if exact else "count", seed=settings.seed, ledger=ledger)
        plan = certify(coin, Bernoulli(str(task.p)), task.tv, task.confidence, task.budget)
    return plan.sentence


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Any, Ledger]]:
    """The model, seen to draw independently, and the ledger of its single answers."""
    folder = settings.output_dir / "samples"
    with Ledger(folder / f"single-{settings.who['settings']}.jsonl") as ledger:
        ledger.bind(**settings.who)
        with open_llm(settings.llm, progress=True) as llm:
            write_run(folder, {**read_run(folder), **checked(llm, settings, folder)})
            yield llm, ledger


def checked(llm: Any, settings: Settings, folder: Path) -> dict[str, Any]:
    """What an independence probe says of the model, asked once for each way to ask it: eight draws of a free story, of
    which equal ones mean that draws of one prompt are not independent.

    Raises:
        VRSError: all eight are the same text.
    """
    asked = settings.who["settings"]
    known = read_run(folder).get("probes", {})
    if asked not in known and llm.name != "replay":
        probe = independence_probe(llm)
        if probe.verdict == "identical":
            raise VRSError(probe.sentence)
        known = {**known, asked: {"verdict": probe.verdict, "sentence": probe.sentence}}
    return {"probes": known}
