"""The cache as a file: permissions, several processes, kills, disks without a log, and what is no cache."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest
from endpoint import Endpoint, chat, reply

from shared.llm import Completion, RecordingError, Request, Sampling, Source, open_llm
from shared.llm.cache import MOST_KEYS, Cache
from shared.llm.key import key_material, request_key

IDENTITY = {"backend": "fake", "model": "m"}


def row(draw: int, text: str = "a", date: str = "2025-01-01T00:00:00+00:00", model: str = "m", salt: str = ""):
    request = Request("Say.", Sampling(temperature=1), draw=draw)
    identity = {**IDENTITY, "model": model}
    completion = Completion(text, source=Source("live", "fake", model, date))
    return request_key(identity, request, salt), key_material(identity, request, salt), completion


def test_file_is_for_its_owner_alone(tmp_path):
    umask = os.umask(0)
    try:
        cache = Cache(tmp_path / "deep" / "folder" / "c.sqlite")
        cache.put_many([row(0)])
        modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "deep" / "folder").iterdir()}
    finally:
        os.umask(umask)
    assert set(modes.values()) == {0o600} and "c.sqlite" in modes
    assert stat.S_IMODE((tmp_path / "deep" / "folder").stat().st_mode) == 0o700


def test_what_is_put_comes_back_marked(tmp_path):
    rows = [row(d, f"Größe {d}\n") for d in range(3 * MOST_KEYS)]
    cache = Cache(tmp_path / "c.sqlite")
    assert cache.put_many(rows) == len(rows) and cache.put_many(rows) == 0 == cache.put_many([])
    found = Cache(tmp_path / "c.sqlite").get_many(["absent", *(key for key, _, _ in rows)])
    assert {key: c.text for key, c in found.items()} == {key: c.text for key, _, c in rows}
    assert {c.source.kind for c in found.values()} == {"cache"}
    assert {c.source.date for c in found.values()} == {"2025-01-01T00:00:00+00:00"}


def test_values_are_text(tmp_path):
    Cache(tmp_path / "c.sqlite").put_many([row(0)])
    columns = sqlite3.connect(tmp_path / "c.sqlite").execute("SELECT * FROM completions").fetchone()
    assert all(isinstance(value, str) for value in columns)
    assert not any(marker in "".join(columns).encode() for marker in (b"\x80\x04", b"pickle"))


def test_first_answer_stays_unless_asked_anew(tmp_path):
    cache = Cache(tmp_path / "c.sqlite")
    for text, anew, expected in (("one", False, "one"), ("two", False, "one"), ("three", True, "three")):
        cache.put_many([row(0, text)], anew=anew)
        (found,) = cache.get_many([row(0)[0]]).values()
        assert found.text == expected


def test_a_group_of_completions_is_kept_whole_or_not_at_all(tmp_path):
    cache = Cache(tmp_path / "c.sqlite")
    key, material, completion = row(1)
    with pytest.raises((TypeError, RecordingError)):
        cache.put_many([row(0), (key, material, Completion("a", data=object(), source=completion.source))])
    with pytest.raises(RecordingError):
        cache.put_many([row(0), ({}, material, completion)])  # a key that SQLite cannot hold
    assert cache.groups() == [] and cache.put_many([row(0)]) == 1


def test_log_is_written_ahead_or_there_is_a_journal(tmp_path, monkeypatch):
    Cache(tmp_path / "wal.sqlite").put_many([row(0)])
    assert sqlite3.connect(tmp_path / "wal.sqlite").execute("PRAGMA journal_mode").fetchone() == ("wal",)

    class Refusing(sqlite3.Connection):
        """As on a disk of a network, where shared memory cannot be had."""

        def execute(self, sql, *parameters):
            if "WAL" in sql:
                raise sqlite3.OperationalError("locking protocol")
            return super().execute(sql, *parameters)

    connect = sqlite3.connect
    monkeypatch.setattr("sqlite3.connect", lambda *a, **k: connect(*a, **k, factory=Refusing))
    cache = Cache(tmp_path / "plain.sqlite")
    cache.put_many([row(0)])
    monkeypatch.undo()
    assert sqlite3.connect(tmp_path / "plain.sqlite").execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert len(Cache(tmp_path / "plain.sqlite").get_many([row(0)[0]])) == 1


def test_read_only_cache_writes_nothing(tmp_path):
    with pytest.raises(RecordingError, match="there is no cache at"):
        Cache(tmp_path / "c.sqlite", read_only=True)
    Cache(tmp_path / "c.sqlite").put_many([row(0)])
    cache = Cache(tmp_path / "c.sqlite", read_only=True)
    assert len(cache.get_many([row(0)[0]])) == 1
    with pytest.raises(RecordingError, match="cannot be written: attempt to write a readonly database"):
        cache.put_many([row(1)])


def test_read_only_cache_in_a_folder_that_nobody_may_write(tmp_path, monkeypatch):
    cache = Cache(tmp_path / "c.sqlite")
    cache.put_many([row(0)])
    cache.close()
    tmp_path.chmod(0o500)
    if os.geteuid() == 0:  # who may write everywhere
        monkeypatch.setattr("os.access", lambda path, mode: False)
    try:
        assert len(Cache(tmp_path / "c.sqlite", read_only=True).get_many([row(0)[0]])) == 1
        assert [p.name for p in tmp_path.iterdir()] == ["c.sqlite"]
    finally:
        tmp_path.chmod(0o700)


def test_files_that_are_no_cache(tmp_path):
    (tmp_path / "text").write_text("no database, but long enough to be looked at " * 40)
    with pytest.raises(RecordingError, match="text cannot be opened: file is not a database"):
        Cache(tmp_path / "text")
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE things (a)")
    other.commit()
    with pytest.raises(RecordingError, match="other.sqlite is no cache of completions in format 1"):
        Cache(tmp_path / "other.sqlite")
    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("things",)]
    with pytest.raises(RecordingError, match="cannot be opened: (Is a directory|Not a directory|File exists)"):
        Cache(tmp_path)
    with pytest.raises(RecordingError, match="cannot be opened: Not a directory"):
        Cache(tmp_path / "text" / "c.sqlite")


def test_threads_share_a_cache(tmp_path):
    cache = Cache(tmp_path / "c.sqlite")

    def work(begin: int) -> None:
        for d in range(begin, begin + 40):
            cache.put_many([row(d)])
            assert cache.get_many([row(d)[0]])

    threads = [threading.Thread(target=work, args=(40 * i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert cache.groups()[0].count == 160


def test_another_process_that_writes_is_waited_for(tmp_path):
    cache = Cache(tmp_path / "c.sqlite")
    blocking = sqlite3.connect(tmp_path / "c.sqlite", isolation_level=None, check_same_thread=False)
    blocking.execute("BEGIN IMMEDIATE")
    threading.Timer(0.3, lambda: blocking.execute("COMMIT")).start()
    assert cache.get_many([row(0)[0]]) == {} and cache.put_many([row(0)]) == 1


# several processes, against a real server

WORKER = """
import sys
from shared.llm import Request, open_llm
url, path, count, concurrency = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
settings = {"backend": "openai", "model": "m", "base_url": url, "cache": {"path": path}}
settings["limits"] = {"concurrency": concurrency}
with open_llm(settings, progress=False) as llm:
    print("open", flush=True)
    for place, result in llm.as_completed([Request("Say.", draw=d) for d in range(count)]):
        print(place, result.text, flush=True)
"""


def start(url: str, path: Path, count: int, concurrency: int) -> subprocess.Popen:
    arguments = [sys.executable, "-c", WORKER, url, str(path), str(count), str(concurrency)]
    return subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)


def test_two_processes_pay_once_for_finished_keys_and_harm_nothing(tmp_path):
    """The second one starts when the first has finished part of the same batch."""
    with Endpoint(lambda call: [0.02, *reply(chat(str(call.number)))]) as server:
        first = start(server.url, tmp_path / "c.sqlite", 120, 3)
        while len(server.calls) < 20:
            time.sleep(0.005)
        second = start(server.url, tmp_path / "c.sqlite", 120, 3)
        outputs = [process.communicate(timeout=60)[0].split("\n")[1:-1] for process in (first, second)]
        assert [len(set(lines)) for lines in outputs] == [120, 120]
        # what one had finished when the other looked is not asked again: fewer than two thirds of 240 go out
        assert 120 <= len(server.calls) < 160
    assert Cache(tmp_path / "c.sqlite").groups()[0].count == 120
    (check,) = sqlite3.connect(tmp_path / "c.sqlite").execute("PRAGMA integrity_check").fetchone()
    assert check == "ok"


def test_many_processes_make_one_file_at_once(tmp_path):
    code = f"from shared.llm.cache import Cache; Cache({str(tmp_path / 'c.sqlite')!r}).close()"
    processes = [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE) for _ in range(6)]
    assert [process.communicate(timeout=60)[1] for process in processes] == [b""] * 6


def test_killed_run_pays_for_nothing_twice(tmp_path):
    """kill -9 at three random moments: what was handed on is never asked again, and what was on its way only once
    more a kill."""
    count, concurrency, rng = 90, 3, random.Random(0)
    path = tmp_path / "c.sqlite"
    finished: dict[str, str] = {}
    with Endpoint(lambda call: [0.01, *reply(chat(str(call.number)))]) as server:
        for kill in (True, True, True, False):
            begun = len(server.calls)
            process = start(server.url, path, count, concurrency)
            if kill:
                while len(server.calls) < begun + 10:
                    time.sleep(0.002)
                time.sleep(rng.random() * 0.1)
                process.send_signal(signal.SIGKILL)
            lines = process.communicate(timeout=60)[0].split("\n")[1:-1]
            found = dict(line.split(" ") for line in lines if " " in line)
            # the answer of every key that was ever handed on is still the same one
            assert {place: found[place] for place in finished if place in found} == {
                place: text for place, text in finished.items() if place in found
            }
            finished |= found
        assert len(finished) == count and set(map(int, finished)) == set(range(count))
        assert count <= len(server.calls) <= count + 3 * concurrency
        assert max(Counter(finished.values()).values()) == 1
        with open_llm({"backend": "openai", "model": "m", "base_url": server.url, "cache": {"path": path}}) as llm:
            hits = len(server.calls)
            again = llm.complete([Request("Say.", draw=d) for d in range(count)])
            assert {str(place): r.text for place, r in enumerate(again)} == finished and len(server.calls) == hits
