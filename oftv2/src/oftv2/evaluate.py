"""What eval.py measures on finished adapters; each measurement is one part, made once and reused."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .base_model import load_base
from .diagnostics import singular_drift, terms_ablation, to_rows
from .errors import OFTError
from .experiment import reopened, trained_part, training_key, trainings
from .parts import Part, Parts
from .quant import dequantise, quantise_like, requantise, survival_curve
from .settings import MethodSettings, Settings, fingerprint
from .tasks.answer_loss import mean_answer_loss
from .tasks.prose import prose_loss
from .trainee import OFTTrainee, Trainee
from .workload import Workload

SURVIVAL_SIZES = (0.001, 0.003, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)  # ‖ΔW‖/‖W‖ of the curve in figure 4


def evaluate_all(settings: Settings, parts: Parts) -> dict[str, dict[str, Part]]:
    """label -> name -> part, trainings included.

    Raises:
        OFTError: a training of these settings is missing, or the task has no score.
    """
    if settings.task.kind == "diffusion":
        raise OFTError(f"task {settings.task.name} has no score: train.py prints its time, memory and parameters")
    found: dict[str, dict[str, Part]] = {}
    for method in trainings(settings):
        found[method.label] = {"train": trained_part(settings, method, parts)}
    scored = [m for m in settings.methods if m.training.stop_after is None]
    found["base"] = {"score": base_score(settings, parts)}
    if any(method.quant == "nf4" for method in scored):
        found["base_nf4"] = {"losses": base_nf4_losses(settings, parts)}
    for method in scored:
        adapter = tensors_of(found[method.label]["train"])
        run = Measurement(settings, parts, method, fingerprint(training_key(settings, method), adapter))
        here = found[method.label]
        here["score"] = run.part("score", run.score)
        if method.name in ("oftv2", "qoft", "lora", "qlora"):
            here["geometry"] = run.part("geometry", run.geometry)
            if method.quant == "nf4":  # only there does merging round the update to four bits
                here["requantised"] = run.part("requantised", run.requantised)
        if method is next((m for m in scored if m.oft is not None), None):
            here["strengths"] = run.part("strengths", run.strengths)
            here["terms"] = run.part("terms", run.terms)
            if method.quant == "none":
                here["merged"] = run.part("merged", run.merged)
            found["base"]["survival"] = base_survival(settings, parts)
    return found


def base_score(settings: Settings, parts: Parts) -> Part:
    def measure(folder: Path) -> dict[str, Any]:
        model, tokenizer = load_base(settings.model, "none", settings.launch)
        return scores(settings, model, workload(settings, tokenizer))

    return parts.make("base", "score", base_key(settings, "score"), measure)


def base_nf4_losses(settings: Settings, parts: Parts) -> Part:
    """What quantising alone does to the losses."""

    def measure(folder: Path) -> dict[str, Any]:
        model, tokenizer = load_base(settings.model, "nf4", settings.launch)
        work = workload(settings, tokenizer)
        loss = mean_answer_loss(model, work.held_out("dev", settings.evaluation.probe_problems))
        return {"answer_loss": loss, "prose_loss": prose_loss(model, tokenizer)}

    return parts.make("base_nf4", "losses", base_key(settings, "losses"), measure)


def base_survival(settings: Settings, parts: Parts) -> Part:
    """How much of random updates survives NF4, on the weight in the middle of the base."""

    def measure(folder: Path) -> dict[str, Any]:
        model, _ = load_base(settings.model, "none", settings.launch)
        linear = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
        name, layer = linear[len(linear) // 2]
        return {"path": name, "rows": to_rows(survival_curve(layer.weight.detach().float(), SURVIVAL_SIZES))}

    return parts.make("base", "survival", base_key(settings, "survival"), measure)


PROBE = ("probe_problems", "probe_tokens")
USED = {  # settings of the evaluation that a part depends on
    "score": ("problems", "max_new_tokens", "probe_problems"),
    "losses": ("probe_problems",),
    "survival": (),
    "geometry": ("geometry_layers",),
    "strengths": ("alphas", "strength_problems", "max_new_tokens", *PROBE),
    "terms": ("terms", *PROBE),
    "merged": (),
    "requantised": PROBE,
    "sweep": ("dev_problems", "max_new_tokens"),
}


class Measurement:
    """The measurements on one adapter."""

    def __init__(self, settings: Settings, parts: Parts, method: MethodSettings, key: str):
        self.settings = settings
        self.parts = parts
        self.method = method
        self.key = key
        self.folder = parts.folder(method.label)

    def part(self, name: str, measure: Callable[[], dict[str, Any]]) -> Part:
        key = fingerprint(self.key, base_key(self.settings, name))
        return self.parts.make(self.method.label, name, key, lambda folder: measure())

    @cached_property
    def opened(self) -> tuple[Trainee, Workload]:
        """The adapter on a fresh base; whoever changes it puts it back."""
        trainee, tokenizer = reopened(self.settings, self.method, self.folder)
        return trainee, workload(self.settings, tokenizer)

    def score(self) -> dict[str, Any]:
        """Greedy answers to the test problems with the adapter unmerged, and the losses."""
        trainee, work = self.opened
        return scores(self.settings, trainee.model, work)

    def geometry(self) -> dict[str, Any]:
        """Size of the update in every layer, and what it does to singular values in some."""
        trainee, _ = self.opened
        rows, energy = [], []
        layers = sum(hasattr(module, "base_layer") for module in trainee.model.modules())
        every = max(1, layers // self.settings.evaluation.geometry_layers)
        for index, (path, before, after) in enumerate(trainee.updates()):
            delta = after - before
            energy.append((float(delta.square().sum()), float(before.square().sum())))
            row: dict[str, Any] = {"path": path, "update_norm": float(delta.norm() / before.norm())}
            if index % every == 0:
                row["singular_drift"] = singular_drift(before, after)
            rows.append(row)
        total = sum(d for d, _ in energy) ** 0.5 / sum(b for _, b in energy) ** 0.5
        result: dict[str, Any] = {"rows": rows, "update_norm": total}
        drifts = [row["singular_drift"] for row in rows if "singular_drift" in row]
        result["singular_drift"] = max(drifts)
        if isinstance(trainee, OFTTrainee):
            report = trainee.handle.report()
            result["report"] = report
            result["theta_max"] = max(row["theta_max"] for row in report)
            result["orthogonality_error"] = max(row["orthogonality_error"] for row in report)
        return result

    def strengths(self) -> dict[str, Any]:
        """Rotations from α·Q: losses along the path, and the score at the α of the lowest dev loss."""
        trainee, work = self.opened
        assert isinstance(trainee, OFTTrainee)
        probe = work.probe(self.settings.evaluation)
        rows = []
        for alpha in sorted({0.0, 1.0, *self.settings.evaluation.alphas}):
            trainee.handle.scale(alpha=alpha)
            rows.append({"alpha": alpha, **probe(trainee.model)})
        best = min(rows, key=lambda row: row["answer_loss"])["alpha"]
        asked = None
        if best != 1:  # the score at 1 is measured elsewhere
            trainee.handle.scale(alpha=best)
            evaluation = self.settings.evaluation
            asked = work.asked(trainee.model, "test", evaluation.strength_problems, evaluation)
        trainee.handle.scale(alpha=1.0)
        return {"rows": rows, "best": best, "asked": asked}

    def terms(self) -> dict[str, Any]:
        """The trained Q read with other numbers of Neumann terms: orthogonality and losses."""
        trainee, work = self.opened
        assert isinstance(trainee, OFTTrainee) and self.method.oft is not None
        packed = trainee.handle.state().packed
        rows = to_rows(terms_ablation(packed, self.settings.evaluation.terms))
        probe = work.probe(self.settings.evaluation)
        slots = [layer.slots["default"] for layer in trainee.handle.layers().values()]
        before = [(slot.parameterization, slot.terms) for slot in slots]
        for row in rows:
            for slot in slots:
                slot.parameterization, slot.terms = "cayley_neumann", row["terms"]
            trainee.handle.bank.forget()
            row.update(probe(trainee.model))
        for slot, (parameterization, terms) in zip(slots, before, strict=True):
            slot.parameterization, slot.terms = parameterization, terms
        trainee.handle.bank.forget()
        return {"rows": rows, "trained_with": self.method.oft.terms}

    def merged(self) -> dict[str, Any]:
        """Folded into float32 weights and taken out again: how far outputs move."""
        trainee, work = self.opened
        assert isinstance(trainee, OFTTrainee)
        batch = work.held_out("dev", 4)[0]
        with torch.no_grad():
            before = logits(trainee.model, batch)
            trainee.handle.merge(into="float32")
            merged = logits(trainee.model, batch)
            trainee.handle.unmerge()
            restored = logits(trainee.model, batch)
        scale = float(before.abs().max())
        return {
            "relative_difference": float((merged - before).abs().max()) / scale,
            "restored_difference": float((restored - before).abs().max()) / scale,
        }

    def requantised(self) -> dict[str, Any]:
        """Merged into its NF4 base and rounded to NF4 again: what of the update survives, and the losses then."""
        trainee, work = self.opened
        plain, _ = load_base(self.settings.model, "nf4", self.settings.launch)
        rows, inner, size = [], 0.0, 0.0
        for path, _, after in trainee.updates():
            layer = plain.get_submodule(path)
            row = requantise({path: (layer, after)})[0]
            rows.append(row)
            weight = float(dequantise(layer).norm())
            size += (row.update_norm * weight) ** 2
            inner += row.surviving * (row.update_norm * weight) ** 2 if row.update_norm > 0 else 0.0
            plain.set_submodule(path, quantise_like(layer, after))
        merged = work.probe(self.settings.evaluation)(plain)
        return {"rows": to_rows(rows), "surviving": inner / size if size > 0 else None, "merged": merged}


def tensors_of(part: Part) -> dict[str, str]:
    """What a measurement depends on: the weights, and not the order of names in a file beside them."""
    return {file: digest for file, digest in part.files.items() if file.endswith(".safetensors")}


def scores(settings: Settings, model: nn.Module, work: Workload) -> dict[str, Any]:
    evaluation = settings.evaluation
    result: dict[str, Any] = {
        "answer_loss": mean_answer_loss(model, work.held_out("dev", evaluation.probe_problems)),
        "prose_loss": prose_loss(model, work.tokenizer),
        "asked": None,
    }
    if work.task.form == "text" or not work.task.metrics:
        result["test_loss"] = mean_answer_loss(model, work.held_out("test", evaluation.problems))
    else:
        result["asked"] = work.asked(model, "test", evaluation.problems, evaluation)
    return result


def workload(settings: Settings, tokenizer: Any) -> Workload:
    return Workload.of(settings.task, tokenizer, settings.seed, settings.methods[0].training.max_length)


def base_key(settings: Settings, name: str) -> str:
    """Fingerprint of the base, the task, and what a part of this name takes from the evaluation's settings."""
    model = settings.model
    used = {field: getattr(settings.evaluation, field) for field in USED[name]}
    return fingerprint(name, [model.path, model.revision, model.dtype], settings.task, settings.seed, used)


def logits(model: nn.Module, batch: Any) -> torch.Tensor:
    batch = batch.to(next(model.parameters()).device)
    return model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False).logits.float()
