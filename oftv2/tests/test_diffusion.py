"""DreamBooth on a tiny Stable Diffusion 3: training, resuming, saving, samples and report, for OFT and LoRA."""

from __future__ import annotations

import copy
import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

pytest.importorskip("diffusers", reason="needs the extra diffusion")
from PIL import Image
from tiny_diffusion import RESOLUTION, write_tiny_diffusion

from oftv2.config import OFTConfig
from oftv2.diffusion import TEXT_ENCODERS, PictureWorkload, load_pipeline
from oftv2.dry_run import dry_run
from oftv2.errors import OFTError
from oftv2.experiment import train_all
from oftv2.inject import inject
from oftv2.loop import train
from oftv2.quant import dequantise, is_quantised
from oftv2.report import write_report
from oftv2.settings import MethodSettings, ModelSettings, Settings, TaskSettings, TrainingSettings
from oftv2.tasks.dreambooth import TARGET_MODULES, DreamBooth
from oftv2.trainee import Trainee, make_trainee

CONF = Path(__file__).parents[1] / "conf"
CPU = torch.device("cpu")
RATES = {"oftv2": 2e-2, "qoft": 2e-2, "lora": 5e-2, "qlora": 5e-2}
torch.set_num_threads(1)  # bit for bit means with the same number of threads


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_tiny_diffusion(tmp_path_factory.mktemp("tiny-sd3"))


@pytest.fixture(autouse=True)
def pictures(monkeypatch):
    made = [Image.linear_gradient("L").convert("RGB").rotate(90 * turn) for turn in range(4)]
    monkeypatch.setattr(DreamBooth, "pictures", lambda self: made)


def model_of(folder: Path) -> ModelSettings:
    return ModelSettings("tiny", str(folder), kind="diffusion", target_modules=TARGET_MODULES)


def task_of(**options) -> TaskSettings:
    return TaskSettings("dreambooth", "diffusion", {"resolution": RESOLUTION, "samples": 1, **options})


def method_of(name: str, **training) -> MethodSettings:
    recipe = TrainingSettings(
        **{"learning_rate": RATES[name], "batch_size": 2, "steps": 8, "save_every": 2, **training}
    )
    rotating = OFTConfig(block_size=8, target_modules=TARGET_MODULES) if name in ("oftv2", "qoft") else None
    quant = "nf4" if name in ("qoft", "qlora") else "none"
    return MethodSettings(name, recipe, quant, rotating, {} if rotating else {"r": 4, "lora_dropout": 0.1})


@cache
def loaded(folder: Path, quant: str) -> tuple[torch.nn.Module, PictureWorkload]:
    transformer, pipeline = load_pipeline(model_of(folder), quant, CPU)
    return transformer, PictureWorkload.of(task_of(), pipeline, seed=0)


def base(folder: Path, quant: str = "none") -> tuple[torch.nn.Module, PictureWorkload]:
    """A copy of the transformer, with the pictures and sentences encoded."""
    transformer, work = loaded(folder, quant)
    return copy.deepcopy(transformer), work


def ready(folder: Path, method: MethodSettings) -> tuple[Trainee, PictureWorkload]:
    transformer, work = base(folder, method.quant)
    return make_trainee(method, transformer, model_of(folder), seed=0), work


def run(trainee: Trainee, work: PictureWorkload, method: MethodSettings, directory: Path, **options):
    batches = work.batches(method.training)
    return train(
        trainee, batches, work.loss, method.training, method.training.steps, directory, fingerprint="f", **options
    )


def same_draws(trainee: Trainee, work: PictureWorkload, method: MethodSettings) -> float:
    """The loss over the noise and times of a whole training, so that two states can be compared."""
    batches = work.batches(method.training)
    trainee.model.eval()
    with torch.no_grad():
        return sum(float(work.loss(trainee.model, batch)[0]) for step in range(8) for batch in batches(step))


def velocity(transformer, work: PictureWorkload) -> torch.Tensor:
    known = work.sentences[work.subject.prompt]
    with torch.no_grad():
        return transformer(
            hidden_states=torch.stack([work.encoded[i][0] for i in (0, 1)]).to(known.text.dtype),
            timestep=torch.tensor([500.0, 250.0]),
            encoder_hidden_states=known.text.expand(2, -1, -1),
            pooled_projections=known.pooled.expand(2, -1),
            return_dict=False,
        )[0]


@pytest.mark.parametrize("quant", ["none", "nf4"])
def test_a_fresh_adapter_changes_no_bit(folder, quant):
    transformer, work = base(folder, quant)
    before = velocity(transformer, work)
    handle = inject(transformer, OFTConfig(block_size=8, target_modules=TARGET_MODULES))
    # two blocks of eight projections; the last one does not put its text stream out
    assert len(handle.layers()) == 15
    assert all(is_quantised(layer.base_layer) == (quant == "nf4") for layer in handle.layers().values())
    assert torch.equal(velocity(transformer, work), before)


def test_in_bfloat16_a_fresh_adapter_is_the_base_over_contiguous_inputs(folder):
    """torch rounds a biased linear layer otherwise where its input is a slice, as those of the two to_out are."""
    transformer, pipeline = load_pipeline(replace(model_of(folder), dtype="bfloat16"), "none", CPU)
    work = PictureWorkload.of(task_of(), pipeline, seed=0)
    plain = copy.deepcopy(transformer)
    handle = inject(transformer, OFTConfig(block_size=8, target_modules=TARGET_MODULES))
    for path in handle.layers():
        plain.get_submodule(path).register_forward_pre_hook(lambda layer, inputs: (inputs[0].contiguous(),))
    assert torch.equal(velocity(transformer, work), velocity(plain, work))


@pytest.mark.parametrize("name", RATES)
def test_training_lowers_the_loss_and_the_adapter_reloads(folder, tmp_path, name):
    method = method_of(name)
    trainee, work = ready(folder, method)
    assert all(getattr(work.pipeline, encoder) is None for encoder in TEXT_ENCODERS)
    if name == "qlora":  # not PEFT's layer for weights that are not quantised
        assert type(trainee.model.transformer_blocks[0].attn.to_q).__module__ == "peft.tuners.lora.bnb"
    before = same_draws(trainee, work, method)
    record = run(trainee, work, method, tmp_path / "states")
    assert record.step == 8 and record.peak_memory > 0 and not record.probes
    assert same_draws(trainee, work, method) < before
    trainee.save(tmp_path)
    again, _ = ready(folder, method)
    fresh = velocity(again.model, work)
    again.load(tmp_path)
    trained = velocity(trainee.model.eval(), work)
    assert torch.equal(velocity(again.model.eval(), work), trained)
    assert not torch.equal(trained, fresh)


@pytest.mark.parametrize("name", ["oftv2", "lora"])
def test_peft_opens_the_saved_adapter(folder, tmp_path, name):
    peft = pytest.importorskip("peft")
    method = method_of(name, steps=2)
    trainee, work = ready(folder, method)
    run(trainee, work, method, tmp_path / "states")
    trainee.save(tmp_path)
    transformer, _ = base(folder)
    wrapped = peft.PeftModel.from_pretrained(transformer, tmp_path).eval()
    ours = velocity(trainee.model.eval(), work)
    torch.testing.assert_close(velocity(wrapped, work), ours, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["oftv2", "lora"])
def test_resuming_gives_the_same_tensors(folder, tmp_path, name):
    method = method_of(name, steps=4, accumulation=2)
    whole, work = ready(folder, method)
    run(whole, work, method, tmp_path / "whole")

    def stop(done: int, total: int, row: dict) -> None:
        if done == 3:
            raise RuntimeError("killed")

    first, work = ready(folder, method)
    with pytest.raises(RuntimeError):
        run(first, work, method, tmp_path / "states", progress=stop)
    second, work = ready(folder, method)
    torch.manual_seed(99)
    record = run(second, work, method, tmp_path / "states")
    assert record.starts == 2 and record.step == 4
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_draws_depend_on_seed_step_and_rank_and_share_the_pictures_out(folder):
    _, work = ready(folder, method_of("oftv2"))
    recipe = method_of("oftv2").training
    ranks = [work.batches(recipe, rank, 2) for rank in range(2)]
    assert ranks[0](3) == work.batches(recipe, 0, 2)(3)
    drawn = [batch for step in range(4) for of_step in ranks for batch in of_step(step)]
    assert len({batch.seed for batch in drawn}) == len(drawn)
    for step in range(4):  # two processes with two pictures each: one pass over the four
        assert sorted(p for of_step in ranks for batch in of_step(step) for p in batch.pictures) == [0, 1, 2, 3]
    one = PictureWorkload(work.subject, work.pipeline, work.encoded, work.sentences, seed=1)
    assert one.batches(recipe)(0) != work.batches(recipe)(0)


def test_gradient_checkpointing_changes_no_gradient(folder, tmp_path):
    found = []
    for checkpointed in (False, True):
        method = method_of("oftv2", steps=2, gradient_checkpointing=checkpointed)
        trainee, work = ready(folder, method)
        run(trainee, work, method, tmp_path / str(checkpointed))
        assert trainee.model.is_gradient_checkpointing == checkpointed
        found.append(trainee.parameters())
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_every_linear_layer_is_stored_in_nf4_near_its_weight(folder):
    (plain, _), (stored, _) = base(folder), base(folder, "nf4")
    layers = {path: m for path, m in plain.named_modules() if isinstance(m, torch.nn.Linear)}
    for path, layer in layers.items():
        four = stored.get_submodule(path)
        assert is_quantised(four) and (four.bias is None) == (layer.bias is None)
        gap = dequantise(four) - layer.weight.detach()
        assert 0 < float(gap.norm() / layer.weight.detach().norm()) < 0.15


def settings_of(folder: Path, output: Path, *overrides: str) -> Settings:
    common = [
        "scale=paper",
        "task=dreambooth",
        "model=sd35_medium",
        f"model.path={folder}",
        "launch=cpu",
        f"output_dir={output}",
        f"task.options.resolution={RESOLUTION}",
        "training.steps=2",
    ]
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose("train", overrides=[*common, *overrides])
    return Settings.from_mapping(OmegaConf.to_container(config, resolve=True))  # type: ignore[arg-type]


def test_the_command_in_bfloat16_trains_draws_samples_and_reports_them(folder, tmp_path):
    settings = settings_of(folder, tmp_path, "method=oftv2", "method.oft.block_size=8", "task.options.samples=2")
    (row,) = train_all(settings)
    assert row["steps"] == 2 and row["peak MiB"] > 0
    part = tmp_path / "parts" / "oftv2"
    assert (part / "adapter" / "adapter_model.safetensors").is_file()
    samples = sorted((part / "samples").iterdir())
    assert [path.name for path in samples] == ["0-a-photo-of-sks-dog.png", "1-a-photo-of-sks-dog-in-the-snow.png"]
    assert all(Image.open(path).size == (RESOLUTION, RESOLUTION) for path in samples)
    # other samples are not another training
    (again,) = train_all(settings_of(folder, tmp_path, "method=oftv2", "method.oft.block_size=8"))
    assert again[""] == "reused"
    path, (reported,) = write_report(settings)
    assert reported["paper, GB"] == 38.02 and reported["peak GB"] > 0
    text = path.read_text()
    assert "parts/oftv2/samples/0-a-photo-of-sks-dog.png" in text and "38.02" in text and "not scored" in text
    losses = [row["loss"] for row in json.loads((part / "train.json").read_text())["result"]["rows"]]
    assert [reported["loss, first"], reported["loss, last"]] == losses


# eight projections a block, of which the last block lacks the one behind its text stream
@pytest.mark.parametrize(
    ("model", "method", "layers"), [("sd35_medium", "lora", 24 * 8 - 1), ("sd35_large", "oftv2", 38 * 8 - 1)]
)
def test_dry_run_counts_the_adapted_layers(model, method, layers, tmp_path):
    (row,) = dry_run(settings_of(tmp_path, tmp_path, f"model={model}", f"method={method}"))
    assert row["layers"] == layers


def test_samples_follow_the_adapter(folder, tmp_path):
    transformer, pipeline = load_pipeline(model_of(folder), "none", CPU)
    work = PictureWorkload.of(task_of(), pipeline, seed=0)
    trainee = make_trainee(method_of("oftv2"), transformer, model_of(folder), seed=0)
    drawn = []
    for entry in (0.0, 0.1, 0.1):
        with torch.no_grad():
            for parameter in trainee.parameters():
                parameter.fill_(entry)
        trainee.after_step()
        place = tmp_path / str(len(drawn))
        place.mkdir()
        work.write_samples(place)
        drawn.append((place / "0-a-photo-of-sks-dog.png").read_bytes())
    assert drawn[0] != drawn[1] and drawn[1] == drawn[2]


def test_refusals_are_sentences(folder, tmp_path, monkeypatch):
    _, pipeline = load_pipeline(model_of(folder), "none", CPU)
    with pytest.raises(OFTError, match="task.options has no setting 'subjects'"):
        PictureWorkload.of(task_of(subjects="dog"), pipeline, seed=0)
    with pytest.raises(OFTError, match="resolution must be a multiple of 4, not 18"):
        PictureWorkload.of(task_of(resolution=18), pipeline, seed=0)
    with pytest.raises(OFTError, match="task.options.samples must be a whole number of at least 0, not -1"):
        PictureWorkload.of(task_of(samples=-1), pipeline, seed=0)
    with pytest.raises(OFTError, match="no AWQ variants"):
        load_pipeline(model_of(folder), "awq", CPU)
    with pytest.raises(OFTError, match="cannot load .*folder in diffusers' layout"):
        load_pipeline(model_of(tmp_path), "none", CPU)
    with pytest.raises(OFTError, match="no finished training of these settings"):
        write_report(settings_of(folder, tmp_path, "method=lora"))
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(OFTError, match=r"install the extra diffusion \(tenfold-oftv2\[diffusion\]\)"):
        load_pipeline(model_of(folder), "none", CPU)
