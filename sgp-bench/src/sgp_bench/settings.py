"""The configuration as checked dataclasses; only conf/ knows which scale it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import SGPError
from .evaluate import SCORERS
from .hub import ON_BAD_ROW, SPLITS
from .perturb import CONTROLS, SEVERITIES
from .prompts import STYLES
from .scenes import DIALECTS, LAYOUTS
from .sit import DIRECTIONS
from .tune import TuneConfig

KINDS = ("synthetic", "hub", "folder")


@dataclass(frozen=True)
class Model:
    name: str
    path: str | None = None
    dtype: str = "float32"
    adapter: str | None = None
    llm: Mapping[str, Any] = field(default_factory=dict)

    @property
    def llm_settings(self) -> dict[str, Any]:
        """For open_llm: the path is the model's name where the settings give none."""
        given = dict(self.llm)
        if given.get("backend") in ("transformers", "vllm") and not given.get("model"):
            given["model"] = self.path
        if given.get("backend") == "transformers":
            given["options"] = {"dtype": self.dtype} | dict(given.get("options") or {})
        return given


@dataclass(frozen=True)
class Data:
    kind: str
    dialect: str = "primitive"
    train: int | None = None
    test: int = 48
    letter_test: int = 20
    moved: int = 10
    generated: int = 12
    shares: Mapping[str, float] = field(default_factory=dict)
    train_shares: Mapping[str, float] = field(default_factory=dict)
    digits: int = 20
    source: str = ""
    splits: tuple[str, ...] = ()
    on_bad_row: str = "keep"
    limit: int | None = None
    path: str = ""
    vision: Mapping[str, Any] | None = None
    confirm: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "splits", tuple(self.splits))
        _one_of("data.kind", self.kind, KINDS)
        _one_of("data.dialect", self.dialect, DIALECTS)
        _one_of("data.on_bad_row", self.on_bad_row, ON_BAD_ROW)
        for split in self.splits:
            _one_of("data.splits", split, SPLITS)
        for layout in (*self.shares, *self.train_shares):
            _one_of("a layout of data.shares", layout, LAYOUTS)
        for name in ("test", "letter_test", "moved", "generated", "digits"):
            if getattr(self, name) < (2 if name == "test" else 0):
                raise SGPError(f"data.{name} must be at least {2 if name == 'test' else 0}, not {getattr(self, name)}")
        if max(self.letter_test, self.moved) > self.test:
            raise SGPError(f"data.letter_test and data.moved are parts of data.test, {self.test} scenes")


@dataclass(frozen=True)
class ScorerSettings:
    name: str
    prompt: str = "paper"
    system: str = "none"
    sampling: Mapping[str, Any] = field(default_factory=dict)
    retries: int = 0
    extract_with: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        _one_of("scorer.name", self.name, SCORERS)
        _one_of("scorer.prompt", self.prompt, STYLES)


@dataclass(frozen=True)
class Sit:
    direction: str
    described: float = 1.0
    source: str | None = None
    size: str = "10k"

    def __post_init__(self) -> None:
        _one_of("sit.direction", self.direction, DIRECTIONS)
        if not 0 <= self.described <= 1:
            raise SGPError(f"sit.described must be a share in [0, 1], not {self.described}")


@dataclass(frozen=True)
class Settings:
    model: Model
    data: Data
    scorer: ScorerSettings
    versions: tuple[str, ...]
    decimals: int
    tune: TuneConfig | None
    max_length: int
    sit: Sit
    seed: int
    output_dir: Path
    resume: bool
    threads: int | None
    compare_with: str | None
    scale: str

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> Settings:
        """From the composed configuration.

        Raises:
            SGPError: a value that is not allowed, by its name.
        """
        given = dict(config)
        tune = dict(given["tune"])
        method, max_length = tune.pop("method"), tune.pop("max_length")
        if isinstance(tune.get("targets"), list):
            tune["targets"] = tuple(tune["targets"])
        versions = tuple(given["perturb"]["versions"])
        for version in versions:
            _one_of("perturb.versions", version, (*SEVERITIES, *CONTROLS))
        return cls(
            _made(Model, "model", given["model"]),
            _made(Data, "data", given["data"]),
            _made(ScorerSettings, "scorer", given["scorer"]),
            versions,
            int(given["perturb"]["decimals"]),
            None if method == "none" else _made(TuneConfig, "tune", {**tune, "method": method, "seed": given["seed"]}),
            int(max_length),
            _made(Sit, "sit", given["sit"]),
            int(given["seed"]),
            Path(given["output_dir"]),
            bool(given["resume"]),
            given["threads"],
            given["compare_with"],
            str(given["scale_name"]),
        )


def _made(kind: Any, where: str, given: Mapping[str, Any]) -> Any:
    known = {f.name for f in fields(kind)}
    if unknown := [k for k in given if k not in known]:
        raise SGPError(f"{where} has no setting {unknown[0]!r}; its settings are {', '.join(sorted(known))}")
    return kind(**given)


def _one_of(name: str, value: Any, allowed: Any) -> None:
    if value not in allowed:
        raise SGPError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def fingerprint(*values: Any) -> str:
    """A hash of plain values and dataclasses: what a part depends on."""
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=_plain).encode()).hexdigest()[:24]


def _plain(value: Any) -> Any:
    if hasattr(value, "__dataclass_fields__"):
        return {f.name: getattr(value, f.name) for f in fields(value)}
    return str(value)
