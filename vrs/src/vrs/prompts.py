"""The prompts: plain text templates in prompts/*.txt with named slots.

The wording is our own, after the paper's description of its prompts (arXiv 2506.09998, Fig. 2): one user message with
the descriptions, the task, and a strict format of labelled slots. `cot` sets what the Explanations slot asks for:

    "auto"   the paper's setting: an analysis of any length
    0        no Explanations slot: the answer at once, what exact scoring needs
    N > 0    about N words
"""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from shared.llm.messages import Message, system, user

from .errors import VRSError
from .phrasing import set_of

FOLDER = Path(__file__).parent / "prompts"
OUTPUT, DECISION, ANSWER, CANDIDATE, CHECK = "Output", "Decision", "Answer", "Candidate", "Check"
MOST_WORDS = 10_000

# template -> the slots that it has to have, all of them and no other
SLOTS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        name: frozenset(slots.split())
        for name, slots in {
            "direct": "target format",
            "direct_check": "target format",
            "vrs": "target proposal sample format",
            "vrs_m": "target proposal sample format",
            "recognition": "target count draws format",
            "ssot": "target demand",
            "ssot_string": "length",
            "verbalized": "target count demand",
            "sequence": "target count format",
            "tool": "target",
            "in_context": "outcomes",
            "format_reasoned": "length slots",
            "format_immediate": "slots",
        }.items()
    }
)

Cot = str | int
Messages = tuple[Message, ...]


def messages(name: str, instruction: str | None = None, **slots: Any) -> Messages:
    """The template `name` as a user's turn, after a system turn with `instruction` where one is given."""
    turn = user(render(name, **slots))
    return (turn,) if instruction is None else (system(instruction), turn)


def render(name: str, *, folder: Path | str = FOLDER, **slots: object) -> str:
    """The template `name` with its slots filled; `folder` reads it from another place than the package's own.

    Raises:
        VRSError: an unknown template; a template that lacks a slot, has one that is not known, or is no text; a slot
            that is not filled, or filled and not there.
    """
    template = _template(name, Path(folder))
    wanted = SLOTS[name]
    if missing := sorted(wanted - slots.keys()):
        raise VRSError(f"template {name} needs the slot {missing[0]!r}: its slots are {', '.join(sorted(wanted))}")
    if surplus := sorted(slots.keys() - wanted):
        raise VRSError(f"template {name} has no slot {surplus[0]!r}: its slots are {', '.join(sorted(wanted))}")
    return template.format_map({key: str(value) for key, value in slots.items()})


def strict_format(slots: Sequence[tuple[str, str]], cot: Cot = "auto") -> str:
    """The demand for a strict format: (label, what it must hold) pairs, after Explanations unless `cot` is 0."""
    lines = "\n".join(f"{label}: [{wanted}]" for label, wanted in slots)
    if cot == "auto":
        return render("format_reasoned", length="", slots=lines)
    if isinstance(cot, bool) or not isinstance(cot, int) or not 0 <= cot <= MOST_WORDS:
        raise VRSError(f"cot must be auto or a number of words from 0 to {MOST_WORDS}, not {cot!r}")
    if cot == 0:
        return render("format_immediate", slots=lines)
    return render("format_reasoned", length=f"; write about {cot} words here", slots=lines)


def demand(labels: Sequence[str] | None) -> str:
    """What the slot of an answer must hold."""
    if labels is None:
        return "must be a number"
    kind = "an integer in" if all(label.lstrip("-").isdecimal() for label in labels) else "one of"
    return f"must be {kind} {set_of(tuple(labels))}"


@cache
def _template(name: str, folder: Path) -> str:
    if name not in SLOTS:
        raise VRSError(f"there is no template {name!r}: the templates are {', '.join(SLOTS)}")
    path = folder / f"{name}.txt"
    try:
        text = path.read_text(encoding="utf-8").rstrip("\n")
        parts = list(string.Formatter().parse(text))
    except (OSError, UnicodeDecodeError) as error:
        raise VRSError(f"cannot read the template {path}: {error}") from error
    except ValueError as error:
        raise VRSError(f"template {path} is not well formed: {error}; a brace that is meant is doubled") from error
    # plain names only: a dot, an index or a conversion would reach into the values
    for _, slot, spec, conversion in parts:
        if slot is not None and (spec or conversion or slot not in SLOTS[name]):
            raise VRSError(
                f"template {path} has the slot {slot!r}: its slots are {', '.join(sorted(SLOTS[name]))}, as plain names"
            )
    if missing := sorted(SLOTS[name] - {slot for _, slot, _, _ in parts}):
        raise VRSError(f"template {path} lacks the slot {{{missing[0]}}}")
    return text
