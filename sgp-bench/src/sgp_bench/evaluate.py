"""Asking: items to answers, by what a model writes or by the log-probabilities of what it could say.

Requests go through `shared.llm`: cached, retried with a cap, resumed after a kill without asking anything twice, from
an endpoint, a local checkpoint or a recording. Answers are kept by item, whatever the order in which they come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from shared.llm import LLM, Completion, Image, Request, Sampling, user

from .errors import SGPError
from .extract import extract_letter, extract_llm
from .mnist import read_digit
from .prompts import fill, messages
from .records import LETTERS, Item
from .statistics import Paired, Rate, compare, rate

SCORERS = ("generate", "letter_logprob", "text_logprob")
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for an item.

    `official` and `strict` are letters (digits for MNIST) or None. `logprobs` holds the options' scores where they
    were weighed. `failure` is the kind of failure where there is no reply: `too_long` is told apart from wrong.
    """

    key: str
    official: str | None
    strict: str | None
    rule: str = ""
    reply: str = ""
    finish: str = ""
    failure: str = ""
    logprobs: tuple[float, ...] = ()
    tokens: int | None = None
    source: str = ""
    extracted: str | None = None  # by a second model, where asked for

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Results:
    """Answers of one model to items, in their order."""

    items: tuple[Item, ...]
    answers: tuple[Answer, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def right(self, mode: str = "strict") -> list[float]:
        """1 where the answer under a mode (official, strict, extracted) is the right one."""
        return [float(getattr(a, mode) == i.answer) for i, a in zip(self.items, self.answers, strict=True)]

    def of(self, keep: Callable[[Item], bool]) -> Results:
        chosen = [n for n, i in enumerate(self.items) if keep(i)]
        return Results(tuple(self.items[n] for n in chosen), tuple(self.answers[n] for n in chosen), self.about)

    def rate(self, mode: str = "strict") -> Rate:
        return rate(self.right(mode), [i.group for i in self.items])

    def categories(self) -> dict[str, Results]:
        names = dict.fromkeys(i.category for i in self.items)
        return {name: self.of(lambda i, name=name: i.category == name) for name in names}  # type: ignore[misc]

    def troubles(self) -> dict[str, float]:
        """Shares without a letter, cut by the token limit, and failed by kind."""
        n = len(self.answers)
        replied = [a for a in self.answers if not a.failure]
        found = {
            "no letter": sum(a.strict is None for a in replied) / n,
            "no letter, official": sum(a.official is None for a in replied) / n,
            "cut by max_tokens": sum(a.finish == "length" for a in replied) / n,
        }
        return found | {kind: c / n for kind, c in Counter(a.failure for a in self.answers if a.failure).items()}


def compare_results(first: Results, second: Results, mode: str = "strict") -> Paired:
    """Paired comparison of two models on the items that both have.

    Raises:
        SGPError: no item in common.
    """
    by_key = {i.key: right for i, right in zip(second.items, second.right(mode), strict=True)}
    pairs = [(i, a, by_key[i.key]) for i, a in zip(first.items, first.right(mode), strict=True) if i.key in by_key]
    if not pairs:
        raise SGPError("the two results share no item")
    return compare([a for _, a, _ in pairs], [b for *_, b in pairs], [i.group for i, *_ in pairs])


def evaluate(
    items: Sequence[Item],
    llm: LLM,
    scorer: str = "generate",
    *,
    prompt: str | None = None,
    system_message: str = "none",
    sampling: Sampling | None = None,
    retries: int = 0,
    prefix: str | None = None,
    progress: Progress | None = None,
) -> Results:
    """Every item asked once, or again where the official rule reads no letter, up to `retries` times.

    Args:
        scorer: generate, letter_logprob (the paper's options A to D), or text_logprob (the options' own words).
        prompt: paper, letter or text; by default what belongs to the scorer.
        prefix: how the answer begins, for the two log-probability scorers.

    Raises:
        SGPError: an unknown scorer.
        RequestError, Stopped: as `shared.llm` has them; what was answered is kept in its cache.
    """
    requests = [request_of(i, scorer, prompt, system_message, sampling, prefix) for i in items]
    found: list[Answer | None] = [None] * len(items)
    waiting = list(range(len(items)))
    for draw in range(retries + 1):
        batch = [replace(requests[n], draw=draw) for n in waiting]
        for place, result in llm.as_completed(batch):
            n = waiting[place]
            found[n] = answer_of(items[n], result, scorer)
            if progress and draw == 0:
                progress(sum(a is not None for a in found), len(items))
        again = [n for n in waiting if (a := found[n]) is not None and a.official is None and not a.failure]
        waiting = again if scorer == "generate" else []
        if not waiting:
            break
    about = {"model": llm.model, "backend": llm.name, "scorer": scorer, "prompt": prompt or STYLE[scorer]}
    return Results(tuple(items), tuple(a for a in found if a is not None), about)


STYLE = {"generate": "paper", "letter_logprob": "letter", "text_logprob": "text"}  # the prompt that goes with a scorer
DIGITS = tuple("0123456789")


def request_of(
    item: Item,
    scorer: str,
    prompt: str | None = None,
    system_message: str = "none",
    sampling: Sampling | None = None,
    prefix: str | None = None,
) -> Request:
    """What is asked of a model for an item.

    Raises:
        SGPError: an unknown scorer.
    """
    if scorer not in SCORERS:
        raise SGPError(f"scorer must be one of {', '.join(SCORERS)}, not {scorer!r}")
    weighed = scorer != "generate"
    if item.kind == "mnist" and weighed:  # an open question in the paper; here the ten digits are weighed
        asked = messages(item, "paper", system_message)
        return Request(asked, sampling or Sampling(), choices=DIGITS, prefix=prefix or "Answer: ", tag=item.key)
    asked = messages(item, prompt or STYLE[scorer], system_message)
    if not weighed:
        return Request(asked, sampling or Sampling(), tag=item.key)
    choices = tuple(LETTERS) if scorer == "letter_logprob" else item.options
    return Request(asked, sampling or Sampling(), choices=choices, prefix=prefix, tag=item.key)


def weigh_both(items: Sequence[Item], letters: Sequence[bool], llm: LLM) -> tuple[Results, Results]:
    """Text scores of all items and letter scores of those marked, each program read once for all of its questions."""
    order = [(n, s) for n in range(len(items)) for s in ("text_logprob", "letter_logprob")]
    order = [(n, s) for n, s in order if s == "text_logprob" or letters[n]]
    asked = [request_of(items[n], s) for n, s in order]
    answers: dict[tuple[int, str], Answer] = {}
    for place, result in llm.as_completed(asked):
        n, scorer = order[place]
        answers[order[place]] = answer_of(items[n], result, scorer)
    by = {
        scorer: Results(
            tuple(items[n] for n, s in order if s == scorer),
            tuple(answers[n, s] for n, s in order if s == scorer),
            {"model": llm.model, "backend": llm.name, "scorer": scorer, "prompt": STYLE[scorer]},
        )
        for scorer in ("text_logprob", "letter_logprob")
    }
    return by["text_logprob"], by["letter_logprob"]


def answer_of(item: Item, result: Any, scorer: str = "generate") -> Answer:
    """A completion or failure as an answer."""
    if not isinstance(result, Completion):
        return Answer(item.key, None, None, failure=result.kind, reply="")
    source = result.source.origin or f"{result.source.backend} {result.source.model}"
    common = {"reply": result.text, "finish": result.finish, "tokens": result.usage.completion, "source": source}
    if scorer != "generate":
        logprobs = result.choice_logprobs or {}
        names = DIGITS if item.kind == "mnist" else LETTERS
        choices = item.options if scorer == "text_logprob" and item.options else names
        values = tuple(logprobs[c] for c in choices)
        letter = names[max(range(len(values)), key=values.__getitem__)]
        return Answer(item.key, letter, letter, scorer, logprobs=values, **common)
    if item.kind == "mnist":
        digit = read_digit(result.text)
        return Answer(item.key, digit, digit, "digit", **common)
    strict = extract_letter(result.text, item.options, "strict")
    official = extract_letter(result.text, item.options, "official")
    return Answer(item.key, official.letter, strict.letter, strict.rule, **common)


def extract_by_model(results: Results, llm: LLM, retries: int = 5) -> Results:
    """The paper's second extractor: a model reads the letter out of each reply, asked again up to `retries` times."""
    answers = list(results.answers)
    waiting = [n for n, (i, a) in enumerate(zip(results.items, answers, strict=True)) if i.options and not a.failure]
    for draw in range(retries):
        requests = [
            Request(
                (user(_extraction(results.items[n], answers[n].reply)),), Sampling(temperature=0.0, max_tokens=32), draw
            )
            for n in waiting
        ]
        for place, result in llm.as_completed(requests):
            if isinstance(result, Completion):
                n = waiting[place]
                answers[n] = replace(answers[n], extracted=extract_llm(result.text))
        waiting = [n for n in waiting if answers[n].extracted is None]
        if not waiting:
            break
    return replace(results, answers=tuple(answers))


def _extraction(item: Item, reply: str) -> str:
    return fill("extract.llm", question=item.question, response=reply, **dict(zip(LETTERS, item.options, strict=True)))


def picture_requests(items: Sequence[Item], pictures: Sequence[bytes]) -> list[Request]:
    """The same questions beside the picture instead of the program: what a vision model reaches, an upper bound."""
    return [
        Request((user(fill("ask.image", question=i.question, **dict(zip(LETTERS, i.options, strict=True))),
                      Image(png, "image/png")),), Sampling(temperature=0.0, max_tokens=2048), tag=i.key)
        for i, png in zip(items, pictures, strict=True)
    ]  # fmt: skip


def score_choices(results: Results) -> list[tuple[float, ...]]:
    """The options' log-probabilities, [n][4], of a log-probability scorer."""
    return [a.logprobs for a in results.answers]
