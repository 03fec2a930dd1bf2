"""The paper's equations and tables against closed forms and dense float64 matrices."""

from __future__ import annotations

import math

import dense
import pytest
import torch
from models import linear, turn

from poet import PoetConfig, PoetLinear, batch_layers, coverage, hyperspherical_energy, svd_entropy
from poet.diagnostics import phases, series_errors
from poet.initialization import initial_weight
from poet.memory import table_numbers
from poet.optim import auto_poet_lr, orthogonalised
from poet.primitives import side_blocks
from poet.schedule import clip_value, cosine
from shared.orthogonal import cayley, cayley_neumann, nearest_rotation, packed_length, unpack_skew

SHAPES = ((24, 16), (16, 24), (12, 12))
CONFIGS = {
    "bs": PoetConfig(block=4, init="keep"),
    "bs k=3": PoetConfig(block=4, terms=3, init="keep"),
    "bs truncated": PoetConfig(block=4, terms=4, series="truncated", init="keep"),
    "bs cayley": PoetConfig(block=4, parameterization="cayley", init="keep"),
    "bs exponential": PoetConfig(block=4, parameterization="exponential", init="keep"),
    "fs": PoetConfig(variant="full", block=0.5, init="keep"),
    "fs sizes": PoetConfig(variant="full", block=(5, 7), init="keep"),
    "ragged": PoetConfig(block=5, on_indivisible="ragged", init="keep"),
    "two sizes": PoetConfig(block=(4, 2), init="keep"),
    "R only": PoetConfig(block=(4, 0), init="keep"),
}


@pytest.mark.parametrize("plan", ["lie", "weight", "activation"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("bias", [False, True])
def test_plans_equal_autograd_through_the_dense_equation(plan, config, bias):
    for m, n in SHAPES:
        layer = PoetLinear(linear(m, n, bias), PoetConfig(**{**vars(config), "plan": plan}), "layer")
        turn(layer, 0.05)
        x = torch.randn(3, 7, n, dtype=torch.float64, requires_grad=True)
        probe = torch.randn(3, 7, m, dtype=torch.float64)
        y = layer(x)
        inputs = [x, *layer.Q, *([layer.bias] if bias else [])]
        found = torch.autograd.grad((y * probe).sum(), inputs)
        expected_y = dense.forward(layer, x, list(layer.Q), layer.bias)
        expected = torch.autograd.grad((expected_y * probe).sum(), inputs)
        torch.testing.assert_close(y, expected_y, rtol=0, atol=1e-10)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("plan", ["lie", "weight", "activation"])
@pytest.mark.parametrize("terms", [3, 4])
def test_plans_in_float32_equal_float64_to_1e_4(plan, terms):
    for m, n in SHAPES:
        config = PoetConfig(block=4, terms=terms, plan=plan, init="keep")
        layer = PoetLinear(linear(m, n, True, torch.float32), config, "layer")
        turn(layer, 0.1)
        x, probe = torch.randn(30, n), torch.randn(30, m)
        found = torch.autograd.grad((layer(x.requires_grad_()) * probe).sum(), [x, *layer.Q])
        wide = [x.detach().double().requires_grad_(), *[q.detach().double().requires_grad_() for q in layer.Q]]
        y = dense.forward(layer, wide[0], wide[1:], layer.bias.double())
        for ours, exact in zip(found, torch.autograd.grad((y * probe.double()).sum(), wide), strict=True):
            assert float((ours - exact).norm() / exact.norm()) < 1e-4


def test_recomputing_activations_gives_the_same_gradients():
    found = []
    for recompute in (False, True):
        config = PoetConfig(block=4, plan="activation", recompute=recompute, init="keep")
        layer = PoetLinear(linear(8, 12), config, "layer")
        turn(layer)
        x = torch.ones(5, 12, dtype=torch.float64, requires_grad=True)
        found.append(torch.autograd.grad(layer(x).square().sum(), [x, *layer.Q]))
    torch.testing.assert_close(found[0], found[1], rtol=0, atol=0)


def test_accumulated_gradients_are_those_of_one_batch():
    layer = PoetLinear(linear(8, 12), PoetConfig(block=4, plan="lie", init="keep"), "layer")
    turn(layer)
    x = torch.randn(10, 12, dtype=torch.float64)
    (whole,) = torch.autograd.grad(layer(x).square().sum(), list(layer.Q))
    for part in x.split(3):
        layer(part).square().sum().backward()
    torch.testing.assert_close(layer.Q[0].grad, whole, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("bias", [False, True])
def test_layers_in_a_batch_have_the_gradients_that_they_have_alone(config, bias):
    found = []
    for batched in (False, True):
        layers = [PoetLinear(linear(12, 12, bias, seed=i), config, f"layer{i}") for i in range(3)]
        for i, layer in enumerate(layers):
            turn(layer, 0.05, i)
            layer.weight_effective()  # built before it joins a group
        model = torch.nn.Sequential(layers[0], torch.nn.Tanh(), layers[1], layers[2])
        assert not batched or batch_layers(model) == 3
        x = torch.ones(5, 12, dtype=torch.float64).cumsum(0).requires_grad_()
        for _ in range(2):  # gradients add up
            model(x).square().sum().backward()
        with torch.no_grad():
            found.append([model(x), x.grad, *[p.grad for p in model.parameters() if p.requires_grad]])
        with torch.no_grad():
            layers[1].Q[0].mul_(2)
        found[-1].append(model(x).detach())
        layers[0].merge()
        found[-1].append(model(x).detach())
    for ours, alone in zip(*found, strict=True):
        torch.testing.assert_close(ours, alone, rtol=1e-10, atol=1e-10)


# -- Eq. 6 and its error


@pytest.mark.parametrize("k", range(1, 7))
def test_the_series_is_the_cayley_transform_times_one_minus_a_power(k):
    packed = 0.2 * torch.randn(1, packed_length(8), dtype=torch.float64)
    Q, eye = unpack_skew(packed)[0], torch.eye(8, dtype=torch.float64)
    R = cayley_neumann(packed, k)[0]
    torch.testing.assert_close(R, dense.exact(Q) @ (eye - torch.linalg.matrix_power(Q, k + 1)), rtol=0, atol=1e-12)
    theta = torch.linalg.eigvals(Q).imag.abs()
    expected = torch.abs(1 - (1j * theta) ** (k + 1)).sort().values
    torch.testing.assert_close(torch.linalg.svdvals(R).sort().values, expected, rtol=0, atol=1e-12)


def test_with_three_terms_the_polar_factor_is_the_cayley_transform():
    packed = 0.1 * torch.randn(2, packed_length(8), dtype=torch.float64)
    torch.testing.assert_close(
        nearest_rotation(cayley_neumann(packed, 3), tolerance=1e-13), cayley(packed), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("theta", [0.3, 0.5])
def test_series_errors_match_the_closed_form_to_a_percent(theta):
    rows = series_errors(theta)
    for row in rows:
        if row["series"] == "product":
            assert row["error"] == pytest.approx(row["closed form"], rel=0.01)
    error = {(row["series"], row["k"]): row["error"] for row in rows}
    assert error["product", 4] < error["product", 2] < error["product", 1]
    assert error["product", 4] < error["product", 3] / 10  # an even k is an order closer
    assert error["truncated", 4] > error["product", 4]


# -- tables of the paper

MODELS = {  # hidden, MLP of POET-BS, MLP of POET-FS, layers
    "60m": (512, 1280, 1376, 8),
    "130m": (768, 2048, 2048, 12),
    "350m": (1024, 2816, 2736, 24),
    "1b": (2048, 5376, 5464, 24),
}
BLOCK_STOCHASTIC = {
    "60m": (2.39, 4.81, 9.66),
    "130m": (5.52, 11.12, 22.33),
    "350m": (14.90, 30.04, 60.32),
    "1b": (29.22, 58.91, 118.29),
}
FULLY_STOCHASTIC = {
    "60m": (0.53, 2.13, 8.54),
    "130m": (1.78, 7.13, 28.56),
    "350m": (6.34, 25.44, 101.86),
    "1b": (25.39, 101.66, 406.88),
}


def trained(config: PoetConfig, hidden: int, mlp: int, layers: int) -> float:
    """Millions of trained numbers in the POET layers of a Llama."""
    shapes = [(hidden, hidden)] * 4 + [(mlp, hidden)] * 2 + [(hidden, mlp)]
    sides = [blocks for shape in shapes for side in (0, 1) for blocks in side_blocks(config, side, shape[side])]
    return layers * sum(count * packed_length(b) for b, count in sides) / 1e6


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("at, b", list(enumerate((64, 128, 256))))
def test_parameter_counts_of_block_stochastic_poet(model, at, b):
    hidden, mlp, _, layers = MODELS[model]
    assert trained(PoetConfig(block=b), hidden, mlp, layers) == pytest.approx(BLOCK_STOCHASTIC[model][at], abs=0.006)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("at, f", list(enumerate((1 / 8, 1 / 4, 1 / 2))))
def test_parameter_counts_of_fully_stochastic_poet(model, at, f):
    hidden, _, mlp, layers = MODELS[model]
    config = PoetConfig(variant="full", block=f)
    assert trained(config, hidden, mlp, layers) == pytest.approx(FULLY_STOCHASTIC[model][at], abs=0.006)


def test_memory_formulas_of_table_1():
    assert table_numbers(8, 12) == 3 * 96
    assert table_numbers(12, 8, rank=2) == 96 + 8 * 2 + 2 * 12 * 2
    assert table_numbers(8, 12, b=4) == 96 + 1.5 * 20 * 3
    assert table_numbers(12, 12, b=6, full=True) == 144 + 3 * 6 * 5


def test_the_learning_rate_rule_of_tables_9_and_10():
    assert [auto_poet_lr(b) for b in (256, 128, 64)] == pytest.approx([1e-3, 2e-3, 4e-3])


@pytest.mark.parametrize("b", [4, 8, 16, 32])
def test_coverage_of_appendix_h(b):
    counts = coverage(PoetConfig(block=b), 64, 64)
    assert bool((counts == 200).all())
    f = b / 64
    counts = coverage(PoetConfig(variant="full", block=f), 64, 64)
    assert float(counts.mean()) == pytest.approx(100 * 2 * f, rel=0.02)
    assert float(counts.std()) > 0


def test_coverage_with_different_sizes_of_the_sides():
    counts = coverage(PoetConfig(variant="full", block=(16, 8)), 64, 48)
    assert float(counts.mean()) == pytest.approx(100 * (16 / 64 + 8 / 48), rel=0.02)


# -- initialisation


def test_initial_weights_have_their_scheme_s_statistics():
    given = torch.empty(256, 128)
    make = lambda scheme, gain=1.0: initial_weight(scheme, given, gain, torch.Generator().manual_seed(0))  # noqa: E731
    assert float(make("standard").std()) == pytest.approx(0.02, rel=0.02)
    assert float(make("xavier").std()) == pytest.approx(math.sqrt(2 / 384), rel=0.02)
    sigma = torch.linalg.svdvals(make("uniform_spectrum").double())
    torch.testing.assert_close(sigma, torch.ones_like(sigma), rtol=0, atol=1e-5)
    torch.testing.assert_close(make("normalized").norm(dim=1), torch.ones(256))
    assert float(torch.linalg.matrix_norm(make("mup_normalized"), 2)) == pytest.approx(math.sqrt(2), rel=1e-4)
    torch.testing.assert_close(make("normalized", 0.5), 0.5 * make("normalized"))
    kept = torch.randn(4, 3)
    torch.testing.assert_close(initial_weight("keep", kept, 1.0, torch.Generator()), kept)


def test_normalized_spectrum_lies_within_the_bound_of_appendix_c():
    m, n = 1024, 256
    sigma = torch.linalg.svdvals(initial_weight("normalized", torch.empty(m, n), 1.0, torch.Generator().manual_seed(0)))
    scale = math.sqrt(m / n)  # rows of norm 1: entries of variance 1/n
    ratio = math.sqrt(n / m)
    assert float(sigma[0]) == pytest.approx(scale * (1 + ratio), rel=0.03)
    assert float(sigma[-1]) == pytest.approx(scale * (1 - ratio), rel=0.05)


# -- Skew-Muon


def test_skew_muon_turns_towards_the_polar_factor_and_stays_skew():
    packed = torch.randn(3, packed_length(8), dtype=torch.float64)
    X = unpack_skew(packed)
    U, _, Vt = torch.linalg.svd(X)
    found = unpack_skew(orthogonalised(packed, steps=5))
    torch.testing.assert_close(found, -found.mT, rtol=0, atol=0)
    sigma = torch.linalg.svdvals(found)
    assert float(sigma.min()) > 0.6 and float(sigma.max()) < 1.3
    # one exact (cubic) refinement away is the polar factor itself
    torch.testing.assert_close(nearest_rotation(found, tolerance=1e-12), U @ Vt, rtol=0, atol=1e-9)


def test_a_gradient_of_zero_gives_an_update_of_zero():
    assert bool((orthogonalised(torch.zeros(2, 6)) == 0).all())


# -- schedule, metrics


def test_cosine_and_clip_ramp():
    assert cosine(0, 100) == 1 and cosine(100, 100) == pytest.approx(0.01) and cosine(4, 100, warmup=10) == 0.5
    ramp = [clip_value(step, 1.0, 100, 2000) for step in (50, 100, 105, 110, 199, 200)]
    assert ramp == pytest.approx([1.0, 0.1, 0.55, 1.0, 1.0, 0.1])
    assert clip_value(2000, 1.0, 100, 2000) == 1.0 and clip_value(500, 1.0, None, 2000) == 1.0


def test_entropy_and_energy_of_known_matrices():
    assert svd_entropy(torch.ones(7)) == pytest.approx(1)
    assert svd_entropy(torch.tensor([1.0, 0, 0])) == pytest.approx(0)
    energy = hyperspherical_energy(torch.tensor([[1.0, 0], [0, 2.0], [-3.0, 0]]))
    assert energy.total == pytest.approx(2 * (1 / math.sqrt(2) * 2 + 1 / 2)) and energy.identical == 0
    assert energy.per_pair == pytest.approx(energy.total / 6)
    same = hyperspherical_energy(torch.ones(2, 3))
    assert same.identical == 2 and same.total == pytest.approx(2e6)
    rows = torch.randn(50, 8)
    assert hyperspherical_energy(rows, chunk=7).total == pytest.approx(hyperspherical_energy(rows).total)


def test_phases_of_a_known_curve():
    steps = list(range(0, 100, 10))
    cosines = [1.0, 0.8, 0.65, 0.63, 0.64, 0.63, 0.62, 0.6, 0.6, 0.6]
    found = phases(steps, cosines, [10.0 - i for i in range(10)])
    assert found["search_ends"] == 30 and found["freeze_begins"] == 70 and found["loss_at_end"] == 1.0
