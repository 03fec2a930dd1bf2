"""What a request asks for against what the backend can do, before the first call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .backend import Capabilities
from .budget import Budget
from .errors import RequestError
from .request import Request
from .structured import check_schema

# fields of Sampling that need a capability of the same name
SETTINGS = ("temperature", "top_p", "top_k", "min_p", "max_tokens", "stop", "seed", "reasoning_effort", "extra")
PARTS = ("prefix", "choices")  # of Request, likewise
SCHEMAS = 64  # that are remembered as well formed


class Checks:
    """Refuses what cannot be had."""

    def __init__(self, name: str, capabilities: Capabilities, budget: Budget) -> None:
        self._name, self._can, self._budget = name, capabilities, budget
        self._denied_settings = [s for s in SETTINGS if not getattr(capabilities, s)]
        self._denied_parts = [p for p in PARTS if not getattr(capabilities, p)]
        self._schemas: dict[int, Mapping[str, Any]] = {}  # by id; held, so that no other object takes the id

    def __call__(self, place: int, request: Request) -> None:
        """Raises RequestError, naming the request's place in its batch and the option."""
        if not isinstance(request, Request):
            raise RequestError(f"request {place} is a {type(request).__name__}, not a Request")
        try:
            self._sampling(request)
            self._parts(request)
            self._budget.check(request)
        except RequestError as error:
            raise RequestError(f"request {place}: {error}") from error

    def _sampling(self, request: Request) -> None:
        sampling = request.sampling
        for name in self._denied_settings:
            if getattr(sampling, name) not in (None, (), {}):
                raise self._lacks(f"sampling.{name}")
        if sampling.logprobs is None:
            return
        most = self._can.logprobs
        if most is None:
            raise self._lacks("sampling.logprobs")
        if sampling.logprobs > most:
            raise RequestError(
                f"{self._name} reports at most {most} alternatives a token, and sampling.logprobs is "
                f"{sampling.logprobs}"
            )

    def _parts(self, request: Request) -> None:
        for name in self._denied_parts:
            if getattr(request, name) is not None:
                raise self._lacks(name)
        schema = request.schema
        if schema is not None and id(schema) not in self._schemas:
            check_schema(schema)
            if len(self._schemas) == SCHEMAS:
                self._schemas.clear()
            self._schemas[id(schema)] = schema
        if not (self._can.system and self._can.images):
            for message in request.messages:
                if message.role == "system" and not self._can.system:
                    raise self._lacks("system message")
                if message.images and not self._can.images:
                    raise self._lacks("picture")

    def _lacks(self, what: str) -> RequestError:
        return RequestError(f"{self._name} takes no {what}: leave it out, or use another backend")
