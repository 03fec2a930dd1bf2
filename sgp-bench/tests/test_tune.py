"""Tuning: the same bytes whether interrupted or not, adapters that peft opens, and refusals."""

from __future__ import annotations

import itertools
import json

import pytest
import torch
from peft import PeftModel

from sgp_bench.errors import SGPError
from sgp_bench.sit import Encoded, pack, packed_loss
from sgp_bench.tune import TuneConfig, add_adapter, open_adapter, rate, tune
from shared.llm import load_causal_lm


def batches(steps: int) -> list[list[Encoded]]:
    generator = torch.Generator().manual_seed(0)
    draw = lambda n: tuple(torch.randint(5, 200, (n,), generator=generator).tolist())  # noqa: E731
    found = []
    for _ in range(steps):
        program = draw(20)
        found.append([Encoded(program + draw(6), 23), Encoded(program + draw(9), 22)])
    return found


def weights(model) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("method", ["lora", "oft"])
def test_an_interrupted_tuning_ends_with_the_bytes_of_an_unbroken_one(tiny, tmp_path, method):
    config = TuneConfig(
        method=method,
        rank=4,
        block_size=8,
        steps=7,
        save_every=2,
        dropout=0.1 if method == "lora" else 0.0,
        learning_rate=5e-3,
    )
    data = batches(7)
    lm, _ = load_causal_lm(str(tiny))
    whole = add_adapter(lm, config)
    first = tune(whole, data, config, tmp_path / "whole", "k")
    whole.save_pretrained(tmp_path / "a")
    for stop in (3, 5, None):  # after a stop only what the last checkpoint holds is there
        lm, _ = load_causal_lm(str(tiny))
        model = add_adapter(lm, config)
        log = tune(model, data, config, tmp_path / "parts", "k", stop_after=stop)
    model.save_pretrained(tmp_path / "b")
    assert [r["loss"] for r in log.rows] == [r["loss"] for r in first.rows] and len(log.rows) == 7
    assert (tmp_path / "a" / "adapter_model.safetensors").read_bytes() == (
        tmp_path / "b" / "adapter_model.safetensors"
    ).read_bytes()
    assert first.rows[-1]["loss"] != first.rows[0]["loss"]


@pytest.mark.parametrize("method", ["lora", "oft"])
def test_adapters_are_opened_by_peft_with_the_same_logits(tiny, tmp_path, method):
    config = TuneConfig(method=method, rank=4, block_size=8, steps=4, learning_rate=1e-2)
    lm, _ = load_causal_lm(str(tiny))
    model = add_adapter(lm, config)
    tune(model, batches(4), config, tmp_path / "s")
    model.save_pretrained(tmp_path / "adapter")
    ids = torch.arange(5, 40)[None]
    with torch.inference_mode():
        expected = model.eval()(input_ids=ids).logits
        base, _ = load_causal_lm(str(tiny))
        untuned = base(input_ids=ids).logits
        again = PeftModel.from_pretrained(base, str(tmp_path / "adapter")).eval()(input_ids=ids).logits
        base, _ = load_causal_lm(str(tiny))
        ours = open_adapter(base, tmp_path / "adapter", "")
        merged = ours.merge_and_unload()(input_ids=ids).logits
    assert torch.equal(again, expected) and (expected - untuned).abs().max() > 1e-3
    assert (merged - expected).abs().max() < 1e-4


def test_the_loss_falls_on_what_is_trained(tiny, tmp_path):
    config = TuneConfig(rank=8, steps=30, learning_rate=3e-2, warmup_steps=2)
    data = batches(1) * 30
    lm, _ = load_causal_lm(str(tiny))
    model = add_adapter(lm, config)
    with torch.inference_mode():
        before = packed_loss(model.eval(), pack(data[0])).item()
    log = tune(model, data, config, tmp_path / "s")
    assert log.rows[-1]["loss"] < 0.97 * before and log.seconds > 0


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_checkpoint(tiny, tmp_path):
    config = TuneConfig(rank=4, steps=6, save_every=2)
    lm, _ = load_causal_lm(str(tiny))
    model = add_adapter(lm, config)
    seen = []

    def spoil(step: int, total: int, loss: float) -> None:
        seen.append(weights(model))
        if step == 3:
            with torch.no_grad():
                next(p for p in model.parameters() if p.requires_grad).fill_(float("nan"))

    with pytest.raises(SGPError, match=r"step 4 is no finite number: the adapter is that of step 2"):
        tune(model, batches(6), config, tmp_path / "s", progress=spoil)
    assert all(torch.equal(v, seen[1][n]) for n, v in weights(model).items())


def test_refusals_name_what_is_wrong(tiny, tmp_path):
    lm, _ = load_causal_lm(str(tiny))
    config = TuneConfig(rank=4, steps=2, save_every=1)
    model = add_adapter(lm, config)
    tune(model, batches(2), config, tmp_path / "s", "one")
    with pytest.raises(SGPError, match="checkpoint of other settings"):
        tune(model, batches(2), config, tmp_path / "s", "two")
    with pytest.raises(SGPError, match="as many batches"):
        tune(model, batches(1), config, tmp_path / "t")
    model.save_pretrained(tmp_path / "adapter")
    path = tmp_path / "adapter" / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": "other/model"}))
    with pytest.raises(SGPError, match="is of other/model, and the model here is mine"):
        open_adapter(lm, tmp_path / "adapter", "mine")
    with pytest.raises(SGPError, match="holds no adapter"):
        open_adapter(lm, tmp_path, "mine")
    for wrong in ({"method": "boft"}, {"steps": 0}, {"learning_rate": 0.0}, {"loss_on": "some"}):
        with pytest.raises(SGPError, match="tune"):
            TuneConfig(**wrong)


def test_the_rate_warms_up_and_ends_at_zero():
    config = TuneConfig(steps=100, warmup_steps=10)
    values = [rate(s, config) for s in range(100)]
    assert values[0] == pytest.approx(1 / 11) and values[10] == 1 and values[-1] < 1e-3
    assert all(a < b for a, b in itertools.pairwise(values[:11]))
    assert all(a > b for a, b in itertools.pairwise(values[10:]))


def test_trl_trains_an_adapter_on_pairs(tiny, tmp_path):
    from sgp_bench.sit import build_sit
    from sgp_bench.tune_sft import SftConfig, tune_sft

    lm, tokenizer = load_causal_lm(str(tiny))
    pairs = build_sit([(f"<svg>{i}</svg>", f"Number {i}.") for i in range(8)], "mixed")
    config = SftConfig(batch_size=4, bf16=False, max_length=600, learning_rate=1e-3)
    adapter = TuneConfig(rank=4, targets=("q_proj", "v_proj"), loss_on="all", save_every=2)
    result = tune_sft(lm, tokenizer, pairs, adapter, config, tmp_path)
    assert result["pairs"] == 16 and result["left out"] == 0 and result["steps"] == 4 and result["warm-up steps"] == 1
    assert result["loss"] > 0
    base, _ = load_causal_lm(str(tiny))
    PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
