"""Completions on disk by key: one SQLite file, which several threads and processes may share.

Values are JSON text. Each group of completions is one transaction: a kill loses what was under way and no more.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .completion import Completion
from .errors import RecordingError

VERSION = 1  # of the table, as PRAGMA user_version
BUSY_S = 30.0  # how long to wait for another process that writes
MOST_KEYS = 512  # in one query
TABLE = """
CREATE TABLE IF NOT EXISTS completions (
    key TEXT PRIMARY KEY,
    backend TEXT NOT NULL,  -- what the backend says of itself, as JSON
    salt TEXT NOT NULL,
    model TEXT NOT NULL,
    date TEXT NOT NULL,  -- ISO 8601, when the model answered
    request TEXT NOT NULL,  -- the rest of what the key is made of, as JSON
    completion TEXT NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Group:
    """The completions of one backend and salt."""

    backend: str
    salt: str
    model: str
    count: int
    bytes: int
    first: str
    last: str


class Cache:
    """A file of completions. Made with its folder where it is missing, for its owner's eyes alone (0600, 0700).

    Args:
        path: of the file.
        read_only: never write; the file must be there.

    Raises:
        RecordingError: the file cannot be opened, or is no cache.
    """

    def __init__(self, path: Path | str, *, read_only: bool = False) -> None:
        self.path = Path(path).expanduser()
        self._lock = threading.Lock()
        with self._sentences("opened"):
            self._db = self._open_read_only() if read_only else self._open()
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            if version != VERSION:
                self._db.close()
                raise RecordingError(f"{self.path} is no cache of completions in format {VERSION}, but {version}")

    def _open(self) -> sqlite3.Connection:
        with contextlib.suppress(FileExistsError):
            self.path.parent.mkdir(parents=True, mode=0o700)
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
        db = sqlite3.connect(self.path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
        _journal(db)
        (version,) = db.execute("PRAGMA user_version").fetchone()
        (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if version == 0 and tables == 0:
            db.execute("BEGIN IMMEDIATE")
            db.execute(TABLE)
            db.execute(f"PRAGMA user_version = {VERSION}")
            db.execute("COMMIT")
        return db

    def _open_read_only(self) -> sqlite3.Connection:
        if not self.path.is_file():
            raise RecordingError(f"there is no cache at {self.path}")
        # where SQLite can put no files of its own beside it, nobody else writes to it either
        how = "mode=ro" if os.access(self.path.parent, os.W_OK) else "immutable=1"
        address = f"{self.path.resolve().as_uri()}?{how}"
        return sqlite3.connect(address, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)

    def get_many(self, keys: Sequence[str]) -> dict[str, Completion]:
        """The completions that are here of those asked for, marked as from a cache."""
        found: dict[str, Completion] = {}
        with self._sentences("read"):
            for begin in range(0, len(keys), MOST_KEYS):
                part = keys[begin : begin + MOST_KEYS]
                query = f"SELECT key, completion FROM completions WHERE key IN ({','.join('?' * len(part))})"
                with self._lock:
                    rows = self._db.execute(query, part).fetchall()
                for key, text in rows:
                    completion = Completion.from_json(json.loads(text))
                    found[key] = replace(completion, source=replace(completion.source, kind="cache"))
        return found

    def put_many(self, rows: Iterable[tuple[str, Mapping[str, Any], Completion]], *, anew: bool = False) -> int:
        """Keeps (key, key material, completion) triples in one transaction. Of two completions the first one stays,
        unless `anew`. Returns how many were written."""
        verb = "REPLACE" if anew else "IGNORE"
        values = [_row(*row) for row in rows]
        if not values:
            return 0
        with self._sentences("written"), self._lock:
            before = self._db.total_changes
            self._db.execute("BEGIN IMMEDIATE")
            try:
                self._db.executemany(f"INSERT OR {verb} INTO completions VALUES (?, ?, ?, ?, ?, ?, ?)", values)
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            return self._db.total_changes - before

    def groups(self) -> list[Group]:
        """What is here, by backend and salt."""
        with self._sentences("read"), self._lock:
            rows = self._db.execute(
                "SELECT backend, salt, model, count(*), sum(length(request) + length(completion)), "
                "min(date), max(date) FROM completions GROUP BY backend, salt ORDER BY model, backend, salt"
            ).fetchall()
        return [Group(*row) for row in rows]

    def entries(self, backend: str, salt: str) -> Iterator[tuple[dict[str, Any], Completion]]:
        """The (request, completion) pairs of one group, in the order of their keys."""
        with self._sentences("read"), self._lock:
            rows = self._db.execute(
                "SELECT request, completion FROM completions WHERE backend = ? AND salt = ? ORDER BY key",
                (backend, salt),
            ).fetchall()
        for request, completion in rows:
            yield json.loads(request), Completion.from_json(json.loads(completion))

    def prune(self, *, before: str | None = None, model: str | None = None, dry: bool = False) -> int:
        """Deletes completions older than an ISO date, or of one model, or both; returns how many."""
        conditions = [(f"{name} {sign} ?", v) for name, sign, v in (("date", "<", before), ("model", "=", model)) if v]
        where = " AND ".join(c for c, _ in conditions) or "1"
        values = [v for _, v in conditions]
        with self._sentences("written"), self._lock:
            (count,) = self._db.execute(f"SELECT count(*) FROM completions WHERE {where}", values).fetchone()
            if count and not dry:
                self._db.execute(f"DELETE FROM completions WHERE {where}", values)
                self._db.execute("VACUUM")
        return count

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def _sentences(self, done: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise RecordingError(f"the cache {self.path} cannot be {done}: {reason}") from error


def _journal(db: sqlite3.Connection) -> None:
    """Write-ahead log, or a rollback journal where the disk (of a network, mostly) refuses the former."""
    until = time.monotonic() + BUSY_S
    while True:
        try:
            (mode,) = db.execute("PRAGMA journal_mode=WAL").fetchone()
            break
        except sqlite3.OperationalError as error:
            if "locked" in str(error) and time.monotonic() < until:
                time.sleep(0.05)  # another process is just making the file; the timeout does not cover this statement
                continue
            mode = "refused"
            break
    if mode == "wal":
        db.execute("PRAGMA synchronous=NORMAL")  # a kill loses nothing; a power cut may lose the last moments
    else:
        db.execute("PRAGMA journal_mode=DELETE")


def _row(key: str, material: Mapping[str, Any], completion: Completion) -> tuple[str, ...]:
    request = {name: value for name, value in material.items() if name not in ("format", "backend", "salt")}
    backend = json.dumps(material["backend"], sort_keys=True)
    source = completion.source
    texts = (json.dumps(request), json.dumps(completion.to_json()))
    return (key, backend, material["salt"], source.model, source.date, *texts)
