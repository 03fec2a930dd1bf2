"""A study: its curves and its recognition matrix, collected with a model and read back without one.

    results/samples/<curve>.jsonl        the ledger of a curve that is drawn: a line a call (ledger.py)
    results/samples/recognition.jsonl    the same for Fig. 3
    results/samples/scores.jsonl         the exact scores of all curves, which have many questions in common
    results/samples/run.json             what the independence probe said, seconds and calls of each part

Collecting and scoring run the same code. `train.py` runs it with a model; what a ledger holds is not asked again, and a
study whose ledgers are whole does not even open the model. `eval.py` runs it with nobody to ask.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from shared.llm.backend import Capabilities
from shared.llm.request import sampling_from

from ..calibration import CalibrationCurve, calibration
from ..engine import Engine
from ..errors import VRSError
from ..in_context import InContext
from ..ledger import Ledger
from ..recognition import Recognition, drawn_by, drawn_by_python, recognition
from ..samplers import Direct, Sampler, sampler
from ..wording import Question, Worded
from .settings import CurveSettings, RecognitionSettings, Settings, equidistant
from .writing import write


class Missing(VRSError):
    """An answer is wanted that no ledger holds, and there is no model to ask."""


class NoModel:
    """Stands where the model's client stands, and refuses to be asked."""

    def __init__(self, settings: Settings):
        self.name = str(settings.llm["backend"])
        self.model = str(settings.llm.get("model") or "")
        self.sampling = sampling_from(settings.llm.get("sampling"))
        self.capabilities = Capabilities(choices=True, choice_logprobs=True, prefix=True)

    def complete(self, requests: Iterable[Any]) -> list[Any]:
        if any(True for _ in requests):
            raise Missing(
                "the ledgers do not hold every answer of this study: run train.py first, with the same settings"
            )
        return []

    def as_completed(self, requests: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        return iter(self.complete(requests))


@dataclass(frozen=True)
class Measured:
    """One curve, with its settings."""

    settings: CurveSettings
    phrasing: str | None
    curve: CalibrationCurve


@dataclass
class Found:
    """What a study has found: curves by label, recognition matrices by source of the numbers, who answered, and the
    record of the run."""

    curves: dict[str, Measured] = field(default_factory=dict)
    recognition: dict[str, Recognition] = field(default_factory=dict)
    sources: list[str] = field(default_factory=list)
    run: Mapping[str, Any] = field(default_factory=dict)


class Study:
    """Measures part after part; the model is opened when the first answer is lacking, and once.

    Args:
        open_llm: opens the model; without it nothing is asked or written, and a lack raises Missing.
        say: gets a line for each part.
    """

    def __init__(
        self,
        settings: Settings,
        open_llm: Callable[[], Any] | None = None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.settings, self._open, self._say = settings, open_llm, say
        self.folder = settings.output_dir / "samples"
        self.llm: Any = None
        self.run = read_run(self.folder)

    def found(self) -> Found:
        """Everything the study asks for.

        Raises:
            Missing: something is lacking and there is no model to open.
        """
        with self._ledger("scores") as scores:
            return self._all(scores)

    def _all(self, scores: Ledger) -> Found:
        found = Found(run=self.run)
        for settings in self.settings.study.curves:
            for phrasing in settings.wordings:
                label = settings.label(phrasing)
                with nullcontext(scores) if settings.exact else self._ledger(label, scores) as ledger:
                    measure = partial(self._curve, settings=settings, phrasing=phrasing, ledger=ledger)
                    curve = self._part(label, measure)
                    found.sources += ledger.sources
                found.curves[label] = Measured(settings, phrasing, curve)
        if (wanted := self.settings.study.recognition) is not None:
            with self._ledger("recognition", scores) as ledger:
                for source in wanted.sources:
                    label = f"recognition, numbers by {source}"
                    matrix = partial(self._matrix, wanted=wanted, source=source, ledger=ledger)
                    found.recognition[source] = self._part(label, matrix)
                found.sources += ledger.sources
        found.sources = list(dict.fromkeys(found.sources))
        return found

    def _curve(self, llm: Any, settings: CurveSettings, phrasing: str | None, ledger: Ledger) -> CalibrationCurve:
        seed = self.settings.seed
        made = sampler_of(settings, phrasing, llm, seed)
        made = replace(made, ledger=ledger, engine=engine_of(settings.engine))
        if settings.exact:
            # the labels' mass is reported with every exact curve, so a small one is no reason to stop or to warn
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                return calibration(made, settings.levels, exact=True, force=True)
        return calibration(made, settings.levels, int(settings.draws), rng=seed)

    def _matrix(self, llm: Any, wanted: RecognitionSettings, source: str, ledger: Ledger) -> Recognition:
        levels, seed = equidistant(wanted.levels), self.settings.seed
        words = Worded(phrasing="P1")
        if source == "python":
            numbers = drawn_by_python(levels, wanted.draws, wanted.repeats, seed)
        else:
            own = Direct(llm, question=words, ledger=ledger)
            numbers = drawn_by(own, levels, wanted.draws, wanted.repeats, seed)
        return recognition(llm, numbers, levels, question=words, ledger=ledger, seed=seed)

    @contextmanager
    def _ledger(self, label: str, scores: Ledger | None = None) -> Iterator[Ledger]:
        path = self.folder / f"{label}.jsonl"
        if self._open is None and not path.is_file():
            raise Missing(f"there is no {path}: run train.py first, with the same settings")
        with Ledger(path, read_only=self._open is None, scores=scores) as ledger:
            ledger.bind(**self.settings.who)
            yield ledger

    def _part(self, label: str, measure: Callable[[Any], Any]) -> Any:
        started = time.perf_counter()
        try:
            found = measure(NoModel(self.settings))
            self._say(f"{label}: read back in {time.perf_counter() - started:.1f} s")
            return found
        except Missing:
            if self._open is None:
                raise
        if self.llm is None:
            self.llm = self._open()
        calls = self.llm.stats().calls
        try:
            found = measure(self.llm)
        finally:
            # a part that is interrupted adds its time and calls to those of the run that ends it
            self._note(label, time.perf_counter() - started, self.llm.stats().calls - calls)
        self._say(f"{label}: done in {time.perf_counter() - started:.1f} s")
        return found

    def _note(self, label: str, seconds: float, calls: int) -> None:
        part = self.run.setdefault("parts", {}).setdefault(label, {"seconds": 0.0, "calls": 0})
        part["seconds"], part["calls"] = round(part["seconds"] + seconds, 2), part["calls"] + calls
        write_run(self.folder, self.run)


def read_run(folder: Path) -> dict[str, Any]:
    """What run.json holds; nothing where there is none, or it cannot be read."""
    try:
        return dict(json.loads((folder / "run.json").read_text()))
    except (OSError, ValueError):
        return {}


def write_run(folder: Path, run: Mapping[str, Any]) -> None:
    write(folder / "run.json", json.dumps(run, indent=1) + "\n")


def engine_of(options: Mapping[str, Any]) -> Engine:
    """The accept loop with these options.

    Raises:
        VRSError: an option that it has not.
    """
    known = [f.name for f in fields(Engine) if f.name != "progress"]
    if unknown := [name for name in options if name not in known]:
        raise VRSError(f"the engine has no option {unknown[0]!r}; its options are {', '.join(known)}")
    return Engine(**options)


def question_of(settings: CurveSettings, phrasing: str | None, seed: int) -> Question:
    """How a curve's questions are asked."""
    if settings.question == "in_context":
        return InContext(relabel=settings.relabel)
    forced = settings.question == "forced"
    cot = 0 if forced else settings.cot
    return Worded(phrasing=phrasing, relabel=settings.relabel, cot=cot, forced=forced, seed=seed)


def sampler_of(settings: CurveSettings, phrasing: str | None, llm: Any, seed: int) -> Sampler:
    """The sampler of a curve.

    Raises:
        VRSError: an option that it has not.
    """
    kind = sampler(settings.sampler)
    known = [f.name for f in fields(kind) if f.name not in ("llm", "question", "ledger", "engine")]
    if unknown := [option for option in settings.options if option not in known]:
        allowed = f"its options are {', '.join(known)}" if known else "it has none"
        raise VRSError(f"the sampler {settings.sampler} has no option {unknown[0]!r}; {allowed}")
    return kind(llm, question=question_of(settings, phrasing, seed), **settings.options)
