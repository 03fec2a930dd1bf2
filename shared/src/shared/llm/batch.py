"""One batch on its way, seen from its caller: requests are drawn from where they come as there is room for them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from .checks import Checks
from .completion import Completion, Failure, Result, Usage
from .engine import Engine
from .errors import RequestError
from .jobs import Item, Job, Run
from .request import Request
from .structured import REPAIRS, parse, repair

CHUNK = 512  # requests drawn at a time, at most
PATIENCE_S = 0.2  # after which those drawn are sent, if drawing takes long

Results = list[tuple[int, Result]]


class Batch:
    """Holds at most `engine.window` requests; draws more when a quarter of that is free.

    Drivers call `fill` and hand on what it returns until it returns nothing; then, while `outstanding`, they wait for
    an item of `run` and hand on what `take` makes of it.

    Args:
        key: of a request.
        find: the cached completions of the given keys.
        found: called with the (key, request, completion) triples that the cache answered.
        require: raises where the requests cannot all be answered; for a replay.
    """

    def __init__(
        self,
        requests: Iterable[Request],
        engine: Engine,
        checks: Checks,
        run: Run,
        *,
        key: Callable[[Request], str],
        find: Callable[[Sequence[str]], Mapping[str, Completion]],
        found: Callable[[list[tuple[str, Request, Completion]]], None],
        require: Callable[[Sequence[Request]], None] | None = None,
    ) -> None:
        if isinstance(requests, Request):
            raise RequestError("requests must be several: put the one request into a list")
        self.total = len(requests) if isinstance(requests, Sequence) else None
        if isinstance(requests, Sequence):
            for place, request in enumerate(requests):
                checks(place, request)
            if require is not None:
                require(requests)
        self.run = run
        self.outstanding = 0
        self.drawn = False  # whether there are no more requests
        self._source = enumerate(requests)
        self._engine, self._checks = engine, checks
        self._key, self._find, self._found, self._require = key, find, found, require
        self._repairs: dict[int, _Repair] = {}  # of requests with a schema
        self._claimed: list[Job] = []  # and neither sent nor answered yet
        engine.open(run)

    @property
    def finished(self) -> bool:
        return self.drawn and not self.outstanding

    def fill(self) -> Results:
        """Draws and sends requests as there is room; returns those that the cache answered.

        Raises:
            RequestError: a request that is not well formed, or asks for what the backend cannot do.
        """
        while not self.drawn:
            window = self._engine.window
            room = window - self.outstanding
            if room < max(1, window // 4):
                break
            drawn = self._draw(min(room, CHUNK))
            self.outstanding += len(drawn)
            if ready := self._send(drawn):
                return ready
        return []

    def _draw(self, most: int) -> list[tuple[int, Request]]:
        drawn: list[tuple[int, Request]] = []
        until = time.monotonic() + PATIENCE_S
        for place, request in islice(self._source, most):
            if self.total is None:
                self._checks(place, request)
            if request.schema is not None:
                self._repairs[place] = _Repair(request)
            drawn.append((place, request))
            if time.monotonic() > until:
                break
        else:
            self.drawn = len(drawn) < most
        if self.total is None and self._require is not None:
            self._require([request for _, request in drawn])
        return drawn

    def take(self, item: Item) -> Results:
        """The results in an item. Raises the exception that it is."""
        if isinstance(item, BaseException):
            raise item
        return self._settle(item)

    def close(self) -> None:
        self._engine.abandon(self._claimed)  # where an error or Ctrl-C came between claiming and sending
        self._engine.close_run(self.run)

    def _send(self, drawn: Sequence[tuple[int, Request]]) -> Results:
        keyed = [(place, self._key(request), request) for place, request in drawn]
        self._claimed = jobs = self._engine.claim(keyed, self.run)
        if not self.run.fresh and jobs:
            # claimed first, looked up after that: another batch cannot have it answered and kept in between unseen
            stored = self._find([job.key for job in jobs])
            if stored:
                hits = [job for job in jobs if job.key in stored]
                jobs = [job for job in jobs if job.key not in stored]
                self._engine.release(hits)
                self._submit(jobs)
                return self._hit(hits, stored)
        self._submit(jobs)
        return []

    def _submit(self, jobs: list[Job]) -> None:
        now = time.monotonic()
        for job in jobs:
            job.looked_up = now
        self._claimed = []
        if jobs:
            self._engine.submit(jobs)

    def _hit(self, hits: list[Job], stored: Mapping[str, Completion]) -> Results:
        ready: Results = []
        triples = []
        for job in hits:
            completion = stored[job.key]
            triples.append((job.key, job.request, completion))
            for run, token in job.waiting:
                if run is self.run:
                    ready.append((token, completion))
                else:
                    run.put([(token, completion)])
        self._found(triples)
        return self._settle(ready)

    def _settle(self, results: Results) -> Results:
        """Counts results as handed on; those that a schema refuses are asked again instead."""
        if self._repairs:
            results = [(place, settled) for place, r in results if (settled := self._checked(place, r)) is not None]
        self.outstanding -= len(results)
        return results

    def _checked(self, place: int, result: Result) -> Result | None:
        asked = self._repairs.get(place)
        if asked is None:
            return result
        if isinstance(result, Failure) or result.finish == "refusal":
            del self._repairs[place]
            return asked.whole(result)
        parsed = parse((asked.last.prefix or "") + result.text, asked.last.schema or {})
        if parsed.problem is None:
            del self._repairs[place]
            return replace(asked.whole(result), data=parsed.data)
        if asked.rounds == REPAIRS:
            del self._repairs[place]
            whole = asked.whole(result)
            words = f"no answer of {REPAIRS + 1} satisfies the schema: {parsed.problem}"
            return Failure("malformed", words, None, whole.attempts, whole.usage, whole.cost)
        again = asked.ask_again(result, parsed.problem)
        # what the cache answers at once comes back through the batch's own outbox, as an answer from the server would
        if ready := self._send([(place, again)]):
            self.outstanding += len(ready)
            self.run.put(ready)
        return None


class _Repair:
    """A request with a schema, and what its answers took so far."""

    def __init__(self, request: Request) -> None:
        self.last = request
        self.rounds = 0
        self._usage = Usage()
        self._cost: float | None = None
        self._attempts = 0

    def ask_again(self, answer: Completion, problem: str) -> Request:
        self._add(answer)
        self.rounds += 1
        self.last = repair(self.last, (self.last.prefix or "") + answer.text, problem)
        return self.last

    def whole(self, result: Result) -> Result:
        """The result with the tokens, money and attempts of all rounds."""
        if not self.rounds:
            return result
        self._add(result)
        return replace(result, usage=self._usage, cost=self._cost, attempts=self._attempts)

    def _add(self, result: Result) -> None:
        self._usage += result.usage
        if result.cost is not None:
            self._cost = result.cost + (self._cost or 0.0)
        self._attempts += result.attempts
