"""The one error that the package raises on purpose."""

from __future__ import annotations


class OFTError(ValueError):
    """A refusal; its message is one sentence that says what is wrong, where, and what is allowed."""


def sentence(error: BaseException | str, limit: int = 600) -> str:
    """A message on one line and of bounded length, whatever a foreign file or library put into it."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def quoted(value: object, limit: int = 80) -> str:
    """`repr` of a value from a foreign file, shortened for a message."""
    return sentence(repr(value), limit)
