"""Chunks on many machines by Ray: one actor a node, each with a backend of its own.

A chunk whose node is lost goes back into the queue; a node lost in the middle of a chunk costs that chunk. Near the end
chunks that are still out are given to idle actors too, and the first answer counts. At most `LOSSES` losses a chunk,
then its samples are `infra`, to be tried again by the next run.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from ..errors import FormalMathError
from ..lean.verdict import CheckRequest, CheckResult

LOSSES = 3


def check_chunk(make: Callable[[], Any], chunk: Sequence[CheckRequest]) -> list[CheckResult]:
    """All results of a chunk, on a backend that `make` gives."""

    async def run() -> list[CheckResult]:
        backend = make()
        try:
            return [result async for result in backend.check(chunk)]
        finally:
            await backend.close()

    return asyncio.run(run())


class RayShard:
    """Runs chunks on a Ray cluster.

    Args:
        make: makes a backend inside an actor.
        actors: how many; None for one a node.
        address: of the cluster; None starts one here.
        cpus: that an actor asks for.

    Raises:
        FormalMathError: Ray is not installed or the cluster cannot be reached.
    """

    def __init__(self, make: Callable[[], Any], actors: int | None = None, address: str | None = None, cpus: float = 1):
        try:
            import ray
        except ImportError:
            raise FormalMathError("shard=ray needs the package ray: install the extra `ray`") from None
        self.ray, self.make, self.cpus = ray, make, cpus
        if not ray.is_initialized():
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, include_dashboard=False)
            except ConnectionError as error:
                raise FormalMathError(f"no Ray cluster at {address}: {error}") from None
        self.actors = actors or max(1, sum(1 for node in ray.nodes() if node["Alive"]))
        self.lost = 0

    def _actor(self) -> Any:
        remote = self.ray.remote(num_cpus=self.cpus, max_restarts=0, scheduling_strategy="SPREAD")(Checker)
        return remote.remote(self.make)

    async def run(self, chunks: Sequence[Sequence[CheckRequest]]) -> AsyncIterator[CheckResult]:
        waiting = deque(range(len(chunks)))
        losses = dict.fromkeys(waiting, 0)
        finished: set[int] = set()
        idle = [self._actor() for _ in range(min(self.actors, len(chunks)))]
        running: dict[Any, tuple[int, Any]] = {}
        while len(finished) < len(chunks):
            while idle and (place := self._next(waiting, running, finished)) is not None:
                actor = idle.pop()
                running[actor.check.remote(list(chunks[place]))] = (place, actor)
            done, _ = await asyncio.to_thread(self.ray.wait, list(running), num_returns=1)
            for reference in done:
                place, actor = running.pop(reference)
                try:
                    results = await asyncio.to_thread(self.ray.get, reference)
                except self.ray.exceptions.RayTaskError as error:
                    reason = str(error.cause).strip().splitlines()
                    raise FormalMathError(f"a node cannot check: {reason[0] if reason else error.cause!r}") from None
                except self.ray.exceptions.RayError as error:
                    self.lost += 1
                    idle.append(self._actor())
                    if place in finished or any(p == place for p, _ in running.values()):
                        continue
                    losses[place] += 1
                    if losses[place] < LOSSES:
                        waiting.append(place)
                        continue
                    results = [
                        CheckResult(*r.key, "infra", "structural", f"the node was lost: {type(error).__name__}")
                        for r in chunks[place]
                    ]
                else:
                    idle.append(actor)
                if place not in finished:
                    finished.add(place)
                    for result in results:
                        yield result
        for _, actor in running.values():
            self.ray.kill(actor)

    @staticmethod
    def _next(waiting: deque[int], running: Mapping[Any, tuple[int, Any]], finished: set[int]) -> int | None:
        """The next chunk; with none waiting, one that only a single actor works on."""
        if waiting:
            return waiting.popleft()
        out = [place for place, _ in running.values() if place not in finished]
        return next((place for place in out if out.count(place) == 1), None)

    def close(self) -> None:
        self.ray.shutdown()


class Checker:
    """The actor."""

    def __init__(self, make: Callable[[], Any]):
        self.make = make

    def check(self, chunk: list[CheckRequest]) -> list[CheckResult]:
        return check_chunk(self.make, chunk)
