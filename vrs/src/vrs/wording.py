"""How a question is put in words: phrasing, labels, length of reasoning, and whether the answer is forced.

A question has one or several wordings ("ways"), each with a weight. `relabel` makes more of them: `swap` asks half of
the time with the labels exchanged, `random_tokens` with opaque words in both orders, so that a liking for one token or
for the first one named cancels in the mean.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, Protocol

from shared.llm.request import Sampling

from .asking import Ask, Reading
from .errors import VRSError
from .parse import parse_line, parse_sequence, parse_slot, parse_tag, parse_verbalized
from .phrasing import RELABELLINGS, outcome_labels, phrasing
from .prompts import (
    ANSWER,
    CANDIDATE,
    CHECK,
    DECISION,
    OUTPUT,
    Cot,
    Messages,
    demand,
    messages,
    strict_format,
)
from .tool_call import evaluate

WeightedAsks = Sequence[tuple[float, Ask]]
Labels = tuple[str, ...] | None  # None: the outcomes are real numbers

LETTER = "one letter, T or F"
ACCEPT = (("T", 1), ("F", 0))
YES_NO = (("Yes", 1), ("No", 0))


class Question(Protocol):
    """A way to ask a model for one draw of a target."""

    def ways(self, target: Any) -> WeightedAsks:
        """The wordings with their weights; their answers are outcomes of the target."""
        ...

    def settings(self) -> Mapping[str, Any]:
        """What decides the wordings, as plain JSON values."""
        ...


@dataclass(frozen=True)
class Worded:
    """Questions from the templates in prompts/.

    Args:
        phrasing: how distributions are described; None takes each target's own.
        relabel: off, swap or random_tokens.
        cot: reasoning before the answer: "auto" of any length, N about N words, 0 none.
        system: a system message, or none.
        forced: the answer is one of the labels, straight after its slot; no reasoning (cot 0).
        sampling: how to draw; None leaves it as the model is set.
        seed: of opaque words and of the order of in-context draws.
        words: how many sets of opaque words random_tokens uses.

    Raises:
        VRSError: an unknown phrasing or relabelling, or a forced answer with reasoning before it.
    """

    phrasing: str | None = None
    relabel: str = "off"
    cot: Cot = "auto"
    system: str | None = None
    forced: bool = False
    sampling: Sampling | None = None
    seed: int = 0
    words: int = 4

    def __post_init__(self) -> None:
        if self.phrasing is not None:
            phrasing(self.phrasing)
        if self.relabel not in RELABELLINGS:
            raise VRSError(f"relabel must be one of {', '.join(RELABELLINGS)}, not {self.relabel!r}")
        if self.words < 1:
            raise VRSError(f"random_tokens needs at least 1 set of words, not {self.words}")
        if self.forced and self.cot not in ("auto", 0):
            raise VRSError(f"a forced answer comes at once, without reasoning: cot must be 0, not {self.cot!r}")
        if self.forced:
            object.__setattr__(self, "cot", 0)

    def settings(self) -> Mapping[str, Any]:
        found = {**vars(self), "sampling": None if self.sampling is None else asdict(self.sampling)}
        # how many sets of words there are matters to random_tokens alone
        return {k: v for k, v in found.items() if k != "words" or self.relabel == "random_tokens"}

    def ways(self, target: Any) -> WeightedAsks:
        """Direct sampling (Fig. 2, left): the answer is an outcome."""
        return self._drawn("direct", target)

    def checked(self, target: Any) -> WeightedAsks:
        """Direct sampling with a look at the own draw, and no proposal Q."""
        if self.forced:
            raise VRSError("direct_check writes a candidate and a check before its answer: it cannot be forced")
        return self._drawn("direct_check", target, check=True)

    def judge(self, P: Any, Q: Any, x: Any, *, with_m: bool = False) -> WeightedAsks:
        """Whether the proposal x is accepted (Fig. 2, right): 1 or 0. `with_m` tells to compute M first (VRS-M).

        Raises:
            VRSError: x is no outcome, or P and Q have different supports.
        """
        if P.support != Q.support:
            raise VRSError(f"target and proposal must have one support: {P!r} and {Q!r} differ")
        name = self.phrasing or P.default_phrasing
        found = []
        for weight, labels, seed in self._labellings(P):
            turn = self._messages(
                "vrs_m" if with_m else "vrs",
                target=P.describe(name, labels=labels, seed=seed),
                # another seed: example draws of Q should not stand in the order of P's
                proposal=Q.describe(name, labels=labels, seed=seed + 1),
                sample=_shown(P, x, labels),
                format=strict_format([(DECISION, LETTER)], self.cot),
            )
            found.append((weight, self._ask(turn, DECISION, ACCEPT, x=x)))
        return found

    def recognise(self, target: Any, draws: Sequence[Any]) -> WeightedAsks:
        """Whether the draws come from the target (Fig. 3): 1 or 0; None where no answer can be had."""
        found = []
        for weight, labels, seed in self._labellings(target):
            turn = self._messages(
                "recognition",
                target=self._told(target, labels, seed),
                count=len(draws),
                draws=", ".join(_shown(target, x, labels) for x in draws),
                format=strict_format([(ANSWER, "Yes or No")], self.cot),
            )
            found.append((weight, self._ask(turn, ANSWER, YES_NO, required=False)))
        return found

    def string_seed(self, target: Any) -> WeightedAsks:
        """String Seed of Thought: the model writes a string and reads the outcome off it."""
        return self._free("ssot", target, _read_answer)

    def random_string(self, length: int) -> WeightedAsks:
        """A random string of the model's, of which code makes the outcome."""
        turn = self._messages("ssot_string", length=length)
        return [(1.0, Ask(turn, partial(parse_tag, tag="random_string"), sampling=self.sampling))]

    def verbalized(self, target: Any, count: int) -> WeightedAsks:
        """Several results with probabilities; the value is a weight for each outcome of the support."""
        return self._free("verbalized", target, _read_weights, count=count)

    def sequence(self, target: Any, count: int) -> WeightedAsks:
        """Several draws in one reply; the value is a tuple of outcomes."""
        found = []
        for weight, labels, seed in self._listed(target):
            wanted = f"{count} values separated by commas, each {demand(labels).removeprefix('must be ')}"
            turn = self._messages(
                "sequence",
                target=self._told(target, labels, seed),
                count=count,
                format=strict_format([(OUTPUT, wanted)], self.cot),
            )
            read = partial(_read_list, labels=labels, support=target.support, most=count)
            found.append((weight, Ask(turn, read, sampling=self.sampling)))
        return found

    def tool(self, target: Any) -> WeightedAsks:
        """An expression that draws; the value is (its text, the labels it was asked for), once it is seen to work."""
        return self._free("tool", target, _read_expression)

    def _drawn(self, template: str, target: Any, *, check: bool = False) -> WeightedAsks:
        found = []
        for weight, labels, seed in self._labellings(target):
            slots = [(CANDIDATE, demand(labels)), (CHECK, LETTER)] if check else []
            form = strict_format([*slots, (OUTPUT, demand(labels))], self.cot)
            turn = self._messages(template, target=self._told(target, labels, seed), format=form)
            if labels is not None:
                ask = self._ask(turn, OUTPUT, tuple(zip(labels, target.support, strict=True)))
            elif self.forced:
                raise VRSError(f"a forced answer needs a finite support, which {target!r} has not")
            else:
                read = partial(parse_slot, kind="number")
                ask = Ask(turn, read, slot=f"{OUTPUT}:", sampling=self.sampling)
            found.append((weight, ask))
        return found

    def _free(self, template: str, target: Any, read: Callable[..., Reading], **slots: Any) -> WeightedAsks:
        found = []
        for weight, labels, seed in self._listed(target):
            told = {**slots, "target": self._told(target, labels, seed)}
            if template != "tool":
                told["demand"] = demand(labels)
            reader = partial(read, labels=labels, support=target.support)
            found.append((weight, Ask(self._messages(template, **told), reader, sampling=self.sampling)))
        return found

    def _ask(self, turn: Messages, slot: str, labels: Sequence[tuple[str, Any]], **more: Any) -> Ask:
        texts, values = tuple(label for label, _ in labels), tuple(value for _, value in labels)
        # a label that is how another begins ends in a newline, so that the two exclude one another
        nested = any(a != b and b.startswith(a) for a in texts for b in texts)
        return Ask(
            turn,
            partial(_read_slot, labels=texts, values=values),
            labels=tuple((f"{label}\n" if nested else label, value) for label, value in labels),
            prefix=f"{slot}: " if self.forced else None,
            slot=f"{slot}:",
            forced=self.forced,
            sampling=self.sampling,
            **more,
        )

    def _labellings(self, target: Any) -> Iterator[tuple[float, Labels, int]]:
        """(weight, labels in the order of the support, seed) of each wording."""
        if target.support is None:
            if self.relabel != "off":
                raise VRSError(f"{target!r} is continuous: it has no labels, and relabel must be off")
            yield 1.0, None, self.seed
        elif self.relabel == "random_tokens":
            for seed in range(self.seed, self.seed + self.words):
                labels = outcome_labels(target, self.phrasing, "random_tokens", seed)
                yield 0.5 / self.words, labels, seed
                yield 0.5 / self.words, labels[::-1], seed
        else:
            used = ("off",) if self.relabel == "off" else ("off", "swap")
            for relabel in used:
                yield 1 / len(used), outcome_labels(target, self.phrasing, relabel, self.seed), self.seed

    def _listed(self, target: Any) -> Iterator[tuple[float, tuple[str, ...], int]]:
        if target.support is None:
            raise VRSError(f"this question needs outcomes to list, and {target!r} is continuous: discretise it")
        for weight, labels, seed in self._labellings(target):
            assert labels is not None
            yield weight, labels, seed

    def _told(self, target: Any, labels: Labels, seed: int) -> str:
        return target.describe(self.phrasing, labels=labels, seed=seed)

    def _messages(self, template: str, **slots: Any) -> Messages:
        return messages(template, self.system, **slots)


def _shown(target: Any, x: Any, labels: Labels) -> str:
    """How a prompt writes the outcome x."""
    if labels is None:
        return f"{float(x):.6g}"
    try:
        return labels[target.support.index(x)]
    except ValueError:
        raise VRSError(f"{x!r} is no outcome of {target!r}") from None


def _read_slot(text: str, labels: tuple[str, ...], values: tuple[Any, ...]) -> Reading:
    if labels == ("T", "F"):
        return _read(parse_slot(text, "accept"), int)
    if labels == ("Yes", "No"):
        return _read(parse_slot(text, "yesno"), int)
    return _read(parse_slot(text, labels), values.__getitem__)


def _read_answer(text: str, labels: tuple[str, ...], support: tuple[Any, ...]) -> Reading:
    inside = parse_tag(text, "answer")
    return inside if inside.value is None else _read_slot(inside.value, labels, support)


def _read_weights(text: str, labels: tuple[str, ...], support: tuple[Any, ...]) -> Reading:
    return parse_verbalized(text, labels)


def _read_list(text: str, labels: tuple[str, ...], support: tuple[Any, ...], most: int) -> Reading:
    return _read(parse_sequence(text, labels, most), lambda places: tuple(support[place] for place in places))


def _read_expression(text: str, labels: tuple[str, ...], support: tuple[Any, ...]) -> Reading:
    found = parse_line(text)
    if found.value is None:
        return found
    try:
        for trial in range(8):
            outcome(found.value, random.Random(trial), labels, support)
    except VRSError as error:
        return Reading(reason=str(error))
    return Reading((found.value, labels))


def _read(parsed: Reading, meaning: Callable[[Any], Any]) -> Reading:
    return parsed if parsed.value is None else Reading(meaning(parsed.value))


def outcome(source: str, rng: random.Random, labels: tuple[str, ...], support: tuple[Any, ...]) -> Any:
    """The outcome that an expression draws, as a label or as a number.

    Raises:
        VRSError: the expression is not allowed, fails, or gives something else.
    """
    value = evaluate(source, rng)
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if str(value) in labels:
        return support[labels.index(str(value))]
    raise VRSError(f"the expression gives {str(value)[:40]!r}, which is none of the outcomes {', '.join(labels[:8])}")
