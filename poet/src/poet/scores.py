"""What the report needs: every training's numbers, and each exported model measured again after a plain reload."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from .data import Data, load_data
from .errors import PoetError
from .evaluation import evaluate
from .experiment import finished
from .settings import Settings

Results = Mapping[str, Mapping[str, Any]]  # label -> train.json, with "reloaded"


def collect(settings: Settings) -> tuple[dict[str, dict[str, Any]], Data]:
    """Read the parts and score the reloaded models, which are plain folders.

    Raises:
        PoetError: a method was not trained under these settings.
    """
    from transformers import AutoModelForCausalLM

    data = load_data(settings, settings.seed)
    results: dict[str, dict[str, Any]] = {}
    for method in settings.methods:
        folder = settings.output_dir / "parts" / method.label
        identity = json.loads(json.dumps({**settings.trained_with(method), "vocabulary": data.vocabulary}))
        part = finished(folder, identity)
        if part is None:
            raise PoetError(f"method {method.label} has no finished training with these settings: run train.py first")
        model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype="auto")
        part["reloaded"] = evaluate(model, data.held_out("validation"), data.byte_lengths)
        part["keys"] = sorted(model.state_dict())
        part["kind"], part["lr"], part["base_lr"] = method.kind, method.lr, method.base_lr
        results[method.label] = part
    return results, data


def difference(first: Mapping[str, Any], second: Mapping[str, Any]) -> tuple[float, float]:
    """(mean, standard error over batches of held-out text) of the loss of the first less that of the second."""
    pairs = list(zip(first["reloaded"]["batches"], second["reloaded"]["batches"], strict=True))
    weights = [count for (_, count), _ in pairs]
    gaps = [a / n - b / n for (a, n), (b, _) in pairs]
    total = sum(weights)
    mean = sum(g * w for g, w in zip(gaps, weights, strict=True)) / total
    if len(gaps) < 2:
        return mean, 0.0
    spread = statistics.stdev(gaps)
    return mean, spread / len(gaps) ** 0.5


def seeds_of(table: Mapping[str, Any] | None, method: str, rate: float | None) -> list[float]:
    """Validation losses of the sweep's seeds at a rate."""
    cells: Sequence[Mapping[str, Any]] = (table or {}).get("cells", [])
    return [c["validation_loss"] for c in cells if c["method"] == method and c["lr"] == rate and "validation_loss" in c]


def last(part: Mapping[str, Any]) -> Mapping[str, Any]:
    """The measurement after the last merge."""
    return part["record"]["measured"][-1]


def first(part: Mapping[str, Any]) -> Mapping[str, Any]:
    return part["record"]["measured"][0]
