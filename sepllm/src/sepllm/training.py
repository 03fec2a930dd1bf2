"""Training under a mask, from scratch and from a pretrained model: one loop for one CPU core and for many GPUs.

The mask is put on by `masked`, so the model's own loss and layers are used. accelerate spreads the batch over
processes. The state of a training (weights, Adam's moments, step, curve) is one safetensors file; batches follow from
(seed, step), so a resumed run repeats nothing and ends with the same numbers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .attach import masked
from .budget import kept_keys
from .data import batch_of, document_positions
from .errors import SepLLMError, one_of, whole
from .files import read_tensors, write_tensors
from .flops import flops_per_token
from .perplexity import window_losses
from .policy import FullPolicy, Policy
from .separators import SeparatorSet


@dataclass(frozen=True)
class Recipe:
    """AdamW with linear warm-up and a cosine, gradients clipped."""

    steps: int
    batch: int  # sequences of one process in one step
    length: int  # tokens of a sequence
    learning_rate: float
    final_share: float = 0.1  # of the peak rate, at the end of the cosine
    warmup: int = 0  # steps
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = 1e-8
    clip: float = 1.0
    accumulation: int = 1  # forwards in one step
    evaluate_every: int = 100
    first_scored: int = 1  # position from which held-out losses count
    held_out_windows: int = 3
    mixed_precision: str = "no"
    gradient_checkpointing: bool = False
    schedule_from: int = 0  # steps already done by the checkpoint that post-training starts from
    schedule_steps: int | None = None  # length of the whole cosine; null for schedule_from + steps
    stop_after: int | None = None  # stop here, to go on later

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulation", "evaluate_every", "first_scored", "held_out_windows"):
            whole(f"training.{name}", getattr(self, name), 1)
        whole("training.length", self.length, 2)
        whole("training.warmup", self.warmup, 0)
        if not 0 < self.learning_rate < 1:
            raise SepLLMError(f"training.learning_rate must lie between 0 and 1, not {self.learning_rate!r}")
        if self.first_scored >= self.length:
            raise SepLLMError(f"training.first_scored must be below the length {self.length}, not {self.first_scored}")
        one_of("training.mixed_precision", self.mixed_precision, ("no", "bf16", "fp16"))
        object.__setattr__(self, "betas", tuple(self.betas))

    def rate(self, step: int) -> float:
        """Learning rate of a step counted from 0."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        total = self.schedule_steps or self.schedule_from + self.steps
        done = min(1.0, (self.schedule_from + step - self.warmup) / max(1, total - self.warmup))
        floor = self.final_share * self.learning_rate
        return floor + (self.learning_rate - floor) * 0.5 * (1 + math.cos(math.pi * done))


def train(
    model: Any,
    policy: Policy,
    separators: SeparatorSet,
    train_ids: Tensor,
    held_out: Tensor,
    recipe: Recipe,
    folder: Path,
    seed: int = 0,
    other: dict[str, Policy] | None = None,
    boundary: int | None = None,
    mark: str = "",
    say: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Train `model` in place; resumes from `folder`, and leaves `model.safetensors` there.

    Args:
        train_ids: Int64[T].
        held_out: Int64[W, length].
        other: further policies under which held-out windows are scored, by name.
        boundary: id after which a packed document begins, or None for text without documents.
        mark: fingerprint of the settings; a state made under another is refused.

    Returns:
        {"curve": rows of step, losses, rate and FLOPs; "kept": mean visible keys; ...}
    """
    from accelerate import Accelerator

    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),
        mixed_precision=recipe.mixed_precision,
        gradient_accumulation_steps=recipe.accumulation,
    )
    torch.manual_seed(seed)
    if recipe.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    groups = [
        {"params": [p for p in model.parameters() if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=recipe.betas, eps=recipe.eps)
    state = folder / "state.safetensors"
    curve, step, flops = _restore(state, mark, model, optimizer)
    wrapped, optimizer = accelerator.prepare(model, optimizer)
    rank, world = accelerator.process_index, accelerator.num_processes
    layers = model.config.num_hidden_layers
    kept = kept_keys(policy, separators, held_out, 0, layers)
    cost = flops_per_token(model.config, kept) * recipe.batch * recipe.length * recipe.accumulation * world
    policies = {"own": policy, "full": FullPolicy(), **(other or {})}

    def note(loss: float | None) -> None:
        model.eval()
        scores = {
            name: window_losses(model, p, separators, held_out[:, : recipe.length], recipe.first_scored)
            for name, p in policies.items()
        }
        row = {"step": step, "train_loss": loss, "rate": recipe.rate(step), "flops": flops, "losses": scores}
        curve.append(row)
        means = ", ".join(f"{name} {sum(v) / len(v):.3f}" for name, v in scores.items())
        say(f"  step {step}/{recipe.steps}: {means}")

    if not curve:
        note(None)
    last = min(recipe.steps, recipe.stop_after or recipe.steps)
    running: list[float] = []
    while step < last:
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step)
        for part in range(recipe.accumulation):
            index = ((step * recipe.accumulation) + part) * world + rank
            ids = batch_of(train_ids, index, seed, recipe.batch, recipe.length).to(accelerator.device)
            inputs = {"input_ids": ids, "labels": ids, "use_cache": False}
            if boundary is not None:
                inputs["position_ids"] = document_positions(ids, boundary)
            waits = part + 1 < recipe.accumulation
            with accelerator.no_sync(wrapped) if waits else nullcontext(), masked(model, policy, separators):
                loss = wrapped(**inputs).loss
                accelerator.backward(loss)
        if not math.isfinite(float(loss.detach())):
            raise SepLLMError(
                f"the loss is not finite at step {step} under {policy}; the state of step "
                f"{curve[-1]['step']} is kept in {folder}"
            )
        accelerator.clip_grad_norm_(wrapped.parameters(), recipe.clip)
        optimizer.step()
        optimizer.zero_grad()
        step, flops = step + 1, flops + cost
        running.append(float(loss.detach()))
        if step % recipe.evaluate_every == 0 or step == last:
            note(sum(running) / len(running))
            running = []
            if accelerator.is_main_process:
                _save(state, mark, accelerator.unwrap_model(wrapped), optimizer, curve, step, flops)
    model.eval()
    if accelerator.is_main_process and step >= recipe.steps:
        write_tensors(folder / "model.safetensors", dict(model.named_parameters()), {"mark": mark, "step": step})
        state.unlink(missing_ok=True)
    accelerator.wait_for_everyone()
    return {
        "curve": curve,
        "steps": step,
        "kept": kept,
        "tokens": step * recipe.batch * recipe.length * recipe.accumulation * world,
        "policy": {"kind": type(policy).__name__, **asdict(policy)},
        "parameters": sum(p.numel() for p in model.parameters()),
    }


def _save(
    path: Path, mark: str, model: Any, optimizer: Any, curve: list[dict[str, Any]], step: int, flops: float
) -> None:
    tensors: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        tensors[f"parameter/{name}"] = parameter
        for key, value in optimizer.state[parameter].items():
            tensors[f"{key}/{name}"] = value
    write_tensors(path, tensors, {"mark": mark, "curve": curve, "step": step, "flops": flops})


def _restore(path: Path, mark: str, model: Any, optimizer: Any) -> tuple[list[dict[str, Any]], int, float]:
    if not path.is_file():
        return [], 0, 0.0
    tensors, about = read_tensors(path)
    if about.get("mark") != mark:
        raise SepLLMError(f"{path} was saved under other settings: give another output_dir, or remove it to begin anew")
    load_parameters(model, {k.removeprefix("parameter/"): v for k, v in tensors.items() if k.startswith("parameter/")})
    for name, parameter in model.named_parameters():
        moments = {k.partition("/")[0]: v for k, v in tensors.items() if k.partition("/")[2] == name}
        moments.pop("parameter")
        optimizer.state[parameter] = {k: v if k == "step" else v.to(parameter.device) for k, v in moments.items()}
    return about["curve"], about["step"], about["flops"]


def load_parameters(model: Any, tensors: dict[str, Tensor]) -> None:
    """Copy parameters into a model.

    Raises:
        SepLLMError: one is missing or of another shape.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            found = tensors.get(name)
            if found is None or found.shape != parameter.shape:
                raise SepLLMError(f"the weights do not fit this model: {name} is missing or of another shape")
            parameter.copy_(found)


def load_trained(model: Any, folder: Path) -> Any:
    """A model with the weights that `train` left in `folder`.

    Raises:
        SepLLMError: nothing was trained there yet.
    """
    path = folder / "model.safetensors"
    if not path.is_file():
        raise SepLLMError(f"{path} is missing: run train.py with the same settings first")
    load_parameters(model, read_tensors(path)[0])
    return model.eval()


def fresh_model(architecture: dict[str, Any], vocabulary: int, seed: int, init: str = "transformers") -> Any:
    """A model with random weights.

    Args:
        architecture: `model_type` and sizes, as AutoConfig.for_model takes them.
        init: `transformers`, or `neox` for GPT-NeoX's small_init and wang_init (std √(2/5d), and 2/(L√d) for the
            matrices that write into the residual stream), which the paper's Pythia recipe names.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    one_of("scratch.init", init, ("transformers", "neox"))
    sizes = {"vocab_size": vocabulary, **{k: v for k, v in architecture.items() if k != "model_type"}}
    try:
        config = AutoConfig.for_model(architecture["model_type"], **sizes)
    except (KeyError, ValueError) as error:
        raise SepLLMError(f"scratch.architecture is not one that transformers knows: {error}") from error
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    if init == "neox":
        d, layers = config.hidden_size, config.num_hidden_layers
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                writes = name.endswith(("attention.dense.weight", "dense_4h_to_h.weight"))
                torch.nn.init.normal_(parameter, std=2 / layers / math.sqrt(d) if writes else math.sqrt(2 / 5 / d))
    return model


def single_process() -> bool:
    return int(os.environ.get("WORLD_SIZE", "1")) == 1
