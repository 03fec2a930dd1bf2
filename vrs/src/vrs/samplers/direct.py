"""Direct sampling (arXiv 2506.09998, Fig. 2 left): describe the target, ask for one sample.

n independent calls with the same prompt. The share of ones p̃ is off by the model's own bias, e = p̃ − p.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..asking import Ways
from ..wording import Worded
from .base import OneCall


@dataclass(frozen=True)
class Direct(OneCall):
    """One call a draw. `question` says how a sample is asked for: in words, or after examples (`InContext`)."""

    name: ClassVar[str] = "direct"

    def ways(self, target: Any) -> Ways:
        return Ways(self.question.ways(target))


@dataclass(frozen=True)
class DirectCheck(OneCall):
    """A control that reviewers asked for: the model looks at its own draw and keeps or drops it, with no proposal Q.

    It has the outer form of accepting and rejecting without its reason, all in one reply: what VRS gains over it is
    not owed to a second look. The check comes before the answer, so that there is no exact form.
    """

    name: ClassVar[str] = "direct_check"

    def ways(self, target: Any) -> Ways:
        return Ways(self.words.checked(target))


@dataclass(frozen=True)
class Constrained(Direct):
    """Direct sampling held to the labels: the answer is one of them, at once, whatever else the model would write.

    What the restriction hides, the mass that the labels had before it, is told by `exact`.
    """

    name: ClassVar[str] = "constrained"

    def __post_init__(self) -> None:
        if isinstance(self.question, Worded) and not self.question.forced:
            object.__setattr__(self, "question", replace(self.question, forced=True))
