"""Problems: what a benchmark record becomes, and the readers of the published data sets."""

from __future__ import annotations

import ast
import hashlib
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import FormalMathError, StatementError
from .lean.goal import Goal, parse_goal
from .lean.statement import Statement, normalise, parse_statement
from .mini.templates import HEADER, TEMPLATES
from .taxonomy import domain_of, level_of

FEEDBACK_LIMIT = 1 << 20  # characters of a record's compiler_feedback
HUB = {"all": "SphereLab/FormalMATH-All", "lite": "SphereLab/FormalMATH-Lite"}
FIELDS = (
    "theorem_names",
    "autoformalization",
    "refined_statement",
    "source",
    "domain",
    "solution",
    "compiler_feedback",
)


@dataclass(frozen=True)
class Problem:
    """One theorem to prove. `goals` are what Lean printed for the statement with `sorry`, where the record has them."""

    id: str
    words: str
    lean: str
    source: str = ""
    domain: str = ""
    level: str = ""
    solution: str = ""
    answer: str = ""
    goals: tuple[str, ...] = ()
    warned_at: tuple[int, int] | None = None  # line and column that Lean gave the declared name
    reference: str = ""  # a known proof

    @cached_property
    def statement(self) -> Statement:
        """Raises: StatementError, naming the problem."""
        try:
            return parse_statement(self.lean)
        except StatementError as error:
            raise StatementError(f"problem {self.id}: {error}") from None

    @property
    def goal(self) -> Goal | None:
        """Lean's own goal of the target, if it was recorded."""
        return parse_goal(self.goals[-1]) if self.goals else None


def mini(count: int, seed: int, prefix: str = "mini") -> list[Problem]:
    """`count` generated problems, the templates in turn; another seed gives other numbers."""
    rng = random.Random(f"{prefix}/{seed}")
    names = list(TEMPLATES)
    problems: list[Problem] = []
    seen: set[str] = set()
    i = 0
    while len(problems) < count:
        name = names[i % len(names)]
        i += 1
        domain, make = TEMPLATES[name]
        item = make(rng)
        if item.lean in seen and i < 50 * count:
            continue
        seen.add(item.lean)
        key = f"{prefix}_{len(problems):03d}_{name}"
        proof = "".join(f"\n  {line}" for line in item.proof.split("\n")) + "\n"
        problems.append(
            Problem(
                key,
                f"{item.words}\n Prove that the answer is: {item.answer}",
                f"{HEADER}theorem {key} {item.lean} := by",
                source="mini",
                domain=domain,
                level="generated",
                answer=item.answer,
                reference=proof,
                solution=f"The answer is {item.answer}.",
            )
        )
    return problems


def from_records(
    records: Iterable[Mapping[str, Any]], where: str, fields: Mapping[str, str] | None = None
) -> list[Problem]:
    """Problems of FormalMATH's own records, or of records whose fields `fields` maps to FormalMATH's names.

    Raises:
        FormalMathError: a missing statement or a duplicate key, with the record's number.
    """
    names = {f: (fields or {}).get(f, f) for f in FIELDS}
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for place, record in enumerate(records):
        if not isinstance(record, Mapping):
            raise FormalMathError(f"{where}, record {place}: a record is a mapping, not {type(record).__name__}")
        if not record.get(names["autoformalization"]):
            raise FormalMathError(
                f"{where}, record {place}: the field {names['autoformalization']!r} is missing or empty"
            )
        key = str(record.get(names["theorem_names"]) or f"record_{place}")
        if key in seen:
            raise FormalMathError(f"{where}, record {place}: the key {key!r} is that of record {seen[key]} already")
        seen[key] = place
        source = str(record.get(names["source"]) or "")
        goals, warned = feedback(record.get(names["compiler_feedback"]), key)
        problems.append(
            Problem(
                key,
                str(record.get(names["refined_statement"]) or ""),
                normalise(str(record[names["autoformalization"]])),
                source=source,
                domain=domain_of(str(record.get(names["domain"]) or ""), source),
                level=level_of(source),
                solution=str(record.get(names["solution"]) or ""),
                goals=goals,
                warned_at=warned,
            )
        )
    return problems


def feedback(text: Any, key: str) -> tuple[tuple[str, ...], tuple[int, int] | None]:
    """Goals, and the place of the last `declaration uses 'sorry'`, from a recorded REPL answer.

    The records hold a Python literal; it is read by `ast.literal_eval` under a size limit, never evaluated.
    """
    if not text:
        return (), None
    if isinstance(text, str):
        if len(text) > FEEDBACK_LIMIT:
            raise FormalMathError(
                f"problem {key}: compiler_feedback has {len(text):,} characters, over {FEEDBACK_LIMIT:,}"
            )
        try:
            text = ast.literal_eval(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            raise FormalMathError(f"problem {key}: compiler_feedback is not a Python literal") from None
    if not isinstance(text, Mapping):
        return (), None
    goals = tuple(str(s.get("goal", "")) for s in text.get("sorries") or ())
    places = [m["pos"] for m in text.get("messages") or () if "declaration uses" in str(m.get("data", ""))]
    return goals, (places[-1]["line"], places[-1]["column"]) if places else None


def read_json(path: Path, fields: Mapping[str, str] | None = None) -> list[Problem]:
    """A JSON array or JSON lines.

    Raises:
        FormalMathError: the file cannot be read, or a record is not well formed.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise FormalMathError(f"cannot read {path}: {error.strerror}") from None
    try:
        records = json.loads(text) if text.lstrip().startswith("[") else list(_lines(text, path))
    except json.JSONDecodeError as error:
        raise FormalMathError(f"{path} is not JSON: {error.msg} at line {error.lineno}") from None
    return from_records(records, str(path), fields)


def _lines(text: str, path: Path) -> Iterator[Any]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield json.loads(line)
            except json.JSONDecodeError as error:
                raise FormalMathError(f"{path}, line {number} is not JSON: {error.msg}") from None


def read_header_records(path: Path, split: str | None = None) -> list[Problem]:
    """miniF2F, ProofNet and PutnamBench as JSON lines: `name split header informal_prefix formal_statement goal`."""
    problems = []
    for number, record in enumerate(_lines(path.read_text(), path), 1):
        if split and record.get("split") not in (None, split):
            continue
        if "formal_statement" not in record or "name" not in record:
            raise FormalMathError(f"{path}, line {number}: the fields name and formal_statement are needed")
        text = f"{record.get('header', '')}{record['formal_statement']}"
        goals = (record["goal"],) if record.get("goal") else ()
        words = str(record.get("informal_prefix", "")).strip().removeprefix("/--").removesuffix("-/").strip()
        problems.append(
            Problem(record["name"], words, normalise(text), source=path.stem, level="high school", goals=goals)
        )
    return problems


def load(
    name: str,
    *,
    path: str | None = None,
    count: int = 100,
    seed: int = 0,
    split: str | None = None,
    fields: Mapping[str, str] | None = None,
    prefix: str = "mini",
) -> list[Problem]:
    """Problems by the name of their data set.

    Args:
        name: mini, lite, all, minif2f, proofnet, putnam or jsonl.
        path: a local file; needed but for mini, and for lite and all where the hub cannot be reached.

    Raises:
        FormalMathError: an unknown name, no file, or no hub.
    """
    if name == "mini":
        return mini(count, seed, prefix)
    if name in HUB:
        if path:
            return read_json(Path(path), fields)
        return from_records(_hub(HUB[name]), HUB[name])
    if not path:
        raise FormalMathError(f"data.path must name a file for data={name}")
    if name in ("minif2f", "proofnet", "putnam"):
        return read_header_records(Path(path), split)
    if name == "jsonl":
        return read_json(Path(path), fields)
    raise FormalMathError(f"data must be one of mini, lite, all, minif2f, proofnet, putnam, jsonl, not {name!r}")


def _hub(repository: str) -> Any:
    try:
        from datasets import load_dataset
    except ImportError:
        raise FormalMathError(
            f"{repository} needs the package datasets (extra `hub`), or a local file by data.path"
        ) from None
    try:
        return load_dataset(repository, split="train")
    except Exception as error:  # the hub client raises many kinds
        raise FormalMathError(
            f"{repository} cannot be had ({type(error).__name__}): give a local file by data.path"
        ) from None


def digest(problems: Iterable[Problem]) -> str:
    """SHA-256 of all ids and statements."""
    hasher = hashlib.sha256()
    for p in problems:
        hasher.update(f"{p.id}\0{p.lean}\0".encode())
    return hasher.hexdigest()
