"""Numerics against the libraries that others use."""

from __future__ import annotations

import pytest
import torch
from models import linear, tiny_llama, tokens, turn

from poet import PoetConfig, PoetLinear, PoetOptimizer, wrap
from poet.evaluation import Batch, summed_loss
from poet.linear import poet_layers
from poet.methods import make_trainee, prepare_model
from poet.settings import MethodSettings, TrainingSettings

TRAINING = TrainingSettings(steps=1, sequences=4, length=12, eps=1e-8)


def losses(step, model, count=4) -> list[float]:
    found = []
    for seed in range(count):
        ids = tokens(seed=seed)
        loss = summed_loss(model, Batch(ids, ids)) / ids.numel()
        loss.backward()
        step()
        found.append(float(loss.detach()))
    return found


def test_without_poet_layers_the_optimizer_is_torch_s_adamw_bit_for_bit():
    ours, theirs = tiny_llama(), tiny_llama()
    one = PoetOptimizer(ours, base_lr=1e-2, weight_decay=0.1, eps=1e-8)
    matrices = [p for p in theirs.parameters() if p.ndim >= 2]
    vectors = [p for p in theirs.parameters() if p.ndim < 2]
    two = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}], lr=1e-2
    )
    step = lambda optimizer: (optimizer.step(), optimizer.zero_grad())  # noqa: E731
    assert losses(lambda: step(one), ours) == losses(lambda: step(two), theirs)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)


def test_between_merges_q_follows_torch_s_adamw():
    model = tiny_llama()
    wrap(model, PoetConfig(block=8, merge_every=100, theta_max=None))
    optimizer = PoetOptimizer(model, poet_lr=1e-2, eps=1e-8)
    copies = [Q.detach().clone().requires_grad_() for layer in poet_layers(model) for Q in layer.Q]
    reference = torch.optim.AdamW(copies, lr=1e-2, weight_decay=0.0)

    def step():
        for copy, Q in zip(copies, (Q for layer in poet_layers(model) for Q in layer.Q), strict=True):
            copy.grad = Q.grad.clone()
        optimizer.step()
        reference.step()
        optimizer.zero_grad()

    losses(step, model)
    for copy, Q in zip(copies, (Q for layer in poet_layers(model) for Q in layer.Q), strict=True):
        assert torch.equal(copy, Q) and bool((Q != 0).any())


def test_one_block_on_the_input_side_is_peft_s_oft_with_cayley_neumann():
    """PEFT counts the series' own two terms along: its 5 is k = 3. Its rotation is applied to x from the right."""
    from peft import OFTConfig, inject_adapter_in_model

    plain = torch.nn.Sequential(linear(12, 16, dtype=torch.float32))
    weight = plain[0].weight.detach().clone()
    config = OFTConfig(oft_block_size=16, target_modules=["0"], use_cayley_neumann=True, num_cayley_neumann_terms=5)
    inject_adapter_in_model(config, plain)
    layer = PoetLinear(torch.nn.Linear(16, 12, bias=False), PoetConfig(block=(0, 16), terms=3, init="keep"), "0")
    layer.write(weight)
    layer.index_in.copy_(torch.arange(16))
    turn(layer, 0.05)
    packed = next(p for n, p in plain.named_parameters() if "oft_R" in n)
    x = torch.randn(6, 16)
    # y = W P x: rows of x are multiplied by Pᵀ, which is the rotation by −Q.
    with torch.no_grad():
        packed.copy_(-layer.Q[0])
        theirs = plain(x)
    torch.testing.assert_close(layer(x).detach(), theirs, rtol=0, atol=1e-5)


def test_the_packed_order_is_the_upper_triangle_row_by_row():
    layer = PoetLinear(linear(4, 4), PoetConfig(block=4, terms=64, init="keep"), "layer")
    with torch.no_grad():
        layer.Q[0][0, 1] = 0.5  # Q[0, 2]
    G = layer.rotations()[0][0][0]
    expected = torch.eye(4, dtype=torch.float64)
    # a plane of Q with value q turns by 2·arctan q
    c, s = (1 - 0.25) / 1.25, 2 * 0.5 / 1.25
    expected[0, 0] = expected[2, 2] = c
    expected[0, 2], expected[2, 0] = s, -s
    torch.testing.assert_close(G, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["adamw", "muon", "galore", "lora", "poet"])
def test_every_method_learns(kind):
    options = {"galore": {"rank": 4, "gap": 5, "scale": 0.25}, "lora": {"rank": 4, "match_block": None}}.get(kind, {})
    method = MethodSettings(kind, kind, lr=1e-2, options=options, poet={"block": 8, "merge_every": 3})
    model = tiny_llama()
    prepare_model(model, method, 0)
    trainee = make_trainee(model, method, TRAINING)
    ids = tokens()
    found = []
    for _ in range(8):
        loss = summed_loss(model, Batch(ids, ids))
        loss.backward()
        trainee.step()
        found.append(float(loss.detach()))
    assert found[-1] < 0.9 * found[0]
