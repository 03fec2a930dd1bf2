"""The configuration composes for every combination, gives the paper's numbers, and agrees with the sweep."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from oftv2.dry_run import dry_run
from oftv2.errors import OFTError
from oftv2.settings import Settings
from oftv2.sweep import best_rates, read_table

PAPER = Path(__file__).parents[1]
CONF = PAPER / "conf"


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@cache
def composed(*overrides: str) -> dict:
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("train", overrides=list(overrides))
    return OmegaConf.to_container(config, resolve=True)  # type: ignore[return-value]


def settings(*overrides: str) -> Settings:
    return Settings.from_mapping(composed(*overrides))


MODEL_OF_KIND = {"causal": "llama2_7b", "seq2seq": "bart_large", "diffusion": "sd35_medium"}


@pytest.mark.parametrize("scale", ["laptop", "paper"])
@pytest.mark.parametrize("task", names("task"))
def test_every_task_and_method_composes_into_settings(scale, task):
    kind = composed(f"task={task}")["task"]["kind"]
    for method in names("method"):
        made = settings(f"scale={scale}", f"task={task}", f"method={method}", f"model={MODEL_OF_KIND[kind]}")
        assert made.scale == scale and made.task.name == task
        assert method == "comparison" or [m.name for m in made.methods] == [method]
        assert all(m.training.learning_rate > 0 for m in made.methods)


def test_every_model_composes_and_knows_its_sizes():
    for model in names("model"):
        made = composed("scale=paper", f"model={model}")["model"]
        assert made["name"] == model and made["architecture"]["model_type"] and made["dtype"] == "bfloat16"


def test_a_task_refuses_a_model_of_another_kind():
    with pytest.raises(OFTError, match="needs a seq2seq model"):
        settings("scale=paper", "task=xsum", "model=llama2_7b")


# Tables 6, 7, 8 and 9, and §7 for OpenR1: learning rate, batch, accumulation, epochs.
RECIPES = {
    ("gsm8k", "llama2_7b", "lora"): (2e-4, 16, 4, 10),
    ("gsm8k", "llama2_7b", "qlora"): (2e-4, 16, 4, 10),
    ("gsm8k", "llama2_7b", "oftv2"): (8e-4, 16, 4, 10),
    ("gsm8k", "llama2_7b", "qoft"): (8e-4, 16, 4, 10),
    ("wikitext", "llama2_13b", "lora"): (2e-4, 16, 2, 10),
    ("wikitext", "llama2_13b", "oftv2"): (2e-4, 16, 2, 10),
    ("xsum", "bart_large", "lora"): (1e-4, 32, 4, 10),
    ("xsum", "bart_large", "oftv2"): (4e-4, 32, 4, 5),
    ("cnndm", "bart_large", "qlora"): (1e-4, 64, 4, 5),
    ("cnndm", "bart_large", "qoft"): (4e-4, 64, 4, 5),
    ("openr1", "qwen25_1_5b", "qoft"): (5e-5, 16, 2, 1),
    ("openr1", "qwen25_32b", "qoft"): (5e-5, 8, 2, 1),
}


@pytest.mark.parametrize(("task", "model", "method"), RECIPES)
def test_paper_recipes(task, model, method):
    (made,) = settings("scale=paper", f"task={task}", f"model={model}", f"method={method}").methods
    recipe = made.training
    found = (recipe.learning_rate, recipe.batch_size, recipe.accumulation, recipe.epochs)
    assert found == RECIPES[task, model, method]
    assert recipe.weight_decay == 0 and recipe.final_share == 0.1
    assert (made.oft.block_size == 32) if made.oft else (made.options["r"] == 16)
    assert made.quant == ("nf4" if method in ("qoft", "qlora") else "none")


def test_the_command_line_wins_over_every_recipe():
    (made,) = settings(
        "scale=paper", "task=xsum", "model=bart_large", "method=lora", "training.learning_rate=3e-3"
    ).methods
    assert made.training.learning_rate == 3e-3
    (made,) = settings("scale=paper", "method=oftv2", "training.steps=7").methods
    assert (made.training.steps, made.training.epochs) == (7, None)
    assert {m.quant for m in settings("quant=nf4").methods} == {"nf4"}
    assert (
        settings("method=oftv2", "parameterization=polished").methods[0].oft.parameterization
        == "cayley_neumann_polished"
    )


def test_oftv1_runs_at_the_rate_of_oftv2():
    made = settings()
    assert made.method("oftv1").training.learning_rate == made.method("oftv2").training.learning_rate


@pytest.mark.parametrize(
    ("overrides", "count"),
    [
        (("method=oftv2",), 2_321_280),
        (("method=lora",), 4_884_480),
        (("scale=paper", "method=oftv2"), 17_649_664),
        (("scale=paper", "method=qlora"), 39_976_960),
        (("scale=paper", "model=llama2_13b", "method=qoft"), 27_617_280),
        (("scale=paper", "model=qwen25_1_5b", "method=qoft"), 7_888_384),
        (("scale=paper", "model=qwen25_32b_it", "method=qoft"), 57_901_056),
        (("scale=paper", "task=xsum", "model=bart_large", "method=oftv2"), 4_190_208),
        (("scale=paper", "task=xsum", "model=bart_large", "method=oftv2", "method.oft.block_size=16"), 2_027_520),
        (("scale=paper", "task=xsum", "model=bart_large", "method=oftv2", "method.oft.block_size=64"), 8_515_584),
    ],
)
def test_dry_run_counts_the_papers_parameters(overrides, count):
    (row,) = dry_run(settings(*overrides))
    assert row["trained"] == count


def test_default_rates_are_those_of_the_sweep():
    table = read_table(PAPER / "benchmarks" / "sweep.json")
    if table is None:
        pytest.skip("benchmarks/sweep.json is not there yet")
    best = best_rates(table)
    assert set(best) == {"oftv2", "qoft", "lora", "qlora"}
    made = settings()
    assert {name: made.method(name).training.learning_rate for name in best} == best
