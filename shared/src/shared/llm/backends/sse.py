"""Server-sent events of a streamed chat completion, put together to the reply that would have come in one piece."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..backend import CallError

TEXTS = ("content", "reasoning_content", "reasoning", "refusal")


class Assembly:
    """Takes the lines of a stream. Chunks that some servers send twice (role, end, usage) count once."""

    def __init__(self, where: str) -> None:
        self._where = where
        self.ended = False
        self._any = False
        self._finish: str | None = None
        self._texts: dict[str, list[str]] = {}
        self._logprobs: list[Any] = []
        self._rest: dict[str, Any] = {}

    def line(self, line: str) -> Any:
        """The JSON of an event's line; None for lines that hold none.

        Raises:
            CallError: a line cut short, or no JSON.
        """
        if not line.startswith("data:"):
            return None
        data = line[5:].strip()
        if data == "[DONE]":
            self.ended = True
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            raise CallError("malformed", f"{self._where} sent an event that is not JSON", 200, retry=True) from error

    def add(self, event: Any) -> str:
        """Takes an event in; returns its piece of the answer's text."""
        if not isinstance(event, Mapping):
            return ""
        for name in ("id", "model", "usage"):
            if event.get(name):
                self._rest[name] = event[name]  # usage: a running total in some servers, so the last one counts
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, Mapping) or choice.get("index") not in (0, None) or self._finish is not None:
            return ""
        self._any = True
        delta = choice.get("delta")
        piece = ""
        if isinstance(delta, Mapping):
            for name in TEXTS:
                if isinstance(text := delta.get(name), str) and text:
                    self._texts.setdefault(name, []).append(text)
                    piece = text if name == "content" else piece
        if isinstance(logprobs := choice.get("logprobs"), Mapping):
            self._logprobs += logprobs.get("content") or []
        if choice.get("finish_reason"):
            self._finish = str(choice["finish_reason"])
        return piece

    def reply(self) -> dict[str, Any]:
        """The reply in one piece.

        Raises:
            CallError: the stream broke off before its end.
        """
        if not self._any and self.ended:
            raise CallError("malformed", f"{self._where} answered without choices", 200, retry=True)
        if self._finish is None:
            raise CallError("malformed", f"{self._where} broke off its answer", 200, retry=True)
        message: dict[str, Any] = {name: "".join(pieces) for name, pieces in self._texts.items()}
        choice = {"message": message, "finish_reason": self._finish, "logprobs": {"content": self._logprobs}}
        return {**self._rest, "choices": [choice]}
