"""Calls, tokens and money that may be spent: reserved at their worst before a call, settled after it.

What a call will cost is known only afterwards, and many are under way at a time; so each takes its worst case out of
the budget before it is sent and gives back what it did not use. The sum of what was spent and what is reserved never
passes a limit, whatever the calls under way turn out to cost.
"""

from __future__ import annotations

from dataclasses import dataclass

from .completion import Usage
from .errors import RequestError
from .limits import Limits
from .prices import Prices, completion_bound, prompt_bound
from .request import Request


class Spent(Exception):
    """A call does not fit into what is left, even when no other is under way. Says which limit, and how full it is."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Calls, tokens of prompts and completions, USD."""

    calls: int = 0
    tokens: int = 0
    cost: float = 0.0

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.calls + other.calls, self.tokens + other.tokens, self.cost + other.cost)

    def __sub__(self, other: Amount) -> Amount:
        return Amount(self.calls - other.calls, self.tokens - other.tokens, self.cost - other.cost)


ONE_CALL = Amount(1)


class Budget:
    """What is left of the limits of one client. Not safe for threads: the client's loop alone uses it.

    Raises:
        RequestError: max_cost without prices.
    """

    def __init__(self, limits: Limits, prices: Prices | None) -> None:
        if limits.max_cost is not None and prices is None:
            raise RequestError("limits.max_cost needs prices (USD for a million tokens, input and output): none is set")
        self._limits, self._prices = limits, prices
        self._by_tokens = limits.max_tokens_total is not None or limits.max_cost is not None
        self.limited = self._by_tokens or limits.max_calls is not None
        self.used = Amount()
        self.reserved = Amount()

    def check(self, request: Request) -> None:
        """Raises RequestError for a request whose worst case is not known although a limit needs it."""
        if self._by_tokens and completion_bound(request, self._limits.assumed_tokens) is None:
            name = "max_tokens_total" if self._limits.max_tokens_total is not None else "max_cost"
            raise RequestError(
                f"limits.{name} needs the longest completion: set sampling.max_tokens, or limits.assumed_tokens"
            )

    def worst(self, request: Request) -> Amount:
        """The most that one attempt at a request can take."""
        if not self._by_tokens:
            return ONE_CALL
        prompt, completion = prompt_bound(request), completion_bound(request, self._limits.assumed_tokens) or 0
        return Amount(1, prompt + completion, self._prices.most(prompt, completion) if self._prices else 0.0)

    def reserve(self, amount: Amount) -> bool:
        """Takes an amount out, if it fits; False where it may fit once calls under way have settled.

        Raises:
            Spent: it will not fit.
        """
        after = self.used + self.reserved + amount
        over = self._over(after)
        if over is None:
            self.reserved += amount
            return True
        if self._over(self.used + amount) is not None or self.reserved == Amount():
            raise Spent(over)
        return False

    def release(self, amount: Amount) -> None:
        """Puts a reserved amount back: the call was not made."""
        self.reserved -= amount
        if self.reserved.calls == 0:
            self.reserved = Amount()  # floats that were added and taken away leave a rest

    def settle(self, amount: Amount, usage: Usage | None) -> None:
        """Puts a reserved amount back and takes out what was used.

        A part of the usage that is not told counts as reserved; None says that nothing was billed but the call.
        """
        self.release(amount)
        if not self._by_tokens or usage is None:
            self.used += ONE_CALL
            return
        if usage.prompt is None or usage.completion is None:
            self.used += amount
            return
        cost = self._prices.cost(usage) if self._prices else None
        self.used += Amount(1, usage.prompt + usage.completion, amount.cost if cost is None else cost)

    def _over(self, amount: Amount) -> str | None:
        limits = self._limits
        used = self.used
        if limits.max_calls is not None and amount.calls > limits.max_calls:
            return f"limits.max_calls = {limits.max_calls} is reached: {used.calls} calls were made"
        if limits.max_tokens_total is not None and amount.tokens > limits.max_tokens_total:
            return (
                f"limits.max_tokens_total = {limits.max_tokens_total} leaves no room for the next call: {used.tokens} "
                "tokens are used"
            )
        if limits.max_cost is not None and amount.cost > limits.max_cost:
            return (
                f"limits.max_cost = {limits.max_cost} USD leaves no room for the next call: {used.cost:.4f} are spent"
            )
        return None
