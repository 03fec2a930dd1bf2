"""The loop that sends requests: one event loop in one thread of its own, which belongs to one client.

Calls are made by workers, coroutines that take one waiting job after another; there are as many as the gate lets in. A
backend that answers many requests at a time is served by one worker, which takes as many jobs as it can.

    submit -> waiting jobs -> worker: budget, pace, attempt, retry -> committer: cache, recording -> the batches
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any

from .backend import Backend, CallError
from .breaker import Breaker
from .budget import Amount, Budget, Spent
from .committer import Committer, Save
from .completion import Completion, Failure, Result, Usage
from .concurrency import gate
from .errors import Stopped
from .jobs import Done, Ended, Job, Run
from .limits import Limits
from .pace import Pace
from .prices import prompt_bound
from .redact import Redactor
from .request import Request
from .retry import retrying
from .stats import Tally
from .worker import Worker

HOPELESS_GRACE_S = 0.5  # for calls under way when no request can succeed
# failures of which the provider may have billed what was written until then
MAYBE_BILLED = ("timeout", "malformed")


class _Dropped(Exception):
    """The batch is being stopped; this job was not answered."""


class Engine:
    """Sends jobs and hands results to the batches that wait for them.

    Args:
        backend: who answers.
        limits, budget, tally: of the client.
        save: keeps results, in a thread of its own, before they are handed on.
        look: the cached completion of a key, asked once more for a job that waited long; None where there is none.
        redactor: takes secrets out of messages and completions.
    """

    def __init__(
        self,
        backend: Backend,
        limits: Limits,
        budget: Budget,
        tally: Tally,
        *,
        save: Save,
        look: Callable[[Job], Completion | None],
        redactor: Redactor,
    ) -> None:
        self.backend, self.limits, self.budget, self.tally = backend, limits, budget, tally
        self.gate = gate(limits.concurrency)
        self.running = 0  # workers
        self._look, self._redactor = look, redactor
        self._pace = Pace(limits.requests_per_minute, limits.tokens_per_minute)
        self._breaker = Breaker()
        self._committer = Committer(save, self.release, self.fail, lambda: self.running)
        self._worker = Worker("shared.llm model")
        self._lock = threading.Lock()
        self._in_flight: dict[str, Job] = {}  # by key, from before the cache is asked until after the result is kept
        self._runs: set[Run] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False
        # of the loop's thread alone, from here on
        self._waiting: deque[Job] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping: BaseException | None = None
        self._stop = asyncio.Event()
        self._settled = asyncio.Event()

    # from the callers' threads

    @property
    def window(self) -> int:
        """How many requests may be held at a time."""
        return 2 * max(self.gate.limit, self.backend.batch)

    def open(self, run: Run) -> None:
        with self._lock:
            self._runs.add(run)

    def claim(self, requests: Sequence[tuple[int, str, Request]], run: Run) -> list[Job]:
        """Jobs for the (token, key, request) triples, less those whose key is on its way already: their results come
        to this batch as well."""
        mine = []
        with self._lock:
            for token, key, request in requests:
                job = None if run.fresh else self._in_flight.get(key)
                if job is not None:
                    job.waiting.append((run, token))
                    continue
                job = Job(key, request, [(run, token)], run.fresh)
                if not run.fresh:
                    self._in_flight[key] = job
                mine.append(job)
        return mine

    def release(self, jobs: Sequence[Job]) -> None:
        """Takes jobs off the way that need not be sent. After that nobody else begins to wait for them."""
        with self._lock:
            for job in jobs:
                if self._in_flight.get(job.key) is job:
                    del self._in_flight[job.key]

    def abandon(self, jobs: Sequence[Job]) -> None:
        """Takes jobs off the way that cannot be sent; other batches that began to wait for them are ended."""
        self.release(jobs)
        for run in {run for job in jobs for run, _ in job.waiting}:
            run.put(Stopped("another batch gave up a request that this one wants, too; try again", "cancelled"))

    def submit(self, jobs: list[Job]) -> None:
        self._call(self._accept, jobs)

    def close_run(self, run: Run) -> None:
        """Nobody waits for the batch any more: what it has waiting is dropped, calls under way go on and are kept."""
        run.gone = True
        with self._lock:
            self._runs.discard(run)
        if self._thread is not None:
            self._call(self._sweep)

    def stop(self, error: BaseException, grace: float) -> None:
        """Ends every batch with `error` once the calls under way have come back, or `grace` seconds have passed."""
        self._call(self._begin_stop, error, grace)

    def fail(self, error: BaseException) -> None:
        self.stop(error, 0.0)

    def close(self, grace: float) -> None:
        """Gives calls under way `grace` seconds, keeps their results, and ends all threads."""
        with self._lock:
            loop, self._loop, self._closed = self._loop, None, True
        if loop is None:
            # in a thread, as the caller's may have a loop running
            closing = threading.Thread(target=asyncio.run, args=(self.backend.close(),))
            closing.start()
            closing.join()
            return
        closed = asyncio.run_coroutine_threadsafe(self._close(grace), loop)
        closed.result(2 * grace + 10)
        self._committer.close(30)
        loop.call_soon_threadsafe(loop.stop)
        assert self._thread is not None
        self._thread.join(5)
        self._worker.close()

    def _call(self, function: Callable[..., Any], *arguments: Any) -> None:
        with self._lock:
            if self._closed:
                return
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._run, args=(self._loop,), name="shared.llm", daemon=True)
                self._thread.start()
                self._committer.start()
            self._loop.call_soon_threadsafe(function, *arguments)

    # in the loop's thread

    @staticmethod
    def _run(loop: asyncio.AbstractEventLoop) -> None:
        asyncio.set_event_loop(loop)
        try:
            loop.run_forever()
        finally:
            loop.close()

    def _accept(self, jobs: list[Job]) -> None:
        if self._stopping is not None:
            self._committer.put(Ended(self._stopping, (), tuple(jobs)))
            return
        # a batch that was stopped may send some more until it hears of it
        for job in jobs:
            error = next((run.stopped for run, _ in job.waiting), None)
            if error is not None and all(run.stopped for run, _ in job.waiting):
                self._committer.put(Ended(error, (), (job,)))
            else:
                self._waiting.append(job)
        self._pump()

    def _pump(self) -> None:
        """Starts as many workers as the gate lets in and jobs need."""
        if self._stopping is not None:
            return
        batched = self.backend.batch > 1
        limit = 1 if batched else self.gate.limit
        for _ in range(min(limit - self.running, len(self._waiting))):
            self.running += 1
            task = asyncio.get_running_loop().create_task(self._serve_batches() if batched else self._serve())
            self._tasks.add(task)
            task.add_done_callback(self._worker_ended)

    def _worker_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self.running -= 1
        if not task.cancelled() and (error := task.exception()) is not None:
            self._begin_stop(error, self.limits.grace_s)
        self._pump()

    def _sweep(self) -> None:
        kept: deque[Job] = deque()
        with self._lock:  # nobody begins to wait for a job between the look at it and its end
            for job in self._waiting:
                if job.wanted:
                    kept.append(job)
                elif self._in_flight.get(job.key) is job:
                    del self._in_flight[job.key]
        self._waiting = kept

    async def _serve(self) -> None:
        while self._waiting and self._stopping is None and self.running <= self.gate.limit:
            job = self._waiting.popleft()
            try:
                result: Result | None = self._known(job)
                if result is None:
                    result = await self._answer(job)
            except BaseException as error:
                self.release([job])
                if isinstance(error, Spent):
                    self._begin_stop(self._stopped(str(error), "budget"), self.limits.total_s)
                elif not isinstance(error, _Dropped):
                    raise
                return
            self._finish(job, result)
            if self.running < self.gate.limit:
                self._pump()

    def _known(self, job: Job) -> Completion | None:
        """A completion that another process has put into the cache while the job was waiting."""
        return self._look(job) if time.monotonic() - job.looked_up > 1.0 else None

    async def _answer(self, job: Job) -> Result:
        """The result of all attempts at a job.

        Raises:
            _Dropped: the batch is being stopped.
            Spent: the budget has no room for it.
        """
        try:
            return await retrying(self.limits, self._sleep)(self._attempt, job)
        except CallError as error:
            return self._failure(job, error)

    async def _attempt(self, job: Job) -> Completion:
        amount = self.budget.worst(job.request)
        while not self.budget.reserve(amount):
            await self._wait_for(self._settled)
            self._settled.clear()
        usage: Usage | None = None
        sent = False
        try:
            if self._pace.limited and (delay := self._pace.wait(prompt_bound(job.request))) > 0:
                await self._sleep(delay)
            if self._stopping is not None:
                raise _Dropped
            sent = True
            self.tally.sent(again=job.attempts > 0)
            job.attempts += 1
            begun = time.perf_counter()
            try:
                async with asyncio.timeout(self.limits.total_s):
                    completion = await self.backend.complete(self._sendable(job.request))
            except TimeoutError as error:
                seconds = f"{self.limits.total_s:g} s"
                raise CallError("timeout", f"no whole answer within {seconds} (limits.total_s)", retry=True) from error
            usage = completion.usage
            self.gate.answered(self.running)
            return self._priced(job, completion, time.perf_counter() - begun)
        except CallError as error:
            if error.kind == "rate_limit":
                self.gate.refused()
            usage = self._billed(job, error)
            raise
        except asyncio.CancelledError:
            usage = Usage()  # its end is not waited for, and may be billed
            raise
        finally:
            if sent:
                self.budget.settle(amount, usage)
            else:
                self.budget.release(amount)
            self._settled.set()

    def _sendable(self, request: Request) -> Request:
        """The request, without the schema where the backend does not know what one is; the client enforces it then."""
        if request.schema is None or self.backend.capabilities.schema or self.backend.name == "replay":
            return request
        return replace(request, schema=None)

    def _billed(self, job: Job, error: CallError) -> Usage | None:
        """What a failed attempt may have cost; an empty Usage stands for its worst case."""
        told = error.usage.prompt is not None or error.usage.completion is not None
        if not told and error.kind not in MAYBE_BILLED:
            return None
        cost = self.tally.spent(error.usage)
        job.usage += error.usage
        job.cost = job.cost if cost is None else cost + (job.cost or 0.0)
        return error.usage

    def _priced(self, job: Job, completion: Completion, seconds: float) -> Completion:
        if completion.source.kind != "live":
            return completion
        return replace(
            self._redactor.completion(completion),
            attempts=job.attempts,
            latency_s=completion.latency_s or seconds,
            cost=self.tally.spent(completion.usage),
        )

    def _failure(self, job: Job, error: CallError) -> Failure:
        """What the caller gets for a job whose last attempt failed.

        Raises:
            _Dropped: the failure stops the batch.
        """
        if error.stops is not None:
            grace = self.limits.grace_s if error.stops == "quota" else HOPELESS_GRACE_S
            self._begin_stop(self._stopped(self._redactor.clean(error.message), error.stops), grace)
            raise _Dropped from error
        return Failure(error.kind, self._redactor.clean(error.message), error.status, job.attempts, job.usage, job.cost)

    def _finish(self, job: Job, result: Result) -> None:
        self._committer.put(Done(job, result))
        tripped = self._breaker.note(result.kind if isinstance(result, Failure) else None)
        if tripped is not None and isinstance(result, Failure):
            words = f"{tripped}, the last one so: {result.message}"
            self._begin_stop(self._stopped(words, "failures"), self.limits.grace_s)

    # backends that answer many at a time

    async def _serve_batches(self) -> None:
        while self._waiting and self._stopping is None:
            jobs: list[tuple[Job, Amount]] = []
            try:
                while self._waiting and len(jobs) < self.backend.batch:
                    amount = self.budget.worst(self._waiting[0].request)
                    if not self.budget.reserve(amount):
                        break
                    jobs.append((self._waiting.popleft(), amount))
            except Spent as spent:
                if not jobs:
                    self._begin_stop(self._stopped(str(spent), "budget"), self.limits.total_s)
                    return
            await self._answer_batch(jobs)

    async def _answer_batch(self, jobs: list[tuple[Job, Amount]]) -> None:
        for job, _ in jobs:
            self.tally.sent(again=job.attempts > 0)
            job.attempts += 1
        begun = time.perf_counter()
        try:
            answers = await self._worker.do(
                self.backend.complete_many, [self._sendable(job.request) for job, _ in jobs]
            )
            if len(answers) != len(jobs):
                raise RuntimeError(f"{self.backend.name} gave {len(answers)} answers to {len(jobs)} requests")
        except BaseException:
            self.release([job for job, _ in jobs])
            for _, amount in jobs:
                self.budget.settle(amount, Usage())
            raise
        seconds = time.perf_counter() - begun
        for (job, amount), answer in zip(jobs, answers, strict=True):
            if isinstance(answer, CallError):
                self.budget.settle(amount, self._billed(job, answer))
                if answer.retry and job.attempts < self.limits.attempts and self._stopping is None:
                    self._waiting.append(job)
                    continue
                try:
                    self._finish(job, self._failure(job, answer))
                except _Dropped:
                    self.release([job])
            else:
                self.budget.settle(amount, answer.usage)
                self._finish(job, self._priced(job, answer, seconds))

    # the end

    def _stopped(self, message: str, reason: str) -> Stopped:
        return Stopped(f"{message.rstrip('.')}; what was answered until then is kept", reason)

    def _begin_stop(self, error: BaseException, grace: float) -> None:
        if self._stopping is not None:
            return
        self._stopping = error
        self._stop.set()
        self._wind_down_task = asyncio.get_running_loop().create_task(self._wind_down(error, grace))

    async def _wind_down(self, error: BaseException, grace: float) -> None:
        dropped = list(self._waiting)
        self._waiting.clear()
        await self._let_end(grace)
        dropped += self._waiting
        self._waiting.clear()
        with self._lock:
            runs = tuple(self._runs)
            for run in runs:
                run.stopped = error
        self._breaker.reset()
        self._committer.put(Ended(error, runs, tuple(dropped)))
        self._stopping = None
        self._stop.clear()

    async def _let_end(self, grace: float) -> None:
        """Waits for the workers, and cancels those that take longer."""
        tasks = set(self._tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _close(self, grace: float) -> None:
        self._begin_stop(Stopped("the client was closed", "cancelled"), grace)
        # a stop that is under way may grant more time than that
        await asyncio.wait({self._wind_down_task}, timeout=grace)
        for task in self._tasks:
            task.cancel()
        await self._wind_down_task
        if not self._worker.busy:  # a model that is still at a batch cannot be taken away, and nobody waits for it
            await self.backend.close()

    async def _sleep(self, seconds: float) -> None:
        """Raises _Dropped as soon as the batch is being stopped."""
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return
        raise _Dropped

    async def _wait_for(self, event: asyncio.Event) -> None:
        """Waits for the event. Raises _Dropped as soon as the batch is being stopped."""
        waits: list[Coroutine[Any, Any, Any]] = [event.wait(), self._stop.wait()]
        tasks = [asyncio.ensure_future(wait) for wait in waits]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        if self._stopping is not None:
            raise _Dropped
