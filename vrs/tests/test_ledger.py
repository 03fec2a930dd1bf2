"""The ledger: a second run calls nothing, a torn line is dropped, another run's file is refused."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from standin import StandIn
from test_engine import accepting, lines, question, stream, two_step_trial

from vrs.engine import Engine
from vrs.errors import VRSError
from vrs.ledger import Ledger
from vrs.samples import SampleSet
from vrs.stream import Outcome

ANSWER = accepting(0.6, 0.3, malformed=0.2)


def run(path, streams, llm):
    with Ledger(path, group=7) as ledger:
        return Engine().run(streams, llm, ledger)


def test_a_second_run_makes_no_call(tmp_path):
    streams = [stream(30, seed=s) for s in range(3)] + [stream(30, two_step_trial)]
    llm = StandIn(ANSWER, concurrency=8)
    first = run(tmp_path / "ledger.jsonl", streams, llm)
    written = (tmp_path / "ledger.jsonl").read_bytes()
    again = StandIn(ANSWER)
    assert run(tmp_path / "ledger.jsonl", streams, again) == first
    assert again.calls == []
    assert (tmp_path / "ledger.jsonl").read_bytes() == written
    with Ledger(tmp_path / "ledger.jsonl") as ledger:
        assert ledger.samples() == first
        assert len(ledger) == len(llm.calls)


def test_a_hundred_draws_of_one_prompt_are_a_hundred_lines_and_come_back_in_order(tmp_path):
    def trial(rng):
        (value,) = yield (question("one prompt"),)
        return Outcome((value,))

    path = tmp_path / "ledger.jsonl"
    first = run(path, [stream(100, trial)], StandIn(accepting(0.5, 0.5), concurrency=16))[0]
    with Ledger(path) as ledger:
        draws = [line["draw"] for line in ledger.calls()]
        assert len(set(draws)) == len(draws) == 100
        assert [line["decision"] for line in ledger.calls()] == list(first.values)
    assert run(path, [stream(100, trial)], StandIn(lambda r: "T"))[0] == first


@settings(max_examples=40, deadline=None)
@given(cut=st.floats(0, 1), n=st.integers(1, 25))
def test_cut_anywhere_it_ends_the_same_and_repeats_no_kept_call(tmp_path_factory, cut, n):
    folder = tmp_path_factory.mktemp("cut")
    streams = [stream(n), stream(n, two_step_trial, seed=8)]
    whole = run(folder / "whole.jsonl", streams, StandIn(ANSWER, concurrency=4))
    data = (folder / "whole.jsonl").read_bytes()
    (folder / "cut.jsonl").write_bytes(data[: int(cut * len(data))])
    with Ledger(folder / "cut.jsonl") as ledger:
        kept = {line["draw"] for line in ledger.calls()}
    llm = StandIn(ANSWER, concurrency=4)
    assert run(folder / "cut.jsonl", streams, llm) == whole
    assert not kept & {request.draw for request in llm.calls}
    with Ledger(folder / "cut.jsonl") as one, Ledger(folder / "whole.jsonl") as other:
        assert lines(one) == lines(other)


def test_a_torn_last_line_is_dropped_and_a_broken_one_before_it_refused(tmp_path):
    path = tmp_path / "ledger.jsonl"
    run(path, [stream(5)], StandIn(ANSWER))
    data = path.read_bytes()
    path.write_bytes(data + b'{"call": "torn')
    Ledger(path).close()
    assert path.read_bytes() == data
    rows = data.splitlines(keepends=True)
    path.write_bytes(b"".join([*rows[:2], b"not json\n", *rows[2:]]))
    with pytest.raises(VRSError, match=r"line 3 of .*ledger.jsonl is no line of a ledger"):
        Ledger(path)


def test_another_model_is_refused(tmp_path):
    path = tmp_path / "ledger.jsonl"
    run(path, [stream(5)], StandIn(ANSWER))
    with pytest.raises(VRSError, match="was written with model 'stand-in', not 'other': give another path"):
        run(path, [stream(5)], StandIn(ANSWER, model="other"))


def test_other_prompts_are_refused_before_any_call(tmp_path):
    def other(rng):
        x = int(rng.integers(2))
        (accepted,) = yield (question(f"accept the value {x}?", x),)
        return Outcome((x,) if accepted else (), x=x)

    path = tmp_path / "ledger.jsonl"
    run(path, [stream(5)], StandIn(ANSWER))
    llm = StandIn(ANSWER)
    with pytest.raises(VRSError, match=r"holds another question for proposal 0 of test"):
        run(path, [stream(5, other)], llm)
    assert llm.calls == []


@pytest.mark.parametrize(
    "text, sentence",
    [
        ('{"ledger": 99}\n', "is a ledger of format 99; this version reads 1"),
        ('{"stream": "a", "slot": 1}\n', "does not begin with a ledger's first line"),
        ("[1, 2]\n", "line 1 of"),
        ("{}\n", "line 1 of"),
    ],
)
def test_files_that_are_no_ledger_are_refused(tmp_path, text, sentence):
    path = tmp_path / "ledger.jsonl"
    path.write_text(text)
    with pytest.raises(VRSError, match=sentence):
        Ledger(path)
    assert path.read_text() == text


def test_two_runs_do_not_write_one_ledger(tmp_path):
    with Ledger(tmp_path / "ledger.jsonl"), pytest.raises(VRSError, match="in use by another run"):
        Ledger(tmp_path / "ledger.jsonl")


def test_an_unwritable_place_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(VRSError, match="cannot open the ledger"):
        Ledger(tmp_path / "file" / "ledger.jsonl")
    with pytest.raises(VRSError, match="at least 1 line"):
        Ledger(group=0)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_a_sentence(tmp_path):
    ledger = Ledger(tmp_path / "ledger.jsonl")
    os.dup2(os.open("/dev/full", os.O_WRONLY), ledger._file)
    with pytest.raises(VRSError, match="cannot write the ledger .*: No space left on device; what was answered"):
        ledger.bind(model="m")


def test_each_line_reaches_the_system_when_its_reply_arrives(tmp_path):
    """A killed process loses no answered call: lines are not held back in this process."""
    path = tmp_path / "ledger.jsonl"
    seen = []

    def answer(request):
        seen.append(sum('"call":' in line for line in path.read_text().splitlines()))
        return "T"

    with Ledger(path, group=1000) as ledger:
        Engine().run([stream(10)], StandIn(answer), ledger)
    assert seen == [max(0, i - 1) for i in range(10)] or seen == list(range(10))


def test_equal_slots_are_moved_apart(monkeypatch):
    monkeypatch.setattr("vrs.ledger.slot_of", lambda key: 5)
    ledger = Ledger()
    assert [ledger.stream({"sampler": name})[1] for name in "abca"] == [5, 6, 7, 5]


def test_sample_sets_survive_json(tmp_path):
    found = run(None, [stream(20)], StandIn(ANSWER))[0]
    assert SampleSet.from_json(json.loads(json.dumps(found.to_json()))) == found
    text = found.to_jsonl(tmp_path / "samples.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "samples.jsonl").read_text().splitlines()]
    assert text == (tmp_path / "samples.jsonl").read_text()
    assert tuple(r["x"] for r in rows[1:] if r["used"]) == found.values
    with pytest.raises(VRSError, match="no field 'colour'"):
        SampleSet.from_json({"colour": 1})


def test_shares_and_intervals():
    found = SampleSet((1, 0, 1, 1), n=4)
    assert found.p_hat() == 0.75 and found.pmf((0, 1)).tolist() == [0.25, 0.75]
    low, high = found.interval()
    exact_low, exact_high = found.interval(method="exact")
    assert exact_low < low < 0.75 < high < exact_high
    assert SampleSet(()).interval() == (0.0, 1.0)
    for kwargs, sentence in (({"method": "wald"}, "wilson or exact"), ({"level": 1.0}, r"in \(0, 1\)")):
        with pytest.raises(VRSError, match=sentence):
            found.interval(**kwargs)
    with pytest.raises(VRSError, match="not in the support"):
        found.pmf((0, 2))
