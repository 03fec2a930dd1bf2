"""The loop, its schedule, its data; probes; the paper's configurations with tiny models."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from models import SEPARATORS, VOCABULARY, tiny
from small_model import write_small_model

from sepllm import SeparatorSet, SepLLMError, SepPolicy, WindowPolicy, masked
from sepllm.budget import kept_keys, kept_share, matched
from sepllm.data import DataSettings, batch_of, document_positions, megatron, tokens, windows
from sepllm.perplexity import paired, window_losses
from sepllm.probe import attention_shares, copy_gain, value_losses
from sepllm.training import Recipe, fresh_model, load_trained, train

MARKS = SeparatorSet(SEPARATORS, VOCABULARY)
CONF = Path(__file__).parents[1] / "conf"
SIZES = {"model_type": "llama", "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 2, "num_key_value_heads": 1}


def text(length=2000, seed=0):
    ids = torch.randint(6, VOCABULARY, (length,), generator=torch.Generator().manual_seed(seed))
    ids[::7] = SEPARATORS[0]
    return ids


def test_schedules():
    recipe = Recipe(steps=100, batch=1, length=8, learning_rate=0.1, warmup=10)
    assert recipe.rate(0) == pytest.approx(0.01) and recipe.rate(9) == pytest.approx(0.1)
    assert recipe.rate(100) == pytest.approx(0.01) and recipe.rate(55) == pytest.approx(0.055)
    rest = Recipe(steps=50, batch=1, length=8, learning_rate=0.1, schedule_from=50, schedule_steps=100)
    whole = Recipe(steps=100, batch=1, length=8, learning_rate=0.1)
    assert [rest.rate(i) for i in (0, 20, 49)] == pytest.approx([whole.rate(50 + i) for i in (0, 20, 49)])


def test_training_stopped_and_resumed_is_bitwise_the_same(tmp_path):
    ids, held = text(), windows(text(seed=1), 32, 2)
    options = {"steps": 6, "batch": 2, "length": 32, "learning_rate": 1e-2, "warmup": 2, "weight_decay": 0.1}
    policy = SepPolicy(a=1, n=4)
    curves = {}
    for name, stops in (("whole", [None]), ("parts", [2, 4, None])):
        for stop in stops:
            recipe = Recipe(**options, evaluate_every=2, first_scored=16, stop_after=stop)
            model = fresh_model(SIZES, VOCABULARY, seed=3)
            result = train(model, policy, MARKS, ids, held, recipe, tmp_path / name, seed=3, mark="m", say=str)
        curves[name] = result["curve"]
        weights = load_trained(fresh_model(SIZES, VOCABULARY, seed=9), tmp_path / name)
        for a, b in zip(weights.parameters(), model.parameters(), strict=True):
            assert torch.equal(a, b)
    assert curves["whole"] == curves["parts"] and [r["step"] for r in curves["whole"]] == [0, 2, 4, 6]
    assert curves["whole"][-1]["losses"]["own"] < curves["whole"][0]["losses"]["own"]


def test_a_state_of_other_settings_and_missing_weights_are_refused(tmp_path):
    recipe = Recipe(steps=4, batch=1, length=16, learning_rate=1e-2, evaluate_every=2, stop_after=2)
    run = lambda mark: train(  # noqa: E731
        fresh_model(SIZES, VOCABULARY, 0), WindowPolicy(1, 4), MARKS, text(), windows(text(), 16, 1), recipe, tmp_path,
        mark=mark, say=str,
    )  # fmt: skip
    run("a")
    with pytest.raises(SepLLMError, match="was saved under other settings"):
        run("b")
    with pytest.raises(SepLLMError, match=r"model.safetensors is missing: run train.py"):
        load_trained(fresh_model(SIZES, VOCABULARY, 0), tmp_path)


def test_a_loss_that_is_not_finite_stops_and_keeps_what_was_saved(tmp_path):
    model = fresh_model(SIZES, VOCABULARY, 0)
    recipe = Recipe(steps=4, batch=1, length=16, learning_rate=1e-2, evaluate_every=1)
    torch.nn.init.constant_(model.lm_head.weight, float("inf"))
    with pytest.raises(SepLLMError, match="the loss is not finite at step 0 under WindowPolicy"):
        train(model, WindowPolicy(1, 4), MARKS, text(), windows(text(), 16, 1), recipe, tmp_path, say=str)


def test_neox_initialisation_has_the_recipe_s_deviations():
    sizes = {**SIZES, "model_type": "gpt_neox", "hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256}
    del sizes["num_key_value_heads"]
    model = fresh_model(sizes, VOCABULARY, 0, "neox")
    layer = model.gpt_neox.layers[0]
    assert float(layer.mlp.dense_h_to_4h.weight.std()) == pytest.approx(math.sqrt(2 / (5 * 64)), rel=0.05)
    assert float(layer.mlp.dense_4h_to_h.weight.std()) == pytest.approx(2 / 2 / math.sqrt(64), rel=0.05)


def test_batches_follow_from_seed_and_step():
    ids = text()
    assert torch.equal(batch_of(ids, 5, 1, 3, 16), batch_of(ids, 5, 1, 3, 16))
    assert not torch.equal(batch_of(ids, 5, 1, 3, 16), batch_of(ids, 6, 1, 3, 16))


def test_packed_documents_train_as_if_alone():
    """Losses of two documents in one row equal those of each alone: neither mask nor positions cross the boundary."""
    model, ids = tiny(), torch.cat([text(20), text(14, seed=4)])
    ids[19] = 2  # ends the first
    packed = ids[None]
    positions = document_positions(packed, 2)
    assert positions[0, 19:22].tolist() == [19, 0, 1]
    with masked(model, SepPolicy(a=2, n=5), MARKS), torch.no_grad():
        together = model(packed, position_ids=positions).logits[0]
        alone = torch.cat([model(part[None]).logits[0] for part in (ids[:20], ids[20:])])
    assert (together - alone).abs().max() < 1e-12


def test_sources_of_text(tmp_path):
    import numpy as np

    np.arange(50, dtype=np.uint16).tofile(tmp_path / "pile.bin")
    found = tokens(DataSettings("megatron", str(tmp_path / "pile")), None, 20)
    assert found.tolist() == list(range(20)) and len(megatron(str(tmp_path / "pile"))) == 50
    for settings, words in (
        (DataSettings("megatron", str(tmp_path / "x")), "there is no file"),
        (DataSettings("file", str(tmp_path / "x")), "cannot be read as UTF-8"),
    ):
        with pytest.raises(SepLLMError, match=words):
            tokens(settings, None, 20)
    with pytest.raises(SepLLMError, match="data.kind=hub needs data.path"):
        DataSettings("hub")
    with pytest.raises(SepLLMError, match="4 windows of 600 tokens need 2400"):
        windows(text(), 600, 4)


def test_matched_budgets_and_shares_are_counted_right():
    ids = windows(text(), 200, 3)
    policy = SepPolicy(a=2, n=20)
    found = matched(policy, MARKS, ids, first=100)
    nothing = SeparatorSet.nothing(VOCABULARY)
    assert abs(kept_keys(found, nothing, ids, 100) - kept_keys(policy, MARKS, ids, 100)) <= 0.5
    assert kept_share(SepPolicy(n=200), MARKS, ids, 50) == pytest.approx(1)
    mixed = SepPolicy(a=2, layers=(20, None))
    expected = (kept_keys(policy, MARKS, ids) + 100.5) / 2
    assert kept_keys(mixed, MARKS, ids, layers=2) == pytest.approx(expected)


def test_value_edits_change_only_far_separators():
    """Far values are changed and no others; an edit that changes nothing changes nothing."""
    from sepllm import probe

    model, ids = tiny(), text(60)[None]
    ids[0, ::14] = SEPARATORS[1]
    policy = SepPolicy(a=2, n=6)
    losses = value_losses(model, policy, MARKS, ids, first=30)
    assert losses["left out"] == window_losses(model, WindowPolicy(a=2, n=6), MARKS, ids, 30)
    assert len({v[0] for v in losses.values()}) == len(losses)
    # with one separator alone, mean, swap and shuffle give back its own value
    lone = ids.clone()
    lone[MARKS.lut()[lone]] = 9
    lone[0, 20] = SEPARATORS[0]
    same = value_losses(model, policy, MARKS, lone, first=30)
    assert all(same[k][0] == pytest.approx(same["as it is"][0], abs=1e-6) for k in ("mean", "swapped", "shuffled"))
    assert abs(same["zero"][0] - same["as it is"][0]) > 1e-6
    edit = probe.far_values("zero", MARKS.lut()[lone[0]], 2)
    from sepllm.mask import lives_of, visible

    lives = lives_of(policy, MARKS.lut()[lone], 6)
    _, value, extended = edit(torch.zeros(1, 1, 60, 4), torch.ones(1, 1, 60, 4), lives)
    seen = visible(extended)[0, 0]
    assert seen.shape == (60, 61) and not value[0, 0, 0].any() and value[0, 0, 1:].all()
    assert torch.equal(seen[:, 0], torch.arange(60) >= 26) and torch.equal(seen.sum(-1), visible(lives)[0, 0].sum(-1))


def test_probes_measure_what_they_say():
    model, ids = tiny(), windows(text(), 48, 2)
    layers = attention_shares(model, ids, MARKS, near=12)
    for layer in layers:
        assert sum(layer[k] for k in ("initial", "far_separators", "far_others", "near")) == pytest.approx(1, abs=1e-5)
    assert model.config._attn_implementation == "sdpa" or model.config._attn_implementation == "sepllm"
    gains = copy_gain(model, SepPolicy(a=2, n=8), MARKS, windows(text(), 30, 2), 10, 20)
    assert len(gains) == 2 and all(math.isfinite(g) for g in gains)
    value, error = paired([1.0, 2.0, 4.0], [1.0, 1.0, 1.0])
    assert value == pytest.approx(4 / 3) and error == pytest.approx(0.8819, abs=1e-3)


@pytest.mark.parametrize("choice", [[], ["train=scratch_paper", "model=pythia_160m"], ["eval=mmlu", "policy=sep_ht"],
                                    ["eval=stream_paper", "model=llama3_8b", "policy=streaming"]])  # fmt: skip
def test_configurations_of_the_paper_s_scale(choice, tmp_path):
    """They compose and check; their loading code runs with a tiny random model of the same family."""
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    from sepllm.experiment import find_separators, load, scratch_model
    from sepllm.settings import Settings

    overrides = ["scale=paper", "data=pg19", *choice]
    with initialize_config_dir(str(CONF), version_base=None):
        plain = OmegaConf.to_container(compose("eval", overrides), resolve=True)
    settings = Settings.from_mapping(plain)
    assert settings.scale_name == "paper" and settings.separators.rule == "official"
    if settings.scratch is not None:
        assert settings.scratch.recipe.steps == 143000 and settings.scratch.init == "neox"
        sizes = {**settings.scratch.architecture, "hidden_size": 48, "num_hidden_layers": 2, "intermediate_size": 64}
        plain["scratch"] |= {"architecture": sizes, "vocabulary": 300}
        model = scratch_model(Settings.from_mapping(plain), MARKS, 0)
        assert model.config.model_type == "gpt_neox" and model.config.vocab_size == 300
    family = "gpt_neox" if "pythia" in settings.model.name else "llama"
    plain["model"] |= {"path": str(write_small_model(tmp_path, family)), "revision": None}
    plain["separators"]["rule"] = "paper"
    model, tokenizer = load(Settings.from_mapping(plain))
    assert find_separators(Settings.from_mapping(plain).separators, tokenizer, model.config.model_type).ids
    assert model.dtype == getattr(torch, settings.model.dtype)
