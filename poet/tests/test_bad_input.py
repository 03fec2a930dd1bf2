"""Every refusal is one sentence that says what, where, and what is allowed."""

from __future__ import annotations

import pytest
import torch
from models import TINY, linear, tiny_llama
from test_conf import composed

from poet import PoetConfig, PoetError, PoetLinear, PoetOptimizer, forecast_memory, wrap
from poet.corpus import MOST_OVERLAP, ShuffledWindows, load_corpus, standard_library, train_tokenizer
from poet.entry import check_place
from poet.initialization import normalized_rows
from poet.memory import OPTIMIZERS
from poet.methods import prepare_model
from poet.models import llama_config
from poet.settings import MethodSettings


@pytest.mark.parametrize(
    "settings, sentence",
    [
        ({"variant": "both"}, "variant must be one of block, full, not 'both'"),
        ({"block": 1}, "block must be a size of at least 2"),
        ({"block": -4}, "block must be a size of at least 2"),
        ({"block": 0.5}, "block=0.5 is a fraction, which variant=full takes"),
        (
            {"block": 1.5, "variant": "full"},
            "block as a fraction must be a finite number above 0 and at most 1, not 1.5",
        ),
        ({"block": (0, 0)}, "block=0 on both sides leaves nothing to train"),
        ({"block": (1, 2, 3)}, "block must be one size or a pair"),
        ({"merge_every": 0}, "merge_every must be a whole number of at least 1, not 0"),
        ({"terms": 0}, "terms must be a whole number of at least 1, not 0"),
        ({"terms": 99}, "terms must lie between 1 and 64, not 99"),
        ({"theta_max": 2.0}, "theta_max must be a finite number above 0 and at most 1, not 2.0"),
        ({"gain": float("nan")}, "gain must be a finite number above 0, not nan"),
        ({"init": "he"}, "init must be one of keep, standard, xavier"),
        ({"merge": "average"}, "merge must be one of polar, cayley, series"),
        ({"state_at_merge": "half"}, "state_at_merge must be one of reset, reset_moment, keep"),
        ({"plan": "fast"}, "plan must be one of auto, lie, weight, activation"),
        ({"recompute": 1}, "recompute must be true or false, not 1"),
    ],
)
def test_configurations(settings, sentence):
    with pytest.raises(PoetError, match=sentence):
        PoetConfig(**settings)


def test_an_unknown_setting_names_those_that_exist():
    with pytest.raises(PoetError, match="poet has no setting 'blocks': it has base, block, exclude"):
        PoetConfig.from_mapping({"blocks": 3})


def test_blocks_that_do_not_divide_name_the_layer_and_the_sizes_that_do():
    with pytest.raises(
        PoetError, match=r"block 64 does not divide the size 1376 of up \(1376×512\): block sizes 16, 32, 43, 86"
    ):
        PoetLinear(linear(1376, 512), PoetConfig(block=64), "up")
    with pytest.raises(PoetError, match="block 64 exceeds the size 16"):
        PoetLinear(linear(16, 64), PoetConfig(block=64), "k")
    with pytest.raises(PoetError, match="block 0.125 takes 1 of the 8 coordinates"):
        PoetLinear(linear(8, 8), PoetConfig(variant="full", block=1 / 8), "k")


@pytest.mark.parametrize("rate", [0.0, -1e-3, float("nan"), float("inf")])
def test_learning_rates(rate):
    model = tiny_llama()
    wrap(model, PoetConfig(block=8))
    with pytest.raises(PoetError, match="poet_lr must be a finite number above 0"):
        PoetOptimizer(model, poet_lr=rate)
    with pytest.raises(PoetError, match="base_lr must be a finite number above 0"):
        PoetOptimizer(model, base_lr=rate)
    with pytest.raises(PoetError, match="the learning rate of method m must be a finite number above 0"):
        MethodSettings("m", "adamw", lr=rate)


def test_skew_muon_needs_a_rate():
    model = tiny_llama()
    wrap(model, PoetConfig(block=8))
    with pytest.raises(PoetError, match="give poet_lr for skew_muon"):
        PoetOptimizer(model, q_optimizer="skew_muon")


def test_wrapping():
    model = tiny_llama()
    with pytest.raises(PoetError, match="no linear layer of the model matches targets"):
        wrap(model, PoetConfig(block=8, targets=("nothing",)))
    wrap(model, PoetConfig(block=8))
    with pytest.raises(PoetError, match="the model is wrapped already"):
        wrap(model, PoetConfig(block=8))
    tied = tiny_llama()
    tied.lm_head.weight = tied.model.embed_tokens.weight
    with pytest.raises(PoetError, match="lm_head shares its weight with model.embed_tokens and cannot be rotated"):
        wrap(tied, PoetConfig(block=2, exclude=()))
    with pytest.raises(PoetError, match="is in torch.float16: POET trains float32 or bfloat16 weights"):
        wrap(tiny_llama().half(), PoetConfig(block=8))


def test_a_refused_wrap_leaves_the_model_as_it_was():
    model = tiny_llama()
    model.model.layers[1].mlp.down_proj = torch.nn.Linear(33, 16, bias=False)
    with pytest.raises(PoetError, match="does not divide the size 33"):
        wrap(model, PoetConfig(block=8))
    assert not any(isinstance(m, PoetLinear) for m in model.modules())


def test_rows_of_zeros():
    with pytest.raises(PoetError, match="row 1 of the weight is zero and has no direction to normalise"):
        normalized_rows(torch.tensor([[1.0, 0], [0, 0]]))


def test_rotations_out_of_reach():
    layer = PoetLinear(linear(8, 8), PoetConfig(block=8, theta_max=None), "layer")
    with torch.no_grad():
        layer.Q[0].fill_(5)
    with pytest.raises(PoetError, match="lower poet_lr or merge_every, or set theta_max"):
        layer.merge()
    with torch.no_grad():
        layer.Q[0].fill_(float("nan"))
    with pytest.raises(PoetError, match="layer has a rotation that is not finite: go back to the last checkpoint"):
        layer.merge()


@pytest.mark.parametrize(
    "override, sentence",
    [
        ("training.steps=0", "training.steps must be a whole number of at least 1, not 0"),
        ("training.clip=0", "training.clip must be a finite number above 0, not 0"),
        ("training.length=1", "training.length must be a whole number of at least 2, not 1"),
        ("model.dtype=float16", "model.dtype=float16 has too small a range to train in: use bfloat16 or float32"),
        ("data.vocabulary=10", "data.vocabulary must be a whole number of at least 300, not 10"),
        ("seed=-1", "seed must be a whole number of at least 0, not -1"),
        ("launch.device=tpu", "launch.device must be one of cpu, cuda, not 'tpu'"),
        ("diagnostics=all", "diagnostics must be one of train, series, coverage, forecast, not 'all'"),
        ("method.members.poet_bs.poet.merge_every=0", "merge_every must be a whole number of at least 1, not 0"),
        ("+method.members.adamw.training={epochs: 1}", "method.training has no setting 'epochs'"),
        ("method.members.adamw.lr=null", "method adamw has no learning rate"),
    ],
)
def test_settings(override, sentence):
    with pytest.raises(PoetError, match=sentence):
        composed(override)


def test_places(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PoetError, match="cannot be written"):
        check_place(composed(f"output_dir={tmp_path / 'file' / 'results'}"))
    with pytest.raises(PoetError, match=r"GiB free, and launch.free_disk_gb asks for 1e\+09"):
        check_place(composed(f"output_dir={tmp_path}", "launch.free_disk_gb=1e9"))
    if not torch.cuda.is_available():
        with pytest.raises(PoetError, match="launch asks for a GPU and torch sees none"):
            check_place(composed("scale=paper", "launch.free_disk_gb=0"))
    with pytest.raises(PoetError, match="start with accelerate launch"):
        check_place(composed(f"output_dir={tmp_path}", "launch.strategy=shard"))


def test_models_and_methods():
    with pytest.raises(PoetError, match="the tokenizer has 60 tokens and the embedding of model tiny only 50 rows"):
        llama_config(TINY, 60)
    with pytest.raises(PoetError, match="model.heads=3 does not divide model.hidden=64"):
        llama_config(composed("model.heads=3").model)
    with pytest.raises(PoetError, match="method lora needs exactly one of the options rank and match_block"):
        prepare_model(tiny_llama(), MethodSettings("lora", "lora", lr=1e-3), 0)
    with pytest.raises(PoetError, match="a forecast of galore needs its rank"):
        forecast_memory(llama_config(TINY), optimizer="galore")
    with pytest.raises(PoetError, match=f"optimizer must be one of {', '.join(OPTIMIZERS)}"):
        forecast_memory(llama_config(TINY), optimizer="sgd")


def test_too_little_text(tmp_path, monkeypatch):
    (tmp_path / "a.py").write_text('"""' + "x" * 100 + '"""')
    monkeypatch.setattr("poet.corpus.sysconfig.get_paths", lambda: {"stdlib": str(tmp_path)})
    monkeypatch.setitem(__import__("sys").modules, "pydoc_data.topics", None)
    with pytest.raises(PoetError, match=r"only 100 bytes of documentation were found .* and 500,000 are needed"):
        dict(standard_library())
    with pytest.raises(PoetError, match="the training text makes 3 windows of 4 tokens, fewer than a batch of 8"):
        ShuffledWindows(torch.arange(12), 4, 8, 0)
    with pytest.raises(PoetError, match="data.vocabulary must be at least 300"):
        train_tokenizer(["text"], 10)


def test_splits_that_quote_each_other_are_refused(tmp_path):
    (tmp_path / "corpus.json").write_text('{"overlap": {"dev": 0.001, "validation": 0.53}}')
    with pytest.raises(
        PoetError, match=f"53.0% of the 16-token windows of the validation split .* at most {MOST_OVERLAP:.0%}"
    ):
        load_corpus(tmp_path)
