"""What can be known before training: orthogonality of the series, coverage of the patterns, memory and length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch

from .config import PoetConfig
from .diagnostics import coverage, series_errors
from .memory import forecast_memory
from .models import DTYPES, llama_config
from .settings import MethodSettings, Settings
from .wrap import wrap


def inspect(settings: Settings) -> list[dict[str, Any]]:
    """Rows for `diagnostics=series`, `coverage` or `forecast`."""
    if settings.diagnostics == "series":
        return [row for theta in (0.1, 0.3, 0.5) for row in series_errors(theta)]
    if settings.diagnostics == "coverage":
        return coverage_rows(settings.seed)
    return [forecast_row(settings, method) for method in settings.methods]


def coverage_rows(seed: int = 0) -> list[dict[str, Any]]:
    """App. H: how often the elements of a 64×64 weight are mixed in 100 draws."""
    rows = []
    for b in (8, 16, 32):
        for variant in ("block", "full"):
            counts = coverage(PoetConfig(variant=variant, block=b, seed=seed), 64, 64)
            expected = 200.0 if variant == "block" else 200 * b / 64
            rows.append(
                {
                    "variant": variant,
                    "b": b,
                    "least": int(counts.min()),
                    "mean": float(counts.mean()),
                    "most": int(counts.max()),
                    "expected mean": expected,
                }
            )
    return rows


def forecast_row(settings: Settings, method: MethodSettings) -> dict[str, Any]:
    """Bytes by what they are for, and the tokens of the run."""
    model = settings.model_of(method)
    training = settings.training_of(method)
    poet = method.config(settings.seed) if method.kind == "poet" else None
    optimizer = method.q_optimizer if poet is not None else method.kind
    match = method.options.get("match_block")
    rank = method.options.get("rank") or (match // 2 if match else None)
    found = forecast_memory(
        llama_config(model),
        poet,
        training.micro_batch or training.sequences,
        training.length,
        DTYPES[model.dtype],
        optimizer=optimizer,
        rank=rank or (16 if method.kind == "galore" else None),
    )
    return {
        "method": method.label,
        "tokens": training.steps * training.sequences * training.length,
        **{f"{k} MiB": v / 2**20 for k, v in asdict(found).items()},
        "total MiB": found.total / 2**20,
    }


def check_shapes(settings: Settings) -> None:
    """Wrap every POET method's model on the meta device: blocks that do not fit are refused before any training.

    Raises:
        PoetError: see `wrap`.
    """
    from transformers import LlamaForCausalLM

    for method in settings.methods:
        if method.kind == "poet":
            with torch.device("meta"):
                wrap(LlamaForCausalLM(llama_config(settings.model_of(method))), method.config(settings.seed))


def announce(settings: Settings, say: Callable[[str], None]) -> None:
    """For long runs: what they will read and hold in each process, before they begin."""
    if settings.data.name != "c4":
        return
    for method in settings.methods:
        row = forecast_row(settings, method)
        say(
            f"{method.label}: {row['tokens']:,} tokens (padding included) in {settings.training_of(method).steps:,} "
            f"steps; about {row['total MiB'] / 1024:.1f} GiB in each process, of it "
            f"{row['optimizer_state MiB'] / 1024:.2f} for the optimizer's state"
        )
    say("hours follow from the step times in the progress bar; the same command resumes after a stop")
