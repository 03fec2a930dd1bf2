"""The record of a run: an append-only JSONL file, from which a second run reads instead of calling.

    {"ledger": 1, "model": …, …}                                  first line: who answers
    {"stream": key, "slot": …, "of": {sampler, target, …}}        before a stream's first call
    {"call": key, "index", "step", "redraw", "draw", "x", "p", "request", "text_sha256", "decision", "reason", …}
    {"score": digest, "logprobs": {label: …}, "source"}           an exact score of a question's labels
    {"samples": key, "first_index", "n", "set": {…}}              a stream's draws, when it has them all

A line reaches the operating system when its reply arrives, so a killed process loses nothing that was answered; it is
synced to the disk in groups, so a power cut loses the last group at most, and a torn last line is dropped. Replies are
written in the order in which they arrive. What is read from the ledger does not depend on that order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.llm.completion import Completion

from .asking import SLOTS, slot_of, stream_key
from .errors import VRSError
from .samples import SampleSet

try:
    import fcntl
except ImportError:  # no advisory locks on this system
    fcntl = None  # type: ignore[assignment]

FORMAT = 1


class Ledger:
    """The calls of a run by stream, index, step and redraw; in memory only without a path.

    With `read_only` the file is left as it is, and what is added stays in memory. `scores` is another ledger that keeps
    the exact scores, so that several have them in common.

    Raises:
        VRSError: the file is another run's, in use, of another format, or broken before its last line.
    """

    def __init__(
        self, path: str | Path | None = None, *, group: int = 256, read_only: bool = False, scores: Ledger | None = None
    ) -> None:
        if group < 1:
            raise VRSError(f"a ledger's group must be at least 1 line, not {group}")
        self.path = None if path is None else Path(path)
        self._read_only, self._elsewhere = read_only, scores
        self.header: dict[str, Any] | None = None
        self._group, self._unsynced = group, 0
        self._streams: dict[str, int] = {}
        self._slots: set[int] = set()
        self._calls: dict[tuple[str, int, int, int], dict[str, Any]] = {}
        self._samples: dict[tuple[str, int, int], dict[str, Any]] = {}
        self._score_lines: dict[str, dict[str, Any]] = {}
        self._file: int | None = None
        if self.path is not None:
            self._open(self.path)

    def bind(self, **who: Any) -> None:
        """State who answers. A ledger that another model has written is refused."""
        if self.header is None:
            self.header = {"ledger": FORMAT, **who}
            self._write(self.header)
            return
        known = {k: v for k, v in self.header.items() if k in who}
        if differing := [k for k in known if known[k] != who[k]]:
            name = differing[0]
            raise VRSError(
                f"{self.path or 'this ledger'} was written with {name} {known[name]!r}, not {who[name]!r}: give "
                "another path, or ask the same model in the same way"
            )

    @property
    def sources(self) -> list[str]:
        """Who answered."""
        told = (line.get("source") for lines in (self._calls, self._score_lines) for line in lines.values())
        return [source for source in dict.fromkeys(told) if source]

    def stream(self, description: Mapping[str, Any]) -> tuple[str, int]:
        """(key, slot) of the stream that a description names; announced in the file the first time."""
        key = stream_key(description)
        if key not in self._streams:
            slot = slot_of(key)
            while slot in self._slots:
                slot = (slot + 1) % SLOTS
            self._streams[key] = slot
            self._slots.add(slot)
            self._write({"stream": key, "slot": slot, "of": dict(description)})
        return key, self._streams[key]

    def find(self, key: str, index: int, step: int, redraw: int) -> dict[str, Any] | None:
        return self._calls.get((key, index, step, redraw))

    def add(self, line: Mapping[str, Any]) -> None:
        """A call that was answered."""
        self._keep_call(dict(line))
        self._write(line)

    def score(self, digest: str) -> Mapping[str, float] | None:
        """The labels' log-probabilities of a question that was scored before."""
        if self._elsewhere is not None:
            return self._elsewhere.score(digest)
        line = self._score_lines.get(digest)
        return None if line is None else line["logprobs"]

    def add_score(self, digest: str, logprobs: Mapping[str, float], source: str = "") -> None:
        if self._elsewhere is not None:
            self._elsewhere.add_score(digest, logprobs, source)
        else:
            self._score_lines[digest] = {"score": digest, "logprobs": dict(logprobs), "source": source}
            self._write(self._score_lines[digest])

    def add_samples(self, key: str, samples: SampleSet) -> None:
        """A finished stream's draws, once."""
        found = (key, samples.first_index, samples.n)
        record = samples.to_json()
        if found not in self._samples:
            self._samples[found] = record
            line = {"samples": key, "first_index": samples.first_index, "n": samples.n, "set": record}
            self._write(line)

    def calls(self) -> Iterator[Mapping[str, Any]]:
        """Every call, sorted by stream, index, step and redraw: the same whatever the order of arrival."""
        for place in sorted(self._calls):
            yield self._calls[place]

    def samples_of(self, key: str, first_index: int, n: int) -> SampleSet | None:
        """The draws of a stream that has them all."""
        record = self._samples.get((key, first_index, n))
        return None if record is None else SampleSet.from_json(record)

    def samples(self) -> list[SampleSet]:
        """Every finished stream's draws, in the order in which they were finished."""
        return [SampleSet.from_json(record) for record in self._samples.values()]

    def __len__(self) -> int:
        return len(self._calls)

    def sync(self) -> None:
        """Everything written so far, on the disk."""
        if self._elsewhere is not None:
            self._elsewhere.sync()
        if self._file is not None and self._unsynced:
            os.fsync(self._file)
            self._unsynced = 0

    def close(self) -> None:
        if self._file is not None:
            self.sync()
            os.close(self._file)
            self._file = None

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        if self.path is None or self._read_only:
            return
        if self._file is None:
            raise VRSError(f"the ledger {self.path} is closed")
        data = (json.dumps(line, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n").encode()
        try:
            while data:
                data = data[os.write(self._file, data) :]
            self._unsynced += 1
            if self._unsynced >= self._group:
                self.sync()
        except OSError as error:
            raise VRSError(
                f"cannot write the ledger {self.path}: {error.strerror}; what was answered before is kept"
            ) from error

    def _open(self, path: Path) -> None:
        try:
            if self._read_only:
                self._read(path)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise VRSError(f"cannot open the ledger {path}: {error.strerror}") from error
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read(path)
        except BlockingIOError as error:
            os.close(self._file)
            self._file = None
            raise VRSError(f"the ledger {path} is in use by another run: wait for it, or give another path") from error
        except BaseException:
            os.close(self._file)
            self._file = None
            raise

    def _read(self, path: Path) -> None:
        data = path.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data) and self._file is not None:
            # a line that a power cut tore: its call was answered and is lost, all before it is kept
            os.ftruncate(self._file, whole)
        for number, text in enumerate(data[:whole].splitlines(), start=1):
            try:
                line = json.loads(text)
                self._take(line)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise VRSError(
                    f"line {number} of {path} is no line of a ledger; remove the file to begin anew, or give another "
                    "path"
                ) from error
        if self.header is not None and self.header.get("ledger") != FORMAT:
            raise VRSError(f"{path} is a ledger of format {self.header.get('ledger')!r}; this version reads {FORMAT}")
        if self.header is None and whole:
            raise VRSError(f"{path} does not begin with a ledger's first line; give another path")

    def _take(self, line: dict[str, Any]) -> None:
        if "ledger" in line:
            self.header = line
        elif "stream" in line:
            self._streams[line["stream"]] = line["slot"]
            self._slots.add(line["slot"])
        elif "call" in line:
            self._keep_call(line)
        elif "score" in line:
            dict(line["logprobs"])  # refuses what is no score
            self._score_lines[line["score"]] = line
        else:
            self._samples[(line["samples"], line["first_index"], line["n"])] = line["set"]

    def _keep_call(self, line: dict[str, Any]) -> None:
        self._calls[(line["call"], line["index"], line["step"], line["redraw"])] = line


def told_source(completion: Completion) -> str:
    """Who answered. What comes from a cache was answered by the model, earlier; a recording tells of its origin."""
    source = completion.source
    if source.kind != "replay":
        return f"{source.backend}: {source.model}"
    return f"a recording of {source.backend}: {source.model}, {source.date}, {source.origin}"
