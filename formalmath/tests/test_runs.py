"""Verdicts on disk: kills, resumption, equal proofs, open verdicts, early stop, mixed fingerprints; Ray."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from kill_worker import PROBLEMS, run, samples

from formalmath.errors import FormalMathError
from formalmath.export import export
from formalmath.lean.fragment_backend import FragmentBackend, StructuralBackend
from formalmath.lean.policy import load_policy
from formalmath.problems import Problem, mini
from formalmath.run.journal import Journal
from formalmath.run.schedule import Local, Sample, estimate, read_samples, verify
from formalmath.run.store import Store

HERE = Path(__file__).parent
STRICT = load_policy("strict")


def outcome(results):
    return {(p, s): v for p, found in results.verdicts.items() for s, v in found.items()}


def verdict_lines(folder):
    return [
        json.loads(line) for path in sorted(folder.glob("segment-*.jsonl")) for line in path.read_bytes().splitlines()
    ]


def test_ten_kills_at_random_leave_the_store_of_an_unbroken_run(tmp_path):
    count, rng = 2000, random.Random(0)
    whole = outcome(run(tmp_path / "whole", count, 0))
    broken = tmp_path / "broken"
    kills = 0
    while kills < 10:
        child = subprocess.Popen(
            [sys.executable, str(HERE / "kill_worker.py"), str(broken), str(count), "0.0005"],
            start_new_session=True,
            cwd=HERE,
        )
        begun = time.monotonic()
        before = sum(p.stat().st_size for p in broken.glob("segment-*")) if broken.exists() else 0
        while child.poll() is None and time.monotonic() - begun < 120:  # wait until it has written something
            now = sum(p.stat().st_size for p in broken.glob("segment-*")) if broken.exists() else 0
            if now > before + rng.randrange(2_000, 60_000):
                break
            time.sleep(0.003)
        finished = child.poll() is not None
        if not finished:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        if finished:
            break
        kills += 1
    last = run(broken, count, 0)
    assert kills >= 5, f"only {kills} kills came in time"
    assert outcome(last) == whole
    keys = [(r["problem"], r["sample"]) for r in verdict_lines(broken)]
    assert len(keys) == len(set(keys)) == count


def test_a_second_run_asks_for_nothing_again(tmp_path):
    first = run(tmp_path, 120, 0)
    again = run(tmp_path, 120, 0)
    assert first.checked > 0 and again.checked == 0
    assert outcome(first) == outcome(again)
    more = run(tmp_path, 150, 0)
    assert 0 < more.checked <= 30


def test_equal_proofs_are_checked_once(tmp_path):
    found = run(tmp_path, 400, 0)
    distinct = len({(s.problem_id, s.text) for s in samples(400)})
    assert found.checked == distinct < 350 and found.shared == 400 - distinct
    assert found.counts()["error"] == len([s for s in samples(400) if "FAIL" in s.text])


def test_a_torn_line_and_a_lost_index_are_mended(tmp_path):
    run(tmp_path, 60, 0)
    segment = next(tmp_path.glob("segment-*.jsonl"))
    with segment.open("ab") as file:
        file.write(b'{"problem": "p1", "sam')
    for path in tmp_path.glob("index.sqlite*"):
        path.write_bytes(b"nonsense")
    again = run(tmp_path, 60, 0)
    assert again.checked == 0 and len(outcome(again)) == 60


def test_verdicts_of_two_fingerprints_are_not_mixed(tmp_path):
    with pytest.raises(FormalMathError, match="another process writes"):
        one = Store(tmp_path, "a")
        try:
            Store(tmp_path, "b")
        finally:
            one.put([{"problem": "p", "sample": 0, "proof": "x", "verdict": "proved"}])
            one.close()
    with pytest.raises(FormalMathError, match="another Lean, policy or limit"):
        Store(tmp_path, "b")
    both = Store(tmp_path, "b", allow_mixed=True)
    assert both.done() == set() and list(both.rows()) == []
    both.close()


def test_infra_faults_are_tried_again_and_the_better_verdict_stays(tmp_path):
    store = Store(tmp_path, "a")
    row = {"problem": "p", "sample": 0, "proof": "x"}
    store.put([{**row, "verdict": "infra"}])
    assert store.done() == set()
    store.close()
    store = Store(tmp_path, "a")
    store.put([{**row, "verdict": "proved"}])
    assert [r["verdict"] for r in store.rows()] == ["proved"]
    store.close()


def test_a_full_disk_stops_in_a_sentence_and_keeps_the_rest(tmp_path, monkeypatch):
    store = Store(tmp_path, "a")
    store.put([{"problem": "p", "sample": 0, "proof": "x", "verdict": "proved"}])

    class Full:
        def tell(self):
            return 0

        def write(self, data):
            raise OSError(28, "No space left on device")

        def fileno(self):
            return store_file.fileno()

        def close(self):
            store_file.close()

    store_file = store._file
    monkeypatch.setattr(store, "_file", Full())
    with pytest.raises(FormalMathError, match="No space left"):
        store.put([{"problem": "p", "sample": 1, "proof": "y", "verdict": "proved"}])
    store.close()
    again = Store(tmp_path, "a")
    assert len(list(again.rows())) == 1
    again.close()


def fragment_run(tmp_path, problems, found, **options):
    backend = FragmentBackend(STRICT)
    store = Store(tmp_path, backend.fingerprint.digest)
    try:
        return verify(problems, found, Local(backend), STRICT, store, **options)
    finally:
        store.close()


def test_open_verdicts_are_no_failures(tmp_path):
    problems = mini(3, 0)
    texts = [problems[0].reference, "\n  field_simp", "\n  sorry"]
    found = fragment_run(tmp_path, problems, [Sample(p.id, 0, t) for p, t in zip(problems, texts, strict=True)])
    assert [found.verdicts[p.id][0] for p in problems] == ["proved", "unsupported", "incomplete"]
    curve = found.curve()
    assert curve.mean[0] == pytest.approx(1 / 3) and curve.high[0] == pytest.approx(2 / 3)
    assert {r["authority"] for r in found.rows} == {"fragment", "structural"}


def test_structural_never_says_proved(tmp_path):
    problems = mini(2, 0)
    backend = StructuralBackend(STRICT)
    store = Store(tmp_path, backend.fingerprint.digest)
    found = verify(problems, [Sample(p.id, 0, p.reference) for p in problems], Local(backend), STRICT, store)
    store.close()
    assert set(found.counts()) == {"unknown"}


def test_early_stop_gives_pass_at_n_and_refuses_a_curve(tmp_path):
    problems = mini(2, 0)
    found = fragment_run(
        tmp_path,
        problems,
        [Sample(p.id, i, p.reference if i == 1 else f"\n  linarith [foo{i}]") for p in problems for i in range(6)],
        early_stop="first_proof",
    )
    assert found.checked < 12
    assert found.curve([6]).mean[0] == 1.0
    with pytest.raises(FormalMathError, match="only pass@n is known"):
        found.curve([1, 6])


def test_an_incomplete_run_has_no_curve(tmp_path):
    problems = mini(2, 0)
    found = fragment_run(tmp_path, problems, [Sample(problems[0].id, 0, problems[0].reference)])
    with pytest.raises(FormalMathError, match="the run is not complete"):
        found.curve()


@pytest.mark.parametrize(
    ("found", "part"),
    [
        ([Sample("nobody", 0, "x")], "which the data set has not"),
        ([Sample("mini_000_linear_equation", 0, "x")] * 2, "two completions"),
    ],
)
def test_completions_must_fit_the_problems(tmp_path, found, part):
    with pytest.raises(FormalMathError, match=part):
        fragment_run(tmp_path, mini(1, 0), found)


def test_how_long_is_left_is_said_with_an_interval():
    assert estimate(200, 10_200, 100.0) == "10,000 checks to go at 2.00/s: 1.22 to 1.61 hours"


def test_completions_are_read_from_lines(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"problem": "a", "sample": 1, "text": "x"}\n')
    assert read_samples(path) == [Sample("a", 1, "x")]
    path.write_text('{"problem": "a"}\n')
    with pytest.raises(FormalMathError, match="line 1"):
        read_samples(path)


def test_journals_survive_a_torn_line(tmp_path):
    journal = Journal(tmp_path / "j.jsonl")
    assert journal.fill(["a", "b"], lambda missing: ((k, k.upper()) for k in missing)) == {"a": "A", "b": "B"}
    with (tmp_path / "j.jsonl").open("a") as file:
        file.write('{"key": "c", "va')
    again = Journal(tmp_path / "j.jsonl")
    assert again.fill(["a", "c"], lambda missing: ((k, "new") for k in missing)) == {"a": "A", "c": "new"}


@pytest.mark.parametrize("to", ["inspect", "lm_eval"])
def test_verdicts_are_exported(tmp_path, to):
    fragment_run(tmp_path / "v", mini(2, 0), [Sample(p.id, 0, p.reference) for p in mini(2, 0)])
    assert export(tmp_path / "v", to, tmp_path / "log") == 2
    text = (tmp_path / "log").read_text()
    if to == "inspect":
        log = json.loads(text)
        assert log["results"]["scores"][0]["metrics"]["accuracy"]["value"] == 1.0
        assert log["samples"][0]["metadata"]["authority"] == "fragment"
    else:
        assert [json.loads(line)["proved"] for line in text.splitlines()] == [1.0, 1.0]


def test_ray_with_a_killed_node_gives_what_one_process_gives(tmp_path):
    """Two actors stand for two nodes; one is killed in the middle of a chunk."""
    pytest.importorskip("ray")
    from formalmath.run import ray_shard, schedule

    class Suicidal:
        """A backend whose process dies once, on the chunk that holds a marked request."""

        def __init__(self, flag: str):
            self.flag, self.inner = Path(flag), FragmentBackend(STRICT)

        async def check(self, items):
            if any(r.sample_id == 3 for r in items) and not self.flag.exists():
                self.flag.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            async for result in self.inner.check(items):
                yield result

        async def close(self):
            pass

    problems: list[Problem] = mini(4, 0)
    found = [
        Sample(p.id, i, p.reference if (i + len(p.id)) % 3 else f"\n  linarith [foo{i}]")
        for p in problems
        for i in range(40)
    ]
    found = [
        Sample(
            s.problem_id,
            s.sample_id,
            f"{s.text}  -- {s.sample_id}\n  skip_{s.sample_id}" if s.sample_id % 2 else s.text,
        )
        for s in found
    ]
    local = outcome(fragment_run(tmp_path / "local", problems, found))
    flag = str(tmp_path / "flag")
    old, schedule.CHUNK = schedule.CHUNK, 16
    shard = ray_shard.RayShard(lambda: Suicidal(flag), actors=2, cpus=0.5)
    store = Store(tmp_path / "ray", "x")
    try:
        results = verify(problems, found, shard, STRICT, store)
    finally:
        store.close()
        shard.close()
        schedule.CHUNK = old
    assert Path(flag).exists() and shard.lost >= 1
    assert outcome(results) == local
    assert np.array_equal(results.samples(), 40)


def test_the_stand_in_problems_are_well_formed():
    assert all(p.statement.name == p.id for p in PROBLEMS)
