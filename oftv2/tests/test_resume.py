"""A training that is killed goes on to the same tensors, bit for bit; a full disk or a NaN loses nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import preloaded
import pytest
import torch
from safetensors.torch import load_file
from tiny_model import write_tiny_model

from oftv2 import checkpoint
from oftv2.config import OFTConfig
from oftv2.errors import OFTError
from oftv2.loop import train
from oftv2.settings import MethodSettings, ModelSettings, TrainingSettings
from oftv2.tasks.answer_loss import answer_loss
from oftv2.trainee import Trainee, make_trainee

STEPS = 6
torch.set_num_threads(1)  # bit for bit means with the same number of threads


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("model"))


def trainee_of(folder: Path, name: str = "oftv2", **training) -> tuple[Trainee, MethodSettings]:
    from transformers import AutoModelForCausalLM

    recipe = TrainingSettings(learning_rate=5e-3, batch_size=2, accumulation=2, steps=STEPS, save_every=2, **training)
    rotating = OFTConfig(block_size=8) if name == "oftv2" else None
    method = MethodSettings(name, recipe, oft=rotating, options={} if rotating else {"r": 4, "lora_dropout": 0.1})
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return make_trainee(method, model, ModelSettings("tiny", str(folder)), seed=0), method


def batches(step: int):
    from oftv2.tasks.batching import Batch

    draw = torch.Generator().manual_seed(step)
    made = [torch.randint(5, 200, (2, 12), generator=draw) for _ in range(2)]
    return [Batch(ids, torch.ones_like(ids), ids) for ids in made]


def run(trainee: Trainee, method: MethodSettings, where: Path, loss=answer_loss, **options):
    return train(trainee, batches, loss, method.training, STEPS, where, fingerprint="same", **options)


def tensors_of(trainee: Trainee) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in trainee.named_parameters().items()}


@pytest.mark.parametrize("name", ["oftv2", "lora"])
def test_stopping_anywhere_and_resuming_gives_the_same_tensors(folder, tmp_path, name):
    whole, method = trainee_of(folder, name)
    record = run(whole, method, tmp_path / "whole")
    assert record.step == STEPS and len(record.rows) == STEPS
    for stop in (2, 3, 5):
        first, method = trainee_of(folder, name, stop_after=stop)
        run(first, method, tmp_path / f"{stop}")
        torch.manual_seed(1234)  # another process has another random state
        second, method = trainee_of(folder, name)
        resumed = run(second, method, tmp_path / f"{stop}")
        assert resumed.starts == 2 and [r["loss"] for r in resumed.rows] == [r["loss"] for r in record.rows]
        for key, value in tensors_of(whole).items():
            assert torch.equal(value, tensors_of(second)[key]), (stop, key)


def test_a_checkpoint_of_other_settings_is_refused_and_kept(folder, tmp_path):
    first, method = trainee_of(folder, stop_after=2)
    run(first, method, tmp_path)
    second, method = trainee_of(folder)
    with pytest.raises(OFTError, match="other settings"):
        train(second, batches, answer_loss, method.training, STEPS, tmp_path, fingerprint="another")
    assert [p.name for p in checkpoint.checkpoints(tmp_path)] == ["checkpoint-000002"]


def test_a_write_that_dies_leaves_the_checkpoint_before(folder, tmp_path, monkeypatch):
    """The process dies between writing tensors and renaming: what is half there is not taken for a checkpoint."""
    first, method = trainee_of(folder, stop_after=4)
    whole, same = trainee_of(folder)
    run(whole, same, tmp_path / "whole")
    rename = Path.rename

    def dies(self: Path, target: Path) -> Path:
        if Path(target).name == "checkpoint-000004":
            raise SystemExit("killed here")
        return rename(self, target)

    with monkeypatch.context() as patched, pytest.raises(SystemExit):
        patched.setattr(Path, "rename", dies)
        run(first, method, tmp_path / "cut")
    assert [p.name for p in checkpoint.checkpoints(tmp_path / "cut")] == ["checkpoint-000002"]
    second, same = trainee_of(folder)
    run(second, same, tmp_path / "cut")
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_a_full_disk_is_said_and_leaves_the_checkpoint_before(folder, tmp_path, monkeypatch):
    trainee, method = trainee_of(folder)
    write = checkpoint.save_file

    def full(tensors, path):
        if "000004" in str(path):
            raise OSError(28, "No space left on device")
        write(tensors, path)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OFTError, match="disk is full"):
        run(trainee, method, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-000002"]


def test_a_loss_that_is_not_finite_names_the_module_and_saves_the_state_before(folder, tmp_path):
    trainee, method = trainee_of(folder)
    broken = trainee.model.model.layers[1].mlp.up_proj.base_layer

    def loss(model, batch):
        if loss.calls == 6:  # two forwards a step: the fourth step
            broken.weight.data[0, 0] = float("inf")
        loss.calls += 1
        return answer_loss(model, batch)

    loss.calls = 0
    with pytest.raises(OFTError, match=r"step 4 .*model\.layers\.1\.mlp\.up_proj"):
        run(trainee, method, tmp_path, loss)
    assert [p.name for p in checkpoint.checkpoints(tmp_path)] == ["checkpoint-000003"]


def test_ctrl_c_saves_the_finished_step(folder, tmp_path):
    trainee, method = trainee_of(folder)

    def interrupt(done: int, total: int, row: dict) -> None:
        if done == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(trainee, method, tmp_path, progress=interrupt)
    step = int(checkpoint.checkpoints(tmp_path)[-1].name.split("-")[1])
    assert step in (3, 4)  # the signal may be seen one step later
    whole, same = trainee_of(folder)
    run(whole, same, tmp_path / "whole")
    second, same = trainee_of(folder)
    run(second, same, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), second.parameters(), strict=True))


def test_sigkill_in_training_then_resume_is_bit_identical(folder, tmp_path):
    """The script itself is killed with signal 9 as soon as a checkpoint is there."""

    def command(out: str) -> list[str]:
        overrides = ["method=oftv2", f"model.path={folder}", "training.steps=40", "training.batch_size=2"]
        overrides += ["training.save_every=1", "training.probe_every=1000", f"output_dir={tmp_path / out}"]
        return ["train.py", *overrides]

    killed = preloaded.start(*command("killed"), cwd=tmp_path, said=tmp_path / "first")
    states = tmp_path / "killed" / "parts" / "oftv2"
    deadline = time.monotonic() + 300
    while not list(states.glob("training-*/checkpoint-0000[0-2][1-9]")):
        assert killed.poll() is None and time.monotonic() < deadline, "the training ended before it could be killed"
        time.sleep(0.002)
    killed.kill()
    assert killed.wait().returncode == -signal.SIGKILL
    assert not (states / "train.json").exists()
    for out in ("killed", "whole"):
        done = preloaded.call(*command(out), cwd=tmp_path, said=tmp_path / f"{out}-said")
        assert done.returncode == 0, done.stderr
    parts = [json.loads((tmp_path / out / "parts" / "oftv2" / "train.json").read_text()) for out in ("killed", "whole")]
    assert [part["result"]["starts"] for part in parts] == [2, 1]
    adapters = [
        load_file(tmp_path / out / "parts" / "oftv2" / "adapter" / "adapter_model.safetensors")
        for out in ("killed", "whole")
    ]
    assert adapters[0].keys() == adapters[1].keys()
    assert all(torch.equal(adapters[0][k], adapters[1][k]) for k in adapters[0])
    again = preloaded.call(*command("killed"), cwd=tmp_path, said=tmp_path / "again")
    assert "oftv2/train: reused" in again.stdout
