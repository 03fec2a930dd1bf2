"""POET-XQ on the CPU."""

from __future__ import annotations

import pytest
import torch
from models import linear, turn

from poet import PoetConfig, PoetError, PoetLinear
from poet.diagnostics import spectrum_drift
from poet.quantized import Int8Weight


def test_codes_follow_the_official_layout():
    W = torch.randn(8, 64)
    found = Int8Weight(W, group=128)
    rows = W.view(-1, 128)
    scale = (rows.amax(1) - rows.amin(1)) / 255
    torch.testing.assert_close(found.scales, scale)
    assert torch.equal(found.zeros.float(), (-rows.amin(1) / scale).round())
    error = (found.read().view(-1, 128) - rows).abs()
    assert bool((error <= 0.51 * scale[:, None] + 1e-6).all() or (error <= 1.01 * scale[:, None]).all())
    assert found.codes.dtype == torch.uint8 and found.codes.shape == W.shape


def test_stochastic_rounding_has_no_bias():
    W = torch.linspace(-1, 1, 256).view(1, 256)
    found = Int8Weight(W, 256)
    total = torch.zeros_like(W)
    for seed in range(400):
        found.write(W, torch.Generator().manual_seed(seed))
        total += found.read()
    inside = slice(2, -2)
    step = float(found.scales[0])
    assert float((total / 400 - W)[0, inside].abs().max()) < 0.12 * step


@pytest.mark.parametrize("bias", [False, True])
def test_a_quantised_layer_computes_with_its_dequantised_weight(bias):
    plain = linear(16, 32, bias, torch.float32)
    layer = PoetLinear(plain, PoetConfig(block=8, base="int8", group=64, init="keep"), "layer")
    dense = PoetLinear(plain, PoetConfig(block=8, init="keep"), "layer")
    dense.write(layer.base())
    for x in (layer, dense):
        turn(x)
    x = torch.randn(5, 32)
    torch.testing.assert_close(layer(x), dense(x), rtol=0, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), dense(x), rtol=0, atol=1e-5)
    grads = [torch.autograd.grad(m(x).square().sum(), list(m.Q))[0] for m in (layer, dense)]
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-4, atol=1e-4)


def test_a_host_master_stops_requantisation_from_adding_up():
    drifts = {}
    for master in ("none", "fp32_host"):
        config = PoetConfig(block=32, base="int8", group=64, master=master, init="keep")
        layer = PoetLinear(linear(64, 64, dtype=torch.float32), config, "layer")
        start = torch.linalg.svdvals(layer.base().double())
        for seed in range(100):
            turn(layer, 0.01, seed)
            layer.merge()
        drifts[master] = spectrum_drift(torch.linalg.svdvals(layer.base().double()), start)
    assert drifts["fp32_host"] < 3e-3 < drifts["none"]


def test_groups_that_do_not_divide_are_refused():
    with pytest.raises(PoetError, match="groups of 100 do not divide the 64 numbers of a 8×8 weight"):
        Int8Weight(torch.ones(8, 8), 100)
