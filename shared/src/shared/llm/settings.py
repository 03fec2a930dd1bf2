"""A client from plain settings: what a Hydra group `llm/` holds.

backend: openai            # openai, transformers, vllm, replay or fake
model: gpt-4.1-nano        # name, folder or hub id; a replay has the one that was recorded
base_url: null             # openai: up to and with /v1
api_key_env: null          # openai: the environment variable that holds the key
allow_http: false          # openai: plain http to other machines
sampling: {}               # fields of Sampling
cache: {path: null, mode: read_write, salt: ""}
record: null               # path of a recording to write
recording: null            # replay: path of the recording to read
limits: {}                 # fields of Limits
prices: {}                 # input, output, cached: USD for a million tokens
capabilities: {}           # fields of Capabilities that are otherwise than the backend says
options: {}                # further arguments of the backend
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from .backend import Backend, Capabilities
from .client import LLM
from .errors import ModelError, RequestError
from .limits import limits_from
from .plain import plain
from .prices import prices_from
from .request import sampling_from

BACKENDS = ("openai", "transformers", "vllm", "replay", "fake")
FIELDS = (
    "backend",
    "model",
    "base_url",
    "api_key_env",
    "allow_http",
    "sampling",
    "cache",
    "record",
    "recording",
    "limits",
    "prices",
    "capabilities",
    "options",
)
CACHE_FIELDS = ("path", "mode", "salt")
CACHE_FILE = "completions.sqlite"


def open_llm(settings: Mapping[str, Any], *, cache_dir: Path | str | None = None, progress: bool = True) -> LLM:
    """A client as the settings say; see the module.

    Args:
        settings: a mapping, also one of omegaconf.
        cache_dir: the folder of the cache where `cache.path` is not set. Without either there is no cache.
        progress: show a bar, or a line every half minute.

    Raises:
        RequestError: an unknown key, by its name, or a value outside its range.
        ModelError: the backend cannot be opened as asked.
        RecordingError: the recording cannot be read.
    """
    given = plain(settings)
    _known("llm", given, FIELDS)
    cache = given.get("cache") or {}
    _known("llm.cache", cache, CACHE_FIELDS)
    path = cache.get("path") or (Path(cache_dir) / CACHE_FILE if cache_dir is not None else None)
    limits, prices, sampling = (
        limits_from(given.get("limits")),
        prices_from(given.get("prices")),
        sampling_from(given.get("sampling")),
    )
    backend = _backend(given)
    backend.capabilities = _overridden(backend.capabilities, given.get("capabilities") or {})
    return LLM(
        backend,
        cache=path,
        cache_mode=_mode(cache.get("mode")),
        record=given.get("record"),
        limits=limits,
        prices=prices,
        salt=str(cache.get("salt") or ""),
        sampling=sampling,
        progress=progress,
    )


def _backend(given: Mapping[str, Any]) -> Backend:
    kind, model, options = given.get("backend"), given.get("model"), dict(given.get("options") or {})
    if kind not in BACKENDS:
        raise RequestError(f"llm.backend must be one of {', '.join(BACKENDS)}, not {kind!r}")
    _belongs(given, kind, "openai", ("base_url", "api_key_env", "allow_http"))
    _belongs(given, kind, "replay", ("recording",))
    try:
        if kind == "openai":
            from .backends.openai import OpenAI

            own = {
                name: given[name] for name in ("base_url", "api_key_env", "allow_http") if given.get(name) is not None
            }
            return OpenAI(_named(model), **own, **options)
        if kind == "transformers":
            from .backends.transformers import Local

            return Local(**({} if model is None else {"model": model}), **options)
        if kind == "vllm":
            from .backends.vllm import InProcess

            return InProcess(_named(model), **options)
        if kind == "replay":
            from .replay import ReplayBackend

            if not given.get("recording"):
                raise RequestError("llm.recording must be the path of a recording, and is not set")
            return ReplayBackend.open(given["recording"], **options)
        from .backends.fake import Fake

        return Fake(**({} if model is None else {"model": model}), **options)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise RequestError(f"llm.options do not fit the backend {kind}: {str(error).partition('() ')[2]}") from error


def _named(model: Any) -> str:
    if not isinstance(model, str) or not model:
        raise ModelError(f"llm.model must be the name of a model, not {model!r}")
    return model


def _belongs(given: Mapping[str, Any], kind: str, owner: str, names: tuple[str, ...]) -> None:
    if kind != owner and (stray := [name for name in names if given.get(name)]):
        raise RequestError(f"llm.{stray[0]} is a setting of the backend {owner}, and llm.backend is {kind}")


def _known(where: str, given: Any, names: tuple[str, ...]) -> None:
    if not isinstance(given, Mapping):
        raise RequestError(f"{where} must be a mapping, not {given!r}")
    if unknown := [name for name in given if name not in names]:
        raise RequestError(f"{where} has no setting {unknown[0]!r}; its settings are {', '.join(names)}")


def _overridden(capabilities: Capabilities, overrides: Any) -> Capabilities:
    _known("llm.capabilities", overrides, tuple(f.name for f in fields(Capabilities)))
    for name, value in overrides.items():
        number = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if name == "logprobs" and not (value is None or number):
            raise RequestError(f"llm.capabilities.logprobs must be a whole number from 0 or null, not {value!r}")
        if name != "logprobs" and not isinstance(value, bool):
            raise RequestError(f"llm.capabilities.{name} must be true or false, not {value!r}")
    return replace(capabilities, **overrides)


def _mode(mode: Any) -> str:
    """YAML reads a bare `off` as false."""
    return "read_write" if mode is None else "off" if mode is False else str(mode)
