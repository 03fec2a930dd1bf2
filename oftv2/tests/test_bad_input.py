"""Each refusal of the entry points: one sentence on stderr, exit code 2, and nothing changed on disk."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import preloaded
import pytest
import torch

PAPER = Path(__file__).parents[1]

REFUSALS = {
    "a learning rate that is no number": (["training.learning_rate=nan"], "learning_rate must be a finite number"),
    "a learning rate of zero": (["training.learning_rate=0"], "learning_rate must be a finite number above 0"),
    "no steps": (["training.steps=0"], "steps must be a whole number of at least 1"),
    "steps and epochs": (
        ["training.steps=3", "training.epochs=2"],
        "exactly one of training.steps and training.epochs",
    ),
    "an unknown method": (["method=lola"], "lola"),
    "an unknown task": (["task=chess"], "chess"),
    "an unknown setting": (["training.momentum=0.9"], "momentum"),
    "a broken override": (["training.steps"], "training.steps"),
    "a block size of one": (
        ["method=oftv2", "method.oft.block_size=1"],
        "block_size must be a whole number of at least 2",
    ),
    "an unknown parameterization": (["parameterization=euler"], "euler"),
    "a task's own option": (["task.options.train=0"], "train must be a whole number"),
    "another kind of model": (["task=xsum"], "needs a seq2seq model"),
    "a full disk": (["launch.free_disk_gb=1e9"], "GiB free"),
    "sharding without a launcher": (["launch=fsdp", "launch.device=cpu"], "accelerate launch"),
    "a model that is not there": (["model.path=/nowhere/model.gguf"], "no file /nowhere/model.gguf"),
    "AWQ without such a variant": (["quant=awq"], "awq_path"),
}


def call(script: str, *overrides: str, cwd: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, str(PAPER / script), *overrides]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)


def check_refused(
    done: subprocess.CompletedProcess | preloaded.Ended, part: str, folder: Path, before: list[Path]
) -> None:
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and part in lines[0], done.stderr
    assert sorted(folder.rglob("*")) == before


def in_this_process(overrides: list[str], capsys) -> tuple[int, str]:
    """The entry point as the script runs it, without the price of starting Python."""
    sys.path.insert(0, str(PAPER))
    try:
        import train
        from hydra.core.global_hydra import GlobalHydra

        from oftv2.entry import run
    finally:
        sys.path.remove(str(PAPER))
    GlobalHydra.instance().clear()
    before = sys.argv
    sys.argv = ["train.py", *overrides]
    try:
        run(train.train, "train", PAPER / "conf")
    except SystemExit as ended:
        return int(ended.code or 0), capsys.readouterr().err
    finally:
        sys.argv = before
        GlobalHydra.instance().clear()
    return 0, capsys.readouterr().err


@pytest.mark.parametrize("what", REFUSALS)
def test_refused_with_a_sentence(what, tmp_path, capsys, monkeypatch):
    overrides, part = REFUSALS[what]
    monkeypatch.chdir(tmp_path)
    code, text = in_this_process([f"output_dir={tmp_path / 'out'}", *overrides], capsys)
    assert code == 2, text
    assert len(text.strip().splitlines()) == 1 and part in text, text
    assert list(tmp_path.rglob("*")) == []


def test_a_full_gpu_is_explained_with_the_need_and_two_remedies(monkeypatch):
    from oftv2.config import OFTConfig
    from oftv2.errors import OFTError
    from oftv2.loop import explained_memory
    from oftv2.settings import MethodSettings, ModelSettings, TrainingSettings
    from oftv2.trainee import make_trainee

    recipe = TrainingSettings(learning_rate=1e-3, batch_size=4, steps=1)
    layer = torch.nn.ModuleDict({"proj": torch.nn.Linear(32, 32)})
    trainee = make_trainee(
        MethodSettings("oftv2", recipe, oft=OFTConfig(block_size=8)), layer, ModelSettings("m", "m"), 0
    )
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (0, 80 * 2**30))
    with pytest.raises(OFTError) as refused, explained_memory(trainee, recipe):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")
    text = str(refused.value)
    assert "80 GiB" in text and "GiB with training.batch_size=4" in text
    assert "training.gradient_checkpointing=true" in text and "smaller training.batch_size" in text


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_refused(tmp_path, capsys):
    code, text = in_this_process(["launch=single_gpu", f"output_dir={tmp_path / 'out'}"], capsys)
    assert code == 2 and "GPU" in text and len(text.strip().splitlines()) == 1, text
    assert list(tmp_path.rglob("*")) == []


def test_a_place_that_is_no_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("kept")
    done = call("train.py", f"output_dir={tmp_path / 'file' / 'out'}", cwd=tmp_path)
    check_refused(done, "cannot be written", tmp_path, [tmp_path / "file"])
    assert (tmp_path / "file").read_text() == "kept"


def test_evaluation_before_training_is_refused(tmp_path):
    done = preloaded.call("eval.py", f"output_dir={tmp_path / 'out'}", cwd=tmp_path, said=tmp_path.parent / "refused")
    check_refused(done, "no finished training", tmp_path, [])
