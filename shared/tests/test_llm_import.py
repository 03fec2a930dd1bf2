"""What an import costs, and what progress prints."""

from __future__ import annotations

import io
import subprocess
import sys

import pytest

import shared.llm
from shared.llm import Limits, Request, open_llm
from shared.llm.progress import Progress
from shared.llm.stats import Stats

HEAVY = ("torch", "numpy", "transformers", "openai", "httpx", "httpx2", "tqdm", "jsonschema", "pydantic", "asyncio")


def loaded_by(code: str) -> set[str]:
    """Modules of HEAVY that a fresh interpreter has after it ran some code."""
    code += f"\nimport sys; print(*[m for m in {HEAVY} if m in sys.modules])"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def test_import_loads_nothing():
    assert loaded_by("import shared.llm") == set()


def test_client_of_recordings_and_endpoints_loads_no_model_library(tmp_path):
    code = (
        "from shared.llm import LLM, Cache, Image, Limits, Recording, Request, open_llm, independence_probe, user\n"
        "llm = open_llm({'backend': 'openai', 'model': 'm', 'base_url': 'http://localhost:1/v1'}, progress=False)\n"
        "llm.close()"
    )
    assert loaded_by(code) <= {"asyncio"}


def test_every_name_is_there():
    assert all(getattr(shared.llm, name) is not None for name in shared.llm.__all__)
    assert sorted(shared.llm.__all__) == sorted(dir(shared.llm))
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        shared.llm.nothing  # noqa: B018


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bar_on_a_terminal_and_lines_elsewhere(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("shared.llm.progress.time.monotonic", lambda: clock[0])
    for stream in (Terminal(), io.StringIO()):
        progress = Progress(True, "m", 10, Stats(), stream)
        for done in range(1, 9):
            clock[0] += 10
            progress.advance(1, Stats(requests=done, cached=2, failed=1, retries=3, cost=0.5))
        if stream.isatty():
            shown = str(progress._bar)
            assert "8/10" in shown and "2 cached, 1 failed, 3 retries, $0.5000" in shown
        else:
            lines = stream.getvalue().splitlines()
            assert len(lines) == 2  # 80 s, a line every 30
            assert lines[1] == "m: 6 of 10, 2 cached, 1 failed, 3 retries, $0.5000, about 40 s left"
        progress.close()


def test_nothing_is_shown_where_none_is_wanted(capsys):
    with open_llm({"backend": "fake"}, progress=False) as llm:
        llm.complete([Request("Say.")])
    with open_llm({"backend": "fake"}, progress=True) as llm:  # one that did nothing has nothing to sum up
        assert llm.limits == Limits()
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""
