"""Prompts from templates.toml, the one file that holds every string sent to a model."""

from __future__ import annotations

import hashlib
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from shared.llm import Message, system, user

from .errors import SGPError
from .records import LETTERS, Item

FILE = Path(__file__).with_name("templates.toml")
STYLES = ("paper", "letter", "text")


@cache
def templates() -> dict[str, dict[str, str]]:
    """Without the newline with which a block begins."""
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    return {table: {k: v.removeprefix("\n") for k, v in rows.items()} for table, rows in tables.items()}


@cache
def templates_hash() -> str:
    """SHA-256 of the file; it is part of every result and of every cache key."""
    return hashlib.sha256(FILE.read_bytes()).hexdigest()


def fill(template: str, **values: str) -> str:
    """The template with its fields filled in, all at once: braces in a value stay what they are."""
    table, _, name = template.partition(".")
    try:
        return templates()[table][name].format(**values)
    except KeyError as error:
        raise SGPError(f"templates.toml has no {template!r} that takes {error}") from None


def question_field(item: Item) -> str:
    """The question field as the benchmark publishes it: instruction, program, question."""
    if item.field_text:
        return item.field_text
    kind = item.kind if item.kind in ("cad2d", "cad3d") else "svg"
    return fill(f"field.{kind}", program=item.program, question=item.question, hint=item.hint)


def messages(item: Item, style: str = "paper", system_message: str = "none") -> tuple[Message, ...]:
    """The conversation that asks an item.

    `paper` is the benchmark's own (think, then a last line `Answer: $LETTER`), `letter` and `text` ask small models
    for the letter or the option's words at once.

    Raises:
        SGPError: another style, or a style with options for an item that has none.
    """
    if style not in STYLES:
        raise SGPError(f"prompt must be one of {', '.join(STYLES)}, not {style!r}")
    options = dict(zip(LETTERS, item.options, strict=False))
    if item.kind == "mnist":
        if style != "paper":
            raise SGPError(f"prompt={style} needs options, and {item.question_id} is an open digit question")
        text = fill("ask.paper_digit", field=question_field(item))
    elif style == "paper":
        text = fill("ask.paper", field=question_field(item), **options)
    else:
        text = fill(f"ask.{style}", program=item.program, question=item.question, **options)
    head = fill(f"system.{system_message}")
    return ((system(head),) if head else ()) + (user(text),)


def record(**more: Any) -> dict[str, Any]:
    return {"templates_sha256": templates_hash(), **more}
