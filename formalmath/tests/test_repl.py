"""The REPL client and pool against a stand-in: transcripts, faults, isolation. No Lean."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest
from conftest import STUB

from formalmath.errors import FormalMathError
from formalmath.lean.assemble import Proof, assemble
from formalmath.lean.policy import load_policy
from formalmath.lean.pool import PoolSettings, ReplPool, worker_count
from formalmath.lean.repl import ReplFault, ReplProcess, clean_environment
from formalmath.lean.statement import parse_statement
from formalmath.lean.tactics import ReplTactics
from formalmath.lean.verdict import CheckRequest, Fingerprint, Limits

ST = parse_statement("import Mathlib\n\ntheorem t (x : ℝ) : x = x := by")
PLAYER = """
import json, sys
answers = json.load(open(sys.argv[1]))
lines, place = [], 0
for line in sys.stdin:
    if line.strip():
        lines.append(line)
    elif lines:
        lines = []
        sys.stdout.write(answers[place] + "\\n\\n")
        sys.stdout.flush()
        place += 1
"""


def requests(bodies, seconds=5.0, limits=None):
    return [
        CheckRequest("t", i, assemble(ST, Proof(f"\n  {b}")), limits or Limits(seconds)) for i, b in enumerate(bodies)
    ]


def run_pool(items, policy="strict", record=None, **settings):
    async def run():
        pool = ReplPool(
            PoolSettings(STUB, **{"workers": 2, "recycle_uses": 1000, **settings}), load_policy(policy), record=record
        )
        try:
            return {r.sample_id: r async for r in pool.check(items)}, pool
        finally:
            await pool.close()

    return asyncio.run(run())


def blocks(text):
    """The answers of an expected output: JSON objects apart from one another."""
    decoder, found, at = json.JSONDecoder(), [], 0
    text = text.strip()
    while at < len(text):
        _, end = decoder.raw_decode(text, at)
        found.append(text[at:end])
        at = end
        while at < len(text) and text[at].isspace():
            at += 1
    return found


def test_recorded_sessions_come_back_word_for_word(transcripts, tmp_path):
    """All sessions with expected output, played by a stand-in, are read as the JSON that upstream expects."""
    played = [t for t in transcripts if t["expected_output"]]
    assert len(played) == 122
    answers = [a for t in played for a in blocks(t["expected_output"])]
    (tmp_path / "answers.json").write_text(json.dumps(answers))

    async def play():
        process = ReplProcess((sys.executable, "-S", "-c", PLAYER, str(tmp_path / "answers.json")))
        process.start()
        try:
            return [await process.ask({"cmd": "x"}, 10) for _ in answers]
        finally:
            process.kill()

    assert asyncio.run(play()) == [json.loads(a) for a in answers]


def test_both_quotings_of_sorry_are_recognised(transcripts):
    from formalmath.lean.verdict import SORRY

    seen = set()
    for t in transcripts:
        for quote in ("'", "`"):
            if t["expected_output"] and f"declaration uses {quote}sorry{quote}" in t["expected_output"]:
                seen.add(quote)
    assert seen == {"'", "`"}
    assert (
        SORRY.search("declaration uses 'sorry'")
        and SORRY.search("declaration uses `sorry`")
        and not SORRY.search("sorry")
    )


def test_tactic_steps_of_recorded_sessions_are_judged(transcripts):
    tactics = ReplTactics(PoolSettings(STUB))
    kinds = set()
    for t in transcripts:
        for answer in map(json.loads, blocks(t["expected_output"] or "")):
            if "proofState" in answer:
                result = tactics.read(answer)
                kinds.add("done" if result.state and result.state.done else "open" if result.state else result.verdict)
    assert {"done", "open", "error"} <= kinds


def test_every_fault_gets_its_verdict_and_costs_nobody_else():
    bodies = {3: "HANG", 5: "DIE", 7: "GARBAGE", 9: "TWICE", 13: "EXIT137", 15: "UNKNOWN", 17: "FAIL", 19: "SORRY"}
    found, pool = run_pool(requests([bodies.get(i, "ring") for i in range(30)], 1.0))
    verdicts = {i: found[i].verdict for i in bodies}
    assert verdicts == {
        3: "timeout",
        5: "crash",
        7: "infra",
        9: "infra",
        13: "memory",
        15: "infra",
        17: "error",
        19: "incomplete",
    }
    assert all(found[i].verdict == "proved" for i in range(30) if i not in bodies)
    assert pool.retried > 0


def test_one_hung_request_among_a_hundred_is_one_timeout():
    """§3.5 5: the released code makes every later answer of the batch False."""
    found, _ = run_pool(requests(["HANG" if i == 40 else "ring" for i in range(100)], 0.5))
    assert found[40].verdict == "timeout"
    assert [i for i in range(100) if found[i].verdict != "proved"] == [40]


def test_an_answer_over_the_limit_is_a_fault():
    found, _ = run_pool(requests(["HUGE", "ring"], 20.0))
    assert found[0].verdict == "infra" and "32 MiB" in found[0].reason
    assert found[1].verdict == "proved"


def test_imports_are_loaded_once_a_worker_and_block():
    """§3.5 6: 54,400 imports for Lite in the released code."""
    other = parse_statement("import Mathlib.Tactic\n\ntheorem u : True := by")
    items = requests(["ring"] * 40) + [CheckRequest("u", i, assemble(other, Proof("\n  simp"))) for i in range(40)]
    found, pool = run_pool(items)
    assert len(found) == 40 and pool.imports <= 4


def test_workers_are_replaced_after_their_uses():
    found, pool = run_pool(requests(["ring"] * 60), recycle_uses=20)
    assert all(r.verdict == "proved" for r in found.values()) and pool.imports > 4


def test_heartbeats_are_set_in_an_environment_of_their_own():
    found, _ = run_pool(requests(["ring"], limits=Limits(5, heartbeats=1000)))
    assert found[0].verdict == "proved"


def test_results_carry_axioms_and_authority():
    found, _ = run_pool(requests(["ring"]))
    assert found[0].axioms == ("propext",) and found[0].authority == "lean"
    assert found[0].to_json()["verdict"] == "proved"


def test_a_program_that_is_not_there_is_said():
    async def run():
        ReplProcess(("/nonexistent/repl",)).start()

    with pytest.raises(ReplFault, match="cannot run"):
        asyncio.run(run())


def test_killing_ends_all_that_the_process_started(tmp_path):
    import os
    import time

    code = (
        "import subprocess, sys, time; p = subprocess.Popen(['sleep', '60']); "
        "open(sys.argv[1], 'w').write(str(p.pid)); time.sleep(60)"
    )

    async def run():
        process = ReplProcess((sys.executable, "-S", "-c", code, str(tmp_path / "pid")))
        process.start()
        with pytest.raises(ReplFault) as fault:
            await process.ask({"cmd": "x"}, 1.0)
        assert fault.value.kind == "timeout"
        process.kill()

    asyncio.run(run())
    pid = int((tmp_path / "pid").read_text())
    for _ in range(50):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        stat = Path(f"/proc/{pid}/stat").read_text().split()[2]
        if stat == "Z":
            return
        time.sleep(0.1)
    raise AssertionError(stat)


def test_address_space_is_limited():
    """A process that asks for more than its limit fails by itself, as memory."""
    code = "import sys\nfor line in sys.stdin:\n    if not line.strip():\n        x = bytearray(1 << 32)"

    async def run():
        process = ReplProcess((sys.executable, "-S", "-c", code), limit=1 << 30)
        process.start()
        try:
            await process.ask({"cmd": "x"}, 20)
        finally:
            process.kill()

    with pytest.raises(ReplFault) as fault:
        asyncio.run(run())
    assert fault.value.kind in ("memory", "crash")


def test_credentials_stay_out_of_the_process(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "x")
    assert "SOME_API_KEY" not in clean_environment() and "PATH" in clean_environment()


def test_worker_count_follows_memory():
    assert worker_count(1 << 60) == 1


def test_a_recording_of_a_run_replays_to_the_same_verdicts(tmp_path):
    from formalmath.lean.replay import Recorder, ReplayBackend

    path = tmp_path / "recording.jsonl"
    recorder = Recorder(path, Fingerprint("lean", "v4.11.0", "abc", "stub"))
    items = requests(["ring", "FAIL", "SORRY"])
    found, _ = run_pool(items, record=recorder)

    async def replay(asked):
        backend = ReplayBackend(str(path), load_policy("strict"))
        return {r.sample_id: r async for r in backend.check(asked)}

    again = asyncio.run(replay([*items, *requests(["other"] * 5)[4:]]))
    assert (
        [again[i].verdict for i in range(3)]
        == [found[i].verdict for i in range(3)]
        == ["proved", "error", "incomplete"]
    )
    assert again[4].verdict == "unknown" and again[0].authority == "replay"

    lines = path.read_text().splitlines()
    for change, part in (
        (lambda r: r | {"answer": {"env": 0}}, "changed after it was made"),
        (lambda r: r | {"provenance": {**r["provenance"], "lean": ""}}, "does not say its lean"),
    ):
        tampered = change(json.loads(lines[1]))
        path.write_text("\n".join([lines[0], json.dumps(tampered), *lines[2:]]) + "\n")
        with pytest.raises(FormalMathError, match=part):
            ReplayBackend(str(path), load_policy("strict"))
    with pytest.raises(FormalMathError, match="which Lean answers"):
        Recorder(path, Fingerprint("lean"))


def test_tactic_mode_knows_when_its_process_is_gone():
    async def run():
        backend = ReplTactics(PoolSettings(STUB), 1.0)
        with pytest.raises(FormalMathError, match="no first state"):
            await backend.start(ST)  # the stand-in gives no sorries
        from formalmath.lean.backend import ProofState

        await backend.close()
        result = await backend.step(ProofState(("g",), (backend.generation + 1, 0)), "ring")
        assert result.verdict == "infra"

    asyncio.run(run())
