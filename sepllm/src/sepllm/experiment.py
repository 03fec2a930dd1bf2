"""The trainings of a run: arms side by side in worker processes, each resumed from its own state."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .budget import matched
from .data import DataSettings, tokens, topics, train_tokenizer, windows
from .entry import tell
from .errors import SepLLMError
from .files import fingerprint, make_part
from .policy import Policy, make_policy
from .separators import SeparatorSet
from .settings import PostSettings, ScratchSettings, SeparatorSettings, Settings
from .training import fresh_model, train

Job = tuple[Callable[..., Any], tuple[Any, ...]]


def load(settings: Settings, path: str | None = None, revision: str | None = None) -> tuple[Any, Any]:
    """(model, tokenizer) of the settings; transformers' sdpa attention, which policies are then put on."""
    from shared.llm import load_causal_lm

    model = settings.model
    if model.dtype == "float64":
        raise SepLLMError("model.dtype must be float32, bfloat16 or float16 for a pretrained model")
    return load_causal_lm(
        path or model.path,
        dtype=model.dtype,
        device=model.device,
        revision=revision or (None if path else model.revision),
        attn_implementation="sdpa",
    )


def find_separators(settings: SeparatorSettings, tokenizer: Any, model_type: str | None) -> SeparatorSet:
    rule = settings.rule
    return SeparatorSet.from_tokenizer(tokenizer, rule, settings.include, settings.exclude, model_type)


def split(ids: Tensor, held_out: float) -> tuple[Tensor, Tensor]:
    """(training tokens, held-out tokens at the end)."""
    cut = int(len(ids) * (1 - held_out))
    return ids[:cut], ids[cut:]


def prose(data: DataSettings, tokenizer: Any, length: int | None = None) -> Tensor:
    """The text of trainings and perplexities; of `pydocs` the topics only, docstrings stay for the stream."""
    if data.kind == "pydocs":
        return torch.tensor(tokenizer(topics(), add_special_tokens=False, verbose=False).input_ids)[:length]
    return tokens(data, tokenizer, length)


def arms_of(arms: Any, separators: SeparatorSet, ids: Tensor, first: int, layers: int) -> dict[str, Policy]:
    """Policies by name; `n: matched` becomes the window that keeps as much KV as the arm `sep` on these windows."""
    made: dict[str, Policy] = {}
    for name, arm in arms.items():
        plain = dict(arm)
        if plain.get("n") == "matched":
            if "sep" not in made:
                raise SepLLMError(f"arm {name!r} has n: matched, which needs an arm named sep before it")
            made[name] = matched(made["sep"], separators, ids, first, layers)
            continue
        policy = make_policy(plain)
        if not isinstance(policy, Policy):
            raise SepLLMError(f"arm {name!r} is a {type(policy).__name__}, which is no mask to train under")
        made[name] = policy
    return made


def train_all(settings: Settings) -> list[dict[str, Any]]:
    """Train every arm that is asked for. Returns a table."""
    if settings.post is None and settings.scratch is None:
        raise SepLLMError("there is nothing to train: give train=post, train=scratch or train=[post,scratch]")
    jobs: list[Job] = []
    if settings.post is not None:
        jobs += [(train_post, (settings, name)) for name in settings.post.arms]
    if settings.scratch is not None:
        jobs += [
            (train_scratch, (settings, name, seed)) for seed in settings.scratch.seeds for name in settings.scratch.arms
        ]
    parts = run_jobs(jobs, settings.workers)
    return [training_row(part["settings"]["label"], part["result"]) for part in parts]


def training_row(label: str, result: dict[str, Any]) -> dict[str, Any]:
    final, mean = result["curve"][-1]["losses"], lambda v: sum(v) / len(v)
    return {
        "training": label,
        "steps": result["steps"],
        "keys seen": round(result["kept"], 1),
        "FLOPs": result["curve"][-1]["flops"],
        "loss, own mask": round(mean(final["own"]), 4),
        "loss, full mask": round(mean(final["full"]), 4),
    }


def run_jobs(jobs: Sequence[Job], workers: int) -> list[Any]:
    """Results in the order of jobs, each made in one of `workers` processes with one thread, or here with 0."""
    if workers == 0 or len(jobs) == 1 or torch.cuda.is_available():
        return [job(*arguments) for job, arguments in jobs]
    context = get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(jobs)), context, initializer=one_thread) as pool:
        waiting = [pool.submit(job, *arguments) for job, arguments in jobs]
        try:
            return [future.result() for future in waiting]
        except BaseException:
            for future in waiting:
                future.cancel()
            raise


def one_thread() -> None:
    torch.set_num_threads(1)


def folder_of(settings: Settings, label: str) -> Path:
    return settings.output_dir / "parts" / label


def described(settings: Settings, section: str, label: str, **more: Any) -> dict[str, Any]:
    """What a training depends on; its fingerprint decides whether a finished one is reused."""
    plain = dict(settings.plain[section])
    names = ("model", "separators", "data") if section == "post" else ("separators", "data")
    return {"label": label, section: plain, **{n: settings.plain[n] for n in names}, "seed": settings.seed, **more}


def train_post(settings: Settings, name: str) -> dict[str, Any]:
    """Post-training (paper §4.4): one arm."""
    post = settings.post
    assert isinstance(post, PostSettings)
    label = f"post-{name}"
    about = described(settings, "post", label)

    def measure() -> dict[str, Any]:
        model, tokenizer = load(settings, post.model, post.revision)
        separators = find_separators(settings.separators, tokenizer, model.config.model_type)
        train_ids, held_ids = split(prose(settings.data, tokenizer), settings.data.held_out)
        recipe = post.recipe
        held = windows(held_ids, recipe.length, recipe.held_out_windows)
        arms = arms_of(post.arms, separators, held, recipe.first_scored, model.config.num_hidden_layers)
        boundary = tokenizer.eos_token_id if settings.data.documents else None
        tell(f"{label}: {separators.describe(held)}") if name == next(iter(arms)) else None
        return train(
            model, arms[name], separators, train_ids, held, recipe, folder_of(settings, label), settings.seed,
            {k: v for k, v in arms.items() if k != name}, boundary, fingerprint(about), progress(label),
        )  # fmt: skip

    return make_part(settings.output_dir, label, about, settings.resume, measure, tell)


def scratch_setting(settings: Settings) -> tuple[Any, SeparatorSet, Tensor, Tensor]:
    """(tokenizer, separators, training tokens, held-out tokens) of training from scratch."""
    scratch = settings.scratch
    assert isinstance(scratch, ScratchSettings)
    if scratch.tokenizer is not None:
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(scratch.tokenizer, trust_remote_code=False)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise SepLLMError(f"scratch.tokenizer {scratch.tokenizer!r} cannot be loaded: {reason}") from error
    else:
        tokenizer = train_tokenizer(topics(), scratch.vocabulary)
    model_type = scratch.architecture["model_type"]
    separators = find_separators(settings.separators, tokenizer, model_type)
    return tokenizer, separators, *split(prose(settings.data, tokenizer), settings.data.held_out)


def scratch_model(settings: Settings, separators: SeparatorSet, seed: int) -> Any:
    scratch = settings.scratch
    assert isinstance(scratch, ScratchSettings)
    size = max(scratch.vocabulary, separators.vocabulary)
    return fresh_model(dict(scratch.architecture), size, seed, scratch.init)


def train_scratch(settings: Settings, name: str, seed: int) -> dict[str, Any]:
    """Training from scratch (paper §4.3): one arm and seed."""
    scratch = settings.scratch
    assert isinstance(scratch, ScratchSettings)
    label = f"scratch-{name}-{seed}"
    about = described(settings, "scratch", label)

    def measure() -> dict[str, Any]:
        tokenizer, separators, train_ids, held_ids = scratch_setting(settings)
        recipe = scratch.recipe
        held = windows(held_ids, recipe.length, recipe.held_out_windows)
        layers = scratch.architecture["num_hidden_layers"]
        arms = arms_of(scratch.arms, separators, held, recipe.first_scored, layers)
        boundary = tokenizer.eos_token_id if settings.data.documents else None
        return train(
            scratch_model(settings, separators, seed), arms[name], separators, train_ids, held, recipe,
            folder_of(settings, label), seed, None, boundary, fingerprint(about), progress(label),
        )  # fmt: skip

    return make_part(settings.output_dir, label, about, settings.resume, measure, tell)


def progress(label: str) -> Callable[[str], None]:
    return lambda text: tell(f"{label}:{text}") if os.environ.get("RANK", "0") == "0" else None
