"""A model behind an OpenAI-compatible endpoint: OpenAI itself, a vLLM server, Ollama, llama.cpp, OpenRouter.

The openai package makes the connection; retries are the client's, so the package's own are off. Replies are read from
their bytes: what the package would make of a broken one is not what happened.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from ..backend import CallError, Capabilities
from ..completion import Completion
from ..errors import ModelError
from ..limits import Limits
from ..request import Request
from .chat_json import body_of, completion_of
from .http_errors import error_of
from .servers import SERVERS, narrowed, server_of
from .sse import Assembly

BASE_URL, KEY_ENV = "https://api.openai.com/v1", "OPENAI_API_KEY"
LONG = 2000  # tokens; longer completions are streamed, so that silence can be told from work
IDLE_S = 120.0
# what the package tells a server about this machine with each call
TELLING = ("Lang", "Package-Version", "OS", "Arch", "Runtime", "Runtime-Version", "Async")
TELLING_EACH = ("retry-count", "read-timeout")
CHATTY = ("openai", "httpx2", "httpx", "httpcore2", "httpcore")


class OpenAI:
    """Chat completions of one model at one endpoint.

    Args:
        model: as the endpoint calls it.
        base_url: up to and with its /v1.
        api_key_env: the environment variable that holds the key, read at the first call. None: OPENAI_API_KEY at
            OpenAI, no key elsewhere.
        server: openai, vllm, ollama, llamacpp, openrouter or other, which decides what may be asked; None: by address.
        max_tokens_field: the body's field for `sampling.max_tokens`; None: as the server has it.
        allow_http: plain http to other machines, where a key would travel in the open.
        on_text: called in the client's thread with (request, piece of text) as it comes; turns streaming on.

    Raises:
        ModelError: an address that is none, holds a password, or is plain http to another machine; an unknown server.
    """

    name = "openai"
    batch = 1

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str | None = None,
        server: str | None = None,
        max_tokens_field: str | None = None,
        allow_http: bool = False,
        on_text: Callable[[Request, str], None] | None = None,
    ) -> None:
        if not isinstance(model, str) or not model:
            raise ModelError(f"model must be the name that the endpoint knows, not {model!r}")
        self.model, self.on_text = model, on_text
        self.base_url = _checked_url(base_url or BASE_URL, allow_http)
        self._key_env = api_key_env or (KEY_ENV if server_of(self.base_url) == "openai" else None)
        kind = server or server_of(self.base_url)
        if kind not in SERVERS:
            raise ModelError(f"server must be one of {', '.join(SERVERS)}, not {kind!r}")
        entry = narrowed(kind, model)
        self.capabilities: Capabilities = entry.capabilities
        self._max_tokens_field = max_tokens_field or entry.max_tokens
        self._limits = Limits()
        self._client: Any = None
        parts = urlsplit(self.base_url)
        self._address = urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))
        self._query = dict(parse_qsl(parts.query))
        self._where = f"{self.model} at {parts.netloc}"

    def configure(self, limits: Limits) -> None:
        """Takes the client's times."""
        self._limits = limits

    def secrets(self) -> list[str]:
        """What must not be written anywhere."""
        key = os.environ.get(self._key_env or "")
        return [key] if key else []

    def identity(self) -> Mapping[str, Any]:
        return {"backend": self.name, "base_url": self._address, "model": self.model}

    async def complete(self, request: Request) -> Completion:
        """One attempt. Raises CallError."""
        client = (self._client or self._connect()).chat.completions.with_raw_response
        body = body_of(request, self.model, self._max_tokens_field)
        try:
            if self._streams(request):
                return await self._streamed(client, body, request)
            raw = await client.create(model=self.model, messages=(), extra_body=body, extra_headers=self._headers)
            return self._completion(raw.http_response, request)
        except CallError:
            raise
        except Exception as error:
            raise self._error(error) from error

    def complete_many(self, requests: Sequence[Request]) -> list[Completion | CallError]:
        raise NotImplementedError("an endpoint answers one request a call")

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def _streams(self, request: Request) -> bool:
        long = (request.sampling.max_tokens or 0) > LONG
        return long or self._limits.idle_s is not None or self.on_text is not None

    def _connect(self) -> Any:
        """The package's client, made in the event loop that uses it."""
        try:
            import openai
        except ImportError as error:
            raise ModelError("the backend openai needs the package openai, which is not installed") from error
        try:
            import httpx2 as http  # under openai 3
        except ImportError:
            import httpx as http  # type: ignore[no-redef]

        key = "none"
        if self._key_env is not None:
            key = os.environ.get(self._key_env, "").strip()
            if not key:
                raise CallError(
                    "bad_request",
                    f"the environment variable {self._key_env}, which api_key_env names, is not set",
                    stops="credentials",
                )
        for name in CHATTY:
            if logging.getLogger(name).level == logging.NOTSET:
                logging.getLogger(name).setLevel(logging.WARNING)
        limits = self._limits
        self._openai, self._http = openai, http
        self._headers: dict[str, Any] = {f"x-stainless-{name}": openai.omit for name in TELLING_EACH}
        self._client = openai.AsyncOpenAI(
            base_url=self._address,
            default_query=self._query,
            api_key=key,
            max_retries=0,
            timeout=http.Timeout(limits.total_s, connect=limits.connect_s),
            default_headers=dict.fromkeys([f"X-Stainless-{name}" for name in TELLING], openai.omit),  # type: ignore[arg-type]
            http_client=openai.DefaultAsyncHttpxClient(
                limits=http.Limits(max_connections=None, max_keepalive_connections=None),  # the client counts
                follow_redirects=False,
                # a proxy of the environment is for other machines
                trust_env=not _is_loopback(self.base_url),
            ),
        )
        return self._client

    def _completion(self, response: Any, request: Request) -> Completion:
        if 300 <= response.status_code < 400:
            raise error_of(self._where, response.status_code, "", response.headers)
        try:
            reply = json.loads(response.content)
        except ValueError as error:
            said = "an empty body" if not response.content else "what is not JSON"
            raise CallError("malformed", f"{self._where} answered with {said}", 200, retry=True) from error
        self._raise_error_in(reply, response.headers)
        return completion_of(reply, request, self.name, self.model, self._where)

    async def _streamed(self, client: Any, body: dict[str, Any], request: Request) -> Completion:
        limits, http = self._limits, self._http
        idle = limits.idle_s or IDLE_S
        timeout = http.Timeout(limits.total_s, connect=limits.connect_s, read=idle)
        stream = await client.create(
            model=self.model,
            messages=(),
            stream=True,
            stream_options={"include_usage": True},
            extra_body=body,
            extra_headers=self._headers,
            timeout=timeout,
        )
        response = stream.http_response
        assembly = Assembly(self._where)
        try:
            async for line in response.aiter_lines():
                event = assembly.line(line)
                if event is None:
                    continue
                self._raise_error_in(event, response.headers)
                piece = assembly.add(event)
                if piece and self.on_text is not None:
                    self.on_text(request, piece)
                if assembly.ended:
                    break
        finally:
            await response.aclose()
        return completion_of(assembly.reply(), request, self.name, self.model, self._where)

    def _raise_error_in(self, reply: Any, headers: Mapping[str, str]) -> None:
        """Some servers answer 200 and put the error into the body."""
        error = reply.get("error") if isinstance(reply, Mapping) else None
        if not error:
            return
        code = error.get("code") if isinstance(error, Mapping) else None
        status = code if isinstance(code, int) and 300 <= code < 600 else 500
        raise error_of(self._where, status, reply, headers)

    def _error(self, error: Exception) -> Exception:
        openai, http = self._openai, self._http
        if isinstance(error, openai.APIStatusError):
            body = error.body if error.body is not None else error.response.text
            return error_of(self._where, error.status_code, body, error.response.headers)
        cause = error.__cause__ if isinstance(error, openai.APIConnectionError) else error
        if isinstance(error, openai.APITimeoutError) or isinstance(cause, http.TimeoutException):
            if isinstance(cause, http.ConnectTimeout):
                words = f"no connection to {self._where} within {self._limits.connect_s:g} s (limits.connect_s)"
                return CallError("connection", words, retry=True)
            return CallError("timeout", f"{self._where} was silent for too long (limits.idle_s)", retry=True)
        if isinstance(cause, http.HTTPError):
            detail = str(cause).strip() or type(cause).__name__
            if "complete message body" in detail or "chunked read" in detail:
                return CallError("malformed", f"{self._where} broke off its answer", 200, retry=True)
            return CallError("connection", f"cannot reach {self._where}: {detail}", retry=True)
        return error


def _checked_url(base_url: str, allow_http: bool) -> str:
    try:
        parts = urlsplit(base_url.rstrip("/"))
        port_is_one = parts.port is None or parts.port > 0
    except ValueError:
        parts, port_is_one = urlsplit(""), False
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_one:
        raise ModelError(f"base_url must be an address such as {BASE_URL}, not {base_url!r}")
    if parts.username or parts.password:
        raise ModelError(
            "base_url may not hold a name or password: put the key into the variable that api_key_env names"
        )
    if parts.scheme == "http" and not allow_http and not _is_loopback(base_url):
        raise ModelError(
            f"plain http to {parts.hostname} would send key and prompts in the open: use https, or set allow_http=true"
        )
    return base_url.rstrip("/")


def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
