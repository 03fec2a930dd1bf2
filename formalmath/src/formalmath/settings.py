"""The settings of a run, checked. conf/ writes them; nothing here knows a scale."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import FormalMathError
from .lean.backend import BACKENDS
from .lean.negation import STYLES
from .lean.policy import POLICIES
from .lean.verdict import Limits
from .pipeline.judge import MODES as JUDGE_MODES
from .pipeline.judge import RULES
from .provers.prompts import MODES

MENUS = ("uniform", "smollm2", "fitted")


def one_of(name: str, value: Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise FormalMathError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")


def whole(name: str, value: Any, least: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise FormalMathError(f"{name} must be a whole number from {least}, not {value!r}")


@dataclass(frozen=True)
class EvaluationSettings:
    """What eval.py measures."""

    reference_proofs: int = 24
    fitted_on: int = 300
    search_problems: int | None = 100
    attempts: int = 1
    tactics: int = 8
    expansions: int = 20
    alpha: float = 0.5
    recorded: bool = True

    def __post_init__(self) -> None:
        whole("evaluation.reference_proofs", self.reference_proofs, 0)
        whole("evaluation.fitted_on", self.fitted_on, 10)
        for name in ("attempts", "tactics", "expansions"):
            whole(f"evaluation.{name}", getattr(self, name), 1)


@dataclass(frozen=True)
class DisproveSettings:
    """How statements are disproved."""

    budget: float = 0.25
    style: str = "closed"
    stop_after: int | None = None

    def __post_init__(self) -> None:
        one_of("disprove.style", self.style, STYLES)
        if not isinstance(self.budget, int | float) or not 0 < self.budget <= 3600:
            raise FormalMathError(f"disprove.budget must be seconds in (0, 3600], not {self.budget!r}")
        if self.stop_after not in (None, 1):
            raise FormalMathError(f"disprove.stop_after must be null or 1, not {self.stop_after!r}")


@dataclass(frozen=True)
class Settings:
    """A run. The groups data, autoformalizer, judge, lean, prover, search and shard stay mappings of their files."""

    data: Mapping[str, Any]
    autoformalizer: Mapping[str, Any]
    judge: Mapping[str, Any]
    lean: Mapping[str, Any]
    prover: Mapping[str, Any]
    prompt: str
    search: str
    policy: str
    shard: Mapping[str, Any]
    seed: int = 0
    output_dir: Path = Path("results")
    resume: bool = True
    allow_mixed: bool = False
    n: int = 64
    early_stop: str = "full"
    scale: str = "laptop"
    disprove: DisproveSettings = field(default_factory=DisproveSettings)
    evaluation: EvaluationSettings = field(default_factory=EvaluationSettings)
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        one_of("lean.name", self.lean.get("name"), BACKENDS)
        one_of("policy.name", self.policy, POLICIES)
        one_of("prompt.mode", self.prompt, MODES)
        one_of("search.kind", self.search, ("single_pass", "best_first"))
        one_of("shard.kind", self.shard.get("kind"), ("local", "ray"))
        one_of("early_stop", self.early_stop, ("full", "first_proof"))
        one_of("autoformalizer.kind", self.autoformalizer.get("kind"), ("synthetic", "llm"))
        one_of("judge.kind", self.judge.get("kind"), ("choice", "text"))
        one_of("judge.rule", self.judge.get("rule"), RULES)
        one_of("judge.mode", self.judge.get("mode"), JUDGE_MODES)
        one_of("prover.kind", self.prover.get("kind"), ("menu", "llm"))
        for menu in self.prover.get("menus") or ():
            one_of("prover.menus", menu, MENUS)
        whole("n", self.n, 1)
        whole("seed", self.seed, 0)
        whole("autoformalizer.n_candidates", self.autoformalizer.get("n_candidates"), 1)
        for name in ("train", "count"):
            if self.data.get(name) is not None:
                whole(f"data.{name}", self.data[name], 1)
        if self.data.get("name") == "mini" and (self.data.get("train") or 0) < 10:
            raise FormalMathError("data.train must be at least 10 for data=mini")
        if not self.judge.get("judges"):
            raise FormalMathError("judge.judges must name at least one judge")
        for name, rate in (self.autoformalizer.get("rates") or {}).items():
            if not isinstance(rate, int | float) or not 0 <= rate <= 1:
                raise FormalMathError(f"autoformalizer.rates.{name} must be in [0, 1], not {rate!r}")

    @classmethod
    def from_mapping(cls, config: Mapping[str, Any]) -> Settings:
        """Settings from a composed configuration.

        Raises:
            FormalMathError: an unknown field, or a value outside its range.
        """
        given = dict(config)
        for name, key in (("prompt", "mode"), ("search", "kind"), ("policy", "name")):
            given[name] = given[name][key]
        given["scale"] = given.pop("scale_name", "laptop")
        given["output_dir"] = Path(given["output_dir"])
        given["disprove"] = _part(DisproveSettings, given["disprove"], "disprove")
        given["evaluation"] = _part(EvaluationSettings, given["evaluation"], "evaluation")
        given["limits"] = _part(Limits, given["limits"], "limits")
        known = {f.name for f in fields(cls)}
        if unknown := [k for k in given if k not in known]:
            raise FormalMathError(f"there is no setting {unknown[0]!r}")
        return cls(**given)

    def plain(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self), default=str))


def _part(kind: Any, given: Mapping[str, Any], where: str) -> Any:
    known = {f.name for f in fields(kind)}
    if unknown := [k for k in given if k not in known]:
        raise FormalMathError(f"{where} has no setting {unknown[0]!r}; its settings are {', '.join(sorted(known))}")
    return kind(**given)
