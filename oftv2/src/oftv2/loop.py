"""The training loop: explicit state, one function, the same for every method and launch.

Several processes each see their own sequences and add up their gradients once a step. That is one small all-reduce
for an adapter, and it needs no wrapper around the model, so accumulation, checkpointing and rotations that are
built once a step all work as in one process. `strategy="shard"` also shards the frozen base by FSDP, block by block.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from . import checkpoint
from .errors import OFTError
from .memory import PeakMemory, estimate_training
from .settings import TrainingSettings
from .trainee import Trainee

Batches = Callable[[int], Sequence[Any]]  # step -> this process's batches of that step; a pure function of the step
Loss = Callable[[nn.Module, Any], tuple[Tensor, int]]  # (model, batch) -> summed loss, number of tokens in the sum
Probe = Callable[[nn.Module], dict[str, float]]  # what held-out text says of the model
Progress = Callable[[int, int, dict[str, float]], None]  # (steps done, steps in all, what was measured)


@dataclass
class TrainingRecord:
    """What a training was and how far it came; JSON-serialisable by `asdict`."""

    fingerprint: str
    steps: int  # of the schedule
    step: int = 0  # steps done; also the position in the data, which is a function of the step
    rows: list[dict[str, float]] = field(default_factory=list)  # step, loss, learning_rate, gradient_norm, seconds
    probes: list[dict[str, float]] = field(default_factory=list)  # step and what the probe measured
    peak_memory: int = 0  # bytes; of CUDA, or resident
    seconds: float = 0.0  # wall time of the loop, over all its starts
    starts: int = 0  # 1 for a training that was never interrupted


def train(
    trainee: Trainee,
    batches: Batches,
    loss: Loss,
    settings: TrainingSettings,
    steps: int,
    directory: Path,
    *,
    fingerprint: str,
    accelerator: Accelerator | None = None,
    strategy: str = "replicate",
    probe: Probe | None = None,
    progress: Progress | None = None,
    resume: bool = True,
) -> TrainingRecord:
    """Train the trainee's parameters in place.

    Args:
        batches: what this process reads in each step.
        steps: length of the schedule; `settings.stop_after` may end the training earlier.
        directory: where checkpoints go; the caller saves the adapter and removes them.
        fingerprint: of all settings that shape the result; a checkpoint of another one is refused.
        probe: measured on held-out text every `settings.probe_every` steps, and at the start and end.

    Raises:
        OFTError: a loss or gradient that is not finite (the state before is saved), no memory, no disk.
        KeyboardInterrupt: on Ctrl-C, after the running step is done and saved.
    """
    accelerator = accelerator or Accelerator(cpu=True)
    if settings.gradient_checkpointing:
        enable_checkpointing(trainee.model)
    within = shard(trainee) if strategy == "shard" else lambda use: use(trainee.model)
    forward: Loss = lambda model, batch: within(lambda inner: loss(inner, batch))  # noqa: E731
    parameters = trainee.named_parameters()  # after sharding, which replaces parameters
    optimizer = torch.optim.AdamW(
        parameters.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay, betas=(0.9, 0.999)
    )
    record = TrainingRecord(fingerprint, steps)
    found = checkpoint.read_checkpoint(directory, fingerprint) if resume else None
    if found is not None:
        tensors, state = found
        checkpoint.unpack_state(tensors, parameters, optimizer)
        record = TrainingRecord(**state)
        trainee.after_step()
    record.starts += 1

    def save() -> None:
        tensors = checkpoint.pack_state(parameters, optimizer)
        if accelerator.is_main_process:
            checkpoint.write_checkpoint(directory, record.step, tensors, asdict(record))
        accelerator.wait_for_everyone()

    last = min(steps, settings.stop_after or steps)
    peak = PeakMemory(accelerator.device)
    training = trainee.model.training
    trainee.model.train()
    with finishing_step_on_interrupt() as interrupted, explained_memory(trainee, settings):
        _probe(record, trainee, probe, within)
        while record.step < last:
            started = time.perf_counter()
            rate = settings.learning_rate * settings.schedule(steps, record.step)
            for group in optimizer.param_groups:
                group["lr"] = rate
            mean = gradients(trainee, parameters, batches(record.step), forward, accelerator)
            if not math.isfinite(mean):
                save()
                where = first_non_finite(
                    trainee.model, lambda: [forward(trainee.model, batch) for batch in batches(record.step)]
                )
                raise _not_finite("loss", mean, record.step, where, settings)
            norm = float(nn.utils.clip_grad_norm_(list(parameters.values()), settings.clip))
            if not math.isfinite(norm):
                save()
                where = next(
                    (n for n, p in parameters.items() if p.grad is not None and not p.grad.isfinite().all()), ""
                )
                raise _not_finite("gradient", norm, record.step, where, settings)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            trainee.after_step()
            record.step += 1
            seconds = time.perf_counter() - started
            record.seconds += seconds
            row = {"step": record.step, "loss": mean, "learning_rate": rate, "gradient_norm": norm, "seconds": seconds}
            record.rows.append(row)
            record.peak_memory = max(record.peak_memory, peak.read())
            due = record.step % settings.probe_every == 0 or record.step == last
            if due:
                _probe(record, trainee, probe, within)
            if progress is not None:
                progress(record.step, last, row)
            if record.step % settings.save_every == 0 or record.step == last or interrupted():
                save()
            if interrupted():
                raise KeyboardInterrupt
    trainee.model.train(training)
    return record


def gradients(
    trainee: Trainee,
    parameters: dict[str, nn.Parameter],
    batches: Sequence[Any],
    forward: Loss,
    accelerator: Accelerator,
) -> float:
    """Leaves in `.grad` the gradient of the mean loss over all tokens of the step, on all processes. Returns the mean.

    Sums are what is sent backward, so that a token counts the same in a long batch and in a short one.
    """
    total, count = 0.0, 0.0
    for batch in batches:
        with accelerator.autocast():
            summed, tokens = forward(trainee.model, batch)
        accelerator.backward(summed)
        total, count = total + float(summed.detach()), count + tokens
    trainee.finish_gradients()
    world = accelerator.num_processes
    sums = accelerator.reduce(torch.tensor([total, count], dtype=torch.float64, device=accelerator.device), "sum")
    total, count = float(sums[0]), float(sums[1])
    for parameter in parameters.values():
        if parameter.grad is None:
            continue
        if world > 1 and not hasattr(parameter.grad, "full_tensor"):
            # A mean, because gradients that finish_gradients() has averaged already must come out unchanged.
            parameter.grad = accelerator.reduce(parameter.grad, "mean")
        parameter.grad.mul_(world / max(count, 1.0))
    return total / max(count, 1.0)


def enable_checkpointing(model: Any) -> None:
    """Recompute activations in backward, without reentrant autograd, in models of transformers and of diffusers."""
    if hasattr(model, "gradient_checkpointing_enable"):
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    else:
        model.enable_gradient_checkpointing()


def steps_of(settings: TrainingSettings, examples: int, processes: int = 1) -> int:
    """Length of the schedule: as set, or `epochs` over that many examples."""
    if settings.steps is not None:
        return settings.steps
    a_step = settings.batch_size * settings.accumulation * processes
    return max(1, math.ceil((settings.epochs or 1) * examples / a_step))


class Whole(nn.Module):
    """Runs a function of the model as its forward, so that FSDP's hooks surround whatever part of it that calls."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, use: Callable[[nn.Module], Any]) -> Any:
        return use(self.model)


def shard(trainee: Trainee) -> Whole:
    """Shard the model over all processes, one decoder block at a time; an adapter's parameters stay whole.

    An adapter is less than 1 % of the model, and a rotation must be built from all of its entries.
    """
    from torch.distributed.fsdp import fully_shard

    adapter = set() if trainee.name == "full" else set(trainee.parameters())
    whole = Whole(trainee.model)
    for block in decoder_blocks(trainee.model):
        fully_shard(block, ignored_params=adapter)
    fully_shard(whole, ignored_params=adapter)
    return whole


def decoder_blocks(model: nn.Module) -> list[nn.Module]:
    """The members of the model's longest ModuleList, which is where a transformer keeps its blocks."""
    lists = [list(m) for m in model.modules() if isinstance(m, nn.ModuleList)]
    return max(lists, key=len, default=[])


def first_non_finite(model: nn.Module, forward: Callable[[], Any]) -> str:
    """Path of the first module whose output has a NaN or an infinity, in the order of the forward; '' if none has."""
    found: list[str] = []
    handles = []
    for name, module in model.named_modules():

        def check(module: nn.Module, inputs: Any, output: Any, name: str = name) -> None:
            tensors = output if isinstance(output, (tuple, list)) else [output]
            bad = any(isinstance(t, Tensor) and t.is_floating_point() and not t.isfinite().all() for t in tensors)
            if bad and not found:
                found.append(name.removesuffix(".base_layer"))

        if not list(module.children()):
            handles.append(module.register_forward_hook(check))
    try:
        with torch.no_grad():
            forward()
    finally:
        for handle in handles:
            handle.remove()
    return found[0] if found else ""


@contextlib.contextmanager
def finishing_step_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Ctrl-C is noted and obeyed after the step; a second one is obeyed at once."""
    seen = False

    def note(number: int, frame: Any) -> None:
        nonlocal seen
        if seen:
            raise KeyboardInterrupt
        seen = True

    try:
        before = signal.signal(signal.SIGINT, note)
    except ValueError:  # not the main thread, which is the one that gets the signal
        yield lambda: False
        return
    try:
        yield lambda: seen
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def explained_memory(trainee: Trainee, settings: TrainingSettings) -> Iterator[None]:
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        need = estimate_training(trainee, settings.batch_size, settings.max_length, settings.gradient_checkpointing)
        have = torch.cuda.mem_get_info()[1]
        raise OFTError(
            f"the GPU's {have / 2**30:.0f} GiB are not enough: this training needs about {need / 2**30:.0f} GiB with "
            f"training.batch_size={settings.batch_size} and training.max_length={settings.max_length}; "
            "training.gradient_checkpointing=true, or a smaller training.batch_size with more training.accumulation, "
            "needs less"
        ) from error


def _probe(record: TrainingRecord, trainee: Trainee, probe: Probe | None, within: Callable[[Probe], Any]) -> None:
    if probe is None or any(row["step"] == record.step for row in record.probes):
        return
    trainee.model.eval()
    with torch.no_grad():
        record.probes.append({"step": record.step, **within(probe)})
    trainee.model.train()


def _not_finite(what: str, value: float, step: int, where: str, settings: TrainingSettings) -> OFTError:
    place = f", first in {where}" if where else ""
    return OFTError(
        f"the {what} of step {step + 1} is not finite ({value}){place}; the state before that step is saved; a "
        f"training.learning_rate below {settings.learning_rate:g} is the usual remedy"
    )
