"""Keeps API keys out of everything that is handed on: messages of failures, completions, and with them every file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from .completion import Completion
from .errors import RequestError

MARK = "[redacted]"
LEAST = 12  # characters; what is shorter ("EMPTY", "none") is no key, and may be a word of a prompt


class Redactor:
    """Replaces secrets by a mark. `secrets` is asked each time, as a key may be set after the client is made."""

    def __init__(self, secrets: Callable[[], list[str]] = list) -> None:
        self._ask = secrets

    @property
    def secrets(self) -> list[str]:
        return [secret for secret in self._ask() if len(secret) >= LEAST]

    def clean(self, text: str) -> str:
        for secret in self.secrets:
            text = text.replace(secret, MARK)
        return text

    def refuse(self, text: str) -> None:
        """Raises RequestError for a request, given as its JSON, that holds a secret."""
        if any(secret in text for secret in self.secrets):
            raise RequestError("a request holds the API key itself: take it out of the prompt and of sampling.extra")

    def completion(self, completion: Completion) -> Completion:
        """The completion without secrets, which a server may have echoed; its tokens then are dropped, too."""
        parts = (completion.text, completion.reasoning, completion.model_reported, completion.request_id)
        if not any(secret in part for secret in self.secrets for part in parts if part):
            return completion
        text, *rest = (part and self.clean(part) for part in parts)
        return replace(
            completion, text=text or "", reasoning=rest[0], model_reported=rest[1], request_id=rest[2], tokens=None
        )
