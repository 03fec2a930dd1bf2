"""The refusals of the package: one sentence each."""

from __future__ import annotations


class SGPError(ValueError):
    """A refusal; its message is one sentence that says what is wrong, where, and what is allowed."""


class UnsafeSvg(SGPError):
    """A program that could read files, run scripts, or take the renderer's time or memory."""


class MalformedSvg(SGPError):
    """A program that is not SVG as its grammar has it."""


class CadError(SGPError):
    """A CAD program outside its dialect's grammar, or one that builds no solid."""


def sentence(error: BaseException | str, limit: int = 400) -> str:
    """A message on one line and of bounded length, whatever a foreign file put into it."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def quoted(value: object, limit: int = 40) -> str:
    """`repr` of a foreign value, shortened for a message."""
    text = value[: limit + 1] if isinstance(value, str) else repr(value)
    return sentence(repr(text) if isinstance(value, str) else text, limit)
