"""Connections of an HTTP client, one a call under way, without a search for a free one.

httpx's own pool looks through all its connections, and asks each idle one's socket whether it still lives, each time a
call begins and each time one ends: with 64 connections that is half of what a call costs. Here idle connections lie
on a stack; the one used last is taken, as it is the least likely to have been closed by the server.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from typing import Any

try:
    import httpx2 as http  # under openai 3
except ImportError:
    import httpx as http  # type: ignore[no-redef]

KEEP_ALIVE_S = 5.0  # servers close idle connections after some seconds


class Lanes(http.AsyncBaseTransport):
    """A transport of single connections. `trust` says which servers' certificates are good."""

    def __init__(self, trust: ssl.SSLContext) -> None:
        self._trust = trust
        self._limits = http.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE_S)
        self._free: list[Any] = []
        self._all: list[Any] = []

    async def handle_async_request(self, request: http.Request) -> http.Response:
        lane = self._free.pop() if self._free else self._new()
        try:
            response = await lane.handle_async_request(request)
        except BaseException:
            self._free.append(lane)
            raise
        response.stream = _Body(response.stream, lane, self._free)
        return response

    async def aclose(self) -> None:
        for lane in self._all:
            await lane.aclose()

    def _new(self) -> Any:
        lane = http.AsyncHTTPTransport(verify=self._trust, limits=self._limits)
        self._all.append(lane)
        return lane


class _Body(http.AsyncByteStream):
    """A response's body, whose end frees its connection."""

    def __init__(self, body: Any, lane: Any, free: list[Any]) -> None:
        self._body, self._lane, self._free = body, lane, free

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._body:
            yield piece

    async def aclose(self) -> None:
        lane, self._lane = self._lane, None
        try:
            await self._body.aclose()
        finally:
            if lane is not None:
                self._free.append(lane)
