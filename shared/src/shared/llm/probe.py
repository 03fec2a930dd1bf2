"""Whether repeats of one prompt are independent draws, before a run relies on it.

Temperature 0, a fixed seed sent with every call, or a caching proxy between here and the model make all repeats equal,
and every statistic of them worthless (some servers are deterministic per prompt unless a seed is sent).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from .client import LLM
from .completion import Completion
from .errors import ModelError, RequestError
from .messages import user
from .request import Request, Sampling

STORY = user("Write the beginning of a short story about anything you like.")
TOKENS = 60


@dataclass(frozen=True, slots=True)
class Probe:
    """What the probe found: how many of n texts differ, the verdict, and it in a sentence.

    identical: a run must not go on. repeats: a report should carry the sentence. independent: nothing speaks against.
    """

    n: int
    distinct: int
    verdict: Literal["identical", "repeats", "independent"]
    sentence: str


def independence_probe(llm: LLM, sampling: Sampling | None = None, n: int = 8) -> Probe:
    """Asks n times, with the run's own sampling settings and the cache left out, for 60 tokens of a story.

    Raises:
        RequestError: n below 2, or a replay, which has no draws of its own.
        ModelError: fewer than two calls were answered.
        Stopped: as `LLM.complete`.
    """
    if not isinstance(n, int) or n < 2:
        raise RequestError(f"the probe needs n of at least 2 draws, not {n!r}")
    if llm.name == "replay":
        raise RequestError("a recording cannot be probed for independence: its draws were made earlier")
    settings = replace(sampling or llm.sampling, max_tokens=TOKENS if llm.capabilities.max_tokens else None)
    results = llm.complete([Request((STORY,), settings, draw=draw) for draw in range(n)], cached=False)
    texts = [(r.reasoning or "") + r.text for r in results if isinstance(r, Completion)]
    if len(texts) < 2:
        failed = next(r for r in results if not isinstance(r, Completion))
        raise ModelError(f"the probe got {len(texts)} of {n} answers, too few to compare: {failed.message}")
    distinct, of = len(set(texts)), len(texts)
    if distinct == 1:
        return Probe(
            of,
            1,
            "identical",
            f"{of} draws of one free story from {llm.model} are identical: the draws are no draws; look for "
            "temperature 0, a fixed seed (sampling.seed), or a caching proxy in between",
        )
    if distinct < of:
        words = (
            f"only {distinct} of {of} draws of one free story from {llm.model} differ: the draws may depend on another"
        )
        return Probe(of, distinct, "repeats", words)
    return Probe(of, of, "independent", f"{of} draws of one free story from {llm.model} all differ")
