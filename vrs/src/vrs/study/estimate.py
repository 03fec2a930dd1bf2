"""What a study will cost, before the first call: calls, tokens, money. Nothing here touches a network.

Expected calls are those of a model whose coin is true: M = 2·max(p, 1 − p) a draw for VRS, 1.50495 in the mean over the
paper's grid. A model that accepts less often needs more, and a few proposals a level go unused. Tokens of a prompt are
taken as a quarter of its characters, those of a reply by rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from shared.llm.completion import Completion

from ..errors import VRSError
from ..recognition import drawn_by_python
from ..samplers import VRS, Direct, Inversion, LogitExact, Sampler, VRSSimple
from ..targets import Bernoulli
from ..wording import Worded
from .run import sampler_of
from .settings import CurveSettings, Settings, equidistant

DIRECT_REPLY, JUDGE_REPLY = 200, 300  # completion tokens: a paragraph of reasoning and the answer
WORDS_A_TOKEN = 0.75
CHARACTERS_A_TOKEN = 4


@dataclass(frozen=True)
class Bill:
    """Expected calls and tokens."""

    calls: float = 0.0
    prompt: float = 0.0
    completion: float = 0.0

    def __add__(self, other: Bill) -> Bill:
        return Bill(self.calls + other.calls, self.prompt + other.prompt, self.completion + other.completion)

    def cost(self, prices: Mapping[str, float] | None) -> float | None:
        """USD, by prices for a million tokens; None without them.

        Raises:
            VRSError: prices that lack input or output.
        """
        if not prices:
            return None
        if not {"input", "output"} <= set(prices):
            raise VRSError(f"llm.prices need input and output, in USD for a million tokens, not {sorted(prices)}")
        return (self.prompt * prices["input"] + self.completion * prices["output"]) / 1e6


def estimated(settings: Settings) -> list[dict[str, Any]]:
    """A row for each sampler of the study, and the total."""
    bills: dict[str, Bill] = {}
    for curve in settings.study.curves:
        name = curve.sampler if curve.cot == "auto" else f"{curve.sampler}, {curve.cot} words"
        for phrasing in curve.wordings:
            made = sampler_of(curve, phrasing, None, settings.seed)
            targets = [Bernoulli(p) for p in curve.levels]
            if curve.exact:
                found = scored(made, targets)
            else:
                found = drawn(made, targets, int(curve.draws), reply_tokens(curve))
            bills[name] = bills.get(name, Bill()) + found
    bills |= recognised(settings)
    bills["total"] = sum(bills.values(), Bill())
    prices = settings.llm.get("prices")
    return [
        {
            "sampler": name,
            "calls": round(bill.calls),
            "prompt tokens": round(bill.prompt),
            "completion tokens": round(bill.completion),
            "cost, USD": "unknown" if (cost := bill.cost(prices)) is None else round(cost, 2),
        }
        for name, bill in bills.items()
    ]


def drawn(made: Sampler, targets: Sequence[Any], n: int, reply: int = DIRECT_REPLY) -> Bill:
    """n draws of each target, after a pilot where there is one; `reply` is the tokens of one completion."""
    total = Bill()
    if isinstance(made, Inversion):
        if made.estimator == "count":
            pilot = Direct(None, question=made.question)
            total += drawn(pilot, [Bernoulli(a) for a in made.levels], made.pilot, reply)
        made = replace(made, curve=tuple(float(a) for a in made.levels))
    if isinstance(made, LogitExact):
        made = replace(made, measured=tuple((repr(t), tuple(t.probabilities)) for t in targets))
    for target in targets:
        calls = made.plan(target).calls * n
        text, forced = first_prompt(made, target)
        total += Bill(calls, calls * len(text) / CHARACTERS_A_TOKEN, calls * (1 if forced else reply))
    return total


def scored(made: Sampler, targets: Sequence[Any]) -> Bill:
    """Exact scores: the questions are those that are asked, and none is asked twice."""
    asked: dict[Any, int] = {}

    def answers(requests: Iterable[Any]) -> Iterator[tuple[int, Completion]]:
        for place, r in enumerate(requests):
            asked[r.messages, r.prefix, r.choices] = len(r.messages[-1].text) + len(r.prefix or "")
            yield place, Completion("", choice_logprobs=dict.fromkeys(r.choices, np.log(0.99 / len(r.choices))))

    can = SimpleNamespace(choice_logprobs=True)
    nobody = SimpleNamespace(name="estimate", model="", capabilities=can, as_completed=answers)
    replace(made, llm=nobody).exact_many(targets)
    return Bill(len(asked), sum(asked.values()) / CHARACTERS_A_TOKEN, len(asked))


def recognised(settings: Settings) -> dict[str, Bill]:
    """The recognition matrices, and the numbers that the model draws for one of them."""
    wanted = settings.study.recognition
    if wanted is None:
        return {}
    levels = equidistant(wanted.levels)
    numbers = drawn_by_python(levels[:1], wanted.draws, 1, settings.seed)[0, 0].tolist()
    text = Worded(phrasing="P1").recognise(Bernoulli("0.5"), numbers)[0][1].messages[-1].text
    calls = len(wanted.sources) * wanted.repeats * wanted.levels**2
    bills = {"recognition": Bill(calls, calls * len(text) / CHARACTERS_A_TOKEN, calls * DIRECT_REPLY)}
    if "model" in wanted.sources:
        own = sampler_of(CurveSettings("direct", phrasings=("P1",)), "P1", None, settings.seed)
        bills["direct, for recognition"] = drawn(own, [Bernoulli(p) for p in levels], wanted.draws * wanted.repeats)
    return bills


def first_prompt(made: Sampler, target: Any, tries: int = 64) -> tuple[str, bool]:
    """The text of the first question that a sampler asks for a target, and whether its answer is forced.

    Empty where it asks none, as a hybrid does when every proposal is sure.
    """
    start = made.trials(target)
    for index in range(tries):
        trial = start(np.random.Generator(np.random.Philox(key=index)))
        try:
            ask = next(trial)[0]
        except StopIteration:
            continue
        finally:
            trial.close()
        return "\n".join(m.text for m in ask.messages) + (ask.prefix or ""), ask.forced
    return "", False


def reply_tokens(curve: CurveSettings) -> int:
    """Completion tokens of a reply; the slots around the reasoning take some ten."""
    if curve.cot != "auto":
        return 10 + round(int(curve.cot) / WORDS_A_TOKEN)
    made = sampler_of(curve, curve.wordings[0], None, 0)
    return JUDGE_REPLY if isinstance(made, VRS | VRSSimple) else DIRECT_REPLY
