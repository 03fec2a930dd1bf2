"""A training that was stopped, killed or refused goes on bit for bit."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from runs import METHODS, run

from poet import PoetError
from poet.checkpoint import checkpoints

HERE = Path(__file__).parent


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "poet_slow"])
@pytest.mark.parametrize("stop", [4, 6])  # just merged, and within an interval
def test_stopped_and_resumed_is_the_uninterrupted_run_bit_for_bit(tmp_path, name, stop):
    whole, model, cosines = run(name, tmp_path / "whole")
    run(name, tmp_path / "parts", stop_after=stop)
    again, resumed, resumed_cosines = run(name, tmp_path / "parts")
    assert again.losses == whole.losses and again.starts == 2 and whole.starts == 1
    assert same(model, resumed) and cosines == resumed_cosines
    if name.startswith("poet"):
        assert [m["step"] for m in again.merges] == [4, 8]


def test_killed_at_random_steps_and_resumed_ends_in_the_same_losses(tmp_path):
    steps = 40
    expected, _, _ = run("poet_bs", tmp_path / "whole", steps=steps, save_seconds=1e9)
    command = [sys.executable, str(HERE / "runs.py"), str(tmp_path / "killed"), str(steps)]
    for kill_at in sorted(random.Random(0).sample(range(2, steps - 2), 2)):
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip().isdigit() and int(line) >= kill_at:
                child.send_signal(signal.SIGKILL)
                break
        child.wait()
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "killed" / "losses.json").read_text()) == expected.losses
    assert len(checkpoints(tmp_path / "killed")) == 1


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(tmp_path, monkeypatch):
    run("poet_bs", tmp_path, stop_after=4)
    before = checkpoints(tmp_path)

    class Killed(BaseException):
        pass

    def write(*args, **kwargs):
        raise Killed

    monkeypatch.setattr("poet.checkpoint.save_file", write)
    with pytest.raises(Killed):
        run("poet_bs", tmp_path)
    monkeypatch.undo()
    assert checkpoints(tmp_path) == before
    whole, model, _ = run("poet_bs", tmp_path / "whole")
    again, resumed, _ = run("poet_bs", tmp_path)
    assert again.losses == whole.losses and same(model, resumed)


def test_a_full_disk_is_a_sentence_and_the_checkpoint_before_stays(tmp_path, monkeypatch):
    run("poet_bs", tmp_path, stop_after=4)

    def write(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("poet.checkpoint.save_file", write)
    with pytest.raises(PoetError, match="cannot write .*: the disk is full; what was saved before is intact"):
        run("poet_bs", tmp_path)
    assert [p.name for p in checkpoints(tmp_path)] == ["checkpoint-000004"]


def test_a_loss_that_is_not_finite_stops_with_the_layer_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    run("poet_bs", tmp_path, stop_after=5)
    monkeypatch.setattr("poet.training.summed_loss", lambda model, batch: model.lm_head.weight.sum() * float("nan"))
    with pytest.raises(
        PoetError, match="the loss of step 6 is nan; the largest rotation is in model.layers.*checkpoint-000005"
    ):
        run("poet_bs", tmp_path)
    monkeypatch.undo()
    whole, model, _ = run("poet_bs", tmp_path / "whole")
    again, resumed, _ = run("poet_bs", tmp_path)
    assert again.losses == whole.losses and same(model, resumed)


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path):
    def interrupt(step, steps, values):
        if step == 5:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run("poet_bs", tmp_path, save_seconds=1e9, progress=interrupt)
    assert [p.name for p in checkpoints(tmp_path)] == ["checkpoint-000005"]
    whole, model, _ = run("poet_bs", tmp_path / "whole")
    again, resumed, _ = run("poet_bs", tmp_path)
    assert again.losses == whole.losses and same(model, resumed)


def test_a_checkpoint_of_other_settings_lists_what_differs(tmp_path):
    run("poet_bs", tmp_path, stop_after=2)
    with pytest.raises(PoetError, match=r"other settings, method \('poet_bs' there, 'muon' here\): resume=false"):
        run("muon", tmp_path)


def test_patterns_of_another_seed_are_refused(tmp_path, monkeypatch):
    run("poet_bs", tmp_path, stop_after=2)
    monkeypatch.setattr("poet.linear.draw_index", lambda seed, layer, side, at, d, count: torch.randperm(d)[:count])
    with pytest.raises(PoetError, match="was saved with another pattern in interval 0 than seed 0 draws"):
        run("poet_bs", tmp_path)
