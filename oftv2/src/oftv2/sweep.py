"""The same search for a learning rate for every method, scored on the dev problems and never on the test."""

from __future__ import annotations

import json
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
    """Train and score every swept method at every rate; the table is kept in `settings.sweep_file` as it grows.

    Raises:
        OFTError: the task names no rates or no file.
    """
    if not settings.sweep_rates or settings.sweep_file is None:
        raise OFTError(f"task {settings.task.name} has no sweep_rates or no sweep_file to sweep with")
    parts = parts_of(settings)
    cells: list[dict[str, Any]] = []
    for method in (m for m in settings.methods if m.name in SWEPT):
        for rate in settings.sweep_rates:
            training = replace(method.training, learning_rate=rate)
            cell = replace(method, training=training, label=f"sweep/{method.name}-{rate:g}")
            made = trained(settings, cell, parts)
            key = fingerprint(training_key(settings, cell), tensors_of(made), base_key(settings, "sweep"))
            score = parts.make(cell.label, "score", key, partial(dev_score, settings, cell))
            seconds = [row["seconds"] for row in made.result["rows"]]
            row = {"method": method.name, "learning_rate": rate, **score.result, "seconds": round(sum(seconds), 1)}
            cells.append(row)
            if not score.reused:
                write_table(settings, method, cells)
    if cells:
        write_table(settings, method, cells)
    return cells


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
    """method -> the rate of the lowest dev answer loss, of methods that were tried at every rate."""
    best = {}
    for method in dict.fromkeys(cell["method"] for cell in table["cells"]):
        cells = [cell for cell in table["cells"] if cell["method"] == method]
        if {cell["learning_rate"] for cell in cells} == set(table["rates"]):
            best[method] = min(cells, key=lambda cell: cell["answer_loss"])["learning_rate"]
    return best
