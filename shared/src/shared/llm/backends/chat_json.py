"""Chat completions as JSON: a request's body, and a reply's meaning."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..backend import CallError
from ..completion import Completion, Source, TokenLogprob, Usage
from ..messages import Image, Message, Text
from ..plain import plain
from ..request import Request

NO_USAGE = Usage()


def body_of(request: Request, model: str, max_tokens_field: str) -> dict[str, Any]:
    """What is sent. Settings that are None are not in it."""
    s = request.sampling
    body: dict[str, Any] = {"model": model, "messages": [_message(m) for m in request.messages]}
    for name in ("temperature", "top_p", "top_k", "min_p", "seed", "reasoning_effort"):
        if (value := getattr(s, name)) is not None:
            body[name] = value
    if s.max_tokens is not None:
        body[max_tokens_field] = s.max_tokens
    if s.stop:
        body["stop"] = list(s.stop)
    if s.logprobs is not None:
        body["logprobs"] = True
        body["top_logprobs"] = s.logprobs
    if request.prefix is not None:
        body["messages"].append({"role": "assistant", "content": request.prefix})
        body |= {"add_generation_prompt": False, "continue_final_message": True}
    if request.choices is not None:
        body["structured_outputs"] = {"choice": list(request.choices)}
    if request.schema is not None:
        body["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": plain(request.schema)},
        }
    return body | dict(s.extra)


def completion_of(reply: Any, request: Request, backend: str, model: str, where: str) -> Completion:
    """The completion in a reply's JSON.

    Raises:
        CallError: no choices, or no log-probabilities although they were asked for.
    """
    choices = reply.get("choices") if isinstance(reply, Mapping) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise CallError("malformed", f"{where} answered without choices", 200, retry=True)
    choice = choices[0]
    message = choice.get("message")
    if not isinstance(message, Mapping):
        raise CallError("malformed", f"{where} answered without a message", 200, retry=True)
    usage = usage_of(reply.get("usage"))
    finish = str(choice.get("finish_reason") or "stop")
    text = _whole(_text(message.get("content")))
    refusal = message.get("refusal")
    if refusal and not text:
        text, finish = str(refusal), "refusal"
    elif finish == "content_filter":
        finish = "refusal"
    tokens = None
    if request.sampling.logprobs is not None:
        tokens = _tokens(choice.get("logprobs"))
        if tokens is None and text:
            raise CallError(
                "bad_request",
                f"{where} was asked for log-probabilities and sent none: set capabilities.logprobs=null, or use "
                "another server",
                200,
                usage=usage,
            )
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    reported = reply.get("model")
    identifier = reply.get("id")
    return Completion(
        text,
        finish,
        _whole(reasoning) if isinstance(reasoning, str) else None,
        usage,
        tokens,
        model_reported=reported if isinstance(reported, str) else None,
        source=Source("live", backend, model, datetime.now(UTC).isoformat(timespec="seconds")),
        request_id=identifier if isinstance(identifier, str) else None,
    )


def usage_of(usage: Any) -> Usage:
    """Tokens as the endpoint tells them."""
    if not isinstance(usage, Mapping):
        return NO_USAGE
    prompt = usage.get("prompt_tokens_details")
    completion = usage.get("completion_tokens_details")
    return Usage(
        _count(usage.get("prompt_tokens")),
        _count(prompt.get("cached_tokens")) if isinstance(prompt, Mapping) else None,
        _count(usage.get("completion_tokens")),
        _count(completion.get("reasoning_tokens")) if isinstance(completion, Mapping) else None,
    )


def _message(message: Message) -> dict[str, Any]:
    if len(message.parts) == 1 and isinstance(message.parts[0], Text):
        return {"role": message.role, "content": message.parts[0].text}
    return {"role": message.role, "content": [_part(part) for part in message.parts]}


def _part(part: Text | Image) -> dict[str, Any]:
    if isinstance(part, Text):
        return {"type": "text", "text": part.text}
    url: dict[str, Any] = {"url": part.data_uri()}
    if part.detail is not None:
        url["detail"] = part.detail
    return {"type": "image_url", "image_url": url}


def _text(content: Any) -> str:
    if isinstance(content, list):  # some servers send parts
        return "".join(str(p.get("text") or "") for p in content if isinstance(p, Mapping))
    return "" if content is None else str(content)


def _whole(text: str) -> str:
    """The text with halves of surrogate pairs joined or, where one is alone, replaced: JSON can spell them, and a
    stream may bring them apart, but no file can hold them."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _tokens(logprobs: Any) -> tuple[TokenLogprob, ...] | None:
    entries = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    if not isinstance(entries, list) or not entries:
        return None
    try:
        return tuple(
            TokenLogprob(
                e["token"],
                float(e["logprob"]),
                tuple((t["token"], float(t["logprob"])) for t in e.get("top_logprobs") or ()),
            )
            for e in entries
        )
    except (KeyError, TypeError, ValueError):
        return None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
