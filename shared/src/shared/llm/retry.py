"""When a failed attempt is followed by another, and after which wait."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
    wait_random_exponential,
)
from tenacity.wait import wait_base

from .backend import CallError
from .limits import Limits

LONGEST_ASKED_S = 300.0  # of what a server asks for


class Wait(wait_base):
    """What the server asks for, and up to a tenth more; without that, full jitter under a doubling bound.

    The tenth keeps calls that were refused together from coming back together.
    """

    def __init__(self, limits: Limits) -> None:
        self._jitter = wait_random_exponential(multiplier=limits.first_wait_s, max=limits.longest_wait_s)

    def __call__(self, retry_state: RetryCallState) -> float:
        error = retry_state.outcome.exception() if retry_state.outcome else None
        asked = error.retry_after if isinstance(error, CallError) else None
        if asked is None:
            return self._jitter(retry_state)
        return min(asked, LONGEST_ASKED_S) * random.uniform(1.0, 1.1)


def retrying(limits: Limits, sleep: Callable[[float], Awaitable[None]]) -> AsyncRetrying:
    """tenacity's loop under these limits; the last attempt's CallError comes out."""
    return AsyncRetrying(
        retry=retry_if_exception(lambda error: isinstance(error, CallError) and error.retry),
        stop=stop_after_attempt(limits.attempts) | stop_before_delay(limits.retry_s),
        wait=Wait(limits),
        sleep=sleep,
        reraise=True,
    )
