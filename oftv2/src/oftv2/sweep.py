"""The same search for a learning rate for every method, scored on the dev problems and never on the test."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from .checkpoint import write_json
from .errors import OFTError
from .evaluate import base_key, tensors_of, workload
from .experiment import parts_of, reopened, trained, training_key
from .parts import environment
from .settings import MethodSettings, Settings, fingerprint
from .tasks.answer_loss import mean_answer_loss
from .tasks.prose import prose_loss

SWEPT = ("oftv2", "qoft", "lora", "qlora")


def sweep(settings: Settings) -> list[dict[str, Any]]:
    """Search each swept method's rate by the same rule; the table is kept in `settings.sweep_file` as it grows.

    Raises:
        OFTError: the task names no rates or no file.
    """
    if not settings.sweep_rates or settings.sweep_file is None:
        raise OFTError(f"task {settings.task.name} has no sweep_rates or no sweep_file to sweep with")
    parts = parts_of(settings)
    cells: list[dict[str, Any]] = []
    swept = [m for m in settings.methods if m.name in SWEPT]
    # a recipe may train some methods for fewer steps; the search does not
    steps = max((m.training.steps or 0 for m in swept), default=0) or None
    for method in swept:

        def loss_at(rate: float, method: MethodSettings = method) -> float:
            training = replace(method.training, learning_rate=rate, steps=steps or method.training.steps)
            cell = replace(method, training=training, label=f"sweep/{method.name}-{rate:g}")
            made = trained(settings, cell, parts)
            key = fingerprint(training_key(settings, cell), tensors_of(made), base_key(settings, "sweep"))
            score = parts.make(cell.label, "score", key, partial(dev_score, settings, cell))
            seconds = [row["seconds"] for row in made.result["rows"]]
            row = {"method": method.name, "learning_rate": rate, **score.result, "seconds": round(sum(seconds), 1)}
            cells.append(row)
            write_table(settings, cell, cells)
            return score.result["answer_loss"]

        search(settings.sweep_rates, settings.sweep_start, loss_at)
    return cells


def search(rates: Sequence[float], start: float | None, loss_at: Callable[[float], float]) -> float:
    """The best of a ladder of rates.

    Without `start` every rate is tried. With it the search goes up from there until the loss rises, and if the start
    is still the best, down until it rises: the best then has a worse rate on either side, or the ladder ends there.
    """
    tried: dict[float, float] = {}

    def best() -> float:
        return min(tried, key=lambda rate: tried[rate])

    if start is None:
        for rate in rates:
            tried[rate] = loss_at(rate)
        return best()
    ladder = sorted(rates)
    at = ladder.index(start)
    for way in (ladder[at:], ladder[at::-1]):
        for rate in way:
            if rate not in tried:
                tried[rate] = loss_at(rate)
            if best() != rate:
                break
    return best()


def dev_score(settings: Settings, method: MethodSettings, folder: Path) -> dict[str, Any]:
    trainee, tokenizer = reopened(settings, method, folder)
    work = workload(settings, tokenizer)
    evaluation = settings.evaluation
    asked = work.asked(trainee.model, "dev", evaluation.dev_problems, evaluation)
    return {
        "answer_loss": mean_answer_loss(trainee.model, work.held_out("dev", evaluation.dev_problems)),
        **(asked["scores"] if asked is not None else {}),
        "prose_loss": prose_loss(trainee.model, tokenizer),
    }


def write_table(settings: Settings, method: MethodSettings, cells: list[dict[str, Any]]) -> None:
    assert settings.sweep_file is not None
    table = {
        "model": settings.model.path,
        "task": settings.task.name,
        "split": "dev",
        "problems": settings.evaluation.dev_problems,
        "seed": settings.seed,
        "steps": method.training.steps,
        "batch_size": method.training.batch_size * method.training.accumulation,
        "rates": list(settings.sweep_rates),
        "start": settings.sweep_start,
        "criterion": "lowest answer_loss",
        "date": datetime.now(UTC).date().isoformat(),
        "environment": environment(),
        "cells": cells,
    }
    write_json(settings.sweep_file, table)


def read_table(path: Path | None) -> dict[str, Any] | None:
    """A finished or growing table, or None where there is none."""
    if path is None or not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise OFTError(f"{path} is not a sweep's table: {error}") from error


def best_rates(table: dict[str, Any]) -> dict[str, float]:
    """method -> the rate of the lowest dev answer loss, where the next rates of the ladder on both sides were tried."""
    best = {}
    ladder = sorted(table["rates"])
    for method in dict.fromkeys(cell["method"] for cell in table["cells"]):
        cells = [cell for cell in table["cells"] if cell["method"] == method]
        tried = {cell["learning_rate"] for cell in cells}
        lowest = min(cells, key=lambda cell: cell["answer_loss"])["learning_rate"]
        at = ladder.index(lowest)
        if tried.issuperset(ladder[max(at - 1, 0) : at + 2]):
            best[method] = lowest
    return best
