"""A chat endpoint on loopback that misbehaves as it is told: a real server, real sockets, no transport is patched."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

CUT = object()  # a step: close the connection, whatever was promised


@dataclass
class Call:
    """A request as it came, and its number, from 0."""

    number: int
    path: str
    headers: Mapping[str, str]
    body: Any
    time: float = field(default_factory=time.monotonic)

    @property
    def text(self) -> str:
        return self.body["messages"][-1]["content"]


Step = bytes | float | object  # bytes to send, seconds to wait, or CUT
Answer = Callable[[Call], Sequence[Step]]


def chat(
    text: str | None = "fine", *, finish: str | None = "stop", usage: Any = (7, 3), **message: Any
) -> dict[str, Any]:
    """The JSON of a good reply."""
    told = None if usage is None else {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    choice = {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
    return {"id": "chat-1", "object": "chat.completion", "model": "m-2025", "choices": [choice], "usage": told}


def reply(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> list[Step]:
    """A whole response: JSON, or bytes as they are."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"content-type": "application/json", "content-length": str(len(data)), **(headers or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return [f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + data]


def failed(status: int, message: str = "no", headers: Mapping[str, str] | None = None, **error: Any) -> list[Step]:
    return reply({"error": {"message": message, **error}}, status, headers)


def stream(*events: Any, done: bool = True, cut: bool = False) -> list[Step]:
    """Server-sent events; a number among them is a pause."""
    steps: list[Step] = [b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"]
    for event in events:
        steps.append(event if isinstance(event, float | bytes) else f"data: {json.dumps(event)}\n\n".encode())
    if done:
        steps.append(b"data: [DONE]\n\n")
    if cut:
        steps.append(CUT)
    return steps


def delta(text: str | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    """One event of a stream."""
    content = {} if text is None else {"content": text}
    return {
        "id": "s-1",
        "model": "m-2025",
        "choices": [{"index": 0, "delta": {**content, **more}, "finish_reason": finish}],
    }


class Endpoint:
    """Answers each call by `answer(call)`, in a thread of its own. `with Endpoint(answer) as server: server.url`."""

    def __init__(self, answer: Answer = lambda call: reply(chat())) -> None:
        self.answer = answer
        self.calls: list[Call] = []
        self.most = 0  # calls at a time
        self._now = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Endpoint:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", 0), self._loop
        ).result(5)
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        return self

    def __exit__(self, *exception: object) -> None:
        self._loop.call_soon_threadsafe(self._end)
        self._thread.join(5)
        self._loop.close()

    def _end(self) -> None:
        self._server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.call_later(0.01, self._loop.stop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._answer_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin1").split("\r\n")
        headers = {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in head[1:] if line)}
        data = await reader.readexactly(int(headers.get("content-length", 0)))
        call = Call(len(self.calls), head[0].split(" ")[1], headers, json.loads(data or b"null"))
        self.calls.append(call)
        self._now += 1
        self.most = max(self.most, self._now)
        steps = self.answer(call)
        try:
            for step in steps:
                if isinstance(step, float):
                    await asyncio.sleep(step)
                elif isinstance(step, bytes):
                    writer.write(step)
                    await writer.drain()
                else:
                    writer.transport.abort()
                    return False
        finally:
            self._now -= 1
        return b"connection: close" not in steps[0] if isinstance(steps[0], bytes) else True
