"""The configuration as typed settings that check themselves; Hydra stays outside the library."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..decimals import probability
from ..errors import VRSError
from ..phrasing import PHRASINGS, RELABELLINGS
from ..samplers import SAMPLERS

QUESTIONS = ("free", "forced", "in_context")
TASKS = ("study", "sample", "certify")
UNSEEN = ("api_key_env", "cache", "limits", "prices", "record")  # settings that no answer depends on


@dataclass(frozen=True)
class CurveSettings:
    """Calibration curves of one sampler: one for each phrasing, over a grid of p.

    `draws` is a number of draws a level, or "exact" to read the answers' probabilities; `grid` a number of equidistant
    levels from 0 to 1; `engine` how the accept loop runs (engine.Engine), `options` what the sampler takes.
    """

    sampler: str
    question: str = "free"
    phrasings: tuple[str, ...] = ("P01",)
    relabel: str = "off"
    cot: int | str = "auto"
    grid: int = 101
    draws: int | str = 100
    options: Mapping[str, Any] = field(default_factory=dict)
    engine: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _one_of("sampler", self.sampler, tuple(SAMPLERS))
        _one_of("question", self.question, QUESTIONS)
        _one_of("relabel", self.relabel, RELABELLINGS)
        for name in self.phrasings:
            _one_of("phrasing", name, tuple(PHRASINGS))
        if self.question != "in_context" and not self.phrasings:
            raise VRSError(f"the curve of {self.sampler} has no phrasings: give one or more of {', '.join(PHRASINGS)}")
        if not _whole(self.grid) or not 2 <= self.grid <= 1001:
            raise VRSError(f"grid must be a number of levels from 2 to 1001, not {self.grid!r}")
        if self.draws != "exact" and (not _whole(self.draws) or int(self.draws) < 1):
            raise VRSError(f"draws must be 'exact' or a whole number from 1, not {self.draws!r}")
        if self.cot != "auto" and (not _whole(self.cot) or int(self.cot) < 0):
            raise VRSError(f"cot must be 'auto' or a number of words from 0, not {self.cot!r}")
        if self.question != "free" and self.cot not in ("auto", 0):
            raise VRSError(
                f"a {self.question} answer comes at once, without reasoning: cot must be 0, not {self.cot!r}"
            )

    @property
    def exact(self) -> bool:
        return self.draws == "exact"

    @property
    def wordings(self) -> tuple[str | None, ...]:
        """The phrasings that apply; the in-context coin has none."""
        return (None,) if self.question == "in_context" else self.phrasings

    def label(self, phrasing: str | None) -> str:
        """Name of a curve in files and tables."""
        parts = [self.sampler, self.question]
        if phrasing:
            parts.append(phrasing)
        if self.relabel != "off":
            parts.append(self.relabel)
        if self.cot != "auto":
            parts.append(f"{self.cot}w")
        return "-".join([*parts, f"g{self.grid}", str(self.draws)])

    @property
    def levels(self) -> tuple[str, ...]:
        """The grid as decimals."""
        return equidistant(self.grid)


@dataclass(frozen=True)
class RecognitionSettings:
    """Figure 3: which numbers are shown, how often."""

    levels: int = 11
    draws: int = 100
    repeats: int = 5
    sources: tuple[str, ...] = ("python", "model")

    def __post_init__(self) -> None:
        for name in self.sources:
            _one_of("recognition.sources", name, ("python", "model"))
        for name in ("draws", "repeats"):
            if not _whole(getattr(self, name)) or getattr(self, name) < 1:
                raise VRSError(f"recognition.{name} must be a whole number from 1, not {getattr(self, name)!r}")
        if not _whole(self.levels) or not 2 <= self.levels <= 101:
            raise VRSError(f"recognition.levels must be a whole number from 2 to 101, not {self.levels!r}")


@dataclass(frozen=True)
class StudySettings:
    """What is measured."""

    name: str
    curves: tuple[CurveSettings, ...]
    recognition: RecognitionSettings | None = None
    replicates: int = 2000  # of the simulations

    @classmethod
    def from_mapping(cls, study: Mapping[str, Any]) -> StudySettings:
        """Of a composed configuration; `grid` and `draws` serve the curves that name none of their own.

        Raises:
            VRSError: a field that there is not, or a value that is not allowed.
        """
        study = dict(study)
        usual: dict[str, Any] = {name: study.pop(name) for name in ("grid", "draws") if name in study}
        simulation = study.pop("simulation", None) or {}
        recognition = study.pop("recognition", None)
        curves = tuple(_build(CurveSettings, curve, "study.curves", usual) for curve in study.pop("curves"))
        name = study.pop("name")
        if study:
            raise VRSError(f"study has no field {next(iter(study))!r}")
        return cls(
            name,
            curves,
            _build(RecognitionSettings, recognition, "study.recognition") if recognition else None,
            **_known(simulation, "study.simulation", ("replicates",)),
        )

    def __post_init__(self) -> None:
        if not self.curves:
            raise VRSError("the study has no curves: give study.curves one or more")
        labels = [curve.label(phrasing) for curve in self.curves for phrasing in curve.wordings]
        if len(set(labels)) < len(labels):
            twice = next(label for label in labels if labels.count(label) > 1)
            raise VRSError(f"the study has the curve {twice} twice")
        if not _whole(self.replicates) or self.replicates < 1:
            raise VRSError(f"simulation.replicates must be a whole number from 1, not {self.replicates!r}")


@dataclass(frozen=True)
class TaskSettings:
    """What train.py does: the study, or one sample or certificate for one p."""

    name: str = "study"
    sampler: str = "vrs"
    question: str = "free"
    phrasing: str = "P01"
    relabel: str = "off"
    p: Any = 0.5
    n: int = 100
    within: float | None = None
    tv: float = 0.05
    confidence: float = 0.95
    budget: int = 20_000

    def __post_init__(self) -> None:
        _one_of("task.name", self.name, TASKS)
        _one_of("task.sampler", self.sampler, tuple(SAMPLERS))
        _one_of("task.question", self.question, QUESTIONS)
        _one_of("task.phrasing", self.phrasing, tuple(PHRASINGS))
        _one_of("task.relabel", self.relabel, RELABELLINGS)
        probability("task.p", self.p)
        if not _whole(self.n) or self.n < 1:
            raise VRSError(f"task.n, the number of draws, must be a whole number from 1, not {self.n!r}")
        if self.within is not None and not (isinstance(self.within, int | float) and 0 < self.within <= 1):
            raise VRSError(f"task.within, the width of the band, must be in (0, 1] or null, not {self.within!r}")


@dataclass(frozen=True)
class Settings:
    """Everything that a run is told."""

    llm: Mapping[str, Any]
    study: StudySettings
    task: TaskSettings = field(default_factory=lambda: TaskSettings())
    seed: int = 0
    output_dir: Path = Path("results")
    estimate: bool = False
    scale: str = "laptop"

    def __post_init__(self) -> None:
        if not _whole(self.seed) or not 0 <= self.seed < 1 << 63:
            raise VRSError(f"seed must be a whole number from 0, not {self.seed!r}")
        if not isinstance(self.llm, Mapping) or not self.llm.get("backend"):
            raise VRSError("llm.backend is missing: choose a model with llm=smollm2, openai, vllm_server, …")

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> Settings:
        """Settings of a composed configuration.

        Raises:
            VRSError: a field that there is not, or a value that is not allowed.
        """
        config = {k: v for k, v in config.items() if k != "hydra"}
        study = StudySettings.from_mapping(config.pop("study"))
        task = _build(TaskSettings, config.pop("task"), "task")
        scale = config.pop("scale_name", "laptop")
        own = _known(config, "the configuration", ("llm", "seed", "output_dir", "estimate"))
        own["output_dir"] = Path(str(own.get("output_dir", "results")))
        return cls(study=study, task=task, scale=scale, **own)

    @property
    def who(self) -> dict[str, str]:
        """What decides the answers of the model: what a ledger is bound to."""
        asked = {k: v for k, v in self.llm.items() if k not in UNSEEN}
        digest = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
        told = {name: str(self.llm[name]) for name in ("backend", "model") if self.llm.get(name)}
        return {**told, "settings": digest[:16]}


def equidistant(levels: int) -> tuple[str, ...]:
    """So many levels from 0 to 1 as decimals."""
    return tuple(f"{i / (levels - 1):.6f}".rstrip("0").rstrip(".") for i in range(levels))


def _build(kind: type, values: Any, where: str, usual: Mapping[str, Any] | None = None) -> Any:
    given = {**(usual or {}), **_known(values, where, tuple(f.name for f in fields(kind)))}
    return kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})


def _known(values: Any, where: str, names: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(values, Mapping):
        raise VRSError(f"{where} must be fields with values, not {values!r}")
    if unknown := [name for name in values if name not in names]:
        raise VRSError(f"{where} has no field {unknown[0]!r}; its fields are {', '.join(names)}")
    return dict(values)


def _one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise VRSError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
