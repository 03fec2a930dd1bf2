"""The same functions on a GPU, with the CPU as reference."""

from __future__ import annotations

import copy

import pytest
import torch
from models import linear, tiny_llama, tokens, turn

from poet import PoetConfig, PoetLinear, PoetOptimizer, batch_layers, merge_all, wrap
from poet.evaluation import Batch, summed_loss
from poet.linear import poet_layers

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("plan", ["lie", "weight", "activation"])
@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-4), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("base", ["dense", "int8"])
def test_a_layer_on_the_gpu_is_the_layer_on_the_cpu(plan, dtype, tolerance, base):
    config = PoetConfig(block=32, plan=plan, init="keep", base=base, group=64)
    layer = PoetLinear(linear(64, 128, True, torch.float32), config, "layer")
    turn(layer, 0.01)
    x, g = torch.randn(200, 128), torch.randn(200, 64)
    reference = torch.autograd.grad(layer(x.requires_grad_()), [x, *layer.Q], g)
    there = copy.deepcopy(layer).cuda()
    if dtype == torch.bfloat16:
        if base == "int8":
            there.int8.dtype = dtype
        else:
            there.weight.data = there.weight.data.to(dtype)
        there.bias.data = there.bias.data.to(dtype)
    moved = x.detach().cuda().to(dtype).requires_grad_()
    found = torch.autograd.grad(there(moved), [moved, *there.Q], g.cuda().to(dtype))
    for ours, exact in zip(found, reference, strict=True):
        assert float((ours.cpu().float() - exact).norm() / exact.norm()) < tolerance


@pytest.mark.parametrize("batched", [False, True])
def test_training_and_merging_on_the_gpu_follow_the_cpu(batched):
    losses = {}
    for device in ("cpu", "cuda"):
        model = tiny_llama().to(device)
        wrap(model, PoetConfig(block=8, merge_every=3))
        if batched:
            batch_layers(model)
        optimizer = PoetOptimizer(model, poet_lr=1e-3, base_lr=1e-3)
        ids, losses[device] = tokens().to(device), []
        for _ in range(7):
            loss = summed_loss(model, Batch(ids, ids)) / ids.numel()
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses[device].append(float(loss.detach()))
        merge_all(model, optimizer)
        assert all(int(layer.interval) == 3 for layer in poet_layers(model))
    assert losses["cuda"] == pytest.approx(losses["cpu"], abs=1e-4)
