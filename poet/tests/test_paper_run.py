"""The paper's run in small: bfloat16, streamed documents, micro-batches, two methods with their own widths;
and the part on a pretrained model."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from models import tiny_llama, tokens
from sentences import SENTENCES
from test_conf import composed
from transformers import AutoModelForCausalLM

from poet import PoetConfig, wrap
from poet.corpus import train_tokenizer
from poet.experiment import train_all
from poet.pretrained import free_memory, train_pretrained
from poet.report import write_report


def test_the_paper_s_run_in_small(c4, tmp_path):
    pytest.importorskip("datasets")
    settings = composed(
        "scale=paper",
        "launch=cpu",
        f"output_dir={tmp_path}",
        f"data.path={c4.path}",
        f"data.tokenizer={c4.tokenizer}",
        "data.window=16",
        "data.evaluation_tokens=500",
        "model.hidden=32",
        "model.mlp=64",
        "model.mlp_full=48",
        "model.heads=2",
        "model.layers=1",
        "model.vocabulary=320",
        "training.steps=6",
        "training.sequences=8",
        "training.length=32",
        "training.micro_batch=4",
        "training.measure_every=3",
        "method.members.poet_bs.poet.block=16",
        "method.members.poet_bs.poet.merge_every=2",
        "sweep.file=null",
    )
    rows = train_all(settings, lambda text: None)
    assert [row["method"] for row in rows] == ["poet_bs", "adamw"]
    part = json.loads((tmp_path / "parts" / "poet_bs" / "train.json").read_text())
    assert part["settings"]["model.mlp"] == 64 and part["settings"]["training.clip"] == 0.1
    assert [m["step"] for m in part["record"]["merges"]] == [2, 4, 6]
    losses = part["record"]["losses"]
    assert losses[-1] < losses[0]
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "parts" / "adamw" / "model")
    assert plain.config.intermediate_size == 48 and plain.dtype == torch.bfloat16
    path, table = write_report(settings)
    assert {row["method"] for row in table} == {"poet_bs", "adamw"} and "streamed" in path.read_text()


def test_the_part_on_a_pretrained_model(tmp_path, monkeypatch):
    model = tiny_llama(vocabulary=320)
    model.save_pretrained(tmp_path / "model")
    train_tokenizer(SENTENCES, 320).save_pretrained(tmp_path / "model")
    documents = {f"file{i}": " ".join(SENTENCES[4 * i : 4 * i + 4]) for i in range(100)}
    monkeypatch.setattr("poet.pretrained.standard_library", lambda: iter(documents.items()))
    settings = composed(f"output_dir={tmp_path}")
    chosen = dataclasses.replace(
        settings.pretrained, path=str(tmp_path / "model"), block=8, length=32, steps=8, lr=2e-2, merge_every=4,
        windows=4, layers=2, free_memory_gb=0.0,
    )  # fmt: skip
    settings = dataclasses.replace(settings, pretrained=chosen)
    said = train_pretrained(settings, print)
    found = json.loads((tmp_path / "parts" / "pretrained" / "result.json").read_text())
    assert "logits move by" in said and found["wrap_difference"] < 1e-5 and found["merge_difference"] < 1e-4
    assert found["spectrum_drift"] < 1e-5 and found["loss_after"] < found["loss_before"]
    assert not any("index" in key or ".Q." in key for key in found["keys"])
    assert train_pretrained(settings, print) == "pretrained: reused"
    short = dataclasses.replace(settings, resume=False, pretrained=dataclasses.replace(chosen, free_memory_gb=1e6))
    assert "skipped, as" in train_pretrained(short, print)


@pytest.mark.skipif(free_memory() < 3, reason="needs 3 GiB of free memory")
def test_wrapping_the_default_language_model_keeps_its_logits():
    from shared.llm import ModelError, load_causal_lm

    try:
        model, _ = load_causal_lm()
    except ModelError as error:
        pytest.skip(str(error))
    ids = tokens(1, 24, vocabulary=40_000)
    with torch.no_grad():
        before = model(ids).logits
        report = wrap(model, PoetConfig(block=64, init="keep"))
        assert len(report.layers) == 210
        assert float((model(ids).logits - before).abs().max()) < 1e-3
