"""Where attention goes, and whether separators carry their segments.

`attention_shares` measures the paper's observation. `copy_gain` asks how much of a passage seen more than n tokens ago
can be used when it comes again. `far_values` keeps the keys of separators that have left the window and changes their
values: if a separator carries its segment, any change must hurt; if attention is merely parked there, as on a sink,
only the amount of attention matters, not what is read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .attach import masked
from .mask import Lives
from .perplexity import window_losses
from .policy import FOREVER, Policy, SepPolicy
from .separators import SeparatorSet

EDITS = ("mean", "swapped", "shuffled", "zero")


@torch.no_grad()
def attention_shares(
    model: Any, ids: Tensor, separators: SeparatorSet, initial: int = 4, near: int = 64
) -> list[dict[str, float]]:
    """For each layer, the shares of attention that go to four groups of keys, and the mass of a far separator over
    that of another far token.

    Queries are the positions from 2·near on; far keys are at least `near` back and not initial. Means over heads,
    queries and windows. Attention is transformers' eager one, so it is the model's own.

    Args:
        ids: Int64[W, T].
    """
    length = ids.shape[1]
    query, key = torch.arange(2 * near, length)[:, None], torch.arange(length)
    far = (query - key >= near) & (key >= initial)
    implementation = model.config._attn_implementation
    model.set_attn_implementation("eager")
    sums = torch.zeros(model.config.num_hidden_layers, 6, dtype=torch.float64)
    try:
        for row in ids:
            marks = separators.lut()[row]
            groups = [key < initial, far & marks, far & ~marks, (query - key < near) & (key <= query)]
            maps = model(row[None], output_attentions=True, use_cache=False).attentions
            for layer, weights in enumerate(maps):
                mean = weights[0, :, 2 * near :].mean(0).double()
                mass = [(mean * group).sum(-1) for group in groups]
                separate, other = (far & marks).sum(-1), (far & ~marks).sum(-1)
                sums[layer] += torch.stack(
                    [*(m.mean() for m in mass), (mass[1] / separate.clamp(min=1)).mean(), (mass[2] / other).mean()]
                )
    finally:
        model.set_attn_implementation(implementation)
    names = ("initial", "far_separators", "far_others", "near")
    return [
        {**dict(zip(names, (row[:4] / len(ids)).tolist(), strict=True)), "ratio": float(row[4] / row[5])}
        for row in sums
    ]


@torch.no_grad()
def copy_gain(
    model: Any, policy: Policy, separators: SeparatorSet, ids: Tensor, passage: int, filler: int
) -> list[float]:
    """Nats a token by which a passage is cheaper when it comes the second time, for each window.

    The text is passage, filler, passage. The first token of each passage is not scored, as its predecessor differs.

    Args:
        ids: Int64[W, passage + filler].
    """
    gains = []
    with masked(model, policy, separators):
        for row in ids:
            text = torch.cat([row, row[:passage]]).to(model.device)
            logits = model(text[None], use_cache=False).logits[0].float()
            nll = torch.nn.functional.cross_entropy(logits[:-1], text[1:], reduction="none")
            second = passage + filler
            gains.append(float(nll[: passage - 1].mean() - nll[second : second + passage - 1].mean()))
    return gains


def far_values(kind: str, separators: Tensor, a: int, seed: int = 0) -> Any:
    """An edit (mask.Lives) that changes the values of separators for the queries that have them out of their window.

    Every separator's key stands twice: as it is, with a life that ends with the window, and a second time with the
    changed value and the rest of the life.

    Args:
        kind: `mean` of all separators' values of the row, `swapped` with the separator before (another segment's),
            `shuffled` among them, or `zero` (key without value).
        separators: Bool[T], of the one row that the forward is about.
        a: initial tokens, which stay as they are.
    """
    index = separators[a:].nonzero().flatten() + a
    generator = torch.Generator().manual_seed(seed)
    shuffle = torch.randperm(len(index), generator=generator)

    def edit(key: Tensor, value: Tensor, lives: Lives) -> tuple[Tensor, Tensor, Lives]:
        mine = value[:, :, index]
        changed = {
            "mean": lambda: mine.mean(2, keepdim=True).expand_as(mine),
            "swapped": lambda: mine.roll(1, 2),
            "shuffled": lambda: mine[:, :, shuffle],
            "zero": lambda: torch.zeros_like(mine),
        }[kind]()
        place = lives.start[:, index]
        leaves = torch.where(lives.end[:, index] > place + lives.window, place + lives.window, FOREVER)
        end = lives.end.clone()
        end[:, index] = torch.minimum(end[:, index], leaves)
        # the second copies stand before the keys, as the last keys are those of the queries
        extended = Lives(
            lives.query,
            lives.real,
            torch.cat([leaves, lives.start], 1),
            torch.cat([torch.where(leaves < FOREVER, lives.end[:, index], 0), end], 1),
            window=lives.window,
        )
        return torch.cat([key[:, :, index], key], 2), torch.cat([changed, value], 2), cached(lives, extended)

    return edit


def cached(lives: Lives, extended: Lives) -> Lives:
    """The same extended lives for all layers of a forward, as chunks and masks are kept on them."""
    return vars(lives).setdefault("extended", extended)


def value_losses(
    model: Any, policy: SepPolicy, separators: SeparatorSet, ids: Tensor, first: int
) -> dict[str, list[float]]:
    """Losses by window (perplexity.window_losses) of Sep as it is, with far separators left out, and with each edit."""
    nothing = SeparatorSet.nothing(separators.vocabulary)
    results = {
        "as it is": window_losses(model, policy, separators, ids, first),
        "left out": window_losses(model, replace(policy), nothing, ids, first),
    }
    for kind in EDITS:
        results[kind] = []
        for row in ids:
            edit = far_values(kind, separators.lut()[row], policy.a)
            results[kind] += window_losses(model, policy, separators, row[None], first, edit)
    return results
