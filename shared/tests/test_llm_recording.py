"""Recordings: written by a run or by hand, read back strictly, whatever machine and version wrote them."""

from __future__ import annotations

import gzip
import json
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import png

from shared.llm import (
    LLM,
    Completion,
    Header,
    Image,
    Recording,
    RecordingError,
    Request,
    RequestError,
    Sampling,
    build_recording,
    independence_probe,
    open_llm,
    system,
    user,
    write_prompts,
)
from shared.llm.backends.fake import Fake
from shared.llm.cli import main
from shared.llm.completion import TokenLogprob, Usage
from shared.llm.key import canonical, digest
from shared.llm.nearest import nearest
from shared.llm.prompts import read_prompts
from shared.llm.recording import Recorder

HAND = Header("recorded from a large general-purpose language model", "a large model", "2025-01-31", terms="ours")


def ask(text: str = "Say.", draw: int = 0, tag: str = "", **sampling) -> Request:
    return Request((user(text),), Sampling(**sampling), draw=draw, tag=tag)


def recorded(path: Path, requests, **settings) -> list[Completion]:
    with LLM(Fake(), record=path, **settings) as llm:
        return llm.complete(requests)


def replay(path: Path, **options) -> LLM:
    return open_llm({"backend": "replay", "recording": str(path), "options": options}, progress=False)


both_names = pytest.mark.parametrize("name", ["r.jsonl", "r.jsonl.gz"])


# a run's recording


@both_names
def test_replay_answers_as_the_recorded_run_did(tmp_path, name):
    requests = [ask(draw=d, tag=f"d{d}") for d in range(20)]
    requests += [replace(r, choices=("0", "1"), sampling=Sampling(logprobs=1)) for r in requests]
    live = recorded(tmp_path / name, requests)
    with replay(tmp_path / name) as llm:
        again = llm.complete(requests)
        pairs = dict(llm.as_completed(iter(requests)))
        assert llm.stats().calls == 0 and llm.stats().replayed == 80 and llm.model == "fake" and llm.name == "replay"
        assert llm.estimate(requests).calls == 0
    assert [pairs[i] for i in range(40)] == again
    for one, other in zip(live, again, strict=True):
        assert other.source.kind == "replay" and other.source.origin == "recorded from fake by the backend fake"
        assert replace(other, source=one.source) == one and other.source.date == one.source.date


def test_replay_touches_no_network(tmp_path, monkeypatch):
    recorded(tmp_path / "r.jsonl", [ask()])
    monkeypatch.setattr(socket.socket, "connect", None)
    with replay(tmp_path / "r.jsonl") as llm:
        assert llm.complete([ask()])[0].ok and llm._engine._thread is None


def test_recording_holds_what_the_cache_answered(tmp_path):
    requests = [ask(draw=d) for d in range(4)]
    recorded(tmp_path / "one.jsonl", requests[:2], cache=tmp_path / "c.sqlite")
    recorded(tmp_path / "two.jsonl", requests, cache=tmp_path / "c.sqlite")
    assert Recording.open(tmp_path / "two.jsonl").missing(requests) == []
    (left_out,) = Recording.open(tmp_path / "one.jsonl").missing([*requests[:3], requests[2]])
    assert left_out == requests[2]


def test_backend_and_salt_are_told_once_and_not_keyed(tmp_path):
    recorded(tmp_path / "r.jsonl", [ask()], salt="secret salt")
    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert lines[0]["backend"]["backend"] == "fake" and "backend" not in lines[1]["request"]
    assert "secret salt" not in (tmp_path / "r.jsonl").read_text()
    with LLM(replay(tmp_path / "r.jsonl").backend, salt="another") as llm:
        assert llm.complete([ask()])[0].ok


@both_names
def test_recording_goes_on_after_a_kill(tmp_path, name):
    """At whatever byte the file ends: what is whole is kept, the rest is recorded again, each request once."""
    requests = [ask(draw=d) for d in range(3)]
    live = recorded(tmp_path / name, requests)
    whole = (tmp_path / name).read_bytes()
    for length in range(0, len(whole), 37):
        (tmp_path / name).write_bytes(whole[:length])
        recorded(tmp_path / name, requests)
        found = Recording.open(tmp_path / name)
        assert len(found) == 3
        with replay(tmp_path / name) as llm:
            assert [c.text for c in llm.complete(requests)] == [c.text for c in live]


def test_recording_twice_writes_once(tmp_path):
    for _ in range(2):
        recorded(tmp_path / "r.jsonl", [ask(), ask()])
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 2


def test_recording_of_another_model_is_not_continued(tmp_path):
    recorded(tmp_path / "r.jsonl", [ask()])
    with LLM(Fake(seed=1), record=tmp_path / "r.jsonl") as llm:
        with pytest.raises(RecordingError, match="was recorded from fake with other settings: give another path"):
            llm.complete([ask()])
    (tmp_path / "notes.jsonl").write_text('{"a": 1}\n')
    with LLM(Fake(), record=tmp_path / "notes.jsonl") as llm:
        with pytest.raises(RecordingError, match=r"notes.jsonl is there and is no recording"):
            llm.complete([ask()])
    assert (tmp_path / "notes.jsonl").read_text() == '{"a": 1}\n'


def test_all_of_a_completion_is_recorded(tmp_path):
    completion = Completion(
        "a\ud83d\ude00"[:1] + "é",
        "length",
        "why",
        Usage(1, 0, 2, 1),
        (TokenLogprob("a", -1.0, (("b", -2.0),)),),
        {"a": -1.0},
    )
    with LLM(Fake(lambda request: completion), record=tmp_path / "r.jsonl") as llm:
        (live,) = llm.complete([ask()])
    with replay(tmp_path / "r.jsonl") as llm:
        (again,) = llm.complete([ask()])
    assert replace(again, source=live.source) == live and live.text == "aé" and live.tokens == completion.tokens


# strictness


@pytest.mark.parametrize(
    ("request_", "difference"),
    [
        (ask(draw=7), r"differs in draw (asked 7, recorded 2)"),
        (ask(temperature=0.5), "differs in sampling.temperature (asked 0.5, recorded None)"),
        (ask("Say!"), "differs in messages[0].parts[0].text (asked 'Say!', recorded 'Say.')"),
        (Request((system("Be."), user("Say."))), "differs in messages[0].role (asked 'system', recorded 'user')"),
        (replace(ask(), prefix="So"), "differs in prefix (asked 'So', recorded None)"),
        (ask(draw=1, stop=("x",), tag="the 7th"), "of the first (the 7th) the nearest one there"),
    ],
)
def test_missing_request_is_told_with_its_nearest(tmp_path, request_, difference):
    recorded(tmp_path / "r.jsonl", [ask(draw=d) for d in range(3)] + [ask("Quite another question, this one is.")])
    with replay(tmp_path / "r.jsonl") as llm:
        with pytest.raises(RecordingError) as refused:
            llm.complete([ask(), request_, request_])
        assert "r.jsonl lacks 1 of 3 requests; of the first" in str(refused.value) and difference in str(refused.value)
        with pytest.raises(RecordingError, match="lacks 1 of 3"):
            llm.complete(r for r in (ask(), request_, ask()))
        with pytest.raises(RecordingError, match="lacks 1 of 1"):
            llm.complete([request_], cached=False)
        assert llm.complete([ask()])[0].ok


def test_nearest_in_long_texts_points_at_the_change():
    def asked(text):
        return {"messages": [{"parts": [{"text": text}]}], "draw": 0}

    long = "the same words over and over " * 40
    there = [("near", asked(long + "A" + long)), ("far", asked("B" * 900)), ("farther", {**asked("C"), "draw": 1})]
    words = nearest(asked(long + "X" + long), there)
    assert words.startswith(
        f"the nearest one there, near, differs in messages[0].parts[0].text from character {len(long)}"
    )
    assert nearest(asked("a"), []) == "it holds none"


@given(st.text(max_size=20), st.text(max_size=20))
def test_nearest_is_itself_where_it_is_there(one, other):
    asked = {"text": one}
    assert nearest(asked, [("other", {"text": other}), ("same", asked)]).startswith(
        "the nearest one there, " + ("other" if one == other else "same")
    )


def test_probe_and_record_make_no_sense_on_a_replay(tmp_path):
    recorded(tmp_path / "r.jsonl", [ask()])
    with replay(tmp_path / "r.jsonl") as llm, pytest.raises(RequestError, match="cannot be probed"):
        independence_probe(llm)
    with pytest.raises(RequestError, match="record makes no sense on a replay"):
        open_llm({"backend": "replay", "recording": str(tmp_path / "r.jsonl"), "record": "x"}, progress=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: [], "is no recording: it is empty"),
        (lambda lines: lines[1:], "is no recording: its first line is no header with format 'shared.llm recording 1'"),
        (lambda lines: [lines[0].replace("recording 1", "recording 2"), *lines[1:]], "no header with format"),
        (lambda lines: [lines[0].replace('"model": "fake"', '"model": ""', 1), *lines[1:]], "must say its model"),
        (lambda lines: [*lines, lines[1]], "line 4: the same request was answered before"),
        (lambda lines: [*lines[:2], lines[2].replace("Say.", "Say!")], "line 3: its key is not that of its request"),
        (lambda lines: [*lines[:2], lines[2].replace('"text": "', '"txt": "')], "line 3: its key is not that"),
        (lambda lines: [*lines[:2], lines[2][:50]], "line 3: broken off, or not JSON"),
        (lambda lines: [*lines, "[1]"], "line 4: its key is not that of its request"),
    ],
)
@both_names
def test_files_that_are_no_recording(tmp_path, name, change, message):
    recorded(tmp_path / "r.jsonl", [ask(draw=0), ask(draw=1)])
    text = "".join(line + "\n" for line in change((tmp_path / "r.jsonl").read_text().splitlines()))
    path = tmp_path / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    with pytest.raises(RecordingError, match=message):
        replay(path)


def test_file_that_is_not_there_or_not_gzipped(tmp_path):
    with pytest.raises(RecordingError, match=r"cannot read .*absent.jsonl: No such file"):
        replay(tmp_path / "absent.jsonl")
    (tmp_path / "r.jsonl.gz").write_text("{}")
    with pytest.raises(RecordingError, match="line 1: broken off, or not JSON"):
        replay(tmp_path / "r.jsonl.gz")


def test_recording_older_than_a_field_still_answers(tmp_path):
    """A request recorded before `min_p` and `prefix` existed is that with null for both."""
    asked = {
        "messages": [{"role": "user", "parts": [{"text": "Say."}]}],
        "sampling": {"temperature": 0.5, "extra": {}, "stop": []},
        "draw": 3,
    }
    key = digest(canonical({"format": 1, "backend": {}, "salt": "", **asked}))
    line = {"key": key, "request": asked, "completion": {"text": "words"}}
    (tmp_path / "r.jsonl").write_text(f"{json.dumps(HAND.to_json())}\n{json.dumps(line)}\n")
    with replay(tmp_path / "r.jsonl") as llm:
        assert llm.complete([ask(draw=3, temperature=0.5)])[0].text == "words"
        with pytest.raises(RecordingError, match=r"sampling.min_p \(asked 0.1, recorded None\)"):
            llm.complete([ask(draw=3, temperature=0.5, min_p=0.1)])


# by hand


def answers(path: Path, said: dict[str, str]) -> Path:
    path.write_text("".join(json.dumps({"key": key, "text": text}) + "\n" for key, text in said.items()))
    return path


@both_names
def test_prompts_answers_recording_replay(tmp_path, name):
    """The whole way: what a run lacks is written out, answered, built in two rounds, and replayed."""
    first, second = [ask(draw=d, tag="first") for d in range(2)], [ask("And?", d) for d in range(2)]
    recording, pending = tmp_path / name, tmp_path / "prompts.jsonl"
    with replay(recording, pending=str(pending)) as llm:
        with pytest.raises(
            RecordingError, match="lacks 2 of 2 requests; .* it holds none; 2 prompts that need an answer"
        ):
            llm.complete(first)
        with pytest.raises(RecordingError, match="2 prompts that need an answer are in"):
            llm.complete(first)
    lines = read_prompts(pending)
    assert [line["draw"] for line in lines.values()] == [0, 1]
    assert {line["request"]["messages"][0]["parts"][0]["text"] for line in lines.values()} == {"Say."}

    folder = tmp_path / "answers"
    folder.mkdir()
    for key, line in lines.items():
        (folder / f"{key}.txt").write_bytes(f"  word {line['draw']}\r\n".encode())
    arguments = ["--source", HAND.source, "--model", HAND.model, "--settings", "none known", "--terms", "ours"]
    build = ["record", "build", str(pending), str(folder), str(recording), *arguments]
    assert main([*build, "--date", "2025-01-31"]) == 0
    assert main(["record", "check", str(pending), str(recording)]) == 0

    later = tmp_path / "later.jsonl"
    write_prompts(later, [*first, *second])
    assert main(["record", "check", str(later), str(recording)]) == 1
    with replay(recording, pending=str(tmp_path / "round2.jsonl")) as llm:
        assert [c.text for c in llm.complete(first)] == ["  word 0\r\n", "  word 1\r\n"]
        with pytest.raises(RecordingError, match="lacks 2 of 4"):
            llm.complete([*first, *second])
    said = {key: f"and {line['draw']}" for key, line in read_prompts(tmp_path / "round2.jsonl").items()}
    build[2:4] = str(tmp_path / "round2.jsonl"), str(answers(tmp_path / "a.jsonl", said))
    assert main([*build, "--date", "2025-02-02"]) == 0

    with replay(recording) as llm:
        found = llm.complete([*first, *second])
    assert [c.text for c in found] == ["  word 0\r\n", "  word 1\r\n", "and 0", "and 1"]
    assert [c.source.date for c in found] == ["2025-01-31"] * 2 + ["2025-02-02"] * 2
    assert {(c.source.kind, c.source.origin, c.source.model) for c in found} == {("replay", HAND.source, HAND.model)}
    assert {c.usage for c in found} == {Usage()} and {c.finish for c in found} == {"stop"}


def test_pictures_lie_beside_the_prompts(tmp_path):
    picture = Image(png(3), identity="clip 7, frame 3")
    requests = [Request((user("What?", picture),), draw=d) for d in range(2)]
    write_prompts(tmp_path / "p.jsonl", requests)
    (file,) = (tmp_path / "p.jsonl.images").iterdir()
    assert file.name == f"{picture.digest}.png" and file.read_bytes() == picture.data
    said = dict.fromkeys(read_prompts(tmp_path / "p.jsonl"), "a lamp")
    build_recording(tmp_path / "p.jsonl", answers(tmp_path / "a.jsonl", said), tmp_path / "r.jsonl", HAND)
    with replay(tmp_path / "r.jsonl") as llm:
        # the same picture as another renderer's rounding would have it
        other = Request((user("What?", Image(png(4), identity="clip 7, frame 3")),), draw=1)
        assert llm.complete([other])[0].text == "a lamp"


@pytest.mark.parametrize(
    ("said", "partial", "message"),
    [
        ({0: "a"}, False, "1 of 2 prompts have no answer"),
        ({0: "a", 1: "b", "nobody": "c"}, True, "answers nobody, which is no prompt of"),
    ],
)
def test_answers_that_do_not_fit(tmp_path, said, partial, message):
    write_prompts(tmp_path / "p.jsonl", [ask(draw=d) for d in range(2)])
    keys = list(read_prompts(tmp_path / "p.jsonl"))
    given = {keys[k] if isinstance(k, int) else k: text for k, text in said.items()}
    with pytest.raises(RecordingError, match=message):
        build_recording(
            tmp_path / "p.jsonl", answers(tmp_path / "a.jsonl", given), tmp_path / "r.jsonl", HAND, partial=partial
        )
    assert not (tmp_path / "r.jsonl").exists()


def test_answers_are_not_changed_afterwards(tmp_path):
    prompts, out = tmp_path / "p.jsonl", tmp_path / "r.jsonl"
    write_prompts(prompts, [ask(draw=d) for d in range(2)])
    keys = list(read_prompts(prompts))
    assert build_recording(prompts, answers(tmp_path / "a", {keys[0]: "a"}), out, HAND, partial=True) == 1
    assert build_recording(prompts, answers(tmp_path / "a", {keys[0]: "a", keys[1]: "b"}), out, HAND) == 2
    before = out.read_bytes()
    with pytest.raises(RecordingError, match=f"has another answer to {keys[0]}: answers are not changed afterwards"):
        build_recording(prompts, answers(tmp_path / "a", {keys[0]: "z", keys[1]: "b"}), out, HAND)
    with pytest.raises(RecordingError, match="was recorded from .*: give another path"):
        build_recording(prompts, answers(tmp_path / "a", {keys[1]: "b"}), out, replace(HAND, model="n"), partial=True)
    assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"key": "a"}', 'line 1: an answer is {"key": ..., "text": ...}'),
        ('{"key": "a", "text": "b", "sauce": 1}', "line 1: an answer has no field 'sauce'"),
        ('{"key": "a", "text": "b"}\n{"key": "a", "text": "c"}', "line 2: a was answered before"),
        ("words", "line 1: broken off, or not JSON"),
    ],
)
def test_files_that_hold_no_answers(tmp_path, text, message):
    (tmp_path / "a.jsonl").write_text(text)
    write_prompts(tmp_path / "p.jsonl", [ask()])
    with pytest.raises(RecordingError) as refused:
        build_recording(tmp_path / "p.jsonl", tmp_path / "a.jsonl", tmp_path / "r.jsonl", HAND)
    assert message in str(refused.value)


def test_prompts_that_were_changed_are_refused(tmp_path):
    write_prompts(tmp_path / "p.jsonl", [ask()])
    text = (tmp_path / "p.jsonl").read_text()
    for changed, message in (
        (text.replace("Say.", "Say!"), "its key is not that of"),
        ('{"a": 1}', "line 1: no prompt"),
    ):
        (tmp_path / "p.jsonl").write_text(changed)
        with pytest.raises(RecordingError, match=message):
            read_prompts(tmp_path / "p.jsonl")


def test_gzipped_recordings_of_equal_answers_are_equal_files(tmp_path):
    write_prompts(tmp_path / "p.jsonl", [ask()])
    said = dict.fromkeys(read_prompts(tmp_path / "p.jsonl"), "a")
    for folder in ("one", "two"):
        build_recording(tmp_path / "p.jsonl", answers(tmp_path / "a", said), tmp_path / folder / "r.jsonl.gz", HAND)
        os.utime(tmp_path / "one" / "r.jsonl.gz", (0, 0))
    assert (tmp_path / "one" / "r.jsonl.gz").read_bytes() == (tmp_path / "two" / "r.jsonl.gz").read_bytes()


# the command


def run(*arguments: object) -> int:
    return main([str(a) for a in arguments])


def filled(tmp_path: Path) -> Path:
    recorded(tmp_path / "r.jsonl", [ask(draw=d) for d in range(3)], cache=tmp_path / "c.sqlite")
    return tmp_path / "c.sqlite"


def test_cache_to_recording_and_back(tmp_path, capsys):
    cache = filled(tmp_path)
    assert run("cache", "stats", cache) == 0
    assert "fake fake: 3 completions" in capsys.readouterr().out
    assert run("cache", "export", cache, tmp_path / "e.jsonl.gz") == 0
    exported, direct = (Recording.open(tmp_path / name) for name in ("e.jsonl.gz", "r.jsonl"))
    assert exported.header.backend == direct.header.backend and exported.header.source == direct.header.source
    keys = list(direct.entries)
    assert exported.get_many(keys) == direct.get_many(keys) and len(exported) == 3
    assert run("cache", "import", tmp_path / "other.sqlite", tmp_path / "e.jsonl.gz") == 0
    assert run("cache", "import", tmp_path / "other.sqlite", tmp_path / "r.jsonl") == 0
    assert "3 of 3 completions were new" in (out := capsys.readouterr().out) and "0 of 3 completions were new" in out
    with LLM(Fake(), cache=tmp_path / "other.sqlite") as llm:
        llm.complete([ask(draw=d) for d in range(3)])
        assert llm.backend.calls == 0


def test_export_of_several_models_asks_which(tmp_path, capsys):
    cache = filled(tmp_path)
    for backend, salt in ((Fake(model="other"), ""), (Fake(), "s")):
        with LLM(backend, cache=cache, salt=salt) as llm:
            llm.complete([ask()])
    assert run("cache", "export", cache, tmp_path / "e.jsonl") == 1
    assert "choose by --model and --salt, which match fake fake with salt ''; fake" in capsys.readouterr().err
    assert run("cache", "export", cache, tmp_path / "e.jsonl", "--model", "fake", "--salt", "") == 0
    assert len(Recording.open(tmp_path / "e.jsonl")) == 3
    assert run("cache", "export", cache, tmp_path / "f.jsonl", "--model", "nobody") == 1


def test_prune(tmp_path, capsys):
    cache = filled(tmp_path)
    assert run("cache", "prune", cache) == 1 and "--older-than or --model" in capsys.readouterr().err
    assert run("cache", "prune", cache, "--older-than", "1") == 0
    assert run("cache", "prune", cache, "--model", "fake", "--dry-run") == 0
    assert "0 completions were deleted\n3 completions would be deleted" in capsys.readouterr().out
    assert run("cache", "prune", cache, "--older-than", "-1") == 0  # older than tomorrow
    assert run("cache", "stats", cache) == 0
    assert capsys.readouterr().out.startswith("3 completions were deleted\n0 completions in")


def test_commands_that_cannot_be_done(tmp_path, capsys):
    write_prompts(tmp_path / "p.jsonl", [ask()])
    said = dict.fromkeys(read_prompts(tmp_path / "p.jsonl"), "a")
    build_recording(tmp_path / "p.jsonl", answers(tmp_path / "a", said), tmp_path / "hand.jsonl", HAND)
    for arguments, message in (
        (("cache", "stats", tmp_path / "absent"), "there is no cache at"),
        (("cache", "prune", tmp_path / "absent", "--model", "m"), "there is no cache at"),
        (("cache", "import", tmp_path / "c.sqlite", tmp_path / "hand.jsonl"), "can be replayed only"),
        (("record", "show", tmp_path / "p.jsonl"), "its first line is no header"),
    ):
        assert run(*arguments) == 1
        captured = capsys.readouterr()
        assert captured.err.startswith("shared-llm: ") and captured.err.count("\n") == 1 and message in captured.err
    assert run("record", "show", tmp_path / "hand.jsonl") == 0
    assert "source: recorded from a large general-purpose language model" in capsys.readouterr().out


def test_recorder_that_cannot_write(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises((RecordingError, OSError)):
        Recorder(tmp_path / "file" / "r.jsonl", HAND)
