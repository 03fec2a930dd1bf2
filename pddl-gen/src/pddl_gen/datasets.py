"""Items from files of the user: a folder, potassco's IPC instances, LLM+P, Planetarium. None of their text is here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .errors import PDDLGenError
from .items import Item, nl2domain, nl2problem, prob2domain

LARGEST = 4 << 20  # bytes of a file that is read


def read(path: Path) -> str:
    """A text file; bytes that are not UTF-8 are read as Windows-1252.

    Raises:
        PDDLGenError: it cannot be read, or is too large.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise PDDLGenError(f"{path} has more than {LARGEST:,} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise PDDLGenError(f"cannot read {path}: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")


def folder_of(path: Any) -> Path:
    found = Path(str(path)).expanduser()
    if not found.is_dir():
        raise PDDLGenError(f"data.path must be a folder, and {found} is none")
    return found


def from_folder(path: Any, task: str) -> list[Item]:
    """A user's own world: `description.md` or `.txt` for nl2domain, `problems/*.pddl` or `problem*.pddl` (the first is
    shown, the rest are held out), and optionally `domain.pddl`, a reference to compare with."""
    root = folder_of(path)
    problems = [read(p) for p in sorted([*root.glob("problems/*.pddl"), *root.glob("problem*.pddl")])]
    reference = read(root / "domain.pddl") if (root / "domain.pddl").is_file() else None
    if task == "prob2domain":
        if not problems:
            raise PDDLGenError(f"{root} has no problem: put one into problem.pddl or problems/")
        return [prob2domain(root.name, problems[0], reference, tuple(problems[1:] or problems))]
    texts = [p for p in (root / "description.md", root / "description.txt") if p.is_file()]
    if not texts:
        raise PDDLGenError(f"{root} has no description.md or description.txt")
    shown = problems[0] if problems else None
    return [nl2domain(root.name, read(texts[0]), reference, shown, tuple(problems[1:] or problems))]


def from_ipc(path: Any, task: str) -> list[Item]:
    """potassco/pddl-instances: 283 variants with a single domain.pddl (nl2domain), 332 in all (prob2domain). Equal
    domains, after comments, case and blanks are removed, form one group."""
    root = folder_of(path)
    variants = sorted(
        {p.parent for p in root.glob("ipc-*/domains/*/README.md")}
        | {p.parent for p in root.glob("ipc-*/domains/*/instances")}
    )
    if not variants:
        raise PDDLGenError(f"{root} is no clone of potassco/pddl-instances: it has no ipc-*/domains/*/instances")
    found = []
    for variant in variants:
        name = f"{variant.parents[1].name}/{variant.name}"
        single = variant / "domain.pddl"
        reference = read(single) if single.is_file() else None
        group = normal_sha(reference) if reference is not None else name
        if task == "nl2domain":
            if reference is None:
                continue
            readme = read(variant / "README.md") if (variant / "README.md").is_file() else ""
            match = re.search(r"##+ *Domain Description\s*\n(.*?)(?=\n##? |\Z)", readme, re.DOTALL | re.IGNORECASE)
            found.append(nl2domain(name, (match.group(1) if match else readme).strip(), reference, group=group))
        else:
            instances = sorted(variant.glob("instances/instance-*.pddl"), key=_numbers)
            if instances:
                found.append(prob2domain(name, read(instances[0]), reference, group=group))
    return found


def _numbers(path: Path) -> list[int]:
    return [int(n) for n in re.findall(r"\d+", path.name)]


def normal_sha(text: str) -> str:
    """SHA-256 of a PDDL text without comments, case and superfluous blanks."""
    plain = re.sub(r";[^\n]*", "", text).lower()
    return hashlib.sha256(re.sub(r"\s*([()])\s*", r"\1", " ".join(plain.split())).encode()).hexdigest()


def from_llmp(path: Any, *, example: bool = True, action_names: bool = False) -> list[Item]:
    """Cranial-XIX/llm-pddl: a folder a domain with `domain.nl`, `domain.pddl`, `p_example.pddl`, `p01.pddl` ..."""
    root = folder_of(path)
    base = root / "domains" if (root / "domains").is_dir() else root
    found = []
    for folder in sorted(p for p in base.iterdir() if (p / "domain.nl").is_file() and (p / "domain.pddl").is_file()):
        problems = tuple(read(p) for p in sorted(folder.glob("p[0-9]*.pddl")))
        domain = promoted(read(folder / "domain.pddl"), problems)
        shown = read(folder / "p_example.pddl") if example and (folder / "p_example.pddl").is_file() else None
        names = re.findall(r"\(\s*:action\s+(\S+)", domain) if action_names else None
        found.append(nl2domain(folder.name, read(folder / "domain.nl"), domain, shown, problems, action_names=names))
    if not found:
        raise PDDLGenError(f"{root} is no clone of Cranial-XIX/llm-pddl: no folder in it has domain.nl and domain.pddl")
    return found


def promoted(domain: str, problems: Sequence[str]) -> str:
    """The domain with those objects of its problems as constants that it names without declaring them."""
    from .parse import parse_domain, parse_problem
    from .syntax import print_domain

    parsed = parse_domain(domain)
    lacking = {d.found for d in parsed.diagnostics if d.code == "constant-undeclared" and d.found}
    if not lacking or parsed.value is None or not problems:
        return domain
    first = parse_problem(problems[0]).value
    for name in sorted(lacking):
        if first is not None and name in first.objects:
            parsed.value.constants[name] = first.objects[name]
    return print_domain(parsed.value)


def from_rows(path: Any, columns: Mapping[str, str]) -> list[Item]:
    """Planetarium as JSON lines (a file, or a data set of the hub by its id): text to problem.

    Raises:
        PDDLGenError: a column that the rows have not, with those they have.
    """
    where = Path(str(path)).expanduser()
    if where.is_file():
        rows = [json.loads(line) for line in read(where).splitlines() if line.strip()]
    else:
        try:
            from datasets import load_dataset
        except ImportError:
            raise PDDLGenError(f"{path} is no file, and a data set of the hub needs the package datasets") from None
        rows = list(load_dataset(str(path), split="test"))
    if not rows:
        raise PDDLGenError(f"{path} has no rows")
    for role in ("id", "text", "problem", "domain"):
        if columns.get(role) not in rows[0]:
            have = ", ".join(sorted(rows[0]))
            raise PDDLGenError(f"data.columns.{role} = {columns.get(role)!r} is no column; there are {have}")
    return [
        nl2problem(str(r[columns["id"]]), r[columns["text"]], r[columns["domain"]], r[columns["problem"]]) for r in rows
    ]
