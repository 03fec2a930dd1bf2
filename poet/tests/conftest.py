"""One thread: the tests' matrices are small, and the machine may be shared."""

from __future__ import annotations

import json

import pytest
import torch
from sentences import SENTENCES

from poet.corpus import train_tokenizer
from poet.settings import DataSettings

torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def c4(tmp_path_factory) -> DataSettings:
    pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("c4")
    for name, files in (("train", 4), ("validation", 1)):
        (folder / name).mkdir()
        for shard in range(files):
            rows = [json.dumps({"text": f"{SENTENCES[i]} {shard}" * (1 + i % 3)}) for i in range(25)]
            (folder / name / f"{shard}.jsonl").write_text("\n".join(rows))
    train_tokenizer(SENTENCES, 320).save_pretrained(folder / "tokenizer")
    return DataSettings("c4", path=str(folder), tokenizer=str(folder / "tokenizer"), window=16, evaluation_tokens=500)
