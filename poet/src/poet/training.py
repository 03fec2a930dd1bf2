"""The training loop: explicit state, one function, the same for every method and launch."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor, nn

from . import checkpoint
from .batched import batch_layers
from .data import Data
from .distributed import is_sharded, whole, world_size
from .errors import PoetError
from .evaluation import summed_loss
from .linear import poet_layers
from .methods import Trainee
from .schedule import clip_value, cosine
from .settings import TrainingSettings

Measure = Callable[[nn.Module], dict[str, float]]
Progress = Callable[[int, int, dict[str, float]], None]  # (steps done, steps in all, what was measured)
KEPT_MERGES = 200  # of the early merges by the trust region, only their number is kept beyond this


@dataclass
class Record:
    """What a training was and how far it came; JSON-serialisable."""

    step: int = 0  # steps done
    losses: list[float] = field(default_factory=list)  # of each step, before it
    seconds: list[float] = field(default_factory=list)  # of each step, without measuring and saving
    measured: list[dict[str, Any]] = field(default_factory=list)  # step, and what was measured after it
    merges: list[dict[str, Any]] = field(default_factory=list)  # step, interval, largest jump and θ of all layers
    early_merges: int = 0  # of single layers, by the trust region
    starts: int = 0  # 1 for a training that was never interrupted


def train(
    trainee: Trainee,
    data: Data,
    settings: TrainingSettings,
    directory: Path,
    *,
    identity: dict[str, Any],
    accelerator: Accelerator | None = None,
    observed: dict[str, Tensor] | None = None,
    measure: Measure | None = None,
    progress: Progress | None = None,
    resume: bool = True,
) -> Record:
    """Train in place.

    Args:
        directory: where checkpoints go; the caller removes them when it has saved the result.
        identity: the settings that shape the result; a checkpoint of others is refused.
        observed: tensors that measuring carries along (probes), saved and restored with the rest, in place.
        measure: called every `measure_every` steps, and before the first.

    Raises:
        PoetError: a loss or gradient that is not finite (the last checkpoint stays), a full disk, other settings.
        KeyboardInterrupt: on Ctrl-C, after the running step is done and saved.
    """
    accelerator = accelerator or Accelerator(cpu=True)
    device = accelerator.device
    observed = {} if observed is None else observed
    model = trainee.model
    if settings.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    record = Record()
    found = checkpoint.read_checkpoint(directory, identity) if resume else None
    if found is not None:
        record = restore(found, trainee, data, observed, accelerator)
    elif not resume and accelerator.is_main_process:
        checkpoint.remove_checkpoints(directory)
    record.starts += 1
    forward: Any = replicated(model) if world_size() > 1 and not any(map(is_sharded, model.parameters())) else model
    if world_size() == 1:
        batch_layers(model)
    if settings.compile:
        forward = torch.compile(forward)
    saved = time.monotonic()

    def save() -> None:
        nonlocal saved
        tensors, numbers = checkpoint.pack(model, trainee.optimizers, observed)
        positions = gather_object([data.state()])
        if accelerator.is_main_process:
            state = {"record": asdict(record), "optimizers": numbers, "data": positions, "settings": identity}
            checkpoint.write_checkpoint(directory, record.step, tensors, state)
        accelerator.wait_for_everyone()
        saved = time.monotonic()

    def measured() -> None:
        if measure is not None:
            record.measured.append({"step": record.step, **measure(model)})

    last = min(settings.steps, settings.stop_after or settings.steps)
    model.train()
    with finishing_step_on_interrupt() as interrupted:
        if record.step == 0:
            measured()
        while record.step < last:
            began = time.perf_counter()
            trainee.set_rates(cosine(record.step, settings.steps, settings.warmup_steps, settings.final_share))
            loss = gradients(forward, trainee, data.batch(record.step).to(device), settings.micro_batch)
            if not math.isfinite(loss):
                raise not_finite(trainee, f"the loss of step {record.step + 1} is {loss}", directory)
            limit = clip_value(record.step, settings.clip, trainee.merge_every, settings.clip_ramp_until)
            norm = float(whole(nn.utils.clip_grad_norm_(trainee.parameters, limit)))
            if not math.isfinite(norm):
                raise not_finite(trainee, f"the gradient of step {record.step + 1} has norm {norm}", directory)
            events = trainee.step()
            record.step += 1
            record.losses.append(loss)
            record.seconds.append(time.perf_counter() - began)
            note(record, events)
            if record.step % settings.measure_every == 0 and record.step < settings.steps:
                measured()
            if progress is not None:
                progress(record.step, settings.steps, {"loss": loss})
            if due(time.monotonic() - saved > settings.save_seconds or bool(interrupted), device):
                save()
                if due(bool(interrupted), device):
                    raise KeyboardInterrupt
    save()
    return record


def gradients(forward: Any, trainee: Trainee, batch: Any, micro_batch: int | None) -> float:
    """Add up the gradients of one step over micro-batches and processes; returns the mean loss a predicted token."""
    device = next(trainee.model.parameters()).device
    size = micro_batch or len(batch.ids)
    parts = [batch.rows(slice(at, at + size)) for at in range(0, len(batch.ids), size)]
    world = world_size()
    counts = torch.tensor([batch.predicted()], dtype=torch.float64, device=device)
    if world > 1:
        dist.all_reduce(counts)
    total = torch.zeros(1, dtype=torch.float64, device=device)
    for at, part in enumerate(parts):
        alone = at + 1 < len(parts) and hasattr(forward, "no_sync")
        with forward.no_sync() if alone else contextlib.nullcontext():
            # DDP and FSDP average over processes; the mean here is over the tokens of all.
            loss = summed_loss(forward, part)
            (loss * (world / counts.item())).backward()
        total += loss.detach().double()
    if world > 1:
        dist.all_reduce(total)
    return float(total / counts)


def replicated(model: nn.Module) -> nn.Module:
    """DDP over this model: frozen W is no gradient's business, and buffers (patterns, intervals) agree by
    themselves."""
    device = next(model.parameters()).device
    return nn.parallel.DistributedDataParallel(
        model,
        device_ids=[device] if device.type == "cuda" else None,
        broadcast_buffers=False,
        gradient_as_bucket_view=True,
    )


def restore(found: Any, trainee: Trainee, data: Data, observed: dict[str, Tensor], accelerator: Accelerator) -> Record:
    tensors, state = found
    kept = checkpoint.unpack(tensors, state["optimizers"], trainee.model, trainee.optimizers)
    for key, value in observed.items():
        value.copy_(kept[key])
    if len(state["data"]) != accelerator.num_processes and any(state["data"]):
        raise PoetError(
            f"the checkpoint was written by {len(state['data'])} processes, which each read their own part of the "
            f"data: resume with as many, not {accelerator.num_processes}"
        )
    data.restore(state["data"][min(accelerator.process_index, len(state["data"]) - 1)])
    return Record(**state["record"])


def note(record: Record, events: list[Any]) -> None:
    whole_merges = [e for e in events if e.advanced]
    record.early_merges += len(events) - len(whole_merges)
    if whole_merges and len(record.merges) < KEPT_MERGES:
        record.merges.append(
            {
                "step": record.step,
                "interval": whole_merges[0].interval,
                "jump": max(e.jump for e in whole_merges),
                "theta_bound": max(e.theta for e in whole_merges),
            }
        )


def not_finite(trainee: Trainee, what: str, directory: Path) -> PoetError:
    layers = poet_layers(trainee.model)
    where = ""
    if layers:
        angles = {x.name: max(float(whole(q).norm(dim=-1).max()) for q in x.Q) for x in layers}
        widest = max(angles, key=lambda name: math.inf if math.isnan(angles[name]) else angles[name])
        where = f"; the largest rotation is in {widest} (‖Q‖_F/√2 = {angles[widest]:.3g})"
    kept = checkpoint.checkpoints(directory)
    last = f"the last good checkpoint is {kept[-1]}" if kept else "there is no checkpoint yet"
    return PoetError(f"{what}{where}: lower the learning rate; {last}")


def due(here: bool, device: torch.device) -> bool:
    """Whether any process says so: all of them save, or none."""
    if world_size() == 1:
        return here
    flag = torch.tensor([float(here)], device=device)
    dist.all_reduce(flag, dist.ReduceOp.MAX)
    return bool(flag.item())


@contextlib.contextmanager
def finishing_step_on_interrupt() -> Iterator[list[int]]:
    """Collect Ctrl-C and a polite kill instead of breaking off in the middle of a step; a second one breaks off."""
    seen: list[int] = []

    def handler(number: int, frame: Any) -> None:
        if seen:
            raise KeyboardInterrupt
        seen.append(number)

    before = {}
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(ValueError):  # not in the main thread
            before[number] = signal.signal(number, handler)
    try:
        yield seen
    finally:
        for number, old in before.items():
            signal.signal(number, old)


def shard(model: Any) -> None:
    """FSDP2 over the decoder's blocks: Q sharded on its block dimension, W frozen and sharded. Layers then build
    nothing that outlives a forward."""
    from torch.distributed.fsdp import fully_shard

    for layer in poet_layers(model):
        layer.keeps_built = False
    for block in model.model.layers:
        fully_shard(block)
    fully_shard(model)
