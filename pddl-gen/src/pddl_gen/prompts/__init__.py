"""The prompts, as texts with slots: generate (appendix D, figure 1), critic and learner (iVML), planner (appendix F).

The words are ours, structure and slots the paper's. A version is frozen once answers to it have been recorded.
"""

from __future__ import annotations

import functools
import hashlib
import re
from pathlib import Path

from ..errors import PDDLGenError

VERSION = "v1"
NAMES = (
    "generate_nl2domain",
    "generate_prob2domain",
    "generate_nl2problem",
    "critic",
    "learner",
    "planner",
    "planner_critique",
)
SLOT = re.compile(r"\{\{([A-Z]+)\}\}")


@functools.cache
def template(name: str, version: str = VERSION) -> str:
    path = Path(__file__).parent / version / f"{name}.txt"
    if name not in NAMES or not path.is_file():
        raise PDDLGenError(f"there is no prompt {version}/{name}; prompts are {', '.join(NAMES)}")
    return path.read_text(encoding="utf-8")


def fill(name: str, version: str = VERSION, **slots: str) -> str:
    """The prompt with its slots filled; what is put into a slot is not searched for slots.

    Raises:
        PDDLGenError: unknown prompt, or slots that are not the template's.
    """
    text = template(name, version)
    wanted = set(SLOT.findall(text))
    if wanted != set(slots):
        raise PDDLGenError(
            f"the prompt {name} has the slots {', '.join(sorted(wanted))}, not {', '.join(sorted(slots))}"
        )
    return SLOT.sub(lambda match: slots[match.group(1)], text).rstrip() + "\n"


def digest(version: str = VERSION) -> str:
    """SHA-256 over all templates of a version."""
    joined = "\0".join(template(name, version) for name in NAMES)
    return hashlib.sha256(joined.encode()).hexdigest()
