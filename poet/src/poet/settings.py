"""Typed settings, from Hydra's mapping; every value is checked here, before anything is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .config import PoetConfig
from .errors import PoetError, number, one_of, truth, whole
from .initialization import SCHEMES
from .optim import Q_OPTIMIZERS

KINDS = ("poet", "adamw", "muon", "galore", "lora")
MODES = ("train", "series", "coverage", "forecast")


@dataclass(frozen=True)
class ModelSettings:
    """A Llama by its sizes."""

    name: str
    hidden: int = 64
    mlp: int = 128
    mlp_full: int | None = None  # of POET-FS and AdamW in the paper, whose Table 8 has two widths; null for mlp
    heads: int = 2
    layers: int = 2
    positions: int = 256
    vocabulary: int | None = None  # rows of the embedding; null for the tokenizer's size
    dtype: str = "float32"  # of weights and activations; rotations stay float32
    pad: int | None = None
    eos: int | None = None
    steps: int | None = None  # of the paper's run of this model
    base_lr: float = 1e-2  # of embedding, head and norms (Tables 9 and 10)

    def __post_init__(self) -> None:
        number("model.base_lr", self.base_lr, above=0)
        for name in ("hidden", "mlp", "heads", "layers", "positions"):
            whole(f"model.{name}", getattr(self, name), 1)
        if self.dtype == "float16":
            raise PoetError("model.dtype=float16 has too small a range to train in: use bfloat16 or float32")
        one_of("model.dtype", self.dtype, ("float32", "float64", "bfloat16"))


@dataclass(frozen=True)
class DataSettings:
    """Where text comes from."""

    name: str  # stdlib or c4
    vocabulary: int = 512  # of the tokenizer that is trained on stdlib
    tokenizer: str = "google-t5/t5-base"  # of c4
    path: str = "allenai/c4"  # a hub id, or a folder with train/ and validation/ *.json.gz or *.jsonl
    config: str | None = "en"
    packing: bool = False  # False: one document a sequence, cut and padded (the paper's protocol)
    evaluation_tokens: int = 10_000_000  # of validation text, padding not counted
    window: int = 4096  # documents of c4 that are permuted together

    def __post_init__(self) -> None:
        one_of("data.name", self.name, ("stdlib", "c4"))
        whole("data.vocabulary", self.vocabulary, 300)
        whole("data.evaluation_tokens", self.evaluation_tokens, 1)
        whole("data.window", self.window, 1)
        truth("data.packing", self.packing)


@dataclass(frozen=True)
class TrainingSettings:
    """AdamW's numbers, the schedule, and what is saved and measured when."""

    steps: int
    sequences: int  # of one optimiser step, over all processes
    length: int  # tokens of a sequence
    micro_batch: int | None = None  # sequences of one process in one forward; null for all of its share
    warmup_steps: int = 0
    final_share: float = 0.01  # of the peak learning rate, at the end of the cosine
    clip: float = 1.0  # largest norm of all gradients together
    clip_ramp_until: int = 0  # in steps before this the clip rises again after every merge (2000 in the official code)
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6
    gradient_checkpointing: bool = False
    compile: bool = False  # torch.compile, around the POET layers
    save_seconds: float = 30  # between checkpoints
    measure_every: int = 50  # steps between measurements on held-out text
    measure_sequences: int = 256  # held-out sequences of such a measurement; the last one takes all
    geometry: bool = True  # spectra, energy and probes at every measurement
    stop_after: int | None = None  # stop here while the schedule is that of all steps

    def __post_init__(self) -> None:
        for name in ("steps", "sequences", "measure_every", "measure_sequences"):
            whole(f"training.{name}", getattr(self, name), 1)
        whole("training.length", self.length, 2)
        for name in ("micro_batch", "stop_after"):
            if getattr(self, name) is not None:
                whole(f"training.{name}", getattr(self, name), 1)
        whole("training.warmup_steps", self.warmup_steps, 0)
        whole("training.clip_ramp_until", self.clip_ramp_until, 0)
        number("training.final_share", self.final_share, least=0, upto=1)
        number("training.clip", self.clip, above=0)
        number("training.weight_decay", self.weight_decay, least=0)
        number("training.eps", self.eps, above=0)
        number("training.save_seconds", self.save_seconds, least=0)
        object.__setattr__(self, "betas", tuple(self.betas))
        for beta in self.betas:
            number("training.betas", beta, least=0, upto=1)


@dataclass(frozen=True)
class MethodSettings:
    """One way to train the hidden matrices; embeddings, head and norms are always AdamW's at base_lr."""

    name: str
    kind: str
    lr: float | None = None  # of the hidden matrices, or of Q (for Skew-Muon the half-angle of a step); null: 0.256/b
    base_lr: float = 1e-2
    init: str = "standard"  # of hidden matrices that POET does not wrap
    poet: Mapping[str, Any] = field(default_factory=dict)  # PoetConfig
    q_optimizer: str = "adamw"
    momentum: float = 0.95
    post_merge_warmup: int = 0
    options: Mapping[str, Any] = field(
        default_factory=dict
    )  # of galore (rank, gap, scale) and lora (match_block | rank)
    training: Mapping[str, Any] = field(default_factory=dict)  # what differs from the common training settings
    ladder: tuple[float, ...] = ()  # learning rates of the sweep
    label: str = ""  # under which results are kept; the name where empty

    def __post_init__(self) -> None:
        one_of("method.kind", self.kind, KINDS)
        one_of("method.init", self.init, [s for s in SCHEMES if s != "keep"])  # type: ignore[arg-type]
        one_of("method.q_optimizer", self.q_optimizer, Q_OPTIMIZERS)
        object.__setattr__(self, "label", self.label or self.name)
        object.__setattr__(self, "ladder", tuple(self.ladder))
        if self.lr is not None:
            number(f"the learning rate of method {self.name}", self.lr, above=0)
        elif self.kind != "poet":
            raise PoetError(f"method {self.name} has no learning rate: set method.lr")
        number("method.base_lr", self.base_lr, above=0)
        if self.kind == "poet":
            self.config()

    def config(self, seed: int = 0) -> PoetConfig:
        return PoetConfig.from_mapping({"seed": seed, **self.poet})


@dataclass(frozen=True)
class LaunchSettings:
    """Where it runs."""

    device: str = "cpu"
    strategy: str = "replicate"  # replicate (DDP where there are several processes) or shard (FSDP2)
    threads: int | None = None  # of torch; null for all cores
    free_disk_gb: float = 0.5  # refuse to begin with less free in output_dir

    def __post_init__(self) -> None:
        one_of("launch.device", self.device, ("cpu", "cuda"))
        one_of("launch.strategy", self.strategy, ("replicate", "shard"))
        number("launch.free_disk_gb", self.free_disk_gb, least=0)
        if self.threads is not None:
            whole("launch.threads", self.threads, 1)


@dataclass(frozen=True)
class SweepSettings:
    """The same search for every method, on the dev split."""

    enabled: bool = False
    file: str | None = None  # where the table is kept
    steps: int = 500
    seeds: tuple[int, ...] = (0, 1, 2)  # of each method's best rate; the ladder itself runs with the first

    def __post_init__(self) -> None:
        truth("sweep.enabled", self.enabled)
        whole("sweep.steps", self.steps, 1)
        object.__setattr__(self, "seeds", tuple(self.seeds))


@dataclass(frozen=True)
class PretrainedSettings:
    """The second part: POET on a pretrained model."""

    enabled: bool = False
    path: str = "smollm2-135m-instruct"
    block: int = 64
    steps: int = 20
    length: int = 128
    lr: float = 5e-5
    merge_every: int = 8
    windows: int = 6  # held-out windows
    layers: int = 3  # whose spectra are measured, spread over the model
    free_memory_gb: float = 3.0

    def __post_init__(self) -> None:
        truth("pretrained.enabled", self.enabled)
        for name in ("block", "steps", "length", "merge_every", "windows", "layers"):
            whole(f"pretrained.{name}", getattr(self, name), 1)
        number("pretrained.lr", self.lr, above=0)


@dataclass(frozen=True)
class Settings:
    """Everything that train.py and eval.py need."""

    model: ModelSettings
    data: DataSettings
    methods: tuple[MethodSettings, ...]
    training: TrainingSettings
    launch: LaunchSettings
    sweep: SweepSettings
    pretrained: PretrainedSettings
    seed: int
    output_dir: Path
    resume: bool
    diagnostics: str
    scale: str

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Settings:
        """From the composed configuration as a plain mapping.

        Raises:
            PoetError: a value or a name that is not allowed.
        """
        chosen = dict(mapping["method"])
        members = chosen.get("members") or {chosen.get("name"): chosen}
        whole("seed", mapping["seed"], 0)
        truth("resume", mapping["resume"])
        one_of("diagnostics", mapping["diagnostics"], MODES)
        only = mapping.get("only")
        methods = tuple(build(MethodSettings, "method", m) for m in members.values())
        if only:
            names = [m.name for m in methods]
            for name in only:
                one_of("only", name, tuple(names))
            methods = tuple(m for m in methods if m.name in only)
        settings = cls(
            model=build(ModelSettings, "model", mapping["model"]),
            data=build(DataSettings, "data", mapping["data"]),
            methods=methods,
            training=build(TrainingSettings, "training", mapping["training"]),
            launch=build(LaunchSettings, "launch", mapping["launch"]),
            sweep=build(SweepSettings, "sweep", mapping["sweep"]),
            pretrained=build(PretrainedSettings, "pretrained", mapping["pretrained"]),
            seed=mapping["seed"],
            output_dir=Path(str(mapping["output_dir"])).expanduser(),
            resume=mapping["resume"],
            diagnostics=mapping["diagnostics"],
            scale=str(mapping["scale_name"]),
        )
        for method in methods:
            settings.training_of(method)
        return settings

    def training_of(self, method: MethodSettings) -> TrainingSettings:
        """The training settings of one method."""
        refuse_unknown("method.training", method.training, {f.name for f in fields(TrainingSettings)})
        return dataclasses.replace(self.training, **method.training)

    def model_of(self, method: MethodSettings) -> ModelSettings:
        """The model of one method: the paper's POET-FS and AdamW have another MLP width."""
        full = method.kind != "poet" or method.config().variant == "full"
        if full and self.model.mlp_full is not None:
            return dataclasses.replace(self.model, mlp=self.model.mlp_full)
        return self.model

    def trained_with(self, method: MethodSettings) -> dict[str, Any]:
        """All that shapes a training's result, flat, for checkpoints and finished parts."""
        launched = {"save_seconds", "stop_after"}
        training = {k: v for k, v in plain(self.training_of(method)).items() if k not in launched}
        shaping = {"method": plain(method), "model": plain(self.model_of(method)), "data": plain(self.data)}
        flat = {
            f"{group}.{k}": v for group, values in {**shaping, "training": training}.items() for k, v in values.items()
        }
        for key in (
            "method.label",
            "method.ladder",
            "method.training",
            "model.mlp_full",
            "model.steps",
            "model.base_lr",
        ):
            flat.pop(key)
        return {**flat, "seed": self.seed, "strategy": self.launch.strategy}


def plain(value: Any) -> Any:
    """Dataclasses, tuples and paths as JSON holds them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def build(kind: type, where: str, mapping: Mapping[str, Any]) -> Any:
    """A dataclass from a mapping; unknown and missing names are refused."""
    refuse_unknown(where, mapping, {f.name for f in fields(kind)})
    for f in fields(kind):
        required = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if required and mapping.get(f.name) is None:
            raise PoetError(f"{where}.{f.name} is not set")
    return kind(**mapping)


def refuse_unknown(where: str, mapping: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(mapping) - known)
    if unknown:
        raise PoetError(f"{where} has no setting {unknown[0]!r}: it has {', '.join(sorted(known))}")
