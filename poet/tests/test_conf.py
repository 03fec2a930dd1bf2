"""Every configuration that is offered composes, checks itself, and has the paper's sizes."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from poet import PoetError
from poet.inspections import forecast_row
from poet.settings import Settings

CONF = Path(__file__).parents[1] / "conf"
METHODS = sorted(str(p.relative_to(CONF / "method").with_suffix("")) for p in (CONF / "method").rglob("*.yaml"))
MODELS = sorted(p.stem for p in (CONF / "model").glob("*.yaml"))


def composed(*overrides: str) -> Settings:
    with initialize_config_dir(config_dir=str(CONF), version_base=None):
        config = compose("train", list(overrides))
    return Settings.from_mapping(OmegaConf.to_container(config, resolve=True))


@pytest.mark.parametrize("method", METHODS)
def test_every_method_composes(method):
    settings = composed(f"method={method}")
    assert settings.methods and all(m.kind for m in settings.methods)
    if method == "comparison":
        assert len(settings.methods) == 8 and {len(m.ladder) for m in settings.methods} == {5}


@pytest.mark.parametrize("model", [m for m in MODELS if m != "tiny"])
def test_every_paper_run_composes(model):
    settings = composed("scale=paper", f"model={model}", "method=paper/poet_bs")
    training = settings.training_of(settings.methods[0])
    tokens = {"60m": 300, "130m": 400, "350m": 400, "1b": 500, "3b": 600}[model] * 1000 * 512 * 256
    assert training.steps * training.sequences * training.length == tokens and training.clip == 0.1
    assert settings.model.dtype == "bfloat16" and settings.methods[0].config().merge_every == 400


def test_the_forecast_of_a_paper_run_is_made_without_memory():
    settings = composed("scale=paper", "model=350m", "method=paper/poet_bs")
    row = forecast_row(settings, settings.methods[0])
    # 60.3M rotations in float32, twice; embedding and head of 65.5M in bfloat16, twice
    expected = (60.32e6 * 8 + 2 * 32000 * 1024 * 4 + 49 * 1024 * 4) / 2**20
    assert row["optimizer_state MiB"] == pytest.approx(expected, rel=0.01)


def test_the_paper_s_two_mlp_widths():
    settings = composed("scale=paper")
    poet, adamw = settings.methods
    assert poet.config().block == 256 and settings.training_of(poet).clip == 0.1 and adamw.lr == 1e-3
    assert settings.model_of(poet).mlp == 1280 and settings.model_of(adamw).mlp == 1376


def test_an_unknown_name_is_refused():
    with pytest.raises(PoetError, match="only must be one of adamw, muon, .*, not 'sgd'"):
        composed("only=[sgd]")
