"""The measurements of a run, each a part that is reused while its settings stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from .budget import kept_keys, matched
from .cache import SepCache
from .data import docstrings, lines, tokens, windows
from .entry import tell
from .errors import SepLLMError
from .experiment import (
    arms_of,
    find_separators,
    folder_of,
    load,
    prose,
    run_jobs,
    scratch_model,
    scratch_setting,
    split,
)
from .files import fingerprint, finished, make_part
from .long_stream import by_lines, stream_text
from .perplexity import perplexity_row
from .policy import FixedIntervalPolicy, FullPolicy, Policy, RandomPolicy, SepPolicy, WindowPolicy, make_policy
from .probe import attention_shares, copy_gain, value_losses
from .separators import SeparatorSet
from .settings import Settings
from .speed import decode_times, prefill_times, update_share
from .training import load_trained


class Loaded:
    """The model of a run, loaded when first asked for."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._found: tuple[Any, Any] | None = None

    @property
    def model(self) -> Any:
        self._found = self._found or load(self.settings)
        return self._found[0]

    @property
    def tokenizer(self) -> Any:
        self._found = self._found or load(self.settings)
        return self._found[1]

    def separators(self, rule: str | None = None) -> SeparatorSet:
        if rule is None:
            return find_separators(self.settings.separators, self.tokenizer, self.model.config.model_type)
        return SeparatorSet.from_tokenizer(self.tokenizer, rule)


LOADED: dict[str, Loaded] = {}  # of this process, by the model's settings


def evaluate_all(settings: Settings) -> dict[str, dict[str, Any]]:
    """Every measurement that is asked for and every finished training, by name.

    Timings run alone, at the end, with all threads; everything else side by side in worker processes.
    """
    trained = trained_parts(settings)
    jobs: list[Any] = []
    for name, (section, _) in MEASURES.items():
        asked = getattr(settings, section) is not None and name != "speed"
        if asked and (not name.endswith("-trained") or "post-sep" in trained):
            jobs.append((measure_part, (settings, name)))
    jobs += stream_jobs(settings) if settings.streaming is not None else []
    parts = run_jobs(jobs, settings.workers)
    if settings.speed is not None:
        parts.append(measure_part(settings, "speed"))
    LOADED.clear()
    return trained | {part["settings"]["label"]: part for part in parts}


def measure_part(settings: Settings, name: str) -> dict[str, Any]:
    """One measurement of the default model, reused where its settings stay."""
    section, measure = MEASURES[name]
    about = {n: settings.plain[n] for n in ("model", "separators", "data", section)}
    about |= {"label": name, "seed": settings.seed}
    if name == "lm_eval":
        about["policy"] = settings.plain["policy"]
    if name.endswith("-trained"):
        about["training"] = trained_parts(settings)["post-sep"]["fingerprint"]
    lazy = LOADED.setdefault(fingerprint(settings.plain["model"]), Loaded(settings))
    lazy.settings = settings
    return make_part(settings.output_dir, name, about, settings.resume, lambda: measure(settings, lazy), tell)


def trained_parts(settings: Settings) -> dict[str, dict[str, Any]]:
    """Finished trainings of these settings."""
    from .experiment import described

    labels = [("post", f"post-{name}") for name in settings.post.arms] if settings.post else []
    if settings.scratch:
        labels += [("scratch", f"scratch-{n}-{s}") for s in settings.scratch.seeds for n in settings.scratch.arms]
    parts = {label: finished(settings.output_dir, label, described(settings, s, label)) for s, label in labels}
    return {label: part for label, part in parts.items() if part is not None}


def held_out(settings: Settings, tokenizer: Any) -> Tensor:
    return split(prose(settings.data, tokenizer), settings.data.held_out)[1]


def measure_separators(settings: Settings, lazy: Loaded) -> dict[str, Any]:
    """Each rule: its number of ids and its share of the text."""
    ids = prose(settings.data, lazy.tokenizer)
    found = {}
    for rule in ("paper", "fused", "ends"):
        separators = lazy.separators(rule)
        found[rule] = {"ids": len(separators.ids), "share": separators.coverage(ids), "list": separators.describe(ids)}
    return found


def measure_attention(settings: Settings, lazy: Loaded) -> list[dict[str, float]]:
    asked = settings.attention
    assert asked is not None
    ids = windows(held_out(settings, lazy.tokenizer), asked.length, asked.windows)
    return attention_shares(lazy.model, ids, lazy.separators(), near=asked.near)


def policies_of_ppl(settings: Settings, separators: SeparatorSet, ids: Tensor, layers: int) -> dict[str, Policy]:
    """The full list at one window: Sep, its controls at the same n and at the same KV."""
    asked = settings.ppl
    assert asked is not None
    sep = SepPolicy(a=asked.a, n=asked.n)
    share = separators.coverage(ids)
    delta = nearest_interval(sep, separators, ids, asked.first)
    return {
        "full": FullPolicy(),
        "sep": sep,
        "window, same n": WindowPolicy(a=asked.a, n=asked.n),
        "window, same KV": matched(sep, separators, ids, asked.first, layers),
        "fixed interval, same KV": FixedIntervalPolicy(a=asked.a, n=asked.n, delta=delta),
        "random, same KV": RandomPolicy(a=asked.a, n=asked.n, rho=round(share, 4), seed=settings.seed),
        "sep, first and last layer full": SepPolicy(a=asked.a, n=asked.n, layers="H/T"),
    }  # fmt: skip


def nearest_interval(sep: SepPolicy, separators: SeparatorSet, ids: Tensor, first: int) -> int:
    """The Δ whose kept keys are nearest to Sep's."""
    goal = kept_keys(sep, separators, ids, first)
    return min(
        range(2, 40),
        key=lambda d: abs(kept_keys(FixedIntervalPolicy(a=sep.a, n=sep.n, delta=d), separators, ids, first) - goal),
    )


def measure_ppl(settings: Settings, lazy: Loaded) -> list[dict[str, Any]]:
    asked = settings.ppl
    assert asked is not None
    model, separators = lazy.model, lazy.separators()
    layers = model.config.num_hidden_layers
    ids = windows(held_out(settings, lazy.tokenizer), asked.length, asked.windows)
    rows = []
    for label, policy in policies_of_ppl(settings, separators, ids, layers).items():
        rows.append({"group": "list", **perplexity_row(model, label, policy, separators, ids, asked.first)})
        tell(f"  {label}: perplexity {rows[-1]['ppl']:.2f} at {rows[-1]['r_kv']:.1%} of KV")
    fused = lazy.separators("fused")
    more = {"sep, rule fused": SepPolicy(a=asked.a, n=asked.n)}
    more["window, same KV as fused"] = matched(more["sep, rule fused"], fused, ids, asked.first, layers)  # type: ignore[assignment]
    for label, policy in more.items():
        rows.append({"group": "list", **perplexity_row(model, label, policy, fused, ids, asked.first)})
    few = ids[: asked.sweep_windows]
    for n in asked.sweep:
        sep = SepPolicy(a=asked.a, n=n)
        for label, policy in {
            "sep": sep,
            "window, same n": WindowPolicy(a=asked.a, n=n),
            "window, same KV": matched(sep, separators, few, asked.first, layers),
        }.items():
            rows.append({"group": f"n={n}", **perplexity_row(model, label, policy, separators, few, asked.first)})
    return rows


def measure_trained_ppl(settings: Settings, lazy: Loaded) -> dict[str, list[dict[str, Any]]]:
    """Both arms of the post-training under their own masks, each other's and the full one, and the weights before."""
    post, asked = settings.post, settings.ppl
    assert post is not None and asked is not None
    model, separators = lazy.model, lazy.separators()
    length, first = post.recipe.length, post.recipe.first_scored
    held = held_out(settings, lazy.tokenizer)
    ids = windows(held, length, post.recipe.held_out_windows)
    arms = arms_of(post.arms, separators, ids, first, model.config.num_hidden_layers)
    test = windows(held, length, asked.trained_windows)
    rows = {}
    for weights in ("before", *arms):
        current = model if weights == "before" else load_trained(load(settings, post.model, post.revision)[0],
                                                                 folder_of(settings, f"post-{weights}"))  # fmt: skip
        rows[weights] = [
            perplexity_row(current, label, policy, separators, test, first)
            for label, policy in {"full": FullPolicy(), **arms}.items()
        ]
    return rows


def probes(settings: Settings, model: Any, tokenizer: Any, separators: SeparatorSet) -> dict[str, Any]:
    asked = settings.probe
    assert asked is not None
    held = held_out(settings, tokenizer)
    short = windows(held, asked.passage + asked.filler, asked.windows)
    sep = SepPolicy(a=asked.a, n=asked.n)
    text = torch.cat([short, short[:, : asked.passage]], 1)
    second = asked.passage + asked.filler
    copies = {
        "full": FullPolicy(),
        "sep": sep,
        "window, same n": WindowPolicy(a=asked.a, n=asked.n),
        "window, same KV": matched(sep, separators, text, second),
    }
    gains = {
        name: copy_gain(model, policy, separators, short, asked.passage, asked.filler)
        for name, policy in copies.items()
    }
    ids = windows(held, asked.length, asked.windows)
    return {"copy": gains, "values": value_losses(model, sep, separators, ids, asked.first)}


def measure_probe(settings: Settings, lazy: Loaded) -> dict[str, Any]:
    return probes(settings, lazy.model, lazy.tokenizer, lazy.separators())


def measure_trained_probe(settings: Settings, lazy: Loaded) -> dict[str, Any]:
    post = settings.post
    assert post is not None
    model, tokenizer = load(settings, post.model, post.revision)
    load_trained(model, folder_of(settings, "post-sep"))
    return probes(settings, model, tokenizer, lazy.separators())


def measure_speed(settings: Settings, lazy: Loaded) -> dict[str, Any]:
    asked = settings.speed
    assert asked is not None
    model, separators = lazy.model, lazy.separators()
    ids = prose(settings.data, lazy.tokenizer)
    density = separators.coverage(ids)
    policies = {name: make_policy(dict(plain)) for name, plain in asked.policies.items()}
    decode = []
    for context in asked.contexts:
        decode += decode_times(model, separators, policies, context, density, asked.repeats)
        tell(f"  decode at {context}: " + ", ".join(f"{r['cache']} {r['seconds'] * 1e3:.0f} ms" for r in decode
                                                    if r["context"] == context))  # fmt: skip
    masks = {name: p for name, p in policies.items() if isinstance(p, Policy)}
    prefill = []
    for length in asked.prefill:
        prefill += prefill_times(model, separators, masks, ids[None, :length], asked.prefill_repeats)
    streaming = next((p for p in policies.values() if not isinstance(p, Policy)), next(iter(policies.values())))
    share = update_share(model, separators, streaming, max(asked.contexts), density)
    return {"decode": decode, "prefill": prefill, "update_share": share, "density": density}


def measure_generate(settings: Settings, lazy: Loaded) -> list[dict[str, Any]]:
    asked = settings.generate
    assert asked is not None
    model, tokenizer, separators = lazy.model, lazy.tokenizer, lazy.separators()
    policies = {"full": FullPolicy(), "kept": make_policy(dict(asked.policy))}
    rows = []
    for prompt in asked.prompts:
        chat = [{"role": "user", "content": prompt}]
        templated = getattr(tokenizer, "chat_template", None)
        text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) if templated else prompt
        inputs = tokenizer(text, return_tensors="pt", add_special_tokens=not templated).to(model.device)
        row: dict[str, Any] = {"prompt": prompt}
        for name, policy in policies.items():
            cache = SepCache(model, policy, separators)
            out = model.generate(
                **inputs, past_key_values=cache, max_new_tokens=asked.new_tokens, do_sample=False,
                pad_token_id=tokenizer.eos_token_id,
            )  # fmt: skip
            row[name] = tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
            row[f"{name}_r_kv"] = cache.kept_ratio()
        rows.append(row)
    return rows


def measure_lm_eval(settings: Settings, lazy: Loaded) -> dict[str, Any]:
    from .lm_eval_model import run_tasks

    assert settings.lm_eval is not None
    return run_tasks(
        lazy.model, lazy.tokenizer, make_policy(dict(settings.policy)), lazy.separators(), asdict(settings.lm_eval)
    )


def stream_jobs(settings: Settings) -> list[Any]:
    """Streaming texts: each policy, full attention, and the small model for the flat line."""
    asked = settings.streaming
    assert asked is not None
    jobs: list[Any] = [(stream_arm, (settings, name)) for name in (*asked.policies, "full")]
    if asked.small_tokens and settings.scratch is not None:
        if not (folder_of(settings, f"scratch-sep-{settings.scratch.seeds[0]}") / "model.safetensors").is_file():
            raise SepLLMError(
                "streaming.small_tokens needs the model of train=scratch: run train.py first, or set it to 0"
            )
        jobs.append((stream_small, (settings,)))
    return jobs


def stream_arm(settings: Settings, name: str) -> dict[str, Any]:
    asked = settings.streaming
    assert asked is not None
    label = f"stream-{name}-{asked.protocol}"
    policy = FullPolicy() if name == "full" else make_policy(dict(asked.policies[name]))
    length = asked.full_tokens if name == "full" else asked.tokens
    about = {n: settings.plain[n] for n in ("model", "separators", "data")}
    about |= {
        "label": label,
        "policy": repr(policy),
        "tokens": length,
        "every": asked.every,
        "protocol": asked.protocol,
    }

    def measure() -> dict[str, Any]:
        model, tokenizer = load(settings)
        separators = find_separators(settings.separators, tokenizer, model.config.model_type)
        kinds = None
        if asked.protocol == "official_lines":
            ids, kinds = by_lines(lines(settings.data), tokenizer, length)
        else:
            ids = tokens(settings.data, tokenizer, length)
        state = folder_of(settings, label) / "state"
        state.parent.mkdir(parents=True, exist_ok=True)
        return stream_text(
            model, policy, separators, ids, kinds, asked.every, state, fingerprint(about), say=lambda t: tell(label + t)
        )

    return make_part(settings.output_dir, label, about, settings.resume, measure, tell)


def stream_small(settings: Settings) -> dict[str, Any]:
    """A long stream through the model trained from scratch: its text is encoded once and repeated where it ends."""
    asked, scratch = settings.streaming, settings.scratch
    assert asked is not None and scratch is not None
    label = "stream-small"
    seed = scratch.seeds[0]
    about = {n: settings.plain[n] for n in ("scratch", "separators", "data")}
    about |= {
        "label": label,
        "policy": dict(asked.small_policy),
        "tokens": asked.small_tokens,
        "every": asked.small_every,
    }

    def measure() -> dict[str, Any]:
        tokenizer, separators, _, held = scratch_setting(settings)
        text = docstrings() if settings.data.kind == "pydocs" else ""
        ids = [held]
        for start in range(0, len(text), 100_000):
            ids.append(torch.tensor(tokenizer(text[start : start + 100_000], verbose=False).input_ids))
            if sum(map(len, ids)) >= asked.small_tokens:
                break
        row = torch.cat(ids)
        row = row.repeat(-(-asked.small_tokens // len(row)))[: asked.small_tokens]
        model = load_trained(scratch_model(settings, separators, seed), folder_of(settings, f"scratch-sep-{seed}"))
        policy = make_policy(dict(asked.small_policy))
        return stream_text(model, policy, separators, row, None, asked.small_every, None)

    return make_part(settings.output_dir, label, about, settings.resume, measure, tell)


MEASURES: dict[str, tuple[str, Callable[[Settings, Loaded], Any]]] = {
    "ppl": ("ppl", measure_ppl),
    "probe": ("probe", measure_probe),
    "probe-trained": ("probe", measure_trained_probe),
    "ppl-trained": ("ppl", measure_trained_ppl),
    "generate": ("generate", measure_generate),
    "separators": ("attention", measure_separators),
    "attention": ("attention", measure_attention),
    "lm_eval": ("lm_eval", measure_lm_eval),
    "speed": ("speed", measure_speed),
}
