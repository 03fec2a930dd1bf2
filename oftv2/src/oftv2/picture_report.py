"""The report on DreamBooth: cost beside Table 12 of the paper, the training loss, and the samples to look at.

The paper scores no pictures, and neither does this: resemblance to a subject is left to the eye.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .checkpoint import write_json
from .experiment import SAMPLES, parts_of, trained_part, trainings
from .figures import NAMES, median_seconds
from .formats.files import write_files
from .parts import Part, environment
from .report import markdown
from .settings import Settings, plain

TABLE_12 = {  # GB, Stable Diffusion 3.5
    "sd35_medium": {"lora": 38.00, "oftv2": 38.02, "qlora": 35.03, "qoft": 35.02},
    "sd35_large": {"lora": 52.33, "oftv2": 52.32, "qlora": 41.60, "qoft": 41.53},
}
NOTES = (
    "Peak: GB of 10⁹ bytes, {measured}. The text encoders are freed before training and, on a GPU, the VAE is moved "
    "off it, as all that they compute is computed before; the paper does not say what its figures hold, so compare "
    "methods with one another within a column. Kept: what autograd holds for backward after a forward of the first "
    "batch. Loss: mean over the first and the last tenth of the steps; noise and times are drawn anew in each, so "
    "single losses scatter widely. Pictures are not scored."
)


def write_picture_report(settings: Settings) -> tuple[Path, list[dict[str, Any]]]:
    """Write metrics.json and report.md from finished trainings. Returns the report's path and its table.

    Raises:
        OFTError: a training of these settings is missing.
    """
    parts = parts_of(settings)
    found = {method.label: trained_part(settings, method, parts) for method in trainings(settings)}
    rows = [picture_row(label, part, TABLE_12.get(settings.model.name, {})) for label, part in found.items()]
    metrics = {
        "settings": plain(settings),
        "seed": settings.seed,
        "environment": environment(),
        "methods": rows,
        "parts": {label: {"train": asdict(part)} for label, part in found.items()},
    }
    write_json(settings.output_dir / "metrics.json", metrics)
    text = "\n\n".join(sections(settings, found, rows)) + "\n"
    write_files(settings.output_dir, {"report.md": text.encode()})
    return settings.output_dir / "report.md", rows


def picture_row(label: str, part: Part, paper: Mapping[str, float]) -> dict[str, Any]:
    training = part.result
    losses = [row["loss"] for row in training["rows"]]
    tenth = max(1, len(losses) // 10)
    return {
        "method": NAMES.get(label, label),
        "trained": training["parameters"],
        "learning rate": training["learning_rate"],
        "steps": training["step"],
        "loss, first": sum(losses[:tenth]) / tenth,
        "loss, last": sum(losses[-tenth:]) / tenth,
        "s/step": median_seconds(training),
        "kept MiB": training["saved_bytes"] / 2**20 if training["saved_bytes"] else None,
        "peak GB": training["peak_memory"] / 1e9,
        "paper, GB": paper.get(label),
    }


def sections(settings: Settings, found: Mapping[str, Part], rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The paragraphs of the report."""
    made = next(iter(found.values())).environment
    options = settings.task.options
    measured = "allocated on the GPU in training" if made["gpu"] else "resident in the training process, not on a GPU"
    return [
        f"# DreamBooth with {settings.model.name}: OFTv2 and QOFT",
        (
            f"Model `{settings.model.path}` in {settings.model.dtype}, subject {options.get('subject', 'dog')}, "
            f"{options.get('resolution', 512)} pixels a side, seed {settings.seed}. Machine: "
            f"{made['gpu'] or made['processor']}; Python {made['python']}, torch {made['versions']['torch']}."
        ),
        markdown(rows),
        NOTES.format(measured=measured),
        *(pictures(settings.output_dir, label) for label in found),
    ]


def pictures(output_dir: Path, label: str) -> str:
    """The samples of one method under its name, as Markdown images."""
    folder = output_dir / "parts" / label / SAMPLES
    shown = [f"![{path.stem}]({path.relative_to(output_dir)})" for path in sorted(folder.glob("*.png"))]
    return f"## {NAMES.get(label, label)}\n\n" + (" ".join(shown) or "There are no samples of this training.")
