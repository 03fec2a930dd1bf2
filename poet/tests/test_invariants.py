"""What holds for any shape, block size and angle."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from models import linear, turn

from poet import PoetConfig, PoetLinear, unwrap, wrap
from poet.primitives import draw_index
from shared.orthogonal import cayley, pack_skew, packed_length, unpack_skew

quick = settings(max_examples=15, deadline=None)
sizes = st.integers(2, 12)


@quick
@given(b=st.integers(2, 9), rows=st.integers(1, 3), seed=st.integers(0, 99))
def test_packing_round_trip_and_exact_cayley(b, rows, seed):
    packed = torch.randn(rows, packed_length(b), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    Q = unpack_skew(packed)
    assert torch.equal(pack_skew(Q), packed) and torch.equal(Q, -Q.mT)
    C = cayley(packed)
    torch.testing.assert_close(C @ C.mT, torch.eye(b, dtype=torch.float64).expand_as(C), rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.linalg.det(C), torch.ones(rows, dtype=torch.float64), rtol=0, atol=1e-12)


@quick
@given(m=st.integers(4, 20), n=st.integers(4, 20), b=st.integers(2, 4), seed=st.integers(0, 99), full=st.booleans())
def test_the_effective_weight_has_the_singular_values_of_w(m, n, b, seed, full):
    config = PoetConfig(
        variant="full" if full else "block",
        block=b,
        parameterization="cayley",
        on_indivisible="error" if full else "ragged",
        init="keep",
    )
    layer = PoetLinear(linear(m, n, seed=seed), config, "layer")
    turn(layer, 0.5, seed)
    found, kept = (torch.linalg.svdvals(W.detach()) for W in (layer.weight_effective(), layer.base()))
    torch.testing.assert_close(found, kept, rtol=0, atol=1e-12)
    assert float((layer.weight_effective() - layer.base()).abs().max()) > 1e-6


@quick
@given(seed=st.integers(0, 99), interval=st.integers(0, 5), d=st.integers(2, 40))
def test_patterns_are_permutations_that_depend_on_their_name_only(seed, interval, d):
    index = draw_index(seed, "a", 0, interval, d, d)
    assert torch.equal(index.sort().values, torch.arange(d))
    torch.randn(3)  # the global generator has no part in it
    assert torch.equal(index, draw_index(seed, "a", 0, interval, d, d))
    if d > 12:
        others = [draw_index(seed, "b", 0, interval, d, d), draw_index(seed, "a", 1, interval, d, d)]
        others += [draw_index(seed, "a", 0, interval + 1, d, d), draw_index(seed + 1, "a", 0, interval, d, d)]
        assert not any(torch.equal(index, other) for other in others)


def test_every_coordinate_is_drawn_equally_often():
    counts = torch.zeros(8)
    for interval in range(2000):
        counts[draw_index(0, "layer", 0, interval, 8, 3)] += 1
    # each count is binomial(2000, 3/8) with a standard deviation of 21.7
    assert bool(((counts - 750).abs() < 90).all())


@quick
@given(m=sizes, n=sizes, bias=st.booleans())
def test_wrap_then_unwrap_is_the_identity_for_kept_weights(m, n, bias):
    plain = torch.nn.Sequential(linear(2 * m, 2 * n, bias))
    weight, x = plain[0].weight.detach().clone(), torch.randn(3, 2 * n, dtype=torch.float64)
    y = plain(x)
    wrap(plain, PoetConfig(block=2, init="keep"))
    torch.testing.assert_close(plain(x), y, rtol=0, atol=1e-12)
    unwrap(plain)
    assert type(plain[0]) is torch.nn.Linear and torch.equal(plain[0].weight, weight)


def test_fully_stochastic_with_everything_is_block_stochastic_with_one_block():
    x = torch.randn(4, 8, dtype=torch.float64)
    layers = []
    for config in (PoetConfig(variant="full", block=1.0, init="keep"), PoetConfig(block=8, init="keep")):
        layer = PoetLinear(linear(8, 8), config, "layer")
        turn(layer)
        layers.append(layer)
    torch.testing.assert_close(layers[0](x), layers[1](x), rtol=0, atol=1e-12)


def test_patterns_do_not_depend_on_the_order_of_layers():
    def model(names):
        return torch.nn.ModuleDict({name: linear(8, 8) for name in names})

    one, two = model(["a", "b"]), model(["b", "a"])
    for m in (one, two):
        wrap(m, PoetConfig(block=4))
    assert torch.equal(one["a"].index_in, two["a"].index_in) and torch.equal(one["a"].weight, two["a"].weight)
    assert not torch.equal(one["a"].index_in, one["b"].index_in)


def test_the_bias_has_its_gradient_and_no_part_in_a_merge():
    layer = PoetLinear(linear(8, 8, True), PoetConfig(block=4), "layer")
    bias = layer.bias.detach().clone()
    turn(layer)
    layer(torch.ones(3, 8, dtype=torch.float64)).sum().backward()
    torch.testing.assert_close(layer.bias.grad, torch.full((8,), 3.0, dtype=torch.float64))
    layer.merge()
    assert torch.equal(layer.bias.detach(), bias)
