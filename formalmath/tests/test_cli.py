"""The commands as users run them, and refusals in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from formalmath.cli import main
from formalmath.errors import FormalMathError
from formalmath.settings import Settings

ROOT = Path(__file__).parents[1]
SMALL = [
    "data.train=10",
    "data.count=8",
    "n=6",
    "judge.cap=2",
    "disprove.budget=0.05",
    "evaluation.reference_proofs=0",
    "evaluation.search_problems=3",
    "evaluation.expansions=3",
    "evaluation.recorded=false",
    "prover=menu_fitted",
    "evaluation.fitted_on=40",
]


def script(name, *arguments):
    return subprocess.run([sys.executable, name, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_train_and_eval_write_a_report_whose_numbers_have_an_authority(tmp_path):
    out = f"output_dir={tmp_path}"
    trained = script("train.py", out, *SMALL)
    assert trained.returncode == 0, trained.stderr
    assert "negation not proved" in trained.stdout
    scored = script("eval.py", out, *SMALL)
    assert scored.returncode == 0, scored.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    for name in ("funnel", "caught", "comparisons", "adversary", "paper"):
        assert metrics[name]["authority"]
    assert all(r["authority"] == "fragment" for r in (*metrics["provers"].values(), *metrics["search"].values()))
    assert metrics["adversary"]["accepted"] == 0
    report = (tmp_path / "report.md").read_text()
    assert "What is not Lean here" in report and "| claim of the abstract |" in report
    assert {"funnel.png", "passk.png", "domains.png"} <= {p.name for p in tmp_path.iterdir()}
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("argument", "part"),
    [
        ("lean=magic", "Could not"),
        ("data=lite data.path=/nonexistent", "cannot read"),
        ("n=0", "n must be a whole number"),
        ("output_dir=README.md/x", "cannot be written"),
    ],
)
def test_refusals_are_one_sentence(argument, part):
    done = script("eval.py", *argument.split())
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert part in done.stderr and "Traceback" not in done.stderr and lines[-1].startswith("eval: ")


def configuration(**changes):
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        return OmegaConf.to_container(
            compose("train", overrides=[f"{k}={v}" for k, v in changes.items()]), resolve=True
        )


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"disprove.style": "sideways"}, "disprove.style"),
        ({"early_stop": "soon"}, "early_stop"),
        ({"judge.rule": "loudest"}, "judge.rule"),
        ({"disprove.stop_after": 3}, "stop_after"),
        ({"data.count": 0}, "data.count"),
        ({"autoformalizer.rates.careful": 2}, "rates.careful"),
        ({"evaluation.tactics": 0}, "evaluation.tactics"),
        ({"+limits.colour": 1}, "limits has no setting"),
        ({"+colour": 1}, "no setting 'colour'"),
        ({"disprove.budget": -1}, "disprove.budget"),
    ],
)
def test_settings_are_checked(changes, part):
    with pytest.raises(FormalMathError, match=part):
        Settings.from_mapping(configuration(**changes))


@pytest.mark.parametrize(
    "groups",
    [
        {"data": d, **({"data.path": "x"} if d in ("minif2f", "proofnet", "putnam", "jsonl") else {})}
        for d in ("mini", "lite", "all", "minif2f", "proofnet", "putnam", "jsonl")
    ]
    + [{"lean": v} for v in ("fragment", "structural", "repl", "lean_interact", "kimina")]
    + [{"prover": v} for v in ("menus", "menu_uniform", "menu_smollm2", "menu_fitted", "recorded", "openai", "vllm")]
    + [{"prompt": v} for v in ("vanilla", "cot", "nl_cot", "kimina", "deepseek_v2", "chat")]
    + [{"autoformalizer": v} for v in ("synthetic", "recorded", "openai", "vllm")]
    + [{"judge": v} for v in ("smollm2", "recorded", "openai")]
    + [
        {"search": "best_first"},
        {"policy": "lenient"},
        {"policy": "paper"},
        {"shard": "ray"},
        {"scale": "paper"},
        {"lean": "replay", "lean.path": "x"},
    ],
    ids=lambda g: "-".join(map(str, g.values())),
)
def test_every_group_composes_to_settings(groups):
    assert Settings.from_mapping(configuration(**groups)).plain()


def test_small_commands(tmp_path, capsys):
    file = tmp_path / "s.lean"
    file.write_text("import Mathlib\n\ntheorem t (x : ℝ) : x / x = C := by sorry\n")
    assert main(["lint", str(file)]) in (0, 1) and "phantom-variable" in capsys.readouterr().out
    assert main(["negate", str(file)]) == 0 and "¬ (∀ (x : ℝ), (x / x = C))" in capsys.readouterr().out
    assert main(["negate", str(file), "--style", "vacuity"]) == 0 and "False" in capsys.readouterr().out
    file.write_text("theorem t (x : ℝ) : x / x = 1 := by")
    assert main(["refute", str(file)]) == 1 and "x = 0" in capsys.readouterr().out
    assert main(["paper"]) == 0 and "| Kimina-Prover-7B | 16.5 | 915 |" in capsys.readouterr().out
    assert main(["lean", "install", "--dry-run", "--home", str(tmp_path)]) == 0 and "10 GB" in capsys.readouterr().out
    assert main(["lean", "doctor", "--home", str(tmp_path)]) == 1 and "lean=fragment" in capsys.readouterr().out
    assert main(["prompts", "--out", str(tmp_path / "p.jsonl")]) == 0 and "80 prompts" in capsys.readouterr().out
    assert main(["audit", "jsonl"]) == 2 and "data.path" in capsys.readouterr().err
    assert main(["lint", str(tmp_path / "none")]) == 2 and "cannot read" in capsys.readouterr().err


def test_stats_of_lite_name_the_swapped_labels(data, capsys):
    assert main(["stats", "lite", "--path", str(data / "FormalMATH_lite.json")]) == 0
    assert "Discrete Mathematics and Other are swapped" in capsys.readouterr().out
