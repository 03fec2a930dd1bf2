"""Where the development data lies, and what tests share."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STUB = (sys.executable, "-S", "-E", str(HERE.parent / "benchmarks" / "stub_repl.py"))


def data_folder() -> Path | None:
    given = os.environ.get("FORMALMATH_DEV_DATA")
    root = Path(os.environ["TENFOLD_DATA"]) / "formalmath" if os.environ.get("TENFOLD_DATA") else None
    beside = HERE.parents[2] / "shared" / "data" / "formalmath"
    for folder in (Path(given) if given else None, root, beside):
        if folder is not None and folder.is_dir():
            return folder
    return None


@pytest.fixture(scope="session")
def data() -> Path:
    folder = data_folder()
    if folder is None:
        pytest.skip("the development data is not here (set FORMALMATH_DEV_DATA)")
    return folder


@pytest.fixture(scope="session")
def lite(data):
    from formalmath.problems import read_json

    return read_json(data / "FormalMATH_lite.json")


@pytest.fixture(scope="session")
def transcripts(data):
    return [json.loads(line) for line in (data / "repl_transcripts.jsonl").read_text().splitlines()]


@pytest.fixture(scope="session")
def recorded_proofs(data):
    return [json.loads(line) for line in (data / "kimina_goedel_checks.jsonl").read_text().splitlines()]


def pytest_collection_modifyitems(config, items):
    """Tests marked `lean` run only where a Lean was installed."""
    if not any(item.get_closest_marker("lean") for item in items):
        return
    from formalmath.errors import FormalMathError
    from formalmath.lean.install import installed

    try:
        installed()
    except FormalMathError as error:
        for item in items:
            if item.get_closest_marker("lean"):
                item.add_marker(pytest.mark.skip(reason=str(error)))
