"""How a distribution is put into words (arXiv 2506.09998 has four phrasings of a Bernoulli).

A finite target is described by the probabilities of its outcomes. P1, P0, P10 and P01 are the paper's; for more than
two outcomes they keep their sense: P01 names every outcome in order, P10 in reverse order, P1 all but the first and P0
all but the last. The other phrasings are ours. `named` uses the family's name and parameters.

What the reader of a prompt sees of an outcome is its label. Labels belong to the phrasing (heads and tails, opaque
words) and to `relabel`, so that a prompt can be asked with 0 and 1 exchanged and a bias towards one token cancels.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING

from .decimals import decimal_text, percent_text
from .errors import VRSError

if TYPE_CHECKING:
    from .targets import Target

PAPER_PHRASINGS = ("P1", "P0", "P10", "P01")
RELABELLINGS = ("off", "swap", "random_tokens")
LARGEST_LISTING = 64  # outcomes that a prompt may name one by one
EXAMPLE_DRAWS = 20  # fewest draws that an in-context description shows
MOST_EXAMPLE_DRAWS = 200


@dataclass(frozen=True, slots=True)
class Wording:
    """What a phrasing has to say.

    `labels` are the outcomes as the prompt writes them and `probabilities` theirs, exact decimals that sum to one,
    both in the order of the support.
    """

    labels: tuple[str, ...]
    probabilities: tuple[Decimal, ...]
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Phrasing:
    """A way to describe a finite distribution: `say` gives a noun phrase without a full stop.

    `outcomes` are labels of its own, or a function that makes them from (number of outcomes, seed); None keeps the
    support's own. `binary` phrasings take two outcomes only.
    """

    name: str
    say: Callable[[Wording], str]
    outcomes: tuple[str, ...] | Callable[[int, int], tuple[str, ...]] | None = None
    binary: bool = False


def phrasing(name: str) -> Phrasing:
    """The phrasing of that name.

    Raises:
        VRSError: there is none.
    """
    try:
        return PHRASINGS[name]
    except KeyError:
        raise VRSError(f"phrasing must be one of {', '.join(PHRASINGS)}, not {name!r}") from None


def outcome_labels(target: Target, name: str | None = None, relabel: str = "off", seed: int = 0) -> tuple[str, ...]:
    """How a prompt writes each outcome of `target`, in the order of its support.

    `swap` reverses the labels, so that outcome 1 is written 0 and outcome 0 is written 1; `random_tokens` writes each
    outcome as an opaque word drawn by `seed`. An answer is read back by its place: support[labels.index(answer)].

    Raises:
        VRSError: an unknown phrasing or relabelling, a target without a finite support, or a phrasing that cannot
            describe this target.
    """
    if relabel not in RELABELLINGS:
        raise VRSError(f"relabel must be one of {', '.join(RELABELLINGS)}, not {relabel!r}")
    if target.support is None:
        raise VRSError(f"{target!r} is continuous: its outcomes are numbers and have no labels")
    chosen = phrasing(name or target.default_phrasing)
    count = len(target.support)
    if chosen.binary and count != 2:
        raise VRSError(f"phrasing {chosen.name} describes two outcomes, and {target!r} has {count}")
    if relabel == "random_tokens":
        return opaque_words(count, seed)
    if chosen.outcomes is None:
        labels = tuple(str(x) for x in target.support)
    elif callable(chosen.outcomes):
        labels = chosen.outcomes(count, seed)
    else:
        labels = chosen.outcomes
    return labels[::-1] if relabel == "swap" else labels


def set_of(labels: tuple[str, ...]) -> str:
    """The labels as a set; whole numbers stand in their own order, so that a swap does not show in the set."""
    numbers = all(label.lstrip("-").isdecimal() for label in labels)
    ordered = sorted(labels, key=int) if numbers else labels
    if (
        numbers
        and len(ordered) > 12
        and [int(x) for x in ordered] == list(range(int(ordered[0]), int(ordered[-1]) + 1))
    ):
        return f"{{{ordered[0]}, {ordered[1]}, …, {ordered[-1]}}}"
    return "{" + ", ".join(ordered) + "}"


def opaque_words(count: int, seed: int = 0) -> tuple[str, ...]:
    """`count` distinct words without meaning, the same for the same seed on every machine and version."""
    if not isinstance(count, int) or not 1 <= count <= LARGEST_LISTING:
        raise VRSError(f"the number of opaque words must be 1 to {LARGEST_LISTING}, not {count!r}")
    words: list[str] = []
    turn = 0
    while len(words) < count:
        digest = hashlib.sha256(f"opaque {seed} {turn}".encode()).digest()
        word = "".join(_CONSONANTS[digest[i] % len(_CONSONANTS)] + _VOWELS[digest[i + 1] % 5] for i in (0, 2))
        word += _CONSONANTS[digest[4] % len(_CONSONANTS)]
        if word not in words:
            words.append(word)
        turn += 1
    return tuple(words)


def example_draws(ones: int, draws: int = EXAMPLE_DRAWS, order: int = 0) -> tuple[int, ...]:
    """`draws` example draws of which exactly `ones` are 1, in one of many orders.

    Orders come in pairs: exchanging 0 and 1 in example_draws(k, n, 2i) gives example_draws(n − k, n, 2i + 1), so a set
    of orders with both of each pair is closed under relabelling.

    Raises:
        VRSError: `ones` outside 0 … draws, or a negative order.
    """
    if not isinstance(ones, int) or not isinstance(draws, int) or not 0 <= ones <= draws or draws < 1:
        raise VRSError(f"the example draws need 0 to {draws} ones, not {ones!r}")
    if not isinstance(order, int) or order < 0:
        raise VRSError(f"order must be a whole number from 0, not {order!r}")
    by_rank = _order(draws, order // 2)
    if order % 2:
        by_rank = by_rank[::-1]
    chosen = set(by_rank[:ones])
    return tuple(int(place in chosen) for place in range(draws))


def _order(count: int, seed: int) -> list[int]:
    """Places 0 … count − 1 shuffled by hashes, which no version of a library changes."""
    return sorted(range(count), key=lambda place: hashlib.sha256(f"order {seed} {place}".encode()).digest())


_CONSONANTS = "bdfgklmnprsvz"
_VOWELS = "aeiou"


def _clauses(pairs: list[tuple[str, Decimal]]) -> str:
    said = [f"the probability of {label} is {decimal_text(p)}" for label, p in pairs]
    return said[0] if len(said) == 1 else ", ".join(said[:-1]) + " and " + said[-1]


def _listing(first: int, last: int | None, step: int = 1) -> Callable[[Wording], str]:
    def say(words: Wording) -> str:
        pairs = list(zip(words.labels, words.probabilities, strict=True))
        if len(pairs) == 1:
            return f"a sample from the set {set_of(words.labels)}, where {_clauses(pairs)}"
        chosen = pairs[first:last][::step]
        return f"a sample from the set {set_of(words.labels)}, where {_clauses(chosen)}"

    return say


def _heads_tails(words: Wording) -> str:
    tails, heads = words.labels
    return (
        f"the side shown by one toss of a bent coin, from the set {set_of(words.labels)}; over many tosses a share of "
        f"{decimal_text(words.probabilities[1])} shows {heads} and the rest shows {tails}"
    )


def _percent(words: Wording) -> str:
    said = [
        f"{percent_text(p)} of the time it is {label}"
        for label, p in zip(words.labels, words.probabilities, strict=True)
    ]
    return f"a sample from the set {set_of(words.labels)}: " + ", ".join(said)


def _odds(words: Wording) -> str:
    """Whole numbers in lowest terms."""
    least = min((p.normalize().as_tuple().exponent for p in words.probabilities if p), default=0)
    whole = [int(p.scaleb(-min(int(least), 0))) for p in words.probabilities]
    divisor = math.gcd(*whole) or 1
    shares = [str(w // divisor) for w in whole]
    return (
        f"a sample from the set {set_of(words.labels)}, where {', '.join(words.labels)} stand in the proportions "
        f"{' : '.join(shares)}"
    )


def _in_context_draws(words: Wording) -> str:
    count = next(
        (n for n in range(EXAMPLE_DRAWS, MOST_EXAMPLE_DRAWS + 1) if all((p * n) % 1 == 0 for p in words.probabilities)),
        None,
    )
    if count is None:
        shares = ", ".join(decimal_text(p) for p in words.probabilities[:4])
        raise VRSError(
            f"phrasing in_context_draws shows whole numbers of draws: no number from {EXAMPLE_DRAWS} to "
            f"{MOST_EXAMPLE_DRAWS} gives the shares {shares} exactly"
        )
    counts = [int((p * count).to_integral_value(ROUND_FLOOR)) for p in words.probabilities]
    draws = [label for label, k in zip(words.labels, counts, strict=True) for _ in range(k)]
    shown = ", ".join(draws[place] for place in _order(count, words.seed))
    return (
        f"a sample from the set {set_of(words.labels)}, from a source whose {count} earlier draws, each independent "
        f"of the others, were {shown}"
    )


def _shop(words: Wording) -> str:
    zero, one = words.labels
    p0, p1 = (percent_text(p) for p in words.probabilities)
    return (
        f"the next entry in a shopper's diary, from the set {set_of(words.labels)}; each day, whatever the days before "
        f"held, the shopper has a {p1} chance to choose the corner shop (entry {one}) and a {p0} chance to choose the "
        f"supermarket (entry {zero})"
    )


def _voter(words: Wording) -> str:
    zero, one = words.labels
    p0, p1 = (percent_text(p) for p in words.probabilities)
    return (
        f"the reply of one voter picked blindly from a town, from the set {set_of(words.labels)}; {p1} of the town is "
        f"for the bridge (reply {one}) and {p0} is against it (reply {zero})"
    )


PHRASINGS: dict[str, Phrasing] = {
    p.name: p
    for p in (
        Phrasing("P1", _listing(1, None)),
        Phrasing("P0", _listing(0, -1)),
        Phrasing("P10", _listing(0, None, -1)),
        Phrasing("P01", _listing(0, None)),
        Phrasing("heads_tails", _heads_tails, ("tails", "heads"), binary=True),
        Phrasing("percent", _percent),
        Phrasing("odds", _odds),
        Phrasing("symbols", _listing(0, None), opaque_words),
        Phrasing("in_context_draws", _in_context_draws),
        Phrasing("scenario", _shop, binary=True),
        Phrasing("scenario_voter", _voter, binary=True),
        Phrasing("named", _listing(0, None)),
    )
}
