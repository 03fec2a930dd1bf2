"""What the adapters learn: one file a task, all under one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from ..errors import OFTError


@dataclass(frozen=True, slots=True)
class Example:
    """One thing to learn from or to be asked.

    What `prompt` and `target` are depends on the task's form:

        chat   what the user says, and what the model is to answer (no end token, no template)
        text   an empty prompt, and running text
        pair   a document, and its summary, for an encoder-decoder
    """

    prompt: str
    target: str
    system: str | None = None  # system prompt of the chat form


@runtime_checkable
class Task(Protocol):
    """A source of examples, and the score of answers to them.

    Examples depend on the seed and on nothing else. No training example is among the test or dev examples, whatever
    seeds they were asked with.
    """

    name: str
    form: str  # chat, text or pair
    metrics: tuple[str, ...]  # what `score` gives; the first is the one to choose a learning rate by
    max_new_tokens: int  # an answer is cut here

    def train_examples(self, seed: int) -> Sequence[Example]: ...

    def dev_examples(self, seed: int) -> Sequence[Example]: ...

    def test_examples(self, seed: int) -> Sequence[Example]: ...

    def score(self, examples: Sequence[Example], answers: Sequence[str]) -> dict[str, float]:
        """The metrics of these answers; empty for a task that is scored by its loss alone."""
        ...


TASKS = {
    "wordproblems": ("wordproblems", "WordProblems"),
    "gsm8k": ("gsm8k", "GSM8K"),
    "wikitext": ("wikitext", "WikiText"),
    "openr1": ("openr1", "OpenR1"),
    "xsum": ("xsum", "XSum"),
    "cnndm": ("cnndm", "CNNDailyMail"),
    "guanaco": ("guanaco", "Guanaco"),
}


def make_task(name: str, **options: Any) -> Task:
    """The task of this name; options are the fields of its class.

    `dreambooth` trains on pictures and has no such examples: see dreambooth.py.

    Raises:
        OFTError: unknown name or option, or an option's value that the task does not allow.
    """
    if name not in TASKS:
        raise OFTError(f"task must be one of {', '.join(TASKS)}, not {name!r}")
    module, kind = TASKS[name]
    task = getattr(import_module(f".{module}", __package__), kind)
    unknown = sorted(set(options) - set(task.__dataclass_fields__))
    if unknown:
        allowed = ", ".join(sorted(task.__dataclass_fields__)) or "none"
        raise OFTError(f"task {name} has no option {unknown[0]!r}: it has {allowed}")
    return task(**options)
