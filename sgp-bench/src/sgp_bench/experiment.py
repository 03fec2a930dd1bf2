"""Tuning on the published instruction data, at the paper's scale."""

from __future__ import annotations

from typing import Any

from shared.llm import load_causal_lm

from .errors import SGPError
from .parts import Parts
from .settings import Settings, fingerprint
from .tune_sft import SftConfig, load_pairs, tune_sft


def tune_published(settings: Settings) -> dict[str, Any]:
    """SFT on sit_*, rev_sit_* or mixed_sit_*: an adapter in `output_dir`/tune/adapter, for model.adapter of eval.py."""
    s = settings
    if s.tune is None:
        return {"tuned": "nothing (tune=none)"}
    if s.model.path is None:
        raise SGPError(f"model {s.model.name} has no weights here to tune: give model.path, or tune=none")
    if s.sit.direction == "qa":
        raise SGPError("sit=qa trains on generated scenes (data=synthetic): give sit=forward, reverse or mixed")
    tune, direction = s.tune, s.sit.direction
    folder = s.output_dir / "tune"
    key = fingerprint(s.model.path, tune, s.sit, s.max_length, s.seed)
    parts = Parts(s.output_dir / "parts", s.resume)

    def measure() -> dict[str, Any]:
        pairs = load_pairs(s.sit.source or "published", direction, s.sit.size)
        lm, tokenizer = load_causal_lm(s.model.path or "", dtype=s.model.dtype, device="auto")
        config = SftConfig(
            learning_rate=tune.learning_rate, warmup_steps=tune.warmup_steps, weight_decay=tune.weight_decay,
            max_length=s.max_length, bf16=s.model.dtype == "bfloat16", seed=s.seed,
        )  # fmt: skip
        return tune_sft(lm, tokenizer, pairs, tune, config, folder)

    return {**parts.make("tune", key, measure), "adapter": str(folder / "adapter")}
