"""What an endpoint's error means: whether to try again, when, and whether any request can succeed."""

from __future__ import annotations

import email.utils
import re
import time
from collections.abc import Mapping
from typing import Any

from ..backend import CallError
from ..completion import FailureKind

LONGEST_QUOTED = 300  # characters of a server's own message
QUOTA = re.compile(r"insufficient.?(quota|credit|fund|balance)|exceeded your current quota|billing.?hard.?limit", re.I)
NO_MODEL = re.compile(
    r"model.?not.?found|model\b.{0,200}\b(does not exist|not found|is not available)|invalid model", re.I | re.S
)
TOO_LONG = re.compile(r"context.?length|maximum context|context window|prompt is too long|too many tokens", re.I)
REFUSED = re.compile(r"content.?(filter|policy|management)|moderation|safety system|flagged", re.I)
UNSUPPORTED = re.compile(
    r"unsupported|not supported|does not support|unrecognized|unknown|not permitted|extra inputs|unexpected", re.I
)
# fields of the body -> what sets them
SETTINGS = {
    "temperature": "sampling.temperature",
    "top_p": "sampling.top_p",
    "top_k": "sampling.top_k",
    "min_p": "sampling.min_p",
    "max_tokens": "options.max_tokens_field",
    "max_completion_tokens": "options.max_tokens_field",
    "stop": "sampling.stop",
    "seed": "sampling.seed",
    "reasoning_effort": "sampling.reasoning_effort",
    "top_logprobs": "sampling.logprobs",
    "logprobs": "sampling.logprobs",
    "response_format": "schema",
    "structured_outputs": "choices",
    "stream_options": "limits.idle_s",
}
DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?\Z")


def error_of(where: str, status: int, body: Any, headers: Mapping[str, str]) -> CallError:
    """The CallError for an error status, or for an error object in a body.

    `body` is the parsed JSON, or the text; `where` names endpoint and model for the sentence.
    """
    code, param, said = _parts(body)
    text = f"{code} {said}"
    words = f"{where} answered {status}" + (f": {said}" if said else "")
    if status == 402 or (status in (429, 403, 400) and QUOTA.search(text)):
        return CallError("rate_limit", words, status, stops="quota")
    if status in (400, 403, 451) and REFUSED.search(text):
        return CallError("refused", words, status)
    if status in (401, 403):
        return CallError("bad_request", f"{words}; check the key that api_key_env names", status, stops="credentials")
    if status in (400, 404) and NO_MODEL.search(text):
        return CallError("bad_request", words, status, stops="model")
    if 300 <= status < 400:
        to = headers.get("location", "another address")
        return CallError("bad_request", f"{where} redirects to {to}: set base_url to it", status, stops="model")
    if status == 413 or (status in (400, 422) and TOO_LONG.search(text)):
        return CallError("too_long", words, status)
    kinds: dict[int, FailureKind] = {408: "timeout", 409: "server", 429: "rate_limit"}
    if status in kinds or status >= 500:
        return CallError(kinds.get(status, "server"), words, status, retry=True, retry_after=retry_after(headers))
    if status == 404:
        words += "; is base_url right, with its /v1?"
    elif setting := _setting(param, said):
        words += f"; this is set by {setting}"
    return CallError("bad_request", words, status)


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds that the server asks to wait for; None where it does not say."""
    now = time.time() if now is None else now
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    asked = headers.get("retry-after")
    if asked is not None:
        seconds = _number(asked)
        if seconds is None:
            date = email.utils.parsedate_tz(asked)
            seconds = None if date is None else max(0.0, email.utils.mktime_tz(date) - now)
        if seconds is not None:
            return seconds
    resets = []
    for what in ("requests", "tokens"):
        seconds = _duration(headers.get(f"x-ratelimit-reset-{what}"), now)
        # a reset of what is not used up is no reason to wait
        if seconds is not None and _number(headers.get(f"x-ratelimit-remaining-{what}")) in (None, 0.0):
            resets.append(seconds)
    return max(resets, default=None)


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else -1.0
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None


def _duration(text: str | None, now: float) -> float | None:
    """Seconds in "1m30s", "20ms", "7" or a Unix time in seconds or milliseconds."""
    if not text:
        return None
    value = _number(text)
    if value is not None:
        if value > 1e12:
            value /= 1000
        return max(0.0, value - now) if value > 1e9 else value
    match = DURATION.match(text.strip())
    if match is None:
        return None
    hours, minutes, seconds, milliseconds = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + seconds + milliseconds / 1000


def _parts(body: Any) -> tuple[str, str, str]:
    """Code, parameter and message of an error body; servers nest them differently."""
    error = body.get("error", body) if isinstance(body, Mapping) else body
    if not isinstance(error, Mapping):
        return "", "", _sentence(error)
    said = error.get("message") or error.get("detail") or error.get("error") or ""
    code = " ".join(str(error.get(name)) for name in ("code", "type") if error.get(name) is not None)
    return code, str(error.get("param") or ""), _sentence(said)


def _sentence(said: Any) -> str:
    text = " ".join(str(said or "").split())
    if text.startswith("<"):
        return ""  # a proxy's page
    return text if len(text) <= LONGEST_QUOTED else text[: LONGEST_QUOTED - 3] + "..."


def _setting(param: str, said: str) -> str | None:
    """The setting that a 400 is about."""
    if param in SETTINGS:
        return SETTINGS[param]
    if UNSUPPORTED.search(said):
        for field, setting in SETTINGS.items():
            if re.search(rf"\b{field}\b", said):
                return setting
    return None
