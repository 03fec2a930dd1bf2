"""The second part of the default run: POET on a real pretrained model, its weights kept (init=keep).

Wrapping must not change the function, training must lower the loss while the pretrained spectrum stays, and the merged
model must be the trained one, without a trace of this package.
"""

from __future__ import annotations

import gc
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from .checkpoint import write_json
from .config import PoetConfig
from .corpus import split, standard_library
from .diagnostics import spectrum, spectrum_drift
from .errors import PoetError
from .evaluation import Batch, evaluate, summed_loss
from .export import save_merged
from .merge import merge_all
from .optim import PoetOptimizer
from .settings import Settings, plain
from .wrap import wrap

NAME = "pretrained"


def train_pretrained(settings: Settings, say: Callable[[str], None] = print) -> str:
    """Run the part, or reuse it; returns a sentence. Its numbers are in parts/pretrained/result.json."""
    path = settings.output_dir / "parts" / NAME / "result.json"
    mine = {**plain(settings.pretrained), "seed": settings.seed}
    if settings.resume and path.is_file() and json.loads(path.read_text()).get("settings") == mine:
        return f"{NAME}: reused"
    free = free_memory()
    if free < settings.pretrained.free_memory_gb:
        return (
            f"{NAME}: skipped, as {free:.1f} GiB of memory are free and it takes {settings.pretrained.free_memory_gb:g}"
        )
    began = time.perf_counter()
    result = measure(settings, path.parent / "model")
    write_json(path, {"settings": mine, "seconds": time.perf_counter() - began, **result})
    gc.collect()
    return (
        f"{NAME}: logits move by {result['wrap_difference']:.1e} when wrapped and {result['merge_difference']:.1e} "
        "when "
        f"merged; validation loss {result['loss_before']:.4f} → {result['loss_after']:.4f}"
    )


def measure(settings: Settings, folder: Path) -> dict[str, Any]:
    """Wrap, train, merge, export, reload, with the numbers of each."""
    from shared.llm import ModelError, load_causal_lm

    chosen = settings.pretrained
    try:
        model, tokenizer = load_causal_lm(chosen.path)
    except ModelError as error:
        raise PoetError(f"pretrained.path: {error}") from error
    train, held_out = texts(tokenizer, chosen.steps, chosen.windows, chosen.length)
    model.config.use_cache = False
    with torch.no_grad():
        before = model(held_out[:1]).logits
    names = spread(
        [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n != "lm_head"], chosen.layers
    )
    start = spectrum(model, names)
    loss_before = evaluate(model, batches(held_out))["loss"]
    config = PoetConfig(block=chosen.block, init="keep", merge_every=chosen.merge_every, seed=settings.seed)
    for parameter in model.parameters():  # rotations alone are trained: what they can do by themselves
        parameter.requires_grad_(False)
    report = wrap(model, config)
    with torch.no_grad():
        wrapped = model(held_out[:1]).logits
    optimizer = PoetOptimizer(model, poet_lr=chosen.lr)
    losses, seconds, jumps = [], [], []
    model.train()
    for ids in tqdm(train[: chosen.steps], desc=NAME, unit="step", disable=None):
        at = time.perf_counter()
        loss = summed_loss(model, Batch(ids[None], ids[None])) / (len(ids) - 1)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        jumps += [event.jump for event in optimizer.events]
        losses.append(float(loss.detach()))
        seconds.append(time.perf_counter() - at)
        if not losses[-1] < float("inf"):
            raise PoetError(
                f"the loss of step {len(losses)} of the pretrained part is {losses[-1]}: lower pretrained.lr"
            )
    model.eval()
    with torch.no_grad():
        trained = model(held_out[:1]).logits
    jumps += [stats.jump for stats in merge_all(model, optimizer)]
    end = spectrum(model, names)
    save_merged(model, folder, tokenizer)
    del model, optimizer
    gc.collect()
    from transformers import AutoModelForCausalLM

    plain_model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        merged = plain_model(held_out[:1]).logits
    loss_after = evaluate(plain_model, batches(held_out))["loss"]
    return {
        "layers": len(report.layers),
        "rotation_parameters": report.rotation_parameters,
        "wrap_difference": difference(wrapped, before),
        "merge_difference": difference(merged, trained),
        "moved": difference(trained, before),
        "loss_before": loss_before,
        "loss_after": loss_after,
        "losses": losses,
        "step_seconds": seconds,
        "largest_jump": max(jumps),
        "spectrum_layers": names,
        "spectrum_drift": max(spectrum_drift(end[name], start[name]) for name in names),
        "keys": sorted(plain_model.state_dict()),
    }


def texts(tokenizer: Any, steps: int, held: int, length: int) -> tuple[Tensor, Tensor]:
    """(steps, length) training and (held, length) held-out windows of the standard library's documentation."""
    parts = split(dict(standard_library()))
    found = []
    for name, count in (("train", steps), ("validation", held)):
        rows: list[list[int]] = []
        documents = parts[name]
        for text in documents[:: max(1, len(documents) // (3 * count))]:
            ids = tokenizer(text[: 12 * length], add_special_tokens=False)["input_ids"]
            if len(ids) >= length and len(rows) < count:
                rows.append(ids[:length])
        if len(rows) < count:
            raise PoetError(
                f"the {name} text makes only {len(rows)} windows of {length} tokens, and {count} are needed"
            )
        found.append(torch.tensor(rows))
    return found[0], found[1]


def batches(rows: Tensor) -> list[Batch]:
    return [Batch(ids, ids) for ids in rows.split(2)]


def spread(names: list[str], layers: int) -> list[str]:
    """All linear layers of so many decoder blocks, from the first to the last."""
    indices = sorted({int(part) for name in names for part in name.split(".") if part.isdigit()})
    taken = {indices[round(i * (len(indices) - 1) / max(1, layers - 1))] for i in range(layers)}
    return [name for name in names if any(part.isdigit() and int(part) in taken for part in name.split("."))]


def difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())


def free_memory() -> float:
    """GiB that a process can take."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("MemAvailable"))) / 2**20
    except (OSError, StopIteration):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
