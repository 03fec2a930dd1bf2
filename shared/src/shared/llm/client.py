"""The client of a model: requests in, completions or failures out, nothing paid twice.

    with open_llm({"backend": "openai", "model": "gpt-4.1-nano", "cache": {"path": "completions.sqlite"}}) as llm:
        for place, result in llm.as_completed(requests):
            ...

A batch gives one result a request: a Completion, or a Failure that says why there is none. What no request could
survive (wrong credentials, a spent quota or budget, a model that does not exist, an endpoint that is down) raises
Stopped instead, once what is under way has come back; everything answered until then is in the cache, and the same
batch goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .backend import Backend, Capabilities
from .batch import Batch
from .budget import Budget
from .cache import Cache
from .checks import Checks
from .completion import Completion, Result
from .engine import Engine
from .errors import ModelError, RequestError, Stopped
from .jobs import Done, Job, Run
from .key import canonical, digest, key_material
from .limits import Limits
from .plain import plain
from .prices import Prices, completion_bound, prompt_guess
from .progress import Progress
from .recording import Header, Recorder, Recording
from .redact import Redactor
from .request import Request, Sampling
from .stats import Stats, Tally

CACHE_MODES = ("read_write", "read_only", "refresh", "off")


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a batch would take. `completion_tokens` are at most so many, None without max_tokens; `cost` is in USD,
    None without prices or without a bound on the completions."""

    requests: int
    cached: int
    calls: int
    prompt_tokens: int
    completion_tokens: int | None
    cost: float | None


class LLM:
    """A model behind a cache, limits and a recording. Safe for several threads; close it, or use it in `with`.

    Args:
        backend: who answers. A client closes it.
        cache: an open Cache, which stays open, or the path of one; None for none. Recordings are never cached.
        cache_mode: read_write; read_only keeps nothing new; refresh asks anew and keeps; off does neither.
        record: path of a recording that gets every completion handed on.
        limits: concurrency, attempts, times, rates, budgets.
        prices: for costs and `limits.max_cost`.
        salt: part of every key; another one asks everything anew.
        sampling: what callers who have no wish of their own put into their requests; nothing is added to a request.
        progress: show a bar, or a line every half minute where stderr is no terminal.

    Raises:
        RequestError: settings that do not go together.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        cache: Cache | Path | str | None = None,
        cache_mode: str = "read_write",
        record: Path | str | None = None,
        limits: Limits | None = None,
        prices: Prices | None = None,
        salt: str = "",
        sampling: Sampling | None = None,
        progress: bool = False,
    ) -> None:
        if cache_mode not in CACHE_MODES:
            raise RequestError(f"cache_mode must be one of {', '.join(CACHE_MODES)}, not {cache_mode!r}")
        self.backend, self.limits, self.prices = backend, limits or Limits(), prices
        self.sampling = sampling or Sampling()
        replayed = backend.name == "replay"
        if replayed and record is not None:
            raise RequestError("record makes no sense on a replay: its recording is there already")
        budget = Budget(self.limits, prices)
        if callable(configure := getattr(backend, "configure", None)):
            configure(self.limits)
        self.salt = "" if replayed else salt
        self._redactor = Redactor(getattr(backend, "secrets", list))
        self._checks = Checks(backend.name, backend.capabilities, budget)
        self._tally = Tally(prices)
        self._progress = progress
        self._store: Cache | Recording | None = None
        self._own_cache: Cache | None = None
        if replayed:
            self._store = backend.recording  # type: ignore[attr-defined]
        elif cache is not None and cache_mode != "off":
            if isinstance(cache, Cache):
                self._store = cache
            else:
                self._store = self._own_cache = Cache(cache, read_only=cache_mode == "read_only")
        self._reads = replayed or cache_mode in ("read_write", "read_only")
        self._keeps = not replayed and cache_mode in ("read_write", "refresh")
        self._anew = cache_mode == "refresh"
        self._record_path = record
        self._recorder: Recorder | None = None
        self._recording = threading.Lock()
        self._closed = False
        self._grace = self.limits.grace_s  # what close() grants
        self._engine = Engine(
            backend, self.limits, budget, self._tally, save=self._save, look=self._look, redactor=self._redactor
        )

    @property
    def name(self) -> str:
        """The kind of backend: openai, transformers, vllm, replay or fake."""
        return self.backend.name

    @property
    def model(self) -> str:
        return self.backend.model

    @property
    def capabilities(self) -> Capabilities:
        return self.backend.capabilities

    def complete(self, requests: Iterable[Request], *, cached: bool = True) -> list[Result]:
        """The result of each request, in their order. `cached=False` keeps the cache out of it, both ways.

        Raises:
            RequestError: a request that is not well formed or asks for what the backend cannot do; where the requests
                are a list, before the first call.
            Stopped: see the module; what was answered is kept in the cache.
        """
        return _in_order(item for part in self._parts(requests, cached) for item in part)

    def as_completed(self, requests: Iterable[Request], *, cached: bool = True) -> Iterator[tuple[int, Result]]:
        """(place, result) pairs as they come, each already kept in the cache; the place counts requests from 0.

        Requests may be a generator: no more than twice the concurrency are held at a time. Raises as `complete`.
        """
        for part in self._parts(requests, cached):
            yield from part

    async def acomplete(self, requests: Iterable[Request], *, cached: bool = True) -> list[Result]:
        """`complete` for callers with an event loop, which it does not block while it waits."""
        return _in_order([item async for item in self.aas_completed(requests, cached=cached)])

    async def aas_completed(
        self, requests: Iterable[Request], *, cached: bool = True
    ) -> AsyncIterator[tuple[int, Result]]:
        """`as_completed` for callers with an event loop."""
        loop, arrived = asyncio.get_running_loop(), asyncio.Event()

        def notify() -> None:
            # the caller's loop may be gone
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(arrived.set)

        await asyncio.to_thread(self._identity)
        batch = self._batch(requests, Run(fresh=not cached, notify=notify))
        with self._shown(batch) as progress:
            while not batch.finished:
                part = batch.fill()
                while not part and batch.outstanding:
                    item = batch.run.get(0)
                    if item is not None:
                        part = batch.take(item)
                        break
                    await arrived.wait()
                    arrived.clear()
                self._handed_on(part, progress)
                for pair in part:
                    yield pair

    def choice_logprobs(self, request: Request, choices: Sequence[str]) -> Mapping[str, float]:
        """Natural-log probability of each choice as what comes next, not renormalised.

        Raises:
            RequestError: the backend does not tell them.
            ModelError: the call failed.
        """
        if not self.capabilities.choice_logprobs:
            raise RequestError(f"{self.name} tells no log-probabilities of choices")
        (result,) = self.complete([replace(request, choices=tuple(choices), schema=None, draw=0)])
        if not isinstance(result, Completion):
            raise ModelError(f"the choices could not be weighed ({result.kind}): {result.message}")
        if result.choice_logprobs is None:
            raise ModelError(f"{self.name} returned no log-probabilities of choices")
        return result.choice_logprobs

    def estimate(self, requests: Iterable[Request]) -> Estimate:
        """Calls, tokens and cost of a batch, from the prompts and the cache alone. Makes no call."""
        count = cached = prompt = 0
        completion: int | None = 0
        for place, request in enumerate(requests):
            self._checks(place, request)
            count += 1
            if self._find([self._key(request)]):
                cached += 1
                continue
            prompt += prompt_guess(request, self.count_tokens)
            bound = completion_bound(request, self.limits.assumed_tokens)
            completion = None if completion is None or bound is None else completion + bound
        cost = self.prices.most(prompt, completion) if self.prices and completion is not None else None
        return Estimate(count, cached, count - cached, prompt, completion, cost)

    def count_tokens(self, text: str) -> int | None:
        """Tokens of a text by itself; None where the backend cannot tell."""
        count = getattr(self.backend, "count_tokens", None)
        return count(text) if callable(count) else None

    def stats(self) -> Stats:
        """Counts since the client was made."""
        return self._tally.stats()

    def summary(self) -> dict[str, Any]:
        """Who answered and the counts, as plain JSON values."""
        return {"backend": self.name, "model": self.model, **self.stats().to_json()}

    def close(self) -> None:
        """Gives calls under way `limits.grace_s`, keeps what they bring, and lets go of everything."""
        if self._closed:
            return
        self._closed = True
        try:
            self._engine.close(self._grace)
        finally:
            if self._own_cache is not None:
                self._own_cache.close()
            if self._progress and self.stats().requests:
                print(json.dumps(self.summary()), file=sys.stderr)

    def __enter__(self) -> LLM:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"LLM({self.name}, {self.model!r})"

    # batches

    def _parts(self, requests: Iterable[Request], cached: bool) -> Iterator[list[tuple[int, Result]]]:
        batch = self._batch(requests, Run(fresh=not cached))
        with self._shown(batch) as progress:
            try:
                while not batch.finished:
                    part = batch.fill()
                    while not part and batch.outstanding:
                        item = batch.run.get(progress.period)
                        if item is not None:
                            part = batch.take(item)
                            break
                        progress.show(self.stats())
                    self._handed_on(part, progress)
                    yield part
            except KeyboardInterrupt:
                self._interrupted(batch)
                raise KeyboardInterrupt(
                    f"{batch.total or 'the'} requests were interrupted; what was answered is kept, and the same "
                    "command goes on from there"
                ) from None

    def _batch(self, requests: Iterable[Request], run: Run) -> Batch:
        if self._closed:
            raise RequestError("the client is closed")
        require = getattr(self.backend, "require", None)
        return Batch(
            requests,
            self._engine,
            self._checks,
            run,
            key=self._key,
            find=self._find,
            found=self._found,
            require=require,
        )

    @contextlib.contextmanager
    def _shown(self, batch: Batch) -> Iterator[Progress]:
        progress = Progress(self._progress, self.model, batch.total, self.stats())
        try:
            yield progress
        finally:
            progress.close()
            batch.close()

    def _handed_on(self, part: list[tuple[int, Result]], progress: Progress) -> None:
        self._tally.handed_on([result for _, result in part])
        if self._progress:
            progress.advance(len(part), self.stats())

    def _interrupted(self, batch: Batch) -> None:
        """After Ctrl-C: no more calls, and `grace_s` for those under way. A second Ctrl-C ends that, too."""
        self._engine.stop(Stopped("the batch was interrupted", "cancelled"), self.limits.grace_s)
        try:
            while (item := batch.run.get(self.limits.grace_s + 5)) is not None:
                batch.take(item)
        except Stopped:
            pass
        except KeyboardInterrupt:
            self._grace = 0.0

    # cache and recording

    def _identity(self) -> Mapping[str, Any]:
        return self.backend.identity()

    def _key(self, request: Request) -> str:
        text = canonical(key_material(self._identity(), request, self.salt))
        self._redactor.refuse(text)
        return digest(text)

    def _find(self, keys: Sequence[str]) -> Mapping[str, Completion]:
        return self._store.get_many(keys) if self._store is not None and self._reads else {}

    def _look(self, job: Job) -> Completion | None:
        return None if job.fresh else self._find([job.key]).get(job.key)

    def _found(self, hits: list[tuple[str, Request, Completion]]) -> None:
        """A recording holds what the cache answered, too."""
        self._record([(request, completion) for _, request, completion in hits])

    def _save(self, group: list[Done]) -> None:
        made = [(d.job, d.result) for d in group if isinstance(d.result, Completion) and not d.job.fresh]
        if isinstance(self._store, Cache) and self._keeps:
            live = [(job, c) for job, c in made if c.source.kind == "live"]
            identity = self._identity()
            rows = [(job.key, key_material(identity, job.request, self.salt), c) for job, c in live]
            self._store.put_many(rows, anew=self._anew)
        self._record([(job.request, c) for job, c in made])

    def _record(self, made: list[tuple[Request, Completion]]) -> None:
        if self._record_path is None or not made:
            return
        with self._recording:  # the caller's thread brings what was cached, the committer's what is new
            if self._recorder is None:
                source = f"recorded from {self.model} by the backend {self.name}"
                now = datetime.now(UTC).isoformat(timespec="seconds")
                terms = "those of the model's licence and of its provider"
                header = Header(source, self.model, now, "see each request", terms, plain(self._identity()))
                self._recorder = Recorder(self._record_path, header)
        self._recorder.add(made)


def _in_order(results: Iterable[tuple[int, Result]]) -> list[Result]:
    by_place = dict(results)
    return [by_place[place] for place in range(len(by_place))]
