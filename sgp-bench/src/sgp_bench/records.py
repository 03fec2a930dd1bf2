"""Items, questions and programs, and their files of JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import SGPError, quoted

LETTERS = "ABCD"
CATEGORIES = ("Semantics", "Count", "Color", "Shape", "Reasoning")
CAD_CATEGORIES = ("3D", "3Dcomplex", "2D")


class BadRow(SGPError):
    """A record that cannot be asked."""


@dataclass(frozen=True, slots=True)
class Item:
    """A program s, a question q about its picture, options and answer a.

    `answer` is a letter, or a digit in text where there are no options. `group` names the program: questions of one
    group share it. `version` is empty for the original, else what was done to the program; versions of one question
    share `question_id`.
    """

    question_id: str
    group: str
    program: str
    question: str
    options: tuple[str, ...]
    answer: str
    category: str
    kind: str = "svg"  # svg, cad2d, cad3d or mnist: which prompt it gets
    version: str = ""
    invariant: Mapping[str, bool] = field(default_factory=lambda: {"t": True, "r": True})
    hint: str = ""  # what a CAD dialect's commands mean
    field_text: str = ""  # of hub rows: the question field as published, used word for word
    about: str = ""  # what the question is about, such as the kind of icon
    ambiguous: bool = False  # two options are equal, as in a few published rows; kept to score as the paper does

    def __post_init__(self) -> None:
        where = f"question {quoted(self.question_id)}"
        if not self.program.strip():
            raise BadRow(f"{where} has no program")
        if not self.question.strip():
            raise BadRow(f"{where} has no question")
        if self.kind == "mnist":
            if self.options or self.answer not in tuple("0123456789"):
                raise BadRow(f"{where} must have a digit as answer and no options, not {quoted(self.answer)}")
            return
        if len(self.options) != 4 or not all(o.strip() for o in self.options):
            raise BadRow(f"{where} must have four options, and has {sum(bool(o.strip()) for o in self.options)}")
        if len({folded(o) for o in self.options}) < 4 and not self.ambiguous:
            raise BadRow(f"{where} has two options that are equal but for case and blanks")
        if len(self.answer) != 1 or self.answer not in LETTERS:
            raise BadRow(f"{where} must have an answer out of A, B, C and D, not {quoted(self.answer)}")

    @property
    def key(self) -> str:
        return f"{self.question_id}/{self.version}" if self.version else self.question_id

    @property
    def right(self) -> str:
        """The answer's text."""
        return self.options[LETTERS.index(self.answer)] if self.options else self.answer

    def to_json(self) -> dict[str, Any]:
        return {k: v for k, v in asdict(self).items() if v not in ("", (), {"t": True, "r": True}, False)}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Item:
        """The inverse of to_json.

        Raises:
            BadRow: fields that an item has not, or lacks.
        """
        try:
            return cls(**{**record, "options": tuple(record.get("options", ()))})
        except TypeError as error:
            raise BadRow(f"a record does not fit an item: {error}") from None


def folded(option: str) -> str:
    return " ".join(option.casefold().split())


def write_items(path: Path, items: Iterable[Item]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    beside.write_text("".join(json.dumps(i.to_json(), ensure_ascii=False) + "\n" for i in items), encoding="utf-8")
    beside.replace(path)


def read_items(path: Path, on_bad_row: str = "refuse") -> tuple[list[Item], list[str]]:
    """Items of a file of JSON lines, and what was wrong with those that were skipped.

    Raises:
        BadRow: a bad line under on_bad_row="refuse", with its number.
        SGPError: no such file, or another on_bad_row.
    """
    if on_bad_row not in ("refuse", "skip"):
        raise SGPError(f"on_bad_row must be refuse or skip, not {on_bad_row!r}")
    items, problems = [], []
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SGPError(f"cannot read {path}: {error}") from None
    for number, line in enumerate(lines, 1):
        try:
            items.append(Item.from_json(json.loads(line)))
        except (BadRow, json.JSONDecodeError, TypeError) as error:
            if on_bad_row == "refuse":
                raise BadRow(f"{path}, row {number}: {error}") from None
            problems.append(f"row {number}: {error}")
    return items, problems
