"""The sparse forms equal the dense mask, with gradients; the block lists cover exactly what is visible."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sepllm import SepPolicy
from sepllm.attention import attend, gathered
from sepllm.flex import BLOCK, block_mask, gathered_flex, layout
from sepllm.mask import lives_of, visible


def example(length, rows=1, density=0.15, a=3, n=40, cap=None, pads=None, seed=0, heads=None, packed=False):
    generator = torch.Generator().manual_seed(seed)
    separator = torch.rand(rows, length, generator=generator) < density
    valid = torch.arange(length) >= torch.tensor(pads or [0] * rows)[:, None]
    first = None
    if packed:
        first = (torch.arange(length) % 97 == 0).expand(rows, -1)
    policy = SepPolicy(a=a, n=n, sep_cap=cap, heads=heads)
    return lives_of(policy, separator, heads or n, valid, first)


def tensors(lives, heads=4, kv=2, d=16, dtype=torch.float64):
    rows, length = lives.query.shape
    torch.manual_seed(1)
    q = torch.randn(rows, heads, length, d, dtype=dtype, requires_grad=True)
    k, v = (torch.randn(rows, kv, length, d, dtype=dtype, requires_grad=True) for _ in range(2))
    return q, k, v


def dense(q, k, v, lives):
    """Softmax over the whole mask, in the open."""
    group = q.shape[1] // k.shape[1]
    k, v = (x.repeat_interleave(group, 1) for x in (k, v))
    mask = visible(lives)
    mask = mask.repeat_interleave(q.shape[1] // mask.shape[1], 1) if mask.shape[1] > 1 else mask
    scores = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).masked_fill(~mask, float("-inf"))
    return scores.softmax(-1) @ v


CASES = [
    {"length": 300},
    {"length": 257, "rows": 2, "pads": [0, 140], "density": 0.5},
    {"length": 300, "cap": 3},
    {"length": 260, "density": 0.0, "a": 0, "n": 1},
    {"length": 200, "density": 1.0},
    {"length": 300, "packed": True},
    {"length": 270, "rows": 2, "pads": [0, 20], "heads": (30, 1 << 60)},
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_gathered_equals_dense_with_gradients(case):
    lives = example(**case)
    q, k, v = tensors(lives)
    real = lives.real[:, None, :, None]
    weight = torch.randn_like(q) * real  # the outputs of padding queries mean nothing
    results = []
    for form in (gathered, dense):
        out = form(q, k, v, lives)
        results.append([out * real, *torch.autograd.grad((out * weight).sum(), (q, k, v))])
    for a, b in zip(*results, strict=True):
        assert (a - b).abs().max() < 1e-10


@settings(max_examples=15, deadline=None)
@given(
    st.integers(1, 500), st.integers(0, 8), st.integers(1, 300), st.sampled_from([0.0, 0.1, 1.0]), st.integers(0, 99)
)
def test_attend_equals_dense_for_any_length(length, a, n, density, seed):
    lives = example(length, a=a, n=n, density=density, seed=seed)
    q, k, v = tensors(lives)
    with torch.no_grad():
        assert (attend(q, k, v, lives) - dense(q, k, v, lives)).abs().max() < 1e-10


@pytest.mark.parametrize("case", [c for c in CASES if "heads" not in c], ids=str)
def test_flex_layout_visits_exactly_the_visible(case):
    lives = example(**case)
    made = layout(lives)
    mask = visible(lives)[:, 0] & lives.real[:, :, None]
    seen = (made.start[:, None] <= lives.query[:, :, None]) & (lives.query[:, :, None] < made.end[:, None])
    seen &= lives.real[:, :, None]
    # every visible pair stands in one place of the reordered keys, and nothing else does
    back = torch.zeros(*mask.shape, dtype=torch.long)
    back.scatter_add_(2, made.order[:, None].expand_as(seen), seen.long())
    assert torch.equal(back, mask.long())
    length = mask.shape[1]
    padded = torch.nn.functional.pad(seen, (0, 0, 0, -length % BLOCK))
    blocks = padded.unflatten(2, (-1, BLOCK)).unflatten(1, (-1, BLOCK))
    some, all_ = blocks.any(4).any(2), blocks.all(4).all(2)
    assert not (some & ~made.needed).any()  # no visible pair is skipped
    assert not (made.whole & ~all_).any()
    if "cap" not in case and "packed" not in case:
        assert torch.equal(made.needed, some)  # and no block without a visible pair is visited
    built = block_mask(lives).to_dense()[:, 0].bool()
    assert torch.equal(built, made.needed)


def test_flex_equals_dense_on_a_cpu():
    """FlexAttention without compilation is its own reference: it applies the mask function, not the block lists."""
    lives = example(200, rows=2, pads=[0, 30])
    q, k, v = (x.detach() for x in tensors(lives, dtype=torch.float32))
    with torch.no_grad():
        found, expected = gathered_flex(q, k, v, lives), dense(q, k, v, lives)
    real = lives.real[:, None, :, None]
    assert ((found - expected) * real).abs().nan_to_num().max() < 1e-5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="compiled FlexAttention needs a CUDA device")
def test_flex_on_a_gpu_with_gradients():
    lives = example(1024, rows=2, pads=[0, 130])
    q, k, v = (x.detach().float().cuda().requires_grad_() for x in tensors(lives, d=64))
    reference = [x.detach().double().cpu().requires_grad_() for x in (q, k, v)]
    real = lives.real[:, None, :, None]
    weight = torch.randn(q.shape, dtype=torch.float64) * real
    out = gathered_flex(q, k, v, lives.to(q.device))
    expected = dense(*reference, lives)
    assert ((out.cpu().double() - expected) * real).abs().max() < 1e-2
    grads = torch.autograd.grad((out * weight.to(out)).sum(), (q, k, v))
    for a, b in zip(grads, torch.autograd.grad((expected * weight).sum(), reference), strict=True):
        assert (a.cpu().double() - b).abs().max() < 5e-2
