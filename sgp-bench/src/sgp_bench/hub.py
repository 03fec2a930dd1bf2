"""The published splits as items: from the Hugging Face hub, or from CSV, Parquet and JSON-lines files of their shape.

    sgp-bench/sgp-bench   svg, cad, inv, inv_t0 … inv_t4, inv_r0 … inv_r4    Question, A, B, C, D, Answer, Subject
    sgp-bench/sgp-mnist   mnist                                              Question, Answer

`Subject` is the category in today's release and the icon family in the first one; both are read.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .errors import SGPError, quoted
from .records import CAD_CATEGORIES, CATEGORIES, BadRow, Item

HUB = "sgp-bench/sgp-bench"
HUB_MNIST = "sgp-bench/sgp-mnist"
TRANSLATED = tuple(f"inv_t{k}" for k in range(5))
ROTATED = tuple(f"inv_r{k}" for k in range(5))
SPLITS = ("svg", "cad", "inv", *TRANSLATED, *ROTATED, "mnist")
ON_BAD_ROW = ("refuse", "skip", "keep")
ENDINGS = (".csv", ".csv.gz", ".parquet", ".jsonl")
_QUESTION = "\n\nQuestion: "
_CATEGORY = {c.casefold(): c for c in CATEGORIES} | {"colour": "Color", "colors": "Color", "counting": "Count"}
_CAD = {"3d": "3D", "2d": "2D"} | dict.fromkeys(
    ("3dcomplex", "3d_complex", "3d-complex", "3d_recon", "3drecon"), "3Dcomplex"
)


@dataclass
class Loaded:
    """Items of a split, and what was wrong with rows that were skipped or kept all the same."""

    items: list[Item]
    problems: list[str] = field(default_factory=list)


def load_items(source: str | Path, split: str, on_bad_row: str = "refuse", limit: int | None = None) -> Loaded:
    """The items of a split.

    Args:
        source: a hub id, a folder that holds sgp_<split> or <split> files, or one file.
        on_bad_row: refuse (name the first bad row), skip, or keep: rows with two equal options then stay, as the
            paper scores them, and other bad rows are skipped.
        limit: the first so many rows.

    Raises:
        BadRow: a bad row under on_bad_row="refuse".
        SGPError: an unknown split or option, or a source that cannot be read.
    """
    if split not in SPLITS:
        raise SGPError(f"a split is one of {', '.join(SPLITS)}, not {split!r}")
    if on_bad_row not in ON_BAD_ROW:
        raise SGPError(f"on_bad_row must be one of {', '.join(ON_BAD_ROW)}, not {on_bad_row!r}")
    loaded = Loaded([])
    for number, row in enumerate(_rows(str(source), split)):
        if limit is not None and number >= limit:
            break
        try:
            loaded.items.append(item_of(row, split, number, allow_equal=on_bad_row == "keep"))
        except BadRow as error:
            if on_bad_row == "refuse":
                raise BadRow(f"{source}, split {split}, row {number}: {error}") from None
            loaded.problems.append(f"row {number}: {error}")
    if not loaded.items:
        raise SGPError(f"the split {split} of {source} holds no usable row")
    ambiguous = [i.question_id for i in loaded.items if i.ambiguous]
    if ambiguous:
        loaded.problems.append(f"{len(ambiguous)} rows have two equal options and were kept")
    return loaded


def item_of(row: Mapping[str, Any], split: str, number: int, allow_equal: bool = False) -> Item:
    """A row as an item. Raises BadRow."""
    field_text = str(row.get("Question") or "")
    program, question = split_question(field_text)
    answer = str(row.get("Answer") if row.get("Answer") is not None else "").strip()
    subject = str(row.get("Subject") or "").strip()
    base = "inv" if split.startswith("inv") else split
    common: dict[str, Any] = {
        "question_id": f"{base}-{number}",
        "group": f"{base}-{hashlib.sha256(program.encode()).hexdigest()[:12]}",
        "program": program,
        "question": question,
        "field_text": field_text,
        "version": split if split != base else "",
    }
    if split == "mnist":
        return Item(**common, options=(), answer=answer, category="MNIST", kind="mnist")
    options = tuple(str(row.get(letter) if row.get(letter) is not None else "").strip() for letter in "ABCD")
    if split == "cad":
        category = _CAD.get(subject.casefold().replace(" ", ""), "")
        if not category:
            category = "2D" if re.search(r"\b2D\b", field_text.split("\n\n", 1)[0]) else "3D"
        kind = "cad2d" if category == "2D" else "cad3d"
    else:
        category, kind = _CATEGORY.get(subject.casefold(), "SVG"), "svg"
    about = subject if category == "SVG" else ""
    relational = re.search(
        r"\b(left|right|top|bottom|upper|lower|above|below|vertical|horizontal|position)", question, re.I
    )
    invariant = {"t": True, "r": not relational}
    return Item(**common, options=options, answer=answer.upper(), category=category, kind=kind, about=about,
                invariant=invariant, ambiguous=allow_equal and _equal(options))  # fmt: skip


def _equal(options: Sequence[str]) -> bool:
    return all(options) and len({" ".join(o.casefold().split()) for o in options}) < len(options)


def split_question(text: str) -> tuple[str, str]:
    """Program and question of a question field: between the first blank line and the last `Question: `.

    Raises:
        BadRow: a field of another shape.
    """
    _, gap, rest = text.partition("\n\n")
    program, mark, question = rest.rpartition(_QUESTION)
    if not gap or not mark or not program.strip() or not question.strip():
        raise BadRow(
            f"the field Question must be instruction, program, 'Question: ' and a question, not {quoted(text)}"
        )
    return program.strip(), question.strip()


def paired(originals: Sequence[Item], moved: Sequence[Item]) -> list[Item]:
    """The moved items of a perturbed split under the ids and programs' groups of the originals.

    Raises:
        SGPError: a moved row whose question or options are not those of the original in its place.
    """
    by_id = {i.question_id: i for i in originals}
    found = []
    for item in moved:
        original = by_id.get(item.question_id)
        if original is None or (item.question, item.options, item.answer) != (
            original.question, original.options, original.answer,
        ):  # fmt: skip
            raise SGPError(f"row {item.question_id} of {item.version} does not pair with the row of inv in its place")
        found.append(replace(item, group=original.group, category=original.category, invariant=original.invariant))
    return found


def _rows(source: str, split: str) -> Iterable[Mapping[str, Any]]:
    path = Path(source).expanduser()
    if path.is_dir():
        names = [f"{stem}{end}" for stem in (f"sgp_{split}", split, f"sgp_{split}_testset") for end in ENDINGS]
        there = [path / name for name in names if (path / name).is_file()]
        if not there:
            raise SGPError(f"{path} holds no file of the split {split}, such as {names[0]}")
        return _file_rows(there[0])
    if path.is_file():
        return _file_rows(path)
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", source):
        raise SGPError(f"{source} is neither a file, nor a folder, nor the id of a data set on the hub")
    return _hub_rows(source, split)


def _file_rows(path: Path) -> Iterable[Mapping[str, Any]]:
    try:
        if path.suffix == ".parquet":
            import pyarrow.parquet

            return pyarrow.parquet.read_table(path).to_pylist()
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        csv.field_size_limit(1 << 30)
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))
    except Exception as error:  # each reader has errors of its own
        raise SGPError(
            f"cannot read {path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        ) from None


def _hub_rows(name: str, split: str) -> Iterable[Mapping[str, Any]]:
    from datasets import load_dataset

    name = HUB_MNIST if split == "mnist" and name == HUB else name
    try:
        return load_dataset(name, split=split)  # type: ignore[return-value]
    except Exception as error:  # offline, renamed, gated: the hub's clients raise dozens of kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SGPError(f"cannot load the split {split} of {name} from the hub: {reason}") from None


def check_categories(items: Sequence[Item]) -> dict[str, int]:
    """How many items each category has; names of the paper first."""
    order = (*CATEGORIES, *CAD_CATEGORIES)
    counts: dict[str, int] = {}
    for item in items:
        counts[item.category] = counts.get(item.category, 0) + 1
    return dict(sorted(counts.items(), key=lambda c: (order.index(c[0]) if c[0] in order else len(order), c[0])))
