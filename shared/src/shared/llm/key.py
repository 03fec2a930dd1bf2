"""The key of a request: equal keys are one completion, in a batch, in a cache and in a recording.

A key is the SHA-256 of all that decides an answer, as canonical JSON: what the backend says of itself, every part of
the request with null for what is not set, the number of the draw, and the user's salt. It holds neither a path nor a
version of a library, so that a file of answers serves on every machine. A recording's keys leave backend and salt out:
the file tells once, at its beginning, who answered.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from .errors import RequestError
from .messages import Image, Text
from .plain import plain
from .request import Request, Sampling

FORMAT = 1
SAMPLING = tuple(f.name for f in fields(Sampling))
# read off the class, so that a new field cannot be forgotten; tag is the caller's own mark
REST = tuple(f.name for f in fields(Request) if f.name not in ("messages", "sampling", "tag"))


def question(request: Request) -> dict[str, Any]:
    """All of a request but its tag, as plain JSON values; pictures by their identity or the SHA-256 of their bytes."""
    return {
        "messages": [{"role": m.role, "parts": [_part(p) for p in m.parts]} for m in request.messages],
        "sampling": {name: plain(getattr(request.sampling, name)) for name in SAMPLING},
        **{name: plain(getattr(request, name)) for name in REST},
    }


def key_material(identity: Mapping[str, Any], request: Request, salt: str = "") -> dict[str, Any]:
    """What a key is made of. `identity` is the backend's, empty in recordings."""
    return {"format": FORMAT, "backend": plain(identity), "salt": salt, **question(request)}


def request_key(identity: Mapping[str, Any], request: Request, salt: str = "") -> str:
    """The key, 64 hexadecimal digits."""
    return digest(canonical(key_material(identity, request, salt)))


def question_key(asked: Mapping[str, Any]) -> str:
    """The key that a recording has for what `question` gave."""
    return digest(canonical({"format": FORMAT, "backend": {}, "salt": "", **asked}))


def canonical(material: Any) -> str:
    """JSON with sorted keys and no blanks; ASCII alone.

    Raises:
        RequestError: a value that JSON does not have.
    """
    try:
        return json.dumps(material, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RequestError(f"sampling.extra and schema must hold JSON values alone: {error}") from error


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _part(part: Text | Image) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"text": part.text}
    known = {"identity": part.identity} if part.identity else {"sha256": part.digest}
    return {"image": known, "media_type": part.media_type, "detail": part.detail}
