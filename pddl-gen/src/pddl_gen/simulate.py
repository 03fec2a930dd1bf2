"""The simulated strand: a backend that corrupts the reference by a known error model and answers in the true format.

Reader, checks, engine and ledger are the real ones; only the model is not. A fresh answer has Poisson(lambda) errors.
In each round the critic finds each error with probability r, the learner repairs a found one with probability q, and
puts in Poisson(nu) new ones; s = 1 - r q. Then (closed forms, for errors that are independent):

    P(success after T rounds)  = exp(-lambda s^T - nu (1 - s^T) / (1 - s))
    coverage of BoN-N          = 1 - (1 - exp(-lambda))^N
    BoN-N, then T rounds       = sum_k P(min of N Poisson(lambda) = k) (1 - s^T)^k exp(-nu (1 - s^T) / (1 - s))

An error is a literal that is missing from an action, or, for the share `syntax`, one whose predicate is not declared.
The log-likelihood of an answer is -errors plus Gaussian noise.
"""

from __future__ import annotations

import functools
import hashlib
import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.llm.backend import Capabilities
from shared.llm.completion import Completion, Source, TokenLogprob, Usage
from shared.llm.request import Request

from . import suite
from .check import conjuncts
from .extract import extract
from .items import Item
from .parse import parse_domain
from .prompts import fill
from .syntax import Domain, show

MARK = re.compile(r"Simulated item (\d+) of ([a-z]+)\.")
BOGUS = "zz-"  # before the name of a predicate that is not declared
LAMBDA = -math.log(0.219)  # of Qwen2.5-Coder-7B on NL2Domain, Table 2
GAMMA = {"nl2domain": (4.311, 0.4223), "prob2domain": (3.397, 0.6459)}  # shape, scale: fits of N = 1 and N = 8


@dataclass(frozen=True, slots=True)
class ErrorModel:
    """The knobs. `gamma` (shape, scale) draws a lambda for each item instead of one for all."""

    rate: float = LAMBDA
    found: float = 1.0  # r
    repaired: float = 0.3  # q
    new: float = 0.0  # nu
    syntax: float = 0.5
    noise: float = 0.0  # standard deviation of the log-likelihood's noise, in errors
    gamma: tuple[float, float] | None = None

    @property
    def stay(self) -> float:
        """s: the probability that an error outlives a round."""
        return 1.0 - self.found * self.repaired

    def single(self, rounds: int, rate: float | None = None) -> float:
        """P(success) of a chain from one answer."""
        s = self.stay**rounds
        return math.exp(-(self.rate if rate is None else rate) * s - self._added(rounds))

    def coverage(self, n: int) -> float:
        """P(any of n answers is right); with `gamma`, averaged over items."""
        if self.gamma is None:
            return 1.0 - (1.0 - math.exp(-self.rate)) ** n
        return self._averaged(lambda rate: 1.0 - (1.0 - math.exp(-rate)) ** n)

    def bon_then_ivml(self, n: int, rounds: int) -> float:
        """P(success) of a chain from the best of n answers."""

        def at(rate: float) -> float:
            total, below, weight, cdf = 0.0, 0.0, math.exp(-rate), 0.0
            for k in range(200):
                cdf += weight
                least = 1.0 - (1.0 - min(cdf, 1.0)) ** n
                total += (least - below) * (1.0 - self.stay**rounds) ** k
                below, weight = least, weight * rate / (k + 1)
            return total

        value = at(self.rate) if self.gamma is None else self._averaged(at)
        return value * math.exp(-self._added(rounds))

    def _added(self, rounds: int) -> float:
        s = self.stay
        return self.new * (rounds if s == 1 else (1.0 - s**rounds) / (1.0 - s))

    def _averaged(self, f: Any, steps: int = 4000) -> float:
        assert self.gamma is not None
        shape, scale = self.gamma
        step = shape * scale * 12 / steps
        total = mass = 0.0
        for i in range(steps):
            x = (i + 0.5) * step
            density = math.exp((shape - 1) * math.log(x) - x / scale)
            total += density * f(x)
            mass += density
        return total / mass


@dataclass(frozen=True)
class Sites:
    """Where errors can be: the literals of a domain's actions, each on a line of its own in `text`."""

    head: str
    actions: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...]  # name, parameters, conditions, effects

    @functools.cached_property
    def places(self) -> list[tuple[int, int, int]]:
        return [
            (a, part, i) for a, action in enumerate(self.actions) for part in (2, 3) for i in range(len(action[part]))
        ]

    def text(self, errors: Mapping[int, str]) -> str:
        """The domain with the errors at the numbered places: "drop" or "name"."""
        by_place = {self.places[n]: kind for n, kind in errors.items()}
        lines = [self.head]
        for a, (name, params, *parts) in enumerate(self.actions):
            lines += [f"  (:action {name}", f"    :parameters ({params})"]
            for part, keyword in ((2, ":precondition"), (3, ":effect")):
                lines.append(f"    {keyword} (and")
                for i, literal in enumerate(parts[part - 2]):
                    kind = by_place.get((a, part, i))
                    if kind == "drop":
                        continue
                    lines.append("      " + (_misnamed(literal) if kind == "name" else literal))
                lines[-1] += ")" if part == 2 else "))"
        return "\n".join(lines) + ")\n"

    def errors(self, text: str) -> dict[int, str]:
        """The inverse of `text`."""
        found: dict[int, str] = {}
        number = 0
        blocks = text.split("  (:action ")[1:]
        for (_, _, conditions, effects), block in zip(self.actions, blocks, strict=True):
            halves = block.split("    :effect (and", 1)
            for literals, half in ((conditions, halves[0]), (effects, halves[1])):
                have = [line.strip() for line in half.split("\n")]
                rest = "\n".join(have) + "\n"
                for literal in literals:
                    if not _line(literal, rest):
                        found[number] = "name" if _line(_misnamed(literal), rest) else "drop"
                    number += 1
        return found


def _line(literal: str, lines: str) -> bool:
    return (
        f"\n{literal}\n" in lines
        or f"\n{literal})\n" in lines
        or f"\n{literal}))\n" in lines
        or f"\n{literal})))\n" in lines
    )


def _misnamed(literal: str) -> str:
    return re.sub(r"^(\(not \()?\(?", lambda m: f"(not ({BOGUS}" if m.group(1) else f"({BOGUS}", literal, count=1)


@functools.cache
def sites(name: str) -> Sites:
    """Of a domain of the suite."""
    domain = parse_domain(suite.load(name).domain).value
    assert isinstance(domain, Domain)
    from dataclasses import replace

    from .syntax import print_domain

    head = print_domain(replace(domain, actions={})).rstrip()[:-1]
    actions = []
    for action in domain.actions.values():
        params = " ".join(f"{v} - {t[0]}" for v, t in action.params)
        parts = [tuple(dict.fromkeys(show(c) for c in conjuncts(f))) for f in (action.precondition, action.effect)]
        actions.append((action.name, params, parts[0], parts[1]))
    return Sites(head, tuple(actions))


def simulated_items(count: int, names: Sequence[str] = ("blocksworld", "gripper", "logistics", "termes")) -> list[Item]:
    """Items that differ in their number alone; their prompts say that they are simulated."""
    found = []
    for i in range(count):
        name = names[i % len(names)]
        given = f"Simulated item {i} of {name}."
        prompt = fill("generate_nl2domain", G=given)
        found.append(Item(f"nl2domain/simulated/{i}", "nl2domain", given, None, None, (), name, prompt))
    return found


class Simulated:
    """A backend of shared.llm by the error model. Its answers depend on the request and the seed alone."""

    name = "simulated"
    batch = 1

    def __init__(self, model: ErrorModel | None = None, seed: int = 0) -> None:
        self.errors, self.seed, self.model = model or ErrorModel(), seed, "simulated error model"
        self.capabilities = Capabilities(logprobs=0)

    def identity(self) -> Mapping[str, Any]:
        e = self.errors
        knobs = [e.rate, e.found, e.repaired, e.new, e.syntax, e.noise, list(e.gamma or ())]
        return {"backend": self.name, "model": self.model, "knobs": knobs, "seed": self.seed}

    async def complete(self, request: Request) -> Completion:
        return self.answer(request)

    def complete_many(self, requests: Sequence[Request]) -> list[Any]:
        return [self.answer(r) for r in requests]

    async def close(self) -> None:
        pass

    def answer(self, request: Request) -> Completion:
        """The answer to a prompt of the generator, critic or learner."""
        prompt = request.messages[0].text
        mark = MARK.search(prompt)
        if mark is None:
            raise ValueError("the simulated model answers prompts of simulated items alone")
        number, name = int(mark.group(1)), mark.group(2)
        material = f"{self.seed} {request.draw} {prompt}".encode()
        rng = random.Random(int.from_bytes(hashlib.sha256(material).digest()[:8], "big"))
        where, knobs = sites(name), self.errors
        if "You will get a description, in natural language" in prompt[:80]:
            rate = knobs.rate
            if knobs.gamma is not None:
                rate = random.Random(f"{self.seed} {number}").gammavariate(*knobs.gamma)
            errors: dict[int, str] = {}
            self._put_in(errors, _poisson(rate, rng), where, rng)
        else:
            domain = extract(prompt[mark.end() :]).domain_text or ""
            errors = where.errors(domain)
            if "Domain code:" in prompt and "\nFeedback:\n" not in prompt.replace("\r", ""):
                raise ValueError("a simulated prompt without its feedback slot")
            feedback = prompt.rsplit("Feedback:", 1)[1].strip()
            if not feedback:  # the critic's turn
                named = [n for n in errors if rng.random() < knobs.found]
                text = "\n".join(f"place {n} is wrong" for n in named) or "Nothing is wrong."
                return self._said(text, prompt, None)
            for n in (int(m) for m in re.findall(r"place (\d+) is wrong", feedback)):
                if rng.random() < knobs.repaired:
                    errors.pop(n, None)
            self._put_in(errors, _poisson(knobs.new, rng), where, rng)
        score = -float(len(errors)) + (rng.gauss(0.0, knobs.noise) if knobs.noise else 0.0)
        # the number of the draw keeps equal domains apart, as a live model's thoughts would
        thought = f"### Thought:\nsimulated {rng.getrandbits(32):08x}\n</thought>\n### Domain:\n"
        return self._said(f"{thought}```pddl\n{where.text(errors)}```\n", prompt, score)

    def _put_in(self, errors: dict[int, str], count: int, where: Sites, rng: random.Random) -> None:
        free = [n for n in range(len(where.places)) if n not in errors]
        for n in rng.sample(free, min(count, len(free))):
            literal = where.actions[where.places[n][0]][where.places[n][1]][where.places[n][2]]
            plain = literal.startswith(("(increase", "(forall", "(when", "(=", "(not (="))
            errors[n] = "name" if not plain and rng.random() < self.errors.syntax else "drop"

    def _said(self, text: str, prompt: str, score: float | None) -> Completion:
        tokens = None if score is None else (TokenLogprob("", score),)
        usage = Usage(prompt=len(prompt) // 4, completion=max(1, len(text) // 4))
        return Completion(text, usage=usage, tokens=tokens, source=Source("live", self.name, self.model, ""))


def right(domain: str | None, name: str) -> bool:
    """Whether a simulated domain has no error: the text is the one without, which the reader takes without finding."""
    return domain is not None and domain.strip() == _clean(name)


@functools.cache
def _clean(name: str) -> str:
    text = sites(name).text({}).strip()
    assert parse_domain(text).ok
    return text


def _poisson(rate: float, rng: random.Random) -> int:
    """By multiplication of uniforms (Knuth), which is exact; rates here are below 20."""
    bound, count, product = math.exp(-rate), 0, rng.random()
    while product > bound:
        count += 1
        product *= rng.random()
    return count
