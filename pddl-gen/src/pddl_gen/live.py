"""The live strand: a small model, Prob2Domain, free and under the staged grammar. Passing VAL is not understanding."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from shared.llm import Limits, Sampling, open_llm

from .constrain import CausalLM, Staged
from .items import suite_items
from .ledger import Ledger, ask
from .roles import generate


def run_live(settings: Mapping[str, Any], folder: Path) -> str:
    """Asks for what `folder` does not hold yet; returns one line."""
    folder.mkdir(parents=True, exist_ok=True)
    items = suite_items("prob2domain", list(settings["domains"]))
    ledger = Ledger(folder / "ledger.jsonl")
    sampling = Sampling(temperature=0.7, max_tokens=settings["max_tokens"])
    client = {"backend": "transformers", "model": settings["model"], "options": {"seed": 0}}
    path = folder / "constrained.jsonl"
    kept = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                record = json.loads(line)
                kept[record["model"], record["item"], record["sample"]] = record["domain"]
            except (ValueError, KeyError):
                continue
    with open_llm(client, progress=False) as llm:
        requests = [generate(item, s, sampling) for item in items for s in range(settings["samples"])]
        ask(llm, requests, ledger)
    ledger.close()
    todo = [(i, s) for i in items for s in range(settings["samples"]) if (settings["model"], i.id, s) not in kept]
    if todo:
        from shared.llm import load_causal_lm

        lm, tokenizer = load_causal_lm(settings["model"])
        staged = Staged(tokenizer, lm.config.vocab_size)
        for item, s in todo:
            turns = [{"role": "user", "content": item.prompt}]
            prompt = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True) + "```pddl\n"
            assert item.shown is not None
            rng = np.random.default_rng([s, len(item.id), *item.id.encode()])
            domain = staged.domain(CausalLM(lm), prompt, item.shown, rng)
            record = {"model": settings["model"], "item": item.id, "sample": s, "domain": domain}
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
    return f"{len(requests)} free samples, {ledger.asked} of them now; {len(requests)} constrained, {len(todo)} now"


def live_answers(settings: Mapping[str, Any], folder: Path) -> dict[str, list[tuple[str, str, str]]]:
    """(item, domain of the suite, text) of what run_live left, for the rows "free" and "staged grammar"."""
    ledger = Ledger(folder / "ledger.jsonl")
    ledger.close()
    free = [
        (r["item"], r["item"].split("/")[1], r["text"] or "")
        for r in ledger.records.values()
        if r["error"] is None and r["params"].get("max_tokens") == settings["max_tokens"]
    ]
    path = folder / "constrained.jsonl"
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    held = [(r["item"], r["item"].split("/")[1], r["domain"]) for r in lines if r["model"] == settings["model"]]
    return {"free": sorted(free), "staged grammar": sorted(held)}


__all__ = ["Limits", "live_answers", "run_live"]
