"""Exact scoring: two answers to each of 168 prompts, by the trie and by what one would otherwise use.

    ours          shared.llm, prompts as texts in, log-probabilities out, nothing remembered from the round before
    one at a time transformers, a forward for each prompt
    padded batch  transformers, 16 prompts of like length a forward, padded on the left with position_ids
    lm-eval       HFLM.loglikelihood with batches of 16, where lm-eval is installed

The two transformers variants ask for the last position's logits alone, which makes them faster than they usually are
written. The bound is 2 × parameters × distinct prompt tokens of the trie at the measured peak of float32 products.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from shared.llm.backends.transformers import Local
from shared.llm.causal_lm import DEFAULT_MODEL
from shared.llm.messages import user
from shared.llm.request import Request
from shared.llm.trie import build_trie

OURS, SINGLE, PADDED, LM_EVAL = "ours", "transformers, one at a time", "transformers, padded batch", "lm-eval"
FLOORS = {SINGLE: 4.0, PADDED: 2.0, LM_EVAL: 1.5}  # times our seconds that each should take at least
SHARE = 0.5  # of the bound, at least
TOLERANCE = 1e-4  # nats
BATCH = 16
CHOICES = (" T", " F")
PREFIX = "Decision:"
SHARED = """\
You are given a target distribution P, a proposal distribution Q and one sample x that was drawn from Q. Your task is \
to carry out one step of rejection sampling: decide whether the sample x is accepted as a sample from P or rejected. \
An accepted sample is kept and a rejected one is thrown away, so that the kept samples follow P. You have no computer \
and no random number generator at hand; reason about the two distributions and about the sample, and then decide. The \
proposal Q is a fair coin: the probability of 0 and the probability of 1 are both 0.5. Reply with one letter alone, T \
if the sample is accepted and F if it is rejected, and with nothing else before it or after it. Case """
PHRASINGS = (
    "P draws from {{0, 1}}, where the probability of 1 is {p}",
    "P draws from {{0, 1}}, where the probability of 0 is {q}",
    "in P the probability of 1 is {p} and the probability of 0 is {q}",
    "in P the probability of 0 is {q} and the probability of 1 is {p}",
)

Logprobs = np.ndarray  # (prompts, choices)


@dataclass(frozen=True)
class Row:
    """One way of scoring. Seconds are medians over the rounds."""

    name: str
    cpu_seconds: float  # of the process on all its threads, which other processes disturb least
    wall_seconds: float
    over_ours: float  # ratio of CPU seconds
    largest_difference: float  # from one prompt at a time, in nats
    floor: float | None = None  # what over_ours should reach
    share_of_bound: float | None = None
    distinct_tokens: int | None = None  # of the prompts' trie
    all_tokens: int | None = None
    peak_gflops: float | None = None  # of float32 products, a second of CPU time and thread

    @property
    def met(self) -> bool:
        fast = self.floor is None or self.over_ours >= self.floor
        near = self.share_of_bound is None or self.share_of_bound >= SHARE
        return fast and near and self.largest_difference <= TOLERANCE


def prompts() -> list[str]:
    """The prompts: 4 phrasings × 21 values of p × 2 samples.

    Some 150 tokens are common to all. The case's number comes next, so that the 30 after it are each prompt's own:
    what tells two prompts apart may stand before text that they have in common.
    """
    cases = [(phrasing, k, x) for phrasing in PHRASINGS for k in range(21) for x in (0, 1)]
    return [
        f"{SHARED}{i:03d}: {phrasing.format(p=k / 20, q=(20 - k) / 20)}; x is {x}.\n"
        for i, (phrasing, k, x) in enumerate(cases)
    ]


def scoring(repeats: int = 5, threads: int = 2, count: int = 168, model: str = DEFAULT_MODEL) -> list[Row]:
    """Times every way, taking turns, and compares what they find. Ours comes first.

    A round takes some three minutes on two cores, nearly all of it in the others; `count` takes fewer prompts, which
    share less.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _scoring(repeats, count, model)
    finally:
        torch.set_num_threads(before)


def lines(rows: list[Row]) -> list[str]:
    """The rows as a table."""
    ours = rows[0]
    text = [f"exact scoring of {ours.all_tokens} prompt tokens, {ours.distinct_tokens} of them distinct in the trie"]
    text.append(f"  {'':30s}{'CPU s':>8s}{'wall s':>8s}{'/ours':>8s}{'target':>8s}{'difference':>12s}")
    for row in rows:
        floor = f"{row.floor:8.1f}" if row.floor else " " * 8
        text.append(
            f"  {row.name:30s}{row.cpu_seconds:8.2f}{row.wall_seconds:8.2f}{row.over_ours:8.2f}{floor}"
            f"{row.largest_difference:12.1e}{'' if row.met else '  MISSED'}"
        )
    text.append(
        f"  share of the bound {ours.share_of_bound:.2f} (target {SHARE}), "
        f"peak {ours.peak_gflops:.0f} GFLOP a CPU second"
    )
    return text


def _scoring(repeats: int, count: int, model: str) -> list[Row]:
    local = Local(model, chat=False)
    texts = [f"{p}{PREFIX}" for p in prompts()[:count]]
    ways: dict[str, Callable[[], Logprobs]] = {
        OURS: lambda: _ours(local, count),
        SINGLE: lambda: _one_at_a_time(local, texts),
        PADDED: lambda: _padded(local, texts),
    }
    if find_spec("lm_eval"):
        evaluator = _lm_eval(local)
        ways[LM_EVAL] = lambda: evaluator(texts)
    _ours(local, 4)
    cpu: dict[str, list[float]] = {name: [] for name in ways}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    found, peaks = {}, []
    with tqdm(total=repeats * len(ways), desc="exact scoring", unit="way", disable=None) as bar:
        for _ in range(repeats):
            peaks.append(_peak())
            for name, way in ways.items():
                begun, ran = time.perf_counter(), time.process_time()
                found[name] = way()
                cpu[name].append(time.process_time() - ran)
                wall[name].append(time.perf_counter() - begun)
                bar.update()
    seconds = {name: statistics.median(values) for name, values in cpu.items()}
    encoded = local.prompting.tokens(texts)
    distinct = len(build_trie(encoded))
    bound = 2 * sum(p.numel() for p in local.lm.parameters()) * distinct / statistics.median(peaks)
    rows = []
    for name in ways:
        row = Row(
            name=name,
            cpu_seconds=seconds[name],
            wall_seconds=statistics.median(wall[name]),
            over_ours=seconds[name] / seconds[OURS],
            largest_difference=float(np.abs(found[name] - found[SINGLE]).max()),
            floor=FLOORS.get(name),
            share_of_bound=bound / seconds[OURS] if name == OURS else None,
            distinct_tokens=distinct,
            all_tokens=sum(map(len, encoded)),
            peak_gflops=statistics.median(peaks) / 1e9,
        )
        rows.append(row)
    return rows


def _ours(local: Local, count: int) -> Logprobs:
    local.forget()
    answers = local.complete_many([Request((user(p),), prefix=PREFIX, choices=CHOICES) for p in prompts()[:count]])
    return np.array([[a.choice_logprobs[c] for c in CHOICES] for a in answers])  # type: ignore[index, union-attr]


@torch.inference_mode()
def _one_at_a_time(local: Local, texts: list[str]) -> Logprobs:
    answers = _answer_tokens(local)
    values = []
    for text in texts:
        ids = local.tokenizer(text, return_tensors="pt").input_ids
        logits = local.lm(input_ids=ids, logits_to_keep=1).logits[0, -1]
        values.append(logits.double().log_softmax(-1)[answers].numpy())
    return np.array(values)


@torch.inference_mode()
def _padded(local: Local, texts: list[str]) -> Logprobs:
    answers = _answer_tokens(local)
    encoded = [local.tokenizer(text).input_ids for text in texts]
    order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
    values = np.empty((len(texts), len(CHOICES)))
    for start in range(0, len(order), BATCH):
        batch = order[start : start + BATCH]
        width = max(len(encoded[i]) for i in batch)
        ids = torch.tensor([[0] * (width - len(encoded[i])) + encoded[i] for i in batch])
        mask = torch.tensor([[0] * (width - len(encoded[i])) + [1] * len(encoded[i]) for i in batch])
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = local.lm(input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1).logits[:, -1]
        values[batch] = logits.double().log_softmax(-1)[:, answers].numpy()
    return values


def _lm_eval(local: Local) -> Callable[[list[str]], Logprobs]:
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    evaluator: Any = HFLM(pretrained=local.lm, tokenizer=local.tokenizer, batch_size=BATCH, device="cpu")

    def run(texts: list[str]) -> Logprobs:
        pairs = [(text, choice) for text in texts for choice in CHOICES]
        instances = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
        values = evaluator.loglikelihood(instances, disable_tqdm=True)
        return np.array([value for value, _ in values]).reshape(len(texts), len(CHOICES))

    return run


def _answer_tokens(local: Local) -> list[int]:
    tokens = [local.tokenizer(choice, add_special_tokens=False).input_ids for choice in CHOICES]
    if any(len(t) != 1 for t in tokens):
        raise ValueError(f"this comparison needs choices of one token each in {local.model}, and {CHOICES} are not")
    return [t[0] for t in tokens]


def _peak() -> float:
    """Floating-point operations of large float32 products a second of CPU time: the best of a few."""
    size = 1536
    a, b = torch.randn(size, size), torch.randn(size, size)
    best = 0.0
    for _ in range(6):
        ran = time.process_time()
        torch.mm(a, b)
        best = max(best, 2 * size**3 / (time.process_time() - ran))
    return best
