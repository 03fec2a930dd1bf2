"""The in-context coin: the model goes on with a record of 20 draws that has exactly the right share of ones.

Small models that pay no heed to "the probability of 1 is p" do follow such a record. A level is a whole number of ones
in the record; a level between two of them is drawn at random between the two, so that the chance of a 1 is linear in
between. For each number of ones several orders are used, one of them drawn for each question.

The orders come in pairs, one the other with 0 and 1 exchanged, of the complementary level. So a record of level a,
relabelled, is a record of level 1 − a: 21 levels and 8 orders make 168 prompts in all, with `swap` or without.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from shared.llm.request import Sampling

from .asking import Ask
from .errors import VRSError
from .parse import parse_slot
from .phrasing import EXAMPLE_DRAWS, example_draws, set_of
from .prompts import messages
from .targets import Bernoulli
from .wording import WeightedAsks

LABELS = ("0", "1")


@dataclass(frozen=True)
class InContext:
    """A record of `draws` earlier draws as the start of the model's answer; the next token is its draw.

    Raises:
        VRSError: an odd number of orders, which is not closed under relabelling, or another relabelling than off, swap.
    """

    relabel: str = "off"
    orders: int = 8
    draws: int = EXAMPLE_DRAWS
    system: str | None = None
    sampling: Sampling | None = None

    forced = True

    def __post_init__(self) -> None:
        if self.relabel not in ("off", "swap"):
            raise VRSError(f"relabel of the in-context coin is off or swap, not {self.relabel!r}")
        if self.orders < 2 or self.orders % 2:
            raise VRSError(f"the orders of the in-context coin come in pairs: give 2, 4, 6, …, not {self.orders}")
        if self.draws < 1:
            raise VRSError(f"the record of the in-context coin needs at least one draw, not {self.draws}")

    def settings(self) -> Mapping[str, Any]:
        return {"in_context": True, **vars(self), "sampling": asdict(self.sampling) if self.sampling else None}

    def ways(self, target: Any) -> WeightedAsks:
        """The records for a Bernoulli target, with their weights."""
        if not isinstance(target, Bernoulli):
            raise VRSError(f"the in-context coin draws a Bernoulli target only, not {target!r}")
        ones = target.exact * self.draws
        below = math.floor(ones)
        share = float(ones - below)
        found = []
        for count, weight in ((below, 1 - share), (below + 1, share)):
            if weight > 0:
                found += [
                    (weight / self.orders, ask) for order in range(self.orders) for ask in self._asks(count, order)
                ]
        return found if self.relabel == "off" else [(weight / 2, ask) for weight, ask in found]

    def _asks(self, ones: int, order: int) -> list[Ask]:
        record = example_draws(ones, self.draws, order)
        asks = [self._ask(record, (0, 1))]
        if self.relabel == "swap":
            asks.append(self._ask(tuple(1 - d for d in record), (1, 0)))
        return asks

    def _ask(self, record: tuple[int, ...], values: tuple[int, int]) -> Ask:
        return Ask(
            messages("in_context", self.system, outcomes=set_of(LABELS)),
            partial(parse_slot, kind="bit"),
            labels=tuple(zip(LABELS, values, strict=True)),
            # the record begins the answer, and the next label goes on with it
            prefix="".join(f"{LABELS[draw]}, " for draw in record),
            forced=True,
            sampling=self.sampling,
        )
