"""What OpenAI-compatible servers take: their ways differ, and what they do not know they refuse or, worse, ignore."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import urlsplit

from ..backend import Capabilities

Kind = Literal["openai", "vllm", "ollama", "llamacpp", "openrouter", "other"]


@dataclass(frozen=True, slots=True)
class Server:
    """A kind of server: what may be asked of it, and the name of the field that bounds a completion."""

    capabilities: Capabilities
    max_tokens: str = "max_tokens"


SERVERS: dict[str, Server] = {
    "openai": Server(Capabilities(seed=True, logprobs=20, schema=True, images=True), "max_completion_tokens"),
    "vllm": Server(
        Capabilities(
            top_k=True,
            min_p=True,
            seed=True,
            reasoning_effort=True,
            logprobs=20,
            prefix=True,
            choices=True,
            schema=True,
            images=True,
        )
    ),
    # its compatible layer drops what it does not know without a word, log-probabilities among it in many versions
    "ollama": Server(Capabilities(seed=True, reasoning_effort=True, schema=True, images=True)),
    "llamacpp": Server(Capabilities(top_k=True, min_p=True, seed=True, logprobs=100, schema=True, images=True)),
    "openrouter": Server(
        Capabilities(top_k=True, min_p=True, seed=True, reasoning_effort=True, logprobs=20, schema=True, images=True)
    ),
    "other": Server(Capabilities(seed=True, reasoning_effort=True, logprobs=20, images=True)),
}
# models that reason before they answer: OpenAI's refuse every setting of the sampler
REASONING = re.compile(r"(o\d|gpt-5(?!.*chat))")


def server_of(base_url: str) -> Kind:
    """The kind of server that an address tells; "other" where it tells none."""
    parts = urlsplit(base_url)
    host = (parts.hostname or "").lower()
    if host == "api.openai.com":
        return "openai"
    if host == "openrouter.ai":
        return "openrouter"
    return "ollama" if parts.port == 11434 else "other"


def narrowed(kind: str, model: str) -> Server:
    """The server's entry, narrowed for models known to take less."""
    found = SERVERS[kind]
    if kind == "openai" and REASONING.match(model):
        fewer = replace(
            found.capabilities, temperature=False, top_p=False, stop=False, logprobs=None, reasoning_effort=True
        )
        return replace(found, capabilities=fewer)
    return found
