"""A chat endpoint on loopback that reads its prompts like the stand-in, and misbehaves as it is told."""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from shared.llm.messages import Message
from shared.llm.request import Request
from vrs.oracle import Oracle, leaning


@dataclass
class Behaviour:
    """`status` gives (status, headers) of call number n; `text` replaces the oracle's reply."""

    status: Callable[[int], tuple[int, dict[str, str]]] = lambda n: (200, {})
    text: str | None = None
    arrivals: list[float] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)  # headers and bodies
    lock: threading.Lock = field(default_factory=threading.Lock)


@contextlib.contextmanager
def endpoint(behaviour: Behaviour) -> Iterator[str]:
    """Base URL of the endpoint, as long as the block lasts."""
    oracle = Oracle(leaning)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            with behaviour.lock:
                number = len(behaviour.arrivals)
                behaviour.arrivals.append(time.monotonic())
                behaviour.seen.append(f"{self.headers}{body}")
            status, headers = behaviour.status(number)
            reply = {"error": {"message": "as the test wishes"}} if status >= 400 else answer(body, number)
            data = json.dumps(reply).encode()
            self.send_response(status)
            for name, value in {
                "content-type": "application/json",
                "content-length": str(len(data)),
                **headers,
            }.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(data)

        def log_message(self, *arguments: object) -> None:
            pass

    def answer(body: str, number: int) -> dict:
        messages = tuple(Message(m["role"], m["content"]) for m in json.loads(body)["messages"])
        # the endpoint is not told which draw this is
        found = oracle(Request(messages, draw=number))
        text = found if isinstance(found, str) else random.Random(number).choices(list(found), list(found.values()))[0]
        message = {"role": "assistant", "content": behaviour.text or text}
        usage = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {"id": f"c{number}", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]} | {
            "usage": usage
        }

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
