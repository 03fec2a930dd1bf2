"""Values of any mapping or sequence type as the dicts and lists that JSON knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def plain(value: Any) -> Any:
    """Mappings as dicts with text keys, sequences as lists, the rest as it is."""
    if isinstance(value, str | bytes):
        return value
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, Sequence) else value
