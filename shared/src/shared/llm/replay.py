"""A backend that answers from a recording and from nothing else: no network, no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .backend import CallError, Capabilities
from .completion import Completion
from .errors import RecordingError
from .key import question, question_key
from .nearest import nearest
from .prompts import write_prompts
from .recording import Header, Recording
from .request import Request


class ReplayBackend:
    """Answers requests that are in a recording; any other is refused, with the nearest one that is there.

    Args:
        recording: what it answers from.
        pending: a path; what is missing of a batch is written there before it is refused (see prompts.py), so that it
            can be answered and added to the recording.
    """

    name = "replay"
    batch = 1

    def __init__(self, recording: Recording, *, pending: Path | str | None = None) -> None:
        self.recording, self.pending = recording, pending
        self.model = recording.header.model
        self.capabilities = Capabilities(
            top_k=True,
            min_p=True,
            seed=True,
            reasoning_effort=True,
            logprobs=100,
            prefix=True,
            choices=True,
            choice_logprobs=True,
            schema=True,
            images=True,
        )

    @classmethod
    def open(cls, path: Path | str, *, pending: Path | str | None = None) -> ReplayBackend:
        """Of a file. With `pending` it need not be there yet."""
        if pending is not None and not Path(path).expanduser().exists():
            nobody = Header("nothing, as nothing is recorded yet", "nobody", "-")
            return cls(Recording(Path(path), nobody, {}), pending=pending)
        return cls(Recording.open(path), pending=pending)

    def identity(self) -> Mapping[str, Any]:
        return {}  # a recording's keys leave it out

    def require(self, requests: Sequence[Request]) -> None:
        """Raises RecordingError where requests are missing; says how many, and what is nearest to the first."""
        missing = self.recording.missing(requests)
        if not missing:
            return
        asked = question(missing[0])
        there = ((key, line["request"]) for key, line in self.recording.entries.items())
        tagged = f" ({missing[0].tag})" if missing[0].tag else ""
        words = f"{self.recording.path} lacks {len(missing)} of {len(requests)} requests; of the first{tagged} "
        words += nearest(asked, there)
        if self.pending is not None:
            count = write_prompts(self.pending, missing)
            words += f"; {count} prompts that need an answer are in {self.pending}"
        raise RecordingError(words)

    async def complete(self, request: Request) -> Completion:
        """The recorded completion. Raises RecordingError where there is none."""
        self.require([request])
        key = question_key(question(request))
        return self.recording.get_many([key])[key]

    def complete_many(self, requests: Sequence[Request]) -> list[Completion | CallError]:
        raise NotImplementedError("a recording is looked up")

    async def close(self) -> None:
        pass
