"""Test-time scaling (sections 3.2 and 3.3): Best-of-N, instance verbalized machine learning, and both together.

One sampling run serves every smaller N (the first n of its draws), one chain every smaller T. Calls of one kind go out
as one batch over all items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.llm import LLM, Sampling

from . import roles
from .errors import PDDLGenError
from .evidence import FEEDBACK, evidence
from .extract import extract
from .items import Item
from .ledger import Ledger, ask
from .lint import hints
from .parse import parse_domain
from .scorer import SCORES, Likelihood
from .syntax import print_domain

SELECTIONS = ("likelihood", "validator")
RETURNS = ("last", "first_valid", "best")
Scorer = Callable[[str, Sequence[str]], Sequence[Likelihood | None]]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer with what was read from it. `likelihood` is None where nobody told and nobody scored."""

    item: str
    sample: int
    text: str
    thought: str
    domain: str | None
    finish: str
    likelihood: Likelihood | None = None
    error: str = ""

    @classmethod
    def of(cls, record: Mapping[str, Any], kind: str = "none") -> Candidate:
        """From a ledger's record; a call that failed is a candidate without text."""
        if record["error"] is not None:
            return cls(record["item"], record["sample"], "", "", None, "error", None, record["error"]["message"])
        found = extract(record["text"])
        likelihood = None
        if record["sum_logprob"] is not None and kind != "none":
            likelihood = Likelihood(record["sum_logprob"], record["n_tokens"], kind)
        return cls(
            record["item"],
            record["sample"],
            record["text"],
            found.thought,
            found.domain_text,
            record["finish_reason"],
            likelihood,
        )


@dataclass(frozen=True)
class BestOfN:
    """Best-of-N (eq. 1, 2): N draws of one prompt, the K of them that rank first.

    Args:
        select: `likelihood` ranks by S (eq. 2); `validator` by the number of errors under the strict rules, then of
            hints, then by order. Truncated and failed answers come last in both.
        score: S itself (`sum`), S/L (`mean`) or S/L^alpha (`power`).
        dedup: equal domains, after canonical printing, count once.
    """

    n: int = 8
    k: int = 1
    select: str = "likelihood"
    score: str = "sum"
    alpha: float = 0.6
    dedup: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.n, int) or not 1 <= self.n <= 4096:
            raise PDDLGenError(f"method.bon.n must be a whole number in [1, 4096], not {self.n!r}")
        if not isinstance(self.k, int) or not 1 <= self.k <= self.n:
            raise PDDLGenError(f"method.bon.k must be a whole number in [1, n = {self.n}], not {self.k!r}")
        if self.select not in SELECTIONS:
            raise PDDLGenError(f"method.bon.select must be one of {', '.join(SELECTIONS)}, not {self.select!r}")
        if self.score not in SCORES:
            raise PDDLGenError(f"method.bon.score must be one of {', '.join(SCORES)}, not {self.score!r}")

    def rank(self, item: Item, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The first n of the draws, best first.

        Raises:
            PDDLGenError: selection by likelihood without a likelihood.
        """
        pool = list(candidates[: self.n])
        if self.dedup:
            pool = list({_canonical(c.domain): c for c in reversed(pool)}.values())[::-1]

        if self.select == "likelihood":
            if pool and all(c.likelihood is None and not c.error for c in pool):
                raise PDDLGenError(
                    f"{item.id}: the answers come without log-probabilities; set a scorer (llm.scorer) or "
                    "method.bon.select=validator"
                )
            value = {id(c): c.likelihood.value(self.score, self.alpha) if c.likelihood else 0.0 for c in pool}
            return sorted(
                pool, key=lambda c: (bool(c.error), c.finish == "length", c.likelihood is None, -value[id(c)])
            )
        return sorted(pool, key=lambda c: (bool(c.error) or c.finish == "length", *faults(c.domain, item)))

    def choose(self, item: Item, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The K that go on."""
        return self.rank(item, candidates)[: self.k]


def faults(domain: str | None, item: Item) -> tuple[int, int]:
    """(errors, hints) of a domain's text, oracle-free; no domain is worse than any."""
    if domain is None:
        return 1 << 20, 0
    parsed = parse_domain(domain)
    if parsed.errors or parsed.value is None:
        return len(parsed.errors) or 1, 0
    return 0, len(hints(parsed.value, item.shown))


def _canonical(domain: str | None) -> str:
    parsed = parse_domain(domain) if domain else None
    return print_domain(parsed.value) if parsed and parsed.value is not None and parsed.ok else domain or ""


@dataclass(slots=True)
class Trajectory:
    """A chain: T_0, D_0 and every later iterate, with the critiques between them."""

    item: str
    iterates: list[Candidate]
    critiques: list[str] = field(default_factory=list)

    def returned(self, rounds: int, how: str = "last") -> Candidate:
        """What a chain of that many rounds gives: the last iterate (the paper's), the first without a strict error
        (the last, if there is none), or the one with the fewest errors, the latest of these."""
        seen = self.iterates[: rounds + 1]
        if how == "last":
            return seen[-1]
        errors = [faults(c.domain, _NO_ITEM)[0] for c in seen]
        if how == "first_valid":
            return next((c for c, e in zip(seen, errors, strict=True) if not e), seen[-1])
        least = min(errors)
        return [c for c, e in zip(seen, errors, strict=True) if e == least][-1]


_NO_ITEM = Item("", "nl2domain", "", None, None, (), "", "")


@dataclass(frozen=True)
class IVML:
    """Instance verbalized machine learning (eq. 3, 4): critique and rewrite, T times.

    Args:
        feedback: `self` is the paper's, the critic alone; `validator`, `lint`, `planner` or `all` put what checks
            found before the critic, under a heading of its own.
        returns: which iterate is the answer; the paper's is the last.
    """

    rounds: int = 5
    feedback: str = "self"
    returns: str = "last"

    def __post_init__(self) -> None:
        if not isinstance(self.rounds, int) or not 0 <= self.rounds <= 1000:
            raise PDDLGenError(f"method.ivml.rounds must be a whole number in [0, 1000], not {self.rounds!r}")
        if self.feedback not in FEEDBACK:
            raise PDDLGenError(f"feedback must be one of {', '.join(FEEDBACK)}, not {self.feedback!r}")
        if self.returns not in RETURNS:
            raise PDDLGenError(f"method.ivml.returns must be one of {', '.join(RETURNS)}, not {self.returns!r}")

    def run(
        self,
        starts: Sequence[tuple[Item, Candidate]],
        optimizer: LLM,
        learner: LLM,
        ledger: Ledger,
        sampling: Sampling,
        draws: Sequence[int] | None = None,
    ) -> list[Trajectory]:
        """Chains from the starts, side by side. `draws` tells chains with equal starts apart; by default equal starts
        are one chain, which is paid once."""
        chains = [Trajectory(item.id, [start]) for item, start in starts]
        draws = draws or [0] * len(chains)
        for i in range(1, self.rounds + 1):
            now = [c.iterates[-1] for c in chains]
            asked = [
                roles.critic(
                    item,
                    c.thought,
                    c.domain,
                    sampling,
                    round=i,
                    draw=d,
                    evidence=evidence(self.feedback, c.domain, item.shown),
                )
                for (item, _), c, d in zip(starts, now, draws, strict=True)
            ]
            said = [r["text"] or "" for r in ask(optimizer, asked, ledger)]
            rewrites = [
                roles.learner(item, c.thought, c.domain, f, sampling, round=i, draw=d)
                for (item, _), c, f, d in zip(starts, now, said, draws, strict=True)
            ]
            for chain, critique, record in zip(chains, said, ask(learner, rewrites, ledger), strict=True):
                after = Candidate.of(record)
                # a call that failed changes nothing: the chain goes on from where it stands
                chain.iterates.append(chain.iterates[-1] if after.error else after)
                chain.critiques.append(critique)
        return chains


@dataclass(slots=True)
class RunResult:
    """All candidates and chains of a run, by item."""

    candidates: dict[str, list[Candidate]] = field(default_factory=dict)
    chosen: dict[str, list[Candidate]] = field(default_factory=dict)
    from_first: dict[str, Trajectory] = field(default_factory=dict)
    from_chosen: dict[str, list[Trajectory]] = field(default_factory=dict)


@dataclass(frozen=True)
class TestTimeScaling:
    """BoN then iVML; `single_start` adds the chain from the first draw, the paper's iVML without BoN."""

    __test__ = False  # no test class, whatever its name begins with
    bon: BestOfN = field(default_factory=BestOfN)
    ivml: IVML = field(default_factory=IVML)
    start_n: int | None = None  # draws from which the chains' start is chosen; None: all
    single_start: bool = True

    def run(
        self,
        items: Sequence[Item],
        llm: LLM | Mapping[str, LLM],
        ledger: Ledger,
        sampling: Sampling,
        *,
        scorer: Scorer | None = None,
        logprob_kind: str = "none",
    ) -> RunResult:
        """Runs the items; roles generator, optimizer and learner may be served by clients of their own."""
        clients = llm if isinstance(llm, Mapping) else dict.fromkeys(("generator", "optimizer", "learner"), llm)
        result = RunResult()
        asked = [roles.generate(item, s, sampling) for item in items for s in range(self.bon.n)]
        records = ask(clients["generator"], asked, ledger)
        for place, item in enumerate(items):
            part = records[place * self.bon.n : (place + 1) * self.bon.n]
            found = [Candidate.of({**r, "sample": s, "item": item.id}, logprob_kind) for s, r in enumerate(part)]
            if scorer is not None:
                values = scorer(item.prompt, [c.text for c in found])
                found = [_scored(c, v) for c, v in zip(found, values, strict=True)]
            result.candidates[item.id] = found
            first = BestOfN(
                min(self.start_n or self.bon.n, self.bon.n),
                self.bon.k,
                self.bon.select,
                self.bon.score,
                self.bon.alpha,
                self.bon.dedup,
            )
            result.chosen[item.id] = first.choose(item, found)
        starts: list[tuple[Item, Candidate]] = []
        for item in items:
            if self.single_start:
                starts.append((item, result.candidates[item.id][0]))
            starts += [(item, c) for c in result.chosen[item.id]]
        if self.ivml.rounds:
            chains = iter(self.ivml.run(starts, clients["optimizer"], clients["learner"], ledger, sampling))
            for item in items:
                if self.single_start:
                    result.from_first[item.id] = next(chains)
                result.from_chosen[item.id] = [next(chains) for _ in result.chosen[item.id]]
        return result


def _scored(c: Candidate, likelihood: Likelihood | None) -> Candidate:
    return Candidate(c.item, c.sample, c.text, c.thought, c.domain, c.finish, likelihood, c.error)
