"""The settings of a run, as dataclasses that check themselves. conf/ writes them; nothing here knows a scale.

A hyperparameter is looked up in this order, the first that is not null wins:

    training.<field>                    a command-line override, or conf/scale
    task.by_method.<method>.<field>     the paper's table for this task and method
    task.by_model.<model>.<field>       the paper's table for this task and model
    task.training.<field>               the paper's table for this task
    method.<field>                      the method's own default (its learning rate)
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .config import OFTConfig
from .errors import OFTError

METHODS = ("oftv2", "qoft", "oftv1", "lora", "qlora", "dora", "boft", "full", "oft_peft")
TASKS = ("wordproblems", "gsm8k", "wikitext", "openr1", "xsum", "cnndm", "guanaco", "dreambooth")
KINDS = ("causal", "seq2seq", "diffusion")
STORAGES = ("none", "nf4", "awq")
DTYPES = ("float32", "bfloat16", "float16")
STRATEGIES = ("single", "replicate", "shard")


@dataclass(frozen=True)
class ModelSettings:
    """Which base model, and its shapes for a dry run without its files."""

    name: str
    path: str  # packaged name, .gguf file, folder or hub id
    kind: str = "causal"
    dtype: str = "float32"
    revision: str | None = None
    attention: str | None = None  # transformers' attn_implementation
    target_modules: str | tuple[str, ...] = "all-linear"
    architecture: Mapping[str, Any] = field(default_factory=dict)  # model_type and sizes, for AutoConfig.for_model
    awq_path: str | None = None  # the published AWQ variant of the same model
    expected_parameters: Mapping[str, int] = field(default_factory=dict)  # trainable: oft (b = 32), lora (r = 16)

    def __post_init__(self) -> None:
        one_of("model.kind", self.kind, KINDS)
        one_of("model.dtype", self.dtype, DTYPES)
        if not self.path:
            raise OFTError("model.path is empty: give a packaged name, a .gguf file, a folder or a hub id")
        if isinstance(self.target_modules, list):
            object.__setattr__(self, "target_modules", tuple(self.target_modules))


@dataclass(frozen=True)
class TaskSettings:
    """What is learned. `options` go to the task's own module."""

    name: str
    kind: str = "causal"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("task.name", self.name, TASKS)
        one_of("task.kind", self.kind, KINDS)


@dataclass(frozen=True)
class TrainingSettings:
    """AdamW without decay, linear warm-up, cosine to a share of the peak, clipped gradients."""

    learning_rate: float
    batch_size: int  # sequences of one process in one forward
    accumulation: int = 1  # forwards of one process in one step
    steps: int | None = None  # optimiser steps; exactly one of steps and epochs
    epochs: float | None = None
    warmup_steps: int | None = None  # steps of linear warm-up; null for warmup_share
    warmup_share: float = 0.03  # of all steps
    final_share: float = 0.1  # of the peak learning rate, at the end of the cosine
    clip: float = 1.0  # largest norm of all gradients together
    weight_decay: float = 0.0
    stop_after: int | None = None  # stop here while the schedule is that of `steps`
    gradient_checkpointing: bool = False
    save_every: int = 10  # steps between checkpoints
    probe_every: int = 10  # steps between measurements on held-out text
    max_length: int = 1024  # tokens; longer sequences are cut

    def __post_init__(self) -> None:
        number("training.learning_rate", self.learning_rate, above=0, upto=1)
        if (self.steps is None) == (self.epochs is None):
            raise OFTError(
                "exactly one of training.steps and training.epochs must be set, "
                f"not steps={self.steps} and epochs={self.epochs}"
            )
        for name in ("steps", "batch_size", "accumulation", "stop_after", "save_every", "probe_every"):
            value = getattr(self, name)
            if value is not None:
                whole(f"training.{name}", value, 1)
        if self.epochs is not None:
            number("training.epochs", self.epochs, above=0)
        if self.warmup_steps is not None:
            whole("training.warmup_steps", self.warmup_steps, 0)
        whole("training.max_length", self.max_length, 2)
        for name in ("warmup_share", "final_share"):
            number(f"training.{name}", getattr(self, name), least=0, upto=1)
        number("training.clip", self.clip, above=0)
        number("training.weight_decay", self.weight_decay, least=0)

    def schedule(self, steps: int, step: int) -> float:
        """The factor on the learning rate in step 0, 1, … of `steps`."""
        warmup = self.warmup_steps if self.warmup_steps is not None else math.ceil(self.warmup_share * steps)
        if step < warmup:
            return (step + 1) / warmup
        along = (step - warmup) / max(1, steps - warmup)
        return self.final_share + (1 - self.final_share) * 0.5 * (1 + math.cos(math.pi * min(1.0, along)))


@dataclass(frozen=True)
class MethodSettings:
    """One way of finetuning, with the hyperparameters that this task and model give it."""

    name: str
    training: TrainingSettings
    quant: str = "none"  # how the frozen base weights are stored
    oft: OFTConfig | None = None  # of oftv2, qoft and oftv1
    options: Mapping[str, Any] = field(default_factory=dict)  # of PEFT's method (rank, alpha), or the form of oftv1
    label: str = ""  # under which results are kept; the name where empty

    def __post_init__(self) -> None:
        one_of("method.name", self.name, METHODS)
        object.__setattr__(self, "label", self.label or self.name)
        one_of("quant.name", self.quant, STORAGES)
        if self.name == "full" and self.quant != "none":
            raise OFTError(f"method full trains the weights themselves, which cannot be stored as {self.quant}")


@dataclass(frozen=True)
class LaunchSettings:
    """Where it runs."""

    device: str = "cpu"  # cpu or cuda
    strategy: str = "single"  # single, replicate (gradients summed), shard (base weights by FSDP)
    threads: int | None = None  # of torch; null for all cores
    free_disk_gb: float = 0.5  # refuse to begin with less than this in output_dir

    def __post_init__(self) -> None:
        one_of("launch.device", self.device, ("cpu", "cuda"))
        one_of("launch.strategy", self.strategy, STRATEGIES)
        number("launch.free_disk_gb", self.free_disk_gb, least=0)
        if self.threads is not None:
            whole("launch.threads", self.threads, 1)


@dataclass(frozen=True)
class EvaluationSettings:
    """What eval.py measures."""

    problems: int = 200  # test problems answered greedily by each model
    dev_problems: int = 100  # problems of the learning-rate sweep, disjoint from the test
    probe_problems: int = 12  # of the dev problems, measured along training, for strengths and for terms
    probe_tokens: int = 48  # of each of the twelve windows of prose, measured in the same places
    strength_problems: int = 100  # of the test problems, answered at the best strength
    batch_size: int = 50  # problems answered at once
    max_new_tokens: int | None = None  # after which an answer is cut; null for the task's
    alphas: tuple[float, ...] = (0.25, 0.5, 0.75, 1.25)  # strengths tried beside 0 and 1
    terms: tuple[int, ...] = (2, 3, 4, 5, 6, 7, 8)  # of the ablation
    geometry_layers: int = 4  # layers whose singular values are computed, spread over the model

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name not in ("max_new_tokens", "alphas", "terms"):
                whole(f"evaluation.{name}", value, 1)
        if self.max_new_tokens is not None:
            whole("evaluation.max_new_tokens", self.max_new_tokens, 1)
        object.__setattr__(self, "alphas", tuple(self.alphas))
        object.__setattr__(self, "terms", tuple(self.terms))
        for alpha in self.alphas:
            number("evaluation.alphas", alpha)
        for terms in self.terms:
            whole("evaluation.terms", terms, 1)
            if terms > 64:
                raise OFTError(f"evaluation.terms must lie between 1 and 64, not {terms}")


@dataclass(frozen=True)
class Settings:
    """Everything train.py and eval.py need."""

    model: ModelSettings
    task: TaskSettings
    methods: tuple[MethodSettings, ...]
    launch: LaunchSettings
    evaluation: EvaluationSettings
    seed: int
    output_dir: Path
    resume: bool
    dry_run: bool
    scale: str  # a label for the report
    sweep: bool = False  # try every rate of sweep_rates
    sweep_rates: tuple[float, ...] = ()  # a ladder of learning rates
    sweep_start: float | None = None  # where the search on it begins; None tries every rate
    sweep_file: Path | None = None  # where the sweep's table is kept

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Settings:
        """Settings from the composed configuration as a plain mapping.

        Raises:
            OFTError: a value or a name that is not allowed.
        """
        model = build(ModelSettings, "model", mapping["model"])
        task_mapping = dict(mapping["task"])
        recipe = {name: task_mapping.pop(name, None) or {} for name in ("training", "by_method", "by_model")}
        sweep = {name: task_mapping.pop(name, None) for name in ("sweep", "sweep_rates", "sweep_start", "sweep_file")}
        task = build(TaskSettings, "task", task_mapping)
        if task.kind != model.kind:
            raise OFTError(
                f"task {task.name} needs a {task.kind} model, and model {model.name} is a {model.kind} model"
            )
        chosen = dict(mapping["method"])
        members = chosen.get("members") or {chosen.get("name"): chosen}
        methods = tuple(method_settings(member, mapping, recipe, model) for member in members.values())
        seed = mapping["seed"]
        whole("seed", seed, 0)
        rates = tuple(sweep["sweep_rates"] or ())
        for rate in rates:
            number("task.sweep_rates", rate, above=0, upto=1)
        start = sweep["sweep_start"]
        if start is not None and start not in rates:
            raise OFTError(
                f"task.sweep_start must be one of task.sweep_rates ({', '.join(map(str, rates))}), not {start}"
            )
        return cls(
            model=model,
            task=task,
            methods=methods,
            launch=build(LaunchSettings, "launch", mapping["launch"]),
            evaluation=build(EvaluationSettings, "evaluation", mapping["evaluation"]),
            seed=seed,
            output_dir=Path(str(mapping["output_dir"])).expanduser(),
            resume=truth("resume", mapping["resume"]),
            dry_run=truth("dry_run", mapping["dry_run"]),
            scale=str(mapping["scale_name"]),
            sweep=truth("task.sweep", sweep["sweep"] or False),
            sweep_rates=rates,
            sweep_start=start,
            sweep_file=Path(str(sweep["sweep_file"])) if sweep["sweep_file"] else None,
        )

    def method(self, name: str) -> MethodSettings | None:
        return next((m for m in self.methods if m.name == name), None)


def method_settings(
    method: Mapping[str, Any], mapping: Mapping[str, Any], recipe: Mapping[str, Any], model: ModelSettings
) -> MethodSettings:
    """A method with its hyperparameters looked up (see the head of this file)."""
    method = dict(method)
    name = method.get("name")
    one_of("method.name", name, METHODS)
    levels = (
        mapping["training"],
        recipe["by_method"].get(name) or {},
        recipe["by_model"].get(model.name) or {},
        recipe["training"],
        method.get("training") or {},
        {"learning_rate": method.get("learning_rate")},
    )
    known = {f.name for f in fields(TrainingSettings)}
    values: dict[str, Any] = {}
    for where, level in zip(
        ("training", "task.by_method", "task.by_model", "task.training", "method"), levels, strict=False
    ):
        refuse_unknown(where, level, known)
    for key in known:
        for level in levels:
            # steps and epochs are one choice: the first level that makes it closes it for the levels below.
            if key in ("steps", "epochs") and (level.get("steps"), level.get("epochs")) != (None, None):
                values[key] = level.get(key)
                break
            if level.get(key) is not None:
                values[key] = level[key]
                break
    quant = mapping.get("quant") or method.get("quant") or {}
    oft = method.get("oft")
    if oft is not None:
        chosen = dict(mapping.get("parameterization") or {}) if name != "oftv1" else {}
        oft = {"target_modules": model.target_modules, "base_model": model.path, **chosen, **oft}
    try:
        config = OFTConfig.from_mapping(oft) if oft is not None else None
    except ValueError as error:
        raise OFTError(f"method {name}: {error}") from error
    missing = [key for key in ("learning_rate", "batch_size") if values.get(key) is None]
    if missing:
        raise OFTError(f"no training.{missing[0]} is given for method {name} by the command, the task or the method")
    return MethodSettings(
        name=str(name),
        training=build(TrainingSettings, "training", values),
        quant=dict(quant).get("name", "none"),
        oft=config,
        options=dict(method.get("options") or {}),
    )


def fingerprint(*parts: Any) -> str:
    """SHA-256 of settings as JSON: the same settings give the same sixteen letters on every machine."""
    text = json.dumps([plain(part) for part in parts], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def plain(value: Any) -> Any:
    """Dataclasses, tuples, paths and OFTConfigs as JSON can hold them."""
    if isinstance(value, OFTConfig):
        return value.to_mapping()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def build(kind: type, where: str, mapping: Mapping[str, Any]) -> Any:
    """A dataclass from a mapping; unknown names are refused."""
    refuse_unknown(where, mapping, {f.name for f in fields(kind)})
    missing = [
        f.name
        for f in fields(kind)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING and mapping.get(f.name) is None
    ]
    if missing:
        raise OFTError(f"{where}.{missing[0]} is not set")
    return kind(**mapping)


def refuse_unknown(where: str, mapping: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(mapping) - known)
    if unknown:
        raise OFTError(f"{where} has no setting {unknown[0]!r}: it has {', '.join(sorted(known))}")


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise OFTError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise OFTError(f"{name} must be a whole number of at least {least}, not {value!r}")


def number(
    name: str, value: Any, *, least: float | None = None, above: float | None = None, upto: float | None = None
) -> None:
    bounds = [f"at least {least}"] if least is not None else [f"above {above}"] if above is not None else []
    bounds += [f"at most {upto}"] if upto is not None else []
    fits = (
        isinstance(value, (int, float))
        and not isinstance(value, bool)
        and math.isfinite(value)
        and (least is None or value >= least)
        and (above is None or value > above)
        and (upto is None or value <= upto)
    )
    if not fits:
        raise OFTError(f"{name} must be a finite number{' ' * bool(bounds)}{' and '.join(bounds)}, not {value!r}")


def truth(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise OFTError(f"{name} must be true or false, not {value!r}")
    return value
