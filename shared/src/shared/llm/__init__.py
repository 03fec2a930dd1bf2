"""Language models for the papers. Nothing heavy is imported before it is asked for.

    from shared.llm import Request, Sampling, open_llm, system, user

    with open_llm({"backend": "openai", "model": "gpt-4.1-nano", "cache": {"path": "completions.sqlite"}}) as llm:
        requests = [Request((system("Be brief."), user("A fruit?")), Sampling(max_tokens=8), draw=d) for d in range(9)]
        results = llm.complete(requests)  # a Completion or a Failure for each, in their order
        for place, result in llm.as_completed(requests):  # as they come, each already in the cache
            print(place, result.text if result.ok else result.message)

`open_llm(settings)` takes what a Hydra group `llm/` holds (settings.py lists it): backend (openai, transformers,
vllm, replay or fake), model, sampling, cache, record, recording, limits, prices, capabilities, options.
`LLM(backend, ...)` is the same by hand; `acomplete` and `aas_completed` are for callers with an event loop.

    Request(messages, sampling, draw=0, prefix=None, choices=None, schema=None, tag="")
    user(text, Image.read("a.png"), ...)   system(text)   assistant(text)
    Completion .text .finish .reasoning .usage .tokens .choice_logprobs .source .cost .data   .ok is True
    Failure    .kind .message .status .attempts .usage                                        .ok is False

`llm.choice_logprobs(request, choices)`, `llm.estimate(requests)` (no call), `llm.stats()`, `llm.capabilities`,
`independence_probe(llm)`. ModelError, RequestError and RecordingError are refusals in one sentence; Stopped ends a
batch that cannot go on, and the same batch goes on from there.

Recordings (recording.py): `record: path` writes what a run was answered, `backend: replay` with `recording: path`
answers from it and from nothing else. Answers collected by hand become a recording in three steps (prompts.py):

    1. run with llm.backend=replay llm.recording=R.jsonl llm.options.pending=prompts.jsonl, or call
       write_prompts("prompts.jsonl", requests): every prompt that lacks an answer, with its key
    2. answer each; keep the words: {"key": ..., "text": ...} a line of answers.jsonl, or a file answers/<key>.txt
    3. shared-llm record build prompts.jsonl answers.jsonl R.jsonl --source "..." --model "..." --date 2025-01-31
       shared-llm record check prompts.jsonl R.jsonl
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import ModelError, RecordingError, RequestError, Stopped

if TYPE_CHECKING:
    from .backend import Capabilities
    from .cache import Cache
    from .causal_lm import load_causal_lm
    from .client import LLM, Estimate
    from .completion import Completion, Failure, Result, Source, Usage
    from .limits import Limits
    from .messages import Image, Message, Text, assistant, system, user
    from .prices import Prices
    from .probe import Probe, independence_probe
    from .prompts import build_recording, write_prompts
    from .recording import Header, Recording
    from .request import Request, Sampling
    from .settings import open_llm
    from .stats import Stats

_HOMES = {
    "backend": ("Capabilities",),
    "cache": ("Cache",),
    "causal_lm": ("load_causal_lm",),
    "client": ("LLM", "Estimate"),
    "completion": ("Completion", "Failure", "Result", "Source", "Usage"),
    "limits": ("Limits",),
    "messages": ("Image", "Message", "Text", "assistant", "system", "user"),
    "prices": ("Prices",),
    "probe": ("Probe", "independence_probe"),
    "prompts": ("build_recording", "write_prompts"),
    "recording": ("Header", "Recording"),
    "request": ("Request", "Sampling"),
    "settings": ("open_llm",),
    "stats": ("Stats",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "LLM",
    "Cache",
    "Capabilities",
    "Completion",
    "Estimate",
    "Failure",
    "Header",
    "Image",
    "Limits",
    "Message",
    "ModelError",
    "Prices",
    "Probe",
    "Recording",
    "RecordingError",
    "Request",
    "RequestError",
    "Result",
    "Sampling",
    "Source",
    "Stats",
    "Stopped",
    "Text",
    "Usage",
    "assistant",
    "build_recording",
    "independence_probe",
    "load_causal_lm",
    "open_llm",
    "system",
    "user",
    "write_prompts",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return __all__
