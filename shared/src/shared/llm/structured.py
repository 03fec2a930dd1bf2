"""Answers that are JSON of a given schema: parse, validate, and the words that ask for a repair.

A server that enforces schemas is checked all the same; some accept the setting and ignore it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from .errors import RequestError
from .messages import assistant, user
from .request import Request

REPAIRS = 2  # rounds, each a completion that is paid for
MOST_CHARACTERS = 1 << 20
FENCE = re.compile(r"\A\s*```[\w-]*[ \t]*\n(.*?)\n?[ \t]*```\s*\Z", re.DOTALL)


class Parsed(NamedTuple):
    """An answer's JSON, or what is wrong with it."""

    data: Any
    problem: str | None


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raises RequestError for what is no JSON schema."""
    try:
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for
    except ImportError as error:
        raise RequestError("a schema needs the package jsonschema, which is not installed") from error
    try:
        validator_for(schema).check_schema(schema)
    except SchemaError as error:
        place = "/".join(map(str, error.absolute_path)) or "its top"
        raise RequestError(f"the schema is no JSON schema: at {place}: {_short(error.message)}") from error
    if (far := next((ref for ref in _references(schema) if not ref.startswith("#")), None)) is not None:
        raise RequestError(f"the schema refers to {far!r}: references must stay within it (#/...)")


def parse(text: str, schema: Mapping[str, Any]) -> Parsed:
    """The JSON in an answer, which may stand in a code fence."""
    if len(text) > MOST_CHARACTERS:
        return Parsed(None, f"the answer has {len(text):,} characters, over the limit of {MOST_CHARACTERS:,}")
    fenced = FENCE.match(text)
    try:
        data = json.loads(fenced.group(1) if fenced else text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        return Parsed(None, f"the answer is not JSON: {error}")
    return Parsed(data, _problem(data, schema))


def repair(request: Request, answer: str, problem: str) -> Request:
    """The request that asks once more, with the answer and what is wrong with it."""
    words = (
        f"That answer cannot be used: {problem}. Reply with the corrected JSON alone, without any other text. "
        f"It must satisfy this JSON schema: {json.dumps(request.schema, ensure_ascii=False, default=dict)}"
    )
    said = (assistant(answer),) if answer.strip() else ()
    return replace(request, messages=(*request.messages, *said, user(words)), prefix=None)


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (v for k, v in value.items() if k in ("$ref", "$dynamicRef") and isinstance(v, str))
        value = list(value.values())
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _references(inner)


def _problem(data: Any, schema: Mapping[str, Any]) -> str | None:
    from jsonschema.exceptions import best_match
    from jsonschema.validators import validator_for
    from referencing import Registry

    # an explicit registry: the default one fetches references that it does not know from the network
    validator = validator_for(schema)(schema, registry=Registry())
    try:
        error = best_match(validator.iter_errors(data))
    except RecursionError:
        return "it is nested too deeply"
    except Exception as problem:
        if not type(problem).__module__.startswith(("jsonschema", "referencing")):
            raise
        raise RequestError(f"the schema refers to what it does not hold: {_short(str(problem))}") from problem
    if error is None:
        return None
    place = "/".join(map(str, error.absolute_path))
    return f"{'at ' + place if place else 'the whole'}: {_short(error.message)}"


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON number")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 300 else line[:297] + "..."
