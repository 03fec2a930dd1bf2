"""The settings of a run as dataclasses that check themselves. conf/ writes them; nothing here knows a scale."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .data import DataSettings
from .errors import SepLLMError, one_of, whole
from .long_stream import PROTOCOLS
from .policy import make_policy
from .separators import RULES
from .training import Recipe

DTYPES = ("float32", "bfloat16", "float16", "float64")


@dataclass(frozen=True)
class ModelSettings:
    name: str
    path: str
    dtype: str = "float32"
    revision: str | None = None
    device: str = "auto"

    def __post_init__(self) -> None:
        one_of("model.dtype", self.dtype, DTYPES)
        if not self.path:
            raise SepLLMError("model.path is empty: give a packaged name, a .gguf file, a folder or a hub id")


@dataclass(frozen=True)
class SeparatorSettings:
    rule: str = "paper"
    include: tuple[int, ...] = ()
    exclude: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        one_of("separators.rule", self.rule, RULES[:-1])


@dataclass(frozen=True)
class PostSettings:
    arms: Mapping[str, Mapping[str, Any]]
    recipe: Recipe
    model: str | None = None
    revision: str | None = None


@dataclass(frozen=True)
class ScratchSettings:
    arms: Mapping[str, Mapping[str, Any]]
    recipe: Recipe
    architecture: Mapping[str, Any]
    tokenizer: str | None = None
    vocabulary: int = 1024
    init: str = "transformers"
    seeds: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        whole("scratch.vocabulary", self.vocabulary, 300)
        if not self.seeds:
            raise SepLLMError("scratch.seeds is empty: give at least one seed")


@dataclass(frozen=True)
class AttentionSettings:
    length: int
    windows: int
    near: int

    def __post_init__(self) -> None:
        if self.length <= 2 * self.near:
            raise SepLLMError(f"attention.length must be above 2·near = {2 * self.near}, not {self.length}")


@dataclass(frozen=True)
class PplSettings:
    length: int
    first: int
    windows: int
    sweep_windows: int
    a: int
    n: int
    sweep: tuple[int, ...]
    trained_windows: int

    def __post_init__(self) -> None:
        if not 1 <= self.first < self.length:
            raise SepLLMError(f"ppl.first must lie in [1, {self.length}), not {self.first}")
        whole("ppl.windows", self.windows, 2)


@dataclass(frozen=True)
class ProbeSettings:
    a: int
    n: int
    passage: int
    filler: int
    length: int
    first: int
    windows: int

    def __post_init__(self) -> None:
        if self.filler <= self.n:
            raise SepLLMError(f"probe.filler must be above the window {self.n}, not {self.filler}")


@dataclass(frozen=True)
class SpeedSettings:
    contexts: tuple[int, ...]
    repeats: int
    prefill: tuple[int, ...]
    prefill_repeats: int
    policies: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class StreamingSettings:
    tokens: int
    full_tokens: int
    every: int
    protocol: str
    policies: Mapping[str, Mapping[str, Any]]
    small_tokens: int = 0
    small_every: int = 10000
    small_policy: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        one_of("streaming.protocol", self.protocol, PROTOCOLS)
        whole("streaming.every", self.every, 2)
        for policy in self.policies.values():
            make_policy(dict(policy))


@dataclass(frozen=True)
class GenerateSettings:
    new_tokens: int
    policy: Mapping[str, Any]
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class LmEvalSettings:
    tasks: tuple[str, ...]
    num_fewshot: int | None = None
    limit: int | None = None
    batch_size: int = 1
    include_path: str | None = None


SECTIONS = {
    "model": ModelSettings,
    "separators": SeparatorSettings,
    "data": DataSettings,
    "post": PostSettings,
    "scratch": ScratchSettings,
    "attention": AttentionSettings,
    "ppl": PplSettings,
    "probe": ProbeSettings,
    "speed": SpeedSettings,
    "streaming": StreamingSettings,
    "generate": GenerateSettings,
    "lm_eval": LmEvalSettings,
}


@dataclass(frozen=True)
class Settings:
    """A run. Sections of trainings and measurements that are not asked for are None."""

    model: ModelSettings
    separators: SeparatorSettings
    data: DataSettings
    policy: Mapping[str, Any]
    scale_name: str = "laptop"
    seed: int = 0
    output_dir: Path = Path("results")
    resume: bool = True
    workers: int = 2
    post: PostSettings | None = None
    scratch: ScratchSettings | None = None
    attention: AttentionSettings | None = None
    ppl: PplSettings | None = None
    probe: ProbeSettings | None = None
    speed: SpeedSettings | None = None
    streaming: StreamingSettings | None = None
    generate: GenerateSettings | None = None
    lm_eval: LmEvalSettings | None = None
    plain: Mapping[str, Any] = field(default_factory=dict)  # as the configuration said it

    def __post_init__(self) -> None:
        whole("seed", self.seed, 0)
        whole("workers", self.workers, 0)
        make_policy(dict(self.policy))

    @classmethod
    def from_mapping(cls, mapping: dict[str, Any]) -> Settings:
        """Settings from the composed configuration.

        Raises:
            SepLLMError: an unknown or missing setting, or a value that is not allowed.
        """
        made: dict[str, Any] = {"plain": {k: v for k, v in mapping.items() if k not in ("output_dir", "resume")}}
        for name, value in mapping.items():
            if name in SECTIONS:
                made[name] = build(SECTIONS[name], value, name)
            else:
                made[name] = Path(value) if name == "output_dir" else value
        return build(cls, made, "the configuration")


def build(kind: type, value: Any, where: str) -> Any:
    if not isinstance(value, Mapping):
        raise SepLLMError(f"{where} must be a mapping of settings, not {value!r}")
    known = {f.name for f in fields(kind)}
    unknown = sorted(set(value) - known)
    if unknown:
        raise SepLLMError(f"{where} has no setting {unknown[0]!r}: it has {', '.join(sorted(known - {'plain'}))}")
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
    if "recipe" in values:
        values["recipe"] = build(Recipe, values["recipe"], f"{where}.recipe")
    try:
        return kind(**values)
    except TypeError as error:
        raise SepLLMError(f"{where} is incomplete: {' '.join(str(error).split())[:200]}") from error
