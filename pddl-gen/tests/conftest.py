from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from shared.llm.backend import Capabilities
from shared.llm.completion import Completion, Source, TokenLogprob, Usage
from shared.llm.request import Request

DATA = Path(os.environ.get("TENFOLD_DATA", Path(__file__).parents[2] / "../shared/data")) / "pddl-gen"


class Stub:
    """A backend that answers by a function of the request, and counts."""

    name, model, batch = "stub", "stub", 1

    def __init__(self, answer: Callable[[Request], str], logprob: Callable[[Request], float] | None = None) -> None:
        self.reply, self.logprob, self.seen = answer, logprob, []
        self.capabilities = Capabilities(logprobs=0)

    def identity(self) -> Mapping[str, Any]:
        return {"backend": "stub"}

    async def complete(self, request: Request) -> Completion:
        self.seen.append(request)
        text = self.reply(request)
        tokens = (TokenLogprob("", self.logprob(request)),) if self.logprob else None
        usage = Usage(prompt=10, completion=5)
        return Completion(text, usage=usage, tokens=tokens, source=Source("live", "stub", "stub", ""))

    def complete_many(self, requests: Sequence[Request]) -> list[Any]:
        raise NotImplementedError

    async def close(self) -> None:
        pass


@pytest.fixture
def data() -> Path:
    """Development data, which a checkout of this folder alone does not have."""
    if not DATA.is_dir():
        pytest.skip("needs ../shared/data/pddl-gen, which is not here")
    return DATA
