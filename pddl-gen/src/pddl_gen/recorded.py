"""The recording that comes with the package: answers of a large model to the prompts of the suite, word for word.

`answers.jsonl.gz` is a recording of shared.llm; `scores.json` holds S of every first answer under a small local model
(the model that wrote them told no probabilities), `strand.json` how many draws and rounds there are.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shared.llm import Request, Sampling
from shared.llm.key import question, question_key
from shared.llm.recording import Recording

from . import roles
from .engine import BestOfN, Candidate
from .extract import extract
from .items import Item, suite_items
from .scorer import Likelihood

FOLDER = Path(__file__).parent / "recordings"
RECORDING = FOLDER / "answers.jsonl.gz"
SAMPLING = Sampling()  # nothing was set: the model's own defaults
TASKS = ("nl2domain", "prob2domain")


@functools.cache
def strand() -> dict[str, Any]:
    """`n` draws of each item, `start_n` of them chosen from as the chains' start, `rounds` of iVML, domains by task."""
    return json.loads((FOLDER / "strand.json").read_text(encoding="utf-8"))


def items() -> dict[str, list[Item]]:
    """The items of the strand, by task; the planner baseline on two held-out problems a domain."""
    domains = strand()["domains"]
    return {task: suite_items(task, domains[task]) for task in (*TASKS, "planner_baseline")}


def answer_key(prompt: str, answer: str) -> str:
    return hashlib.sha256(f"{prompt}\0{answer}".encode()).hexdigest()


class KeptScores:
    """S of recorded answers, computed beforehand; an answer that is not there has no likelihood."""

    def __init__(self, path: Path = FOLDER / "scores.json") -> None:
        kept = json.loads(path.read_text(encoding="utf-8"))
        self.model, self.temperature, self.values = kept["model"], kept["temperature"], kept["scores"]

    def __call__(self, prompt: str, answers: Sequence[str]) -> list[Likelihood | None]:
        found = [self.values.get(answer_key(prompt, a)) for a in answers]
        return [Likelihood(v[0], v[1], "scorer") if v is not None else None for v in found]


def wanted(recording: Recording, scorer: KeptScores) -> tuple[list[Request], list[Request]]:
    """(requests of the strand that are answered, those that are not): what depends on a missing answer is not known
    and in neither."""
    about = strand()
    have: list[Request] = []
    lack: list[Request] = []

    def text(request: Request) -> str | None:
        key = question_key(question(request))
        if key in recording.entries:
            have.append(request)
            return str(recording.entries[key]["completion"]["text"])
        lack.append(request)
        return None

    for task, group in items().items():
        for item in group:
            if task == "planner_baseline":
                text(roles.generate(item, 0, SAMPLING))
                continue
            answers = [text(roles.generate(item, s, SAMPLING)) for s in range(about["n"])]
            if None in answers or not about["rounds"]:
                continue
            said = [a for a in answers if a is not None]
            candidates = [
                Candidate(item.id, s, a, extract(a).thought, extract(a).domain_text, "stop", v)
                for s, (a, v) in enumerate(zip(said, scorer(item.prompt, said), strict=True))
            ]
            select = "likelihood" if scorer.values else "validator"
            chosen = BestOfN(about["start_n"], select=select).choose(item, candidates)
            for start in dict.fromkeys((candidates[0], *chosen)):
                now = start
                for i in range(1, about["rounds"] + 1):
                    feedback = text(roles.critic(item, now.thought, now.domain, SAMPLING, round=i))
                    if feedback is None:
                        break
                    after = text(roles.learner(item, now.thought, now.domain, feedback, SAMPLING, round=i))
                    if after is None:
                        break
                    found = extract(after)
                    now = Candidate(item.id, 0, after, found.thought, found.domain_text, "stop")
    return have, lack


def verify() -> dict[str, Any]:
    """Recomputes every key from the shipped prompts: requests of the default run, how many are answered, entries that
    no request of the strand asks for, and whether each entry names its source."""
    recording = Recording.open(RECORDING)
    have, lack = wanted(recording, KeptScores())
    keys = {question_key(question(r)) for r in have}
    return {
        "completions": len(recording),
        "answered": len(keys),
        "missing": [r.tag for r in lack],
        "unasked": len(set(recording.entries) - keys),
        "source": recording.header.source,
        "model": recording.header.model,
        "date": recording.header.date,
        "settings": recording.header.settings,
    }
