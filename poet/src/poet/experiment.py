"""All trainings of a run: made once, kept as parts, reused while nothing that shapes them has changed.

<output_dir>/parts/<label>/train.json    what was measured, with the settings
<output_dir>/parts/<label>/model/        the merged model, a plain Hugging Face folder
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from tqdm import tqdm

from .checkpoint import remove_checkpoints, write_json
from .data import Data, load_data
from .diagnostics import VectorProbe, geometry, spectrum
from .evaluation import evaluate
from .export import save_merged
from .linear import poet_layers
from .memory import measured_bytes
from .merge import merge_all
from .methods import make_trainee, prepare_model
from .models import build_llama
from .settings import MethodSettings, Settings
from .training import shard, train

WARMUP_STEPS = 10  # left out of the speed
PACKAGES = ("torch", "transformers", "accelerate", "peft", "galore-torch", "tokenizers")


def train_all(settings: Settings, say: Callable[[str], None] = print) -> list[dict[str, Any]]:
    """Train every method, one after the other, over the same data in the same order. Returns the table's rows."""
    accelerator = Accelerator(cpu=settings.launch.device == "cpu")
    say = say if accelerator.is_main_process else lambda text: None
    if not accelerator.is_main_process:
        accelerator.wait_for_everyone()  # until the first process has prepared the corpus
    data = load_data(settings, settings.seed, accelerator.process_index, accelerator.num_processes, say)
    if accelerator.is_main_process:
        accelerator.wait_for_everyone()
    rows = []
    for method in settings.methods:
        part = train_one(settings, method, data, settings.seed, accelerator, say)
        rows.append(row(method.label, part))
    return rows


def train_one(
    settings: Settings,
    method: MethodSettings,
    data: Data,
    seed: int,
    accelerator: Accelerator,
    say: Callable[[str], None] = print,
    measure: bool = True,
) -> dict[str, Any]:
    """One training, or what it left earlier.

    Raises:
        PoetError: see `training.train`.
    """
    folder = settings.output_dir / "parts" / method.label
    settings = replace(settings, seed=seed)
    identity = json.loads(json.dumps({**settings.trained_with(method), "vocabulary": data.vocabulary}))
    kept = finished(folder, identity) if settings.resume else None
    if kept is not None:
        say(f"{method.label}: reused")
        return kept
    training = settings.training_of(method)
    started = time.perf_counter()
    model = build_llama(settings.model_of(method), data.vocabulary, seed).to(accelerator.device)
    prepare_model(model, method, seed)
    start = spectrum(model) if measure and training.geometry else {}
    if settings.launch.strategy == "shard" and accelerator.num_processes > 1:
        shard(model)
    trainee = make_trainee(model, method, training)
    probe = VectorProbe(model, seed) if measure and training.geometry and poet_layers(model) else None
    curve = list(data.held_out("validation", training.measure_sequences)) if measure else []

    def measured(model: Any) -> dict[str, Any]:
        found: dict[str, Any] = {"loss": evaluate(model, curve)["loss"]}
        if training.geometry:
            found |= geometry(model, start)
        if probe is not None:
            found["cosines"] = probe.cosines()
        return found

    bar = tqdm(
        total=training.steps, desc=method.label, unit="step", disable=None if accelerator.is_main_process else True
    )
    with bar:

        def progress(step: int, steps: int, values: dict[str, float]) -> None:
            bar.set_postfix(loss=f"{values['loss']:.3f}", refresh=False)
            bar.update(step - bar.n)

        record = train(
            trainee,
            data,
            training,
            folder / "checkpoints",
            identity=identity,
            accelerator=accelerator,
            observed=probe.vectors if probe else None,
            measure=measured if measure else None,
            progress=progress,
            resume=settings.resume,
        )
    if record.step < training.steps:
        say(f"{method.label}: stopped after {record.step} of {training.steps} steps; the same command goes on")
        return {"settings": identity, "record": asdict(record), "stopped": True}
    bytes_ = measured_bytes(model, trainee.optimizers)
    running = probe.traces() if probe else {}
    merge_all(model, trainee.optimizers[0] if poet_layers(model) else None)
    result: dict[str, Any] = {
        "settings": identity,
        "record": asdict(record),
        "trained": trainee.hidden_trainables(),
        "trained_in_all": sum(p.numel() for p in trainee.parameters),
        "bytes": asdict(bytes_),
        "tokens": training.steps * training.sequences * training.length,
        "tokens_per_second": training.sequences
        * training.length
        / statistics.median(record.seconds[WARMUP_STEPS:] or record.seconds),
        "traces": running,
    }
    if measure:
        final = evaluate(model, data.held_out("validation"), data.byte_lengths)
        record.measured.append({"step": record.step, **measured(model)})
        result |= {"validation": final, "record": asdict(record)}
        if training.geometry:
            end = spectrum(model)
            shown = next(name for name in end if name.endswith("up_proj"))
            result["spectra"] = {shown: {"start": start[shown].tolist(), "end": end[shown].tolist()}}
    save_merged(model, folder / "model", data.tokenizer, writes=accelerator.is_main_process)
    result["seconds"] = time.perf_counter() - started
    result["environment"] = environment()
    if accelerator.is_main_process:
        write_json(folder / "train.json", result)
        remove_checkpoints(folder / "checkpoints")
    accelerator.wait_for_everyone()
    say(f"{method.label}: done in {result['seconds']:.0f} s")
    return result


def finished(folder: Path, identity: dict[str, Any]) -> dict[str, Any] | None:
    """What a training with these settings left, if its model is still there."""
    path = folder / "train.json"
    if not path.is_file() or not (folder / "model" / "model.safetensors").is_file():
        return None
    try:
        kept = json.loads(path.read_text())
    except ValueError:
        return None
    return kept if kept.get("settings") == identity else None


def row(label: str, part: dict[str, Any]) -> dict[str, Any]:
    """A line of the table that train.py prints."""
    if part.get("stopped"):
        return {"method": label, "steps": part["record"]["step"]}
    return {
        "method": label,
        "validation ppl": part["validation"]["ppl"],
        "hidden trained": part["trained"],
        "optimizer bytes": part["bytes"]["optimizer_state"],
        "tokens/s": round(part["tokens_per_second"]),
    }


def environment() -> dict[str, Any]:
    """Machine and versions, for the record."""
    return {
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "processor": processor(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "threads": torch.get_num_threads(),
    }


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
