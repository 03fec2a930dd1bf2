"""Recordings: files of completions that a model gave once, to be answered from ever after.

JSON lines, gzipped where the name ends in .gz. The first line says who answered:

    {"format": "shared.llm recording 1", "source": "recorded from ...", "model": "...", "backend": {...} or null,
     "date": "2025-01-31", "settings": "how it was sampled", "terms": "licence and terms of the answers"}

and each further line holds one completion, under the key of its request (see key.py):

    {"key": "...", "tag": "...", "request": {"messages": [...], "sampling": {...}, "draw": 0, ...},
     "completion": {"text": "...", ...}}
"""

from __future__ import annotations

import gzip
import json
import os
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import IO, Any

from .completion import Completion, Source
from .errors import RecordingError
from .key import question, question_key
from .messages import user
from .request import Request

FORMAT = "shared.llm recording 1"
BLANK = question(Request((user("-"),)))  # stands for what a recording does not say: fields that are younger than it


@dataclass(frozen=True, slots=True)
class Header:
    """Who answered. `source` says it in words, which reports print; `backend` is that of a client, None for answers
    that were collected in another way."""

    source: str
    model: str
    date: str  # ISO 8601
    settings: str = ""  # how it was sampled, as far as that is known
    terms: str = ""  # licence and terms of the answers
    backend: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        for name in ("source", "model", "date"):
            if not isinstance(getattr(self, name), str) or not getattr(self, name).strip():
                raise RecordingError(f"a recording must say its {name}")

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, record: Any) -> Header:
        """The inverse of to_json. Raises RecordingError for anything else."""
        if not isinstance(record, Mapping) or record.get("format") != FORMAT:
            raise RecordingError(f"its first line is no header with format {FORMAT!r}")
        known = {f.name for f in fields(cls)}
        return cls(**{"source": "", "model": "", "date": "", **{k: v for k, v in record.items() if k in known}})


class Recording:
    """The completions of a file, by key. Works as a cache that nothing is put into."""

    def __init__(self, path: Path, header: Header, entries: Mapping[str, Mapping[str, Any]]) -> None:
        self.path, self.header = path, header
        self.entries = entries  # key -> a line of the file

    @classmethod
    def open(cls, path: Path | str) -> Recording:
        """Reads a file.

        Raises:
            RecordingError: there is none, it is no recording, a line is broken or was changed by hand, or two lines
                answer one request.
        """
        path = Path(path).expanduser()
        entries: dict[str, Mapping[str, Any]] = {}
        header = None
        for number, line in read_lines(path):
            if header is None:
                try:
                    header = Header.from_json(line)
                except RecordingError as error:
                    raise RecordingError(f"{path} is no recording: {error}") from None
                continue
            key = _checked(line)
            if key is None:
                raise RecordingError(f"{path}, line {number}: its key is not that of its request, or it has no text")
            if key in entries:
                raise RecordingError(f"{path}, line {number}: the same request was answered before")
            entries[key] = line
        if header is None:
            raise RecordingError(f"{path} is no recording: it is empty")
        return cls(path, header, entries)

    def get_many(self, keys: Sequence[str]) -> dict[str, Completion]:
        """The completions that are here of those asked for, marked as replayed."""
        found = {key: self.answer(self.entries[key]) for key in keys if key in self.entries}
        origin = self.header.source
        return {k: replace(c, source=replace(c.source, kind="replay", origin=origin)) for k, c in found.items()}

    def missing(self, requests: Iterable[Request]) -> list[Request]:
        """Those of the requests that are not here, each once."""
        lacking: dict[str, Request] = {}
        for request in requests:
            key = question_key(question(request))
            if key not in self.entries:
                lacking.setdefault(key, request)
        return list(lacking.values())

    def __len__(self) -> int:
        return len(self.entries)

    def answer(self, line: Mapping[str, Any]) -> Completion:
        """The completion of a line, as it was when it was live."""
        record = dict(line["completion"])
        if "source" not in record:
            record["source"] = asdict(Source("live", "recording", self.header.model, self.header.date))
        return Completion.from_json(record)


class Recorder:
    """Writes completions into a recording, each request once. Goes on with a file that is there already.

    Raises:
        RecordingError: the file is none of this backend, or cannot be written.
    """

    def __init__(self, path: Path | str, header: Header) -> None:
        self.path = Path(path).expanduser()
        self._lock = threading.Lock()
        self._keys: set[str] = set()
        if self.path.exists():
            self._take_up(header)
        else:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._write("wb", [header.to_json()])

    def add(self, made: Iterable[tuple[Request, Completion]]) -> None:
        """Appends completions; those of requests that are here already are left out."""
        with self._lock:
            lines = []
            for request, completion in made:
                asked = question(request)
                key = question_key(asked)
                if key not in self._keys:
                    self._keys.add(key)
                    lines.append(entry(key, request.tag, asked, completion.to_json()))
            if lines:
                self._write("ab", lines)

    def _take_up(self, header: Header) -> None:
        """After a kill the last line may be cut short: what is whole is kept, and the file written anew without it."""
        whole = [line for _, line in read_lines(self.path, torn=True)]
        if not whole:
            self._write("wb", [header.to_json()])
            return
        try:
            there = Header.from_json(whole[0])
        except RecordingError as error:
            raise RecordingError(f"{self.path} is there and is no recording: {error}") from None
        if there.backend != header.backend:
            raise RecordingError(f"{self.path} was recorded from {there.model} with other settings: give another path")
        self._keys = {key for line in whole[1:] if (key := _checked(line))}
        beside = self.path.with_name(f".{os.getpid()}.{self.path.name}")
        with opened(beside, "wb") as file:
            file.write(_text(whole))
        beside.replace(self.path)

    def _write(self, mode: str, lines: list[Any]) -> None:
        try:
            with opened(self.path, mode) as file:
                file.write(_text(lines))
        except OSError as error:
            raise RecordingError(f"cannot write the recording {self.path}: {error.strerror}") from error


def entry(key: str, tag: str, asked: Mapping[str, Any], completion: Mapping[str, Any]) -> dict[str, Any]:
    """A line of a recording."""
    return {"key": key, **({"tag": tag} if tag else {}), "request": asked, "completion": completion}


def write_recording(path: Path | str, header: Header, entries: Iterable[Mapping[str, Any]]) -> None:
    """A whole recording at once, in place of what is at the path."""
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}.{path.name}")
    with opened(beside, "wb") as file:
        file.write(_text([header.to_json(), *entries]))
    beside.replace(path)


def read_lines(path: Path, *, torn: bool = False) -> Iterator[tuple[int, Any]]:
    """(number from 1, JSON value) of each line; `torn` ends at the first broken line instead of raising.

    Raises:
        RecordingError: the file cannot be read, or a line is not JSON.
    """
    number = 0
    try:
        with opened(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                if torn and not line.endswith(b"\n"):
                    return
                yield number, json.loads(line)
    except (EOFError, zlib.error, gzip.BadGzipFile, ValueError) as error:
        if not torn:
            raise RecordingError(f"{path}, line {max(number, 1)}: broken off, or not JSON") from error
    except OSError as error:
        raise RecordingError(f"cannot read {path}: {error.strerror or error}") from error


def opened(path: Path, mode: str) -> IO[bytes]:
    """The file, through gzip where its name says so. Without a time in the gzip header: equal content, equal bytes."""
    if path.suffix == ".gz":
        return gzip.GzipFile(path, mode, mtime=0)  # type: ignore[return-value]
    return path.open(mode)  # type: ignore[return-value]


def _checked(line: Any) -> str | None:
    """The key under which a line is found; None for a line that is none, or whose key is not its own."""
    if not isinstance(line, Mapping) or not isinstance(asked := line.get("request"), Mapping):
        return None
    completion = line.get("completion")
    if not isinstance(completion, Mapping) or not isinstance(completion.get("text"), str):
        return None
    if not isinstance(asked.get("sampling"), Mapping) or question_key(asked) != line.get("key"):
        return None
    return filled_key(asked)


def filled_key(asked: Mapping[str, Any]) -> str:
    """The key of a stored request today, with null for the fields that did not exist when it was stored."""
    return question_key({**BLANK, **asked, "sampling": {**BLANK["sampling"], **asked["sampling"]}})


def _text(lines: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(line, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n" for line in lines)
