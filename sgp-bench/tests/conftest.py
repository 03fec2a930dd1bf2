"""What several tests share: a small random model with a byte tokenizer, and programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tiny_model import write_tiny_model

DATA = Path(os.environ.get("TENFOLD_DATA", Path(__file__).parents[2] / "shared" / "data")) / "sgp-bench"
if not DATA.is_dir():
    DATA = Path(__file__).parents[3] / "shared" / "data" / "sgp-bench"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def real() -> Path:
    """The folder of published records."""
    if not DATA.is_dir():
        pytest.skip("the published records are not beside this checkout (TENFOLD_DATA)")
    return DATA
