"""A study over HTTP: what is paid for, what stops it, and that a key is written nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from endpoint import Behaviour, endpoint

from shared.llm import Stopped
from vrs.errors import VRSError
from vrs.study.collect import collect
from vrs.study.report import write_report
from vrs.study.settings import Settings

KEY = "sk-planted-4f9a2c7e"
CURVES = [{"sampler": "direct", "phrasings": ["P1"]}, {"sampler": "vrs", "phrasings": ["P01"]}]


def settings(folder: Path, url: str, **changed) -> Settings:
    llm = {"backend": "openai", "model": "m", "base_url": url, "api_key_env": "VRS_TEST_KEY", "sampling": {}}
    llm |= {"cache": {"path": str(folder / "parts" / "completions.sqlite")}, "limits": {"concurrency": 8}}
    limits = {**llm["limits"], **changed.pop("limits", {})}
    study = {"name": "test", "grid": 5, "draws": 8, "curves": CURVES, "simulation": {"replicates": 20}}
    config = {"llm": {**llm, "limits": limits, **changed}, "study": study, "task": {"name": "study"}}
    return Settings.from_mapping({**config, "output_dir": str(folder), "scale_name": "test"})


@pytest.fixture(autouse=True)
def planted(monkeypatch):
    monkeypatch.setenv("VRS_TEST_KEY", KEY)


def calls_kept(folder: Path) -> int:
    lines = (line for p in (folder / "samples").glob("*.jsonl") for line in p.read_text().splitlines())
    return sum("call" in json.loads(line) for line in lines)


def test_every_call_is_paid_once_and_the_key_is_written_nowhere(tmp_path, capsys, caplog):
    behaviour = Behaviour()
    with endpoint(behaviour) as url:
        rows = collect(settings(tmp_path, url))
        hits = len(behaviour.arrivals)
        assert hits == calls_kept(tmp_path) + 8  # eight of the independence probe
        again = collect(settings(tmp_path, url))
        assert len(behaviour.arrivals) == hits and json.dumps(rows) == json.dumps(again)
        # a lost ledger is made again from the cache
        (tmp_path / "samples" / "direct-free-P1-g5-8.jsonl").unlink()
        assert json.dumps(collect(settings(tmp_path, url))) == json.dumps(rows)
        assert len(behaviour.arrivals) == hits
    write_report(settings(tmp_path, url))
    assert any(KEY in seen for seen in behaviour.seen)  # it was sent
    # nothing but what a provider is told: the provider's own defaults hold
    assert not any("temperature" in seen or '"seed"' in seen for seen in behaviour.seen)
    written = capsys.readouterr()
    texts = [written.out, written.err, caplog.text]
    assert not any(KEY in text for text in texts)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 6 and not any(KEY.encode() in path.read_bytes() for path in files)


def test_wrong_credentials_stop_at_once(tmp_path):
    behaviour = Behaviour(status=lambda n: (401, {}))
    with endpoint(behaviour) as url:
        with pytest.raises(Stopped) as raised:
            collect(settings(tmp_path, url))
    assert raised.value.reason == "credentials" and "\n" not in str(raised.value) and KEY not in str(raised.value)
    assert 1 <= len(behaviour.arrivals) <= 8


def test_a_server_that_asks_for_a_pause_gets_it(tmp_path):
    behaviour = Behaviour(status=lambda n: (429, {"retry-after": "1"}) if n == 12 else (200, {}))
    with endpoint(behaviour) as url:
        collect(settings(tmp_path, url, limits={"concurrency": 1}))
    # no upper limit: a loaded machine may take longer
    assert behaviour.arrivals[13] - behaviour.arrivals[12] >= 0.8
    assert len(behaviour.arrivals) == calls_kept(tmp_path) + 8 + 1


def test_a_limit_of_calls_is_never_overshot_and_the_run_goes_on_from_there(tmp_path):
    behaviour = Behaviour()
    with endpoint(behaviour) as url:
        with pytest.raises(Stopped) as raised:
            collect(settings(tmp_path, url, limits={"max_calls": 50}))
        assert raised.value.reason == "budget" and len(behaviour.arrivals) == 50
        assert calls_kept(tmp_path) >= 50 - 8 - 8
        collect(settings(tmp_path, url))
    assert len(behaviour.arrivals) == calls_kept(tmp_path) + 8


def test_a_server_that_always_says_the_same_is_found_out(tmp_path):
    behaviour = Behaviour(text="Once upon a time.")
    with endpoint(behaviour) as url, pytest.raises(VRSError, match="8 draws of one free story from m are identical"):
        collect(settings(tmp_path, url))
    assert len(behaviour.arrivals) == 8 and calls_kept(tmp_path) == 0


def test_another_way_to_ask_needs_another_place(tmp_path):
    behaviour = Behaviour()
    with endpoint(behaviour) as url:
        collect(settings(tmp_path, url))
        hits = len(behaviour.arrivals)
        with pytest.raises(VRSError, match=r"scores.jsonl was written with settings .* give another path"):
            collect(settings(tmp_path, url, sampling={"temperature": 0.5}))
        # what no answer depends on may change
        collect(settings(tmp_path, url, limits={"concurrency": 2}, prices={"input": 1.0, "output": 1.0}))
    assert len(behaviour.arrivals) == hits
