"""Verdicts on disk: append-only JSON lines, one segment a writer, and a SQLite index that can always be made anew.

A line is written whole and synced before the sample counts as done, so a kill at any moment loses at most what was
under way; a torn last line is dropped. Resuming asks the index which keys (problem, sample, proof, fingerprint) exist.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from ..errors import FormalMathError

Key = tuple[str, int, str, str]  # problem, sample, proof digest, fingerprint
SYNC_SECONDS = 0.2


class Store:
    """The verdicts of one run.

    Args:
        folder: `verdicts/` of a run.
        fingerprint: of what gives verdicts now.
        allow_mixed: take up a folder with verdicts of another fingerprint.

    Raises:
        FormalMathError: other fingerprints are there, another process writes, or the folder cannot be written.
    """

    def __init__(self, folder: Path, fingerprint: str, allow_mixed: bool = False):
        self.folder, self.fingerprint = folder, fingerprint
        self._file: IO[bytes] | None = None
        self._synced = 0.0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / "writer.lock").open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FormalMathError(f"another process writes into {folder}") from None
        except OSError as error:
            raise FormalMathError(f"{folder} cannot be written: {error.strerror}") from None
        self._mend()
        self._db = self._open_index()
        self._index()
        others = [
            row[0] for row in self._db.execute("SELECT DISTINCT fingerprint FROM verdicts") if row[0] != fingerprint
        ]
        if others and not allow_mixed:
            self.close()
            raise FormalMathError(
                f"{folder} holds verdicts of another Lean, policy or limit (fingerprint {others[0]}, now "
                f"{fingerprint}): use "
                "another output_dir, or allow_mixed=true to keep both apart in one folder"
            )

    def _segments(self) -> list[Path]:
        return sorted(self.folder.glob("segment-*.jsonl"))

    def _mend(self) -> None:
        """Cuts a torn last line off each segment."""
        for path in self._segments():
            data = path.read_bytes()
            if data and not data.endswith(b"\n"):
                with path.open("r+b") as file:
                    file.truncate(data.rfind(b"\n") + 1)

    def _open_index(self) -> sqlite3.Connection:
        path = self.folder / "index.sqlite"
        for _ in range(2):
            try:
                db = sqlite3.connect(path, isolation_level=None)
                db.execute("PRAGMA journal_mode=WAL")
                db.execute("PRAGMA synchronous=OFF")  # the segments are the truth
                db.execute("CREATE TABLE IF NOT EXISTS segments (name TEXT PRIMARY KEY, read INTEGER)")
                db.execute(
                    "CREATE TABLE IF NOT EXISTS verdicts (problem TEXT, sample INTEGER, proof TEXT, fingerprint TEXT, "
                    "verdict TEXT, PRIMARY KEY (problem, sample, proof, fingerprint)) WITHOUT ROWID"
                )
                return db
            except sqlite3.DatabaseError:  # torn by a kill: made anew from the segments
                for leftover in self.folder.glob("index.sqlite*"):
                    leftover.unlink()
        raise FormalMathError(f"{path} cannot be made")

    def _index(self) -> None:
        for path in self._segments():
            row = self._db.execute("SELECT read FROM segments WHERE name = ?", (path.name,)).fetchone()
            begin = row[0] if row else 0
            size = path.stat().st_size
            if begin > size:
                begin = 0
            if begin < size:
                with path.open("rb") as file:
                    file.seek(begin)
                    rows = [_row(json.loads(line)) for line in file if line.strip()]
                self._db.execute("BEGIN")
                self._db.executemany("INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?, ?, ?)", rows)
                self._db.execute("INSERT OR REPLACE INTO segments VALUES (?, ?)", (path.name, size))
                self._db.execute("COMMIT")

    def done(self) -> set[Key]:
        """Keys that have a verdict which stands: infra faults are tried again."""
        query = "SELECT problem, sample, proof, fingerprint FROM verdicts WHERE fingerprint = ? AND verdict != 'infra'"
        return set(self._db.execute(query, (self.fingerprint,)))

    def put(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Appends verdicts; each row has problem, sample, proof, verdict, authority and whatever else is known.

        Raises:
            FormalMathError: the disk is full or gone; what was written before stays valid.
        """
        data = b"".join(
            json.dumps({**row, "fingerprint": self.fingerprint}, ensure_ascii=False).encode(errors="replace") + b"\n"
            for row in rows
        )
        try:
            if self._file is None:
                number = len(self._segments())
                while True:
                    try:
                        self._file = (self.folder / f"segment-{number:05d}.jsonl").open("xb", buffering=0)
                        break
                    except FileExistsError:
                        number += 1
            before = self._file.tell()
            written = self._file.write(data)
            if written != len(data):
                self._file.truncate(before)
                raise OSError(28, "No space left on device")
            if time.monotonic() - self._synced > SYNC_SECONDS:
                os.fdatasync(self._file.fileno())
                self._synced = time.monotonic()
        except OSError as error:
            raise FormalMathError(
                f"verdicts cannot be written to {self.folder}: {error.strerror}; what was written stays"
            ) from None

    def rows(self) -> Iterator[dict[str, Any]]:
        """All verdicts of this fingerprint, the last one of each key; infra faults only where nothing better came."""
        best: dict[Key, dict[str, Any]] = {}
        for path in self._segments():
            with path.open("rb") as file:
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    row = json.loads(line)
                    if row["fingerprint"] != self.fingerprint:
                        continue
                    key = (row["problem"], row["sample"], row["proof"], row["fingerprint"])
                    if key not in best or best[key]["verdict"] == "infra":
                        best[key] = row
        yield from best.values()

    def close(self) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
        if hasattr(self, "_db"):
            self._db.close()
        self._lock.close()


def _row(record: Mapping[str, Any]) -> tuple[Any, ...]:
    return record["problem"], record["sample"], record["proof"], record["fingerprint"], record["verdict"]
