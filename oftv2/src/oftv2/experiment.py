"""The trainings of an experiment: each is one part, made once and reused."""

from __future__ import annotations

import shutil
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from tqdm import tqdm

from .base_model import load_base
from .checkpoint import replace_folder
from .config import OFTConfig
from .diffusion import PictureWorkload
from .entry import tell
from .errors import OFTError
from .loop import steps_of, train
from .memory import saved_bytes
from .parts import Part, Parts
from .settings import MethodSettings, Settings, fingerprint
from .trainee import Trainee, make_trainee
from .workload import Workload

ADAPTER, SAMPLES = "adapter", "samples"
ASKED_AFTER = {  # options of a task that say what is asked of the finished model, and do not shape what it learns
    "wordproblems": ("test",),
    "gsm8k": ("test",),
    "xsum": ("test",),
    "cnndm": ("test",),
    "openr1": ("benchmark",),
    "dreambooth": ("samples",),
}


def train_all(settings: Settings) -> list[dict[str, Any]]:
    """Train every method of the settings, and where OFTv1 is among them its comparators. A row for each."""
    parts = parts_of(settings)
    return [training_row(method, trained(settings, method, parts)) for method in trainings(settings)]


def trainings(settings: Settings) -> list[MethodSettings]:
    """The methods, and behind OFTv1 those that its cost and its losses are compared with over the same few steps."""
    found = []
    for method in settings.methods:
        found.append(method)
        if method.name == "oftv1" and method.oft is not None:
            exact = replace(method.oft, parameterization="cayley")
            found += [
                replace(method, label="oftv1_blockwise", options={"form": "blockwise"}),
                replace(method, name="oftv2", label="oftv2_exact", oft=exact, options={}),
                replace(method, name="oft_peft", label="oft_peft", oft=None, options=peft_options(method.oft)),
            ]
    return found


def peft_options(config: OFTConfig) -> dict[str, Any]:
    """Fields of PEFT's OFTConfig for the same rotations, with its own default series."""
    return {"oft_block_size": config.block_size or 0, "r": config.num_blocks or 0, "use_cayley_neumann": True}


def trained(settings: Settings, method: MethodSettings, parts: Parts) -> Part:
    """The training of one method, with its adapter in `parts/<label>/adapter`."""
    key = training_key(settings, method)
    if parts.resume and (found := parts.finished(method.label, "train", key)):
        parts.say(f"{method.label}/train: reused")
        return found
    # Weights that are trained themselves stay in float32, where a small step is not rounded away.
    mixed = method.name == "full" and settings.model.dtype == "bfloat16"
    accelerator = Accelerator(cpu=settings.launch.device == "cpu", mixed_precision="bf16" if mixed else "no")
    model = replace(settings.model, dtype="float32") if mixed else settings.model

    def measure(folder: Path) -> dict[str, Any]:
        base, tokenizer = load_base(model, method.quant, settings.launch)
        trainee = make_trainee(method, base, settings.model, settings.seed)
        work: Any
        if settings.task.kind == "diffusion":
            work = PictureWorkload.of(settings.task, tokenizer, settings.seed)
        else:
            work = Workload.of(settings.task, tokenizer, settings.seed, method.training.max_length)
        steps = steps_of(method.training, len(work.encoded), accelerator.num_processes)
        batches = work.batches(method.training, accelerator.process_index, accelerator.num_processes)
        states = folder / f"training-{key[:8]}"
        probed = method.training.stop_after is None
        with progress_bar(method.label, steps, accelerator.is_main_process) as show:
            record = train(
                trainee,
                batches,
                work.loss,
                method.training,
                steps,
                states,
                # the processes share out the data, so another number of them is another training
                fingerprint=fingerprint(key, accelerator.num_processes),
                accelerator=accelerator,
                strategy=settings.launch.strategy,
                probe=work.probe(settings.evaluation) if probed else None,
                progress=show,
                resume=settings.resume,
            )
        kept = (
            saved_bytes(lambda: work.loss(base, batches(0)[0])[0], base)
            if settings.launch.strategy != "shard"
            else None
        )
        trainee.collect()
        if accelerator.is_main_process:
            replace_folder(folder / ADAPTER, trainee.save)
            if isinstance(work, PictureWorkload):
                whole = settings.launch.strategy != "shard"  # a sharded transformer answers only to all processes
                replace_folder(folder / SAMPLES, work.write_samples if whole else lambda empty: None)
            shutil.rmtree(states, ignore_errors=True)
        accelerator.wait_for_everyone()
        return {
            "method": method.name,
            "learning_rate": method.training.learning_rate,
            "parameters": trainee.parameter_count,
            "quant": method.quant,
            "sequences_a_step": method.training.batch_size * method.training.accumulation * accelerator.num_processes,
            "processes": accelerator.num_processes,
            "saved_bytes": kept,
            # a training is reused when these settings change, with the losses that were measured along it
            "probed": [settings.evaluation.probe_problems, settings.evaluation.probe_tokens],
            **asdict(record),
        }

    return parts.make(method.label, "train", key, measure, keep=ADAPTER, writes=accelerator.is_main_process)


def trained_part(settings: Settings, method: MethodSettings, parts: Parts) -> Part:
    """The finished training of one method.

    Raises:
        OFTError: there is none with these settings.
    """
    found = parts.finished(method.label, "train", training_key(settings, method))
    if found is None:
        folder = parts.folder(method.label)
        other = " (one of other settings is there)" if (folder / "train.json").is_file() else ""
        raise OFTError(f"{folder} holds no finished training of these settings{other}: run train.py with them first")
    return found


def training_key(settings: Settings, method: MethodSettings) -> str:
    """Fingerprint of everything that shapes the adapter."""
    model = settings.model
    shape = [model.path, model.awq_path, model.kind, model.dtype, model.revision, model.attention, model.target_modules]
    after = ASKED_AFTER.get(settings.task.name, ())
    options = {name: value for name, value in settings.task.options.items() if name not in after}
    return fingerprint(shape, settings.task.name, options, replace(method, label=""), settings.seed)


def reopened(settings: Settings, method: MethodSettings, folder: Path) -> tuple[Trainee, Any]:
    """A finished adapter on a fresh base, with the tokenizer."""
    base, tokenizer = load_base(settings.model, method.quant, settings.launch)
    trainee = make_trainee(method, base, settings.model, settings.seed)
    trainee.load(folder / ADAPTER)
    trainee.model.eval()
    return trainee, tokenizer


def parts_of(settings: Settings) -> Parts:
    return Parts(settings.output_dir / "parts", settings.resume, tell)


def training_row(method: MethodSettings, part: Part) -> dict[str, Any]:
    result = part.result
    seconds = sorted(row["seconds"] for row in result["rows"])
    last = result["probes"][-1] if result["probes"] else {}
    return {
        "method": method.label,
        "learning rate": result["learning_rate"],
        "trained": result["parameters"],
        "steps": result["step"],
        "loss": result["rows"][-1]["loss"],
        "answer loss (dev)": last.get("answer_loss"),
        "prose loss": last.get("prose_loss"),
        "s/step": seconds[len(seconds) // 2],
        "peak MiB": round(result["peak_memory"] / 2**20),
        "": "reused" if part.reused else "",
    }


class progress_bar:
    """A bar over training steps, silent where there is no terminal."""

    def __init__(self, label: str, steps: int, shown: bool):
        self.bar = tqdm(total=steps, desc=label, disable=not (shown and sys.stderr.isatty()), leave=False)

    def __enter__(self) -> Any:
        return self.show

    def show(self, done: int, total: int, row: dict[str, float]) -> None:
        self.bar.total = total
        self.bar.n = done
        self.bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=True)

    def __exit__(self, *exception: object) -> None:
        self.bar.close()
