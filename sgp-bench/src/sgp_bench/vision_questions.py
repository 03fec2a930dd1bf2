"""The paper's construction: a vision model sees the picture and writes the questions; then the picture is dropped.

Each question is asked back to a vision model, picture before its eyes: only what it answers as it was written stays.
People looked at pairs in the paper; here `report.py` shows every picture beside its questions for that.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.llm import LLM, Completion, Estimate, Image, Request, Sampling, user

from .errors import SGPError
from .extract import extract_letter
from .prompts import fill
from .questions import arranged
from .records import CATEGORIES, LETTERS, BadRow, Item

SUBJECTS = {
    "Semantics": "meaning: what it shows as a whole or what a part of it is",
    "Count": "numbers: how many there are of something",
    "Color": "colors",
    "Shape": "shapes: which geometric form a part has",
    "Reasoning": "composition: how parts lie to one another, or what follows from what is seen",
}
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "question": {"type": "string"},
        "options": {"type": "array", "items": {"type": "string"}, "minItems": 4, "maxItems": 4},
        "answer": {"type": "string", "enum": list(LETTERS)},
    },
    "required": ["question", "options", "answer"],
    "additionalProperties": False,
}


@dataclass
class Built:
    """Items that passed, and what was wrong with the others."""

    items: list[Item] = field(default_factory=list)
    rejected: list[str] = field(default_factory=list)


def writing_requests(pictures: Mapping[str, bytes], categories: Sequence[str] = CATEGORIES) -> list[Request]:
    """One request a picture and category."""
    return [
        Request((user(fill("vision.questions", category=SUBJECTS[c]), Image(png, "image/png")),),
                Sampling(temperature=0.0, max_tokens=512), schema=SCHEMA, tag=f"{name}|{c}")
        for name, png in pictures.items() for c in categories
    ]  # fmt: skip


def estimate(llm: LLM, pictures: Mapping[str, bytes], categories: Sequence[str] = CATEGORIES) -> Estimate:
    """What writing would take, asked before the first call; asking back costs about as much again."""
    return llm.estimate(writing_requests(pictures, categories))


def build(
    llm: LLM,
    programs: Mapping[str, str],
    pictures: Mapping[str, bytes],
    *,
    confirm: bool = False,
    categories: Sequence[str] = CATEGORIES,
    seed: int = 0,
) -> Built:
    """Questions of every category about every picture, verified.

    Raises:
        SGPError: `confirm` is not set; the sentence says what it would cost.
    """
    if not llm.capabilities.images:
        raise SGPError(f"{llm.model} takes no pictures: vision questions need a vision model")
    if not confirm:
        e = estimate(llm, pictures, categories)
        cost = f"about {e.cost:.2f} USD" if e.cost is not None else "a cost that is not known without llm.prices"
        raise SGPError(
            f"writing questions takes {e.calls:,} calls, {e.prompt_tokens:,} prompt tokens and {cost}, asking back as "
            "much again: set data.confirm=true to go on"
        )
    built = Built()
    drafts: list[Item] = []
    requests = writing_requests(pictures, categories)
    for request, result in zip(requests, llm.complete(requests), strict=True):
        name, _, category = request.tag.partition("|")
        try:
            drafts.append(_item(result, name, programs[name], category, seed))
        except (BadRow, SGPError) as error:
            built.rejected.append(f"{name}, {category}: {error}")
    asked = [
        Request((user(fill("vision.verify", question=i.question, **dict(zip(LETTERS, i.options, strict=True))),
                      Image(pictures[i.group], "image/png")),), Sampling(temperature=0.0, max_tokens=16), tag=i.key)
        for i in drafts
    ]  # fmt: skip
    for item, result in zip(drafts, llm.complete(asked), strict=True):
        said = extract_letter(result.text, item.options).letter if isinstance(result, Completion) else None
        if said == item.answer:
            built.items.append(item)
        else:
            built.rejected.append(f"{item.key}: asked back, the model says {said or 'nothing'}, not {item.answer}")
    return built


def captions(llm: LLM, pictures: Mapping[str, bytes]) -> dict[str, str]:
    """A detailed description of each picture: the outputs of instruction data (SIT)."""
    requests = [
        Request(
            (user(fill("vision.caption"), Image(png, "image/png")),), Sampling(temperature=0.0, max_tokens=1024), tag=n
        )
        for n, png in pictures.items()
    ]
    results = zip(requests, llm.complete(requests), strict=True)
    return {q.tag: r.text for q, r in results if isinstance(r, Completion) and r.text.strip()}


def _item(result: Any, name: str, program: str, category: str, seed: int) -> Item:
    """Options shuffled anew, so that letters balance whatever the model prefers."""
    if not isinstance(result, Completion):
        raise BadRow(f"no reply ({result.kind})")
    try:
        data = result.data if result.data is not None else json.loads(result.text)
        options, right = [str(o) for o in data["options"]], LETTERS.index(data["answer"])
        question = str(data["question"])
    except (ValueError, KeyError, TypeError):
        raise BadRow("the reply is not the JSON that was asked for") from None
    if len(options) != 4:
        raise BadRow(f"the reply has {len(options)} options")
    rng = random.Random(f"{seed}/{name}/{category}")
    letter = rng.choice(LETTERS)
    return Item(
        f"{name}-{category}", name, program, question, arranged(options, options[right], letter, rng), letter, category
    )
