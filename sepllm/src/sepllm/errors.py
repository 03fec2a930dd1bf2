"""The one error that the package raises on purpose."""

from __future__ import annotations


class SepLLMError(ValueError):
    """A refusal; its message is one sentence that says what is wrong, where, and what is allowed."""


def whole(name: str, value: object, least: int) -> None:
    """Refuse anything but a whole number of at least `least`."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise SepLLMError(f"{name} must be a whole number of at least {least}, not {value!r}")


def one_of(name: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise SepLLMError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
