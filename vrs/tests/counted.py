"""The stand-in of `llm=fake` for tests that kill it: every call is told in a file before it is answered."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from vrs.oracle import Oracle, leaning

LOG = "VRS_TEST_CALLS"


def answer():
    """A biased oracle that appends a line to the file that the environment names: prompt, choices and draw, hashed."""
    oracle = Oracle(leaning)
    log = os.open(Path(os.environ[LOG]), os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def respond(request):
        key = repr((request.messages[-1].text, request.prefix, request.choices, request.draw))
        os.write(log, f"{hashlib.sha256(key.encode()).hexdigest()}\n".encode())
        return oracle(request)

    return respond
