"""Tuning with a peft adapter: an own loop with packed turns, exact resume, and a stop at the first loss that is NaN.

At the paper's scale `tune_sft.py` runs trl's trainer instead.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from .errors import SGPError
from .sit import Encoded, pack, packed_loss

METHODS = ("lora", "oft")
Progress = Callable[[int, int, float], None]


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """How to tune."""

    method: str = "lora"
    rank: int = 16  # of LoRA
    alpha: int = 32  # of LoRA
    block_size: int = 32  # of OFT
    dropout: float = 0.0
    targets: str | tuple[str, ...] = "all-linear"
    learning_rate: float = 1e-3  # peak of the cosine
    warmup_steps: int = 10
    steps: int = 100
    groups: int = 2  # programs a step
    clip: float = 1.0
    weight_decay: float = 0.0
    loss_on: str = "answer"
    save_every: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise SGPError(f"tune.method must be one of {', '.join(METHODS)}, not {self.method!r}")
        if self.loss_on not in ("answer", "all"):
            raise SGPError(f"tune.loss_on must be answer or all, not {self.loss_on!r}")
        for name in ("rank", "alpha", "block_size", "steps", "groups", "save_every"):
            if getattr(self, name) < 1:
                raise SGPError(f"tune.{name} must be at least 1, not {getattr(self, name)}")
        if not self.learning_rate > 0 or not self.clip > 0 or self.warmup_steps < 0:
            raise SGPError("tune.learning_rate and tune.clip must be positive, tune.warmup_steps at least 0")


@dataclass
class Log:
    """A row a step, and how it ended."""

    rows: list[dict[str, float]] = field(default_factory=list)
    stopped: str = ""

    @property
    def seconds(self) -> float:
        return sum(r["seconds"] for r in self.rows)


def adapter_config(config: TuneConfig) -> Any:
    """peft's configuration. OFT stands for the paper's BOFT with one butterfly factor, which is block-diagonal OFT;
    its Cayley transform by five Neumann terms."""
    from peft import LoraConfig, OFTConfig

    targets = config.targets if isinstance(config.targets, str) else list(config.targets)
    common: dict[str, Any] = {"target_modules": targets, "task_type": "CAUSAL_LM", "bias": "none"}
    if config.method == "lora":
        return LoraConfig(r=config.rank, lora_alpha=config.alpha, lora_dropout=config.dropout, **common)
    return OFTConfig(
        r=0, oft_block_size=config.block_size, use_cayley_neumann=True, num_cayley_neumann_terms=5,
        module_dropout=config.dropout, **common,
    )  # fmt: skip


def add_adapter(lm: Any, config: TuneConfig) -> Any:
    """The model with a fresh adapter, the same for the same seed."""
    from peft import get_peft_model

    torch.manual_seed(config.seed)
    return get_peft_model(lm, adapter_config(config))


def rate(step: int, config: TuneConfig) -> float:
    """Share of the peak rate at a step from 0: linear warm-up, then a cosine to zero."""
    if step < config.warmup_steps:
        return (step + 1) / (config.warmup_steps + 1)
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.5 * (1 + math.cos(math.pi * done))


def tune(
    model: Any,
    batches: Sequence[Sequence[Encoded]],
    config: TuneConfig,
    folder: Path,
    fingerprint: str = "",
    progress: Progress | None = None,
    stop_after: int | None = None,
) -> Log:
    """Trains the adapter of `model` on a batch of turns a step; checkpoints every `save_every` steps in `folder`.

    A run that finds a checkpoint of the same fingerprint goes on from it and ends with the same bytes as one that was
    never interrupted.

    Raises:
        SGPError: too few batches, a checkpoint of another run, or a loss that is no number (the adapter then is that
            of the last checkpoint).
    """
    if len(batches) < config.steps or not all(batches):
        raise SGPError(f"{config.steps} steps need as many batches of turns, and {len(batches)} are given")
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    optimizer = torch.optim.AdamW(trained.values(), lr=config.learning_rate, weight_decay=config.weight_decay)
    log = Log()
    begin = _resume(folder, fingerprint, trained, optimizer, log)
    model.train()
    for step in range(begin, config.steps if stop_after is None else min(stop_after, config.steps)):
        clock = time.perf_counter()
        torch.manual_seed(config.seed * 1_000_003 + step)  # dropout is that of the step, resumed or not
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * rate(step, config)
        loss = packed_loss(model, pack(batches[step], model.dtype, config.loss_on))
        if not torch.isfinite(loss):
            _resume(folder, fingerprint, trained, optimizer, log)
            log.stopped = f"the loss of step {step + 1} is no finite number"
            raise SGPError(f"{log.stopped}: the adapter is that of step {len(log.rows)}; try a lower learning rate")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(trained.values(), config.clip)
        optimizer.step()
        tokens = float(sum(len(e.tokens) for e in batches[step]))
        log.rows.append({"step": step + 1, "loss": float(loss.detach()), "norm": float(norm), "tokens": tokens,
                         "seconds": time.perf_counter() - clock})  # fmt: skip
        if (step + 1) % config.save_every == 0 or step + 1 == config.steps:
            _save(folder, fingerprint, trained, optimizer, log)
        if progress:
            progress(step + 1, config.steps, log.rows[-1]["loss"])
    model.eval()
    return log


def _save(folder: Path, fingerprint: str, trained: dict[str, Any], optimizer: Any, log: Log) -> None:
    """Weights and both moments as safetensors; nothing is pickled. The folder is replaced at once."""
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    tensors = {f"weight/{n}": p.detach().contiguous() for n, p in trained.items()}
    for name, p in trained.items():
        for key, value in optimizer.state[p].items():
            tensors[f"{key}/{name}"] = torch.as_tensor(value).contiguous()
    save_file(tensors, beside / "state.safetensors")
    (beside / "log.json").write_text(json.dumps({"fingerprint": fingerprint, **asdict(log)}))
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    beside.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _resume(folder: Path, fingerprint: str, trained: dict[str, Any], optimizer: Any, log: Log) -> int:
    old = folder.with_name(f".{folder.name}.old")
    if not folder.exists() and old.exists():  # killed between the two renames
        old.rename(folder)
    if not (folder / "log.json").exists():
        return 0
    kept = json.loads((folder / "log.json").read_text())
    if kept["fingerprint"] != fingerprint:
        raise SGPError(f"{folder} holds a checkpoint of other settings: give another folder, or remove it")
    tensors = load_file(folder / "state.safetensors")
    with torch.no_grad():
        for name, p in trained.items():
            p.copy_(tensors[f"weight/{name}"])
            state = {k: tensors[f"{k}/{name}"] for k in ("step", "exp_avg", "exp_avg_sq") if f"{k}/{name}" in tensors}
            optimizer.state[p] = {k: v.to(p.device) if k != "step" else v for k, v in state.items()}
    log.rows[:] = kept["rows"]
    return len(log.rows)


def open_adapter(lm: Any, folder: Path, name: str) -> Any:
    """The adapter in a folder on its base model.

    Raises:
        SGPError: there is none, or it is of another base (both are named).
    """
    from peft import PeftModel

    path = folder / "adapter_config.json"
    if not path.is_file():
        raise SGPError(f"{folder} holds no adapter: it has no adapter_config.json")
    base = json.loads(path.read_text()).get("base_model_name_or_path")
    if base and name and base != name:
        raise SGPError(f"the adapter in {folder} is of {base}, and the model here is {name}")
    try:
        return PeftModel.from_pretrained(lm, str(folder)).eval()
    except (RuntimeError, ValueError) as error:
        raise SGPError(f"the adapter in {folder} does not fit {name}: {str(error).splitlines()[0]}") from None
