"""Language models for the papers. Nothing heavy is imported before it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import ModelError

if TYPE_CHECKING:
    from .causal_lm import load_causal_lm

__all__ = ["ModelError", "load_causal_lm"]


def __getattr__(name: str) -> Any:
    if name == "load_causal_lm":
        from .causal_lm import load_causal_lm

        return load_causal_lm
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
