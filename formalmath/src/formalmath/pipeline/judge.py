"""Semantic verification by several language models that back-translate (paper §3.2, Appendix G): unanimous vote."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from ..errors import FormalMathError

RULES = ("unanimous", "at_least_k", "weighted")
MODES = ("direct", "two_step")
TOKEN = re.compile(r"(?<![\w/])(true|false)(?![\w/])", re.IGNORECASE)
FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)


def read_vote(text: str) -> str:
    """True, False or abstain: the last standalone True or False outside code; both in the last line, or none,
    abstains."""
    plain = FENCED.sub(" ", text)
    found = list(TOKEN.finditer(plain))
    if not found:
        return "abstain"
    line = plain[plain.rfind("\n", 0, found[-1].start()) + 1 :].partition("\n")[0]
    here = {m.group().lower() for m in TOKEN.finditer(line)}
    if len(here) > 1:
        return "abstain"
    return found[-1].group().capitalize()


@dataclass(frozen=True)
class Vote:
    """What the judges said of one statement; an abstention counts as not True and is kept apart."""

    ballots: Mapping[str, str]  # judge -> True, False, abstain
    accepted: bool


def decide(
    ballots: Mapping[str, str], rule: str = "unanimous", k: int = 1, weights: Mapping[str, float] | None = None
) -> Vote:
    """A vote by a rule: all True; at least k True; more than half of the weight True.

    Raises:
        FormalMathError: an unknown rule, no ballots, or a k that cannot be reached.
    """
    if rule not in RULES:
        raise FormalMathError(f"vote must be one of {', '.join(RULES)}, not {rule!r}")
    if not ballots:
        raise FormalMathError("a vote needs at least one judge")
    yes = [j for j, b in ballots.items() if b == "True"]
    if rule == "at_least_k":
        if not 1 <= k <= len(ballots):
            raise FormalMathError(f"vote.k must be from 1 to the number of judges, {len(ballots)}, not {k}")
        return Vote(ballots, len(yes) >= k)
    if rule == "weighted":
        w = weights or {}
        total = sum(w.get(j, 1.0) for j in ballots)
        return Vote(ballots, 2 * sum(w.get(j, 1.0) for j in yes) > total)
    return Vote(ballots, len(yes) == len(ballots))


@cache
def template(name: str) -> str:
    return (files("formalmath") / "pipeline" / "templates" / f"{name}.txt").read_text()


def judge_prompt(words: str, statement: str) -> str:
    return template("judge").format(words=words, statement=statement)


def vote_requests(pairs: Sequence[tuple[str, str, str]], sampling: Any, draws: int = 1) -> list[Any]:
    """Requests for (id, words, statement) triples, `draws` of each; the tag is id/draw."""
    from shared.llm import Request, user

    return [
        Request((user(judge_prompt(words, lean)),), sampling, draw=d, tag=f"{key}/{d}")
        for key, words, lean in pairs
        for d in range(draws)
    ]


def judge_equivalence(
    words: str, statement: str, judges: Mapping[str, Callable[[str, str], str]], rule: str = "unanimous", k: int = 1
) -> Vote:
    """One statement before all judges. A judge gives True, False or abstain; an endpoint's error is no vote and
    raises."""
    return decide({name: judge(words, statement) for name, judge in judges.items()}, rule, k)


def llm_judge(llm: Any, sampling: Any = None, mode: str = "direct") -> Callable[[str, str], str]:
    """A judge of a language model: one call, or two (one sees Lean alone and back-translates, the next compares words).

    Raises:
        FormalMathError: an unknown mode, or a call that failed for good.
    """
    from shared.llm import Request, Sampling, user

    if mode not in MODES:
        raise FormalMathError(f"judge.mode must be one of {', '.join(MODES)}, not {mode!r}")
    sampling = sampling or Sampling(temperature=0.0, max_tokens=1024)

    def ask(text: str) -> str:
        (result,) = llm.complete([Request((user(text),), sampling)])
        if not result.ok:
            raise FormalMathError(f"the judge {llm.model} does not answer ({result.kind}): {result.message}")
        return result.text

    def judge(words: str, statement: str) -> str:
        if mode == "direct":
            return read_vote(ask(judge_prompt(words, statement)))
        translation = ask(template("backtranslate").format(statement=statement))
        return read_vote(ask(template("compare").format(words=words, translation=translation)))

    return judge


def true_false_scores(llm: Any, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """log p(True) − log p(False) as the answer, for (words, statement) pairs: the judge of a model too small to
    reason."""
    from shared.llm import ModelError, Request, user

    asked = [
        Request(
            (user(template("judge_short").format(words=words, statement=lean)),),
            prefix="Verdict:",
            choices=(" True", " False"),
        )
        for words, lean in pairs
    ]
    found = [0.0] * len(asked)
    for place, result in llm.as_completed(asked):
        if not result.ok or result.choice_logprobs is None:
            raise ModelError("the judge does not tell the log-probabilities of its answers")
        found[place] = result.choice_logprobs[" True"] - result.choice_logprobs[" False"]
    return found
