"""POET in transformers' Trainer."""

from __future__ import annotations

import pytest
import torch
from models import tiny_llama, tokens
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

from poet import PoetConfig, PoetError, PoetOptimizer, wrap
from poet.integrations import PoetCallback
from poet.linear import poet_layers

ROWS = [{"input_ids": ids, "labels": ids} for ids in tokens(24)]


def trainer(folder, steps, merges=True):
    model = tiny_llama()
    wrap(model, PoetConfig(block=8, merge_every=3))
    optimizer = PoetOptimizer(model, poet_lr=1e-2) if merges else torch.optim.AdamW(model.parameters())
    arguments = TrainingArguments(
        str(folder), max_steps=steps, per_device_train_batch_size=4, save_steps=4, logging_steps=4, report_to=[],
        use_cpu=True, disable_tqdm=True,
    )  # fmt: skip
    callback = PoetCallback()
    return Trainer(model, arguments, train_dataset=ROWS, optimizers=(optimizer, None), callbacks=[callback]), callback


def test_it_merges_saves_a_plain_model_and_resumes(tmp_path):
    whole, callback = trainer(tmp_path / "whole", 6)
    whole.train()
    assert callback.merges == 2 and all(int(layer.interval) == 3 for layer in poet_layers(whole.model))
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "whole" / "merged")
    ids = tokens()
    with torch.no_grad():
        torch.testing.assert_close(plain(ids).logits, whole.model.eval()(ids).logits, rtol=0, atol=1e-5)
    again, _ = trainer(tmp_path / "whole", 6)
    again.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-4"))
    for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def test_an_optimizer_that_never_merges_is_refused(tmp_path):
    wrong, _ = trainer(tmp_path, 2, merges=False)
    with pytest.raises(PoetError, match="this Trainer's optimizer never merges"):
        wrong.train()
