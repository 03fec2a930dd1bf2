"""Results to the disk, then to whoever waits for them: nobody sees a completion that a kill could still lose."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from queue import Empty, SimpleQueue

from .completion import Completion, Result
from .jobs import Done, Ended, Job, Run

WINDOW_S = 0.01  # results that come within it share a transaction, where many calls are under way
CROWD = 8  # what "many" is
MOST = 512  # results a transaction

Save = Callable[[list[Done]], None]


class Committer:
    """A thread that saves results in groups and hands them on.

    `save` is called with each group before it is handed on; what it raises ends every batch, as nothing further could
    be kept. `forget` is called with the jobs of a group, after they were saved and before they are handed on. `running`
    says how many calls are under way.
    """

    def __init__(
        self,
        save: Save,
        forget: Callable[[list[Job]], None],
        fail: Callable[[BaseException], None],
        running: Callable[[], int],
    ) -> None:
        self._save, self._forget, self._fail, self._running = save, forget, fail, running
        self._inbox: SimpleQueue[Done | Ended | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, item: Done | Ended) -> None:
        self._inbox.put(item)

    def start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="shared.llm committer", daemon=True)
            self._thread.start()

    def close(self, timeout: float) -> None:
        """Saves and hands on what is here, and ends the thread."""
        if self._thread is not None:
            self._inbox.put(None)
            self._thread.join(timeout)
            self._thread = None

    def _work(self) -> None:
        while True:
            group: list[Done] = []
            item = self._inbox.get()
            if isinstance(item, Done) and self._running() >= CROWD:
                time.sleep(WINDOW_S)
            while isinstance(item, Done):
                group.append(item)
                if len(group) == MOST:
                    break
                try:
                    item = self._inbox.get_nowait()
                except Empty:
                    break
            if group:
                self._hand_on(group)
            if isinstance(item, Ended):
                self._forget(list(item.jobs))
                # others may have begun to wait for these jobs until just now
                for run in {*item.runs, *(run for job in item.jobs for run, _ in job.waiting)}:
                    run.put(item.error)
            elif item is None:
                return

    def _hand_on(self, group: list[Done]) -> None:
        try:
            self._save(group)
        except BaseException as error:
            self._forget([done.job for done in group])
            for run in {run for done in group for run, _ in done.job.waiting}:
                run.put(error)
            self._fail(error)
            return
        self._forget([done.job for done in group])
        by_run: dict[Run, list[tuple[int, Result]]] = {}
        for done in group:
            for place, (run, token) in enumerate(done.job.waiting):
                by_run.setdefault(run, []).append((token, shared(done.result) if place else done.result))
        for run, results in by_run.items():
            run.put(results)


def shared(result: Result) -> Result:
    """What a second asker of the same key gets: the completion was made once, and is paid for once."""
    if isinstance(result, Completion) and result.source.kind == "live":
        return replace(result, source=replace(result.source, kind="cache"))
    return result
