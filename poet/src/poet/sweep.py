"""The same search for every method's learning rate: as many settings for each, scored on the dev split.

Each method has a ladder of rates (factors of two) in conf/method; all are tried with the first seed, and the best is
trained again with the other seeds. The validation split is measured for the best only, and decides nothing. Cells are
kept in the table as they are finished; several processes may fill one table, with `only=[...]`.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from tqdm import tqdm

from .checkpoint import write_json
from .data import Data, load_data
from .errors import PoetError
from .evaluation import evaluate
from .experiment import environment
from .linear import poet_layers
from .merge import merge_all
from .methods import make_trainee, prepare_model
from .models import build_llama
from .settings import MethodSettings, Settings
from .training import train


def sweep(settings: Settings) -> list[dict[str, Any]]:
    """Fill the table; returns its cells.

    Raises:
        PoetError: a method has no ladder, or the ladders differ in length.
    """
    if settings.sweep.file is None:
        raise PoetError("sweep.file is not set: name the file that keeps the table")
    lengths = {m.name: len(m.ladder) for m in settings.methods}
    if len(set(lengths.values())) > 1 or 0 in lengths.values():
        raise PoetError(f"the sweep tries as many rates for every method, and the ladders hold {lengths}")
    path = Path(settings.sweep.file)
    first = settings.sweep.seeds[0]
    for method in settings.methods:
        for rate in method.ladder:
            cell(settings, path, method, rate, first)
        rate = best_rates(read_table(path) or {})[method.name]
        for seed in settings.sweep.seeds:
            cell(settings, path, method, rate, seed, validation=True)
    return (read_table(path) or {"cells": []})["cells"]


def cell(
    settings: Settings, path: Path, method: MethodSettings, rate: float, seed: int, validation: bool = False
) -> None:
    """Train one setting unless the table has it, and add it."""
    kept = {"method": method.name, "lr": rate, "seed": seed}
    known = next((c for c in (read_table(path) or {"cells": []})["cells"] if kept.items() <= c.items()), None)
    if known is not None and (not validation or "validation_loss" in known):
        return
    began = time.perf_counter()
    training = replace(
        settings.training_of(method), steps=settings.sweep.steps, save_seconds=1e9, geometry=False, stop_after=None
    )
    data = load_data(settings, seed)
    try:
        model = trained(replace(settings, seed=seed), replace(method, lr=rate), training, data)
    except PoetError as error:  # a rate at which training breaks off is a result
        add(settings, path, {**kept, "dev_loss": None, "error": str(error)})
        return
    found = {**kept, "dev_loss": evaluate(model, data.held_out("dev"))["loss"]}
    if validation:
        scored = evaluate(model, data.held_out("validation"), data.byte_lengths)
        found |= {"validation_loss": scored["loss"], "bits_per_byte": scored["bits_per_byte"]}
    add(settings, path, {**found, "seconds": round(time.perf_counter() - began, 1)})


def trained(settings: Settings, method: MethodSettings, training: Any, data: Data) -> Any:
    model = build_llama(settings.model_of(method), data.vocabulary, settings.seed)
    prepare_model(model, method, settings.seed)
    trainee = make_trainee(model, method, training)
    name = f"{method.name} {method.lr:g} seed {settings.seed}"
    with (
        tempfile.TemporaryDirectory() as folder,
        tqdm(total=training.steps, desc=name, unit="step", disable=None) as bar,
    ):
        train(
            trainee,
            data,
            training,
            Path(folder),
            identity={},
            accelerator=Accelerator(cpu=settings.launch.device == "cpu"),
            progress=lambda step, steps, values: bar.update(step - bar.n),
        )
    if poet_layers(model):
        merge_all(model)
    return model


def add(settings: Settings, path: Path, row: Mapping[str, Any]) -> None:
    """Put a cell into the table, which other processes may be filling too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        table = read_table(path) or {"cells": []}
        same = ("method", "lr", "seed")
        cells = [c for c in table["cells"] if any(c[k] != row[k] for k in same)]
        cells = sorted([*cells, dict(row)], key=lambda c: (c["method"], c["lr"], c["seed"]))
        write_json(path, {**facts(settings), "cells": cells})
    finally:
        os.close(folder)


def facts(settings: Settings) -> dict[str, Any]:
    training = settings.training
    return {
        "model": settings.model.name,
        "split": "dev",
        "steps": settings.sweep.steps,
        "tokens": settings.sweep.steps * training.sequences * training.length,
        "criterion": "lowest dev loss of the first seed",
        "ladders": {m.name: list(m.ladder) for m in settings.methods} | _other_ladders(settings),
        "seeds": list(settings.sweep.seeds),
        "date": datetime.now(UTC).date().isoformat(),
        "environment": environment(),
    }


def _other_ladders(settings: Settings) -> dict[str, Any]:
    table = read_table(Path(settings.sweep.file or "")) if settings.sweep.file else None
    return {k: v for k, v in (table or {}).get("ladders", {}).items() if k not in {m.name for m in settings.methods}}


def read_table(path: Path) -> dict[str, Any] | None:
    """A finished or growing table, or None where there is none."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise PoetError(f"{path} is not a sweep's table: {error}") from error


def best_rates(table: Mapping[str, Any]) -> dict[str, float]:
    """method -> the rate with the lowest dev loss of the first seed."""
    best: dict[str, Any] = {}
    for c in table.get("cells", []):
        if c["seed"] != table["seeds"][0] or c["dev_loss"] is None:
            continue
        if c["method"] not in best or c["dev_loss"] < best[c["method"]]["dev_loss"]:
            best[c["method"]] = c
    return {name: c["lr"] for name, c in best.items()}
