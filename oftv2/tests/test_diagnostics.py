"""Geometry of rotations against closed forms in float64."""

from __future__ import annotations

import json
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from oftv2.diagnostics import (
    GeometryRow,
    activation_geometry,
    geometry,
    hyperspherical_energy,
    linear_cka,
    relative_output_change,
    singular_drift,
    singular_value_of_cnp,
    terms_ablation,
    to_rows,
    update_norm,
)
from oftv2.errors import OFTError
from oftv2.rotation import rotation_from
from shared.orthogonal import block_rotate_weight, cayley, pack_skew, packed_length, spectral_angle, unpack_skew

F64 = torch.float64


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=F64) * scale


@settings(max_examples=40, deadline=None)
@given(terms=st.integers(1, 12), seed=st.integers(0, 999), b=st.sampled_from([2, 3, 4, 8, 9]))
def test_closed_form_gives_every_singular_value_of_a_block(terms, seed, b):
    """Q's singular values are the θ of its planes (0 on the axis of an odd block)."""
    packed = draw(packed_length(b), seed=seed, scale=0.25)
    theta = torch.linalg.svdvals(unpack_skew(packed))
    expected = singular_value_of_cnp(theta, terms).sort().values
    found = torch.linalg.svdvals(rotation_from(packed, terms=terms)).sort().values
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=0)


def test_closed_form_at_known_points():
    theta = torch.tensor([0.0, 0.5, 1.0], dtype=F64)
    t = theta
    assert torch.equal(singular_value_of_cnp(theta, 1), torch.ones(3, dtype=F64))
    for terms, expected in {
        2: (1 + 4 * t**2).sqrt(),
        3: (1 + t**6).sqrt(),
        4: (1 + t**6).sqrt(),
        5: (1 - t**4).abs(),
        6: (1 + t**10).sqrt(),
        7: 1 + t**6,
        8: (1 + t**14).sqrt(),
    }.items():
        torch.testing.assert_close(singular_value_of_cnp(theta, terms), expected, atol=1e-15, rtol=0)
    assert float(singular_value_of_cnp(0.5, 5)) == 0.9375
    assert float(singular_value_of_cnp(1.0, 5)) == 0.0
    with pytest.raises(ValueError, match="terms must be a whole number from 1 to 64, not 0"):
        singular_value_of_cnp(0.5, 0)


def test_an_exact_rotation_keeps_singular_values_norms_and_energy():
    W = draw(20, 24)
    turned = block_rotate_weight(W, cayley(draw(3, packed_length(8), seed=1)))
    assert singular_drift(W, turned) < 1e-13
    torch.testing.assert_close(turned.norm(dim=1), W.norm(dim=1), atol=1e-12, rtol=0)
    assert hyperspherical_energy(turned) == pytest.approx(hyperspherical_energy(W), rel=1e-12)
    assert update_norm(W, cayley(draw(3, packed_length(8), seed=1))) > 0.5


def test_a_neumann_rotation_drifts_by_its_defect():
    """One plane over a weight that is the identity: W' has the singular value of the closed form, twice."""
    packed = torch.tensor([[0.8]], dtype=F64)
    R = rotation_from(packed, terms=5)
    W = torch.eye(2, dtype=F64)
    assert singular_drift(W, block_rotate_weight(W, R)) == pytest.approx(0.8**4, rel=1e-12)


def test_update_norm_is_that_of_the_dense_product():
    W, R = draw(10, 12), cayley(draw(3, packed_length(4), seed=2, scale=0.3))
    dense = W @ torch.block_diag(*R).T
    assert update_norm(W, R) == pytest.approx(float((dense - W).norm() / W.norm()), rel=1e-12)
    shared = cayley(draw(1, packed_length(4), seed=2))
    dense = W @ torch.block_diag(*shared.expand(3, -1, -1)).T
    assert update_norm(W, shared) == pytest.approx(float((dense - W).norm() / W.norm()), rel=1e-12)


def test_energy_of_known_configurations():
    # an orthonormal set: n(n-1) ordered pairs at distance √2
    assert hyperspherical_energy(3 * torch.eye(7, dtype=F64)) == pytest.approx(42 / math.sqrt(2), rel=1e-14)
    # opposite neurons: two ordered pairs at distance 2
    assert hyperspherical_energy(torch.tensor([[1.0, 0.0], [-5.0, 0.0]])) == pytest.approx(1.0)
    # a zero neuron has no direction; parallel neurons have distance 0; one neuron has no pair
    assert hyperspherical_energy(torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0]])) == pytest.approx(2 / math.sqrt(2))
    assert hyperspherical_energy(torch.tensor([[1.0, 0.0], [2.0, 0.0]])) == math.inf
    assert math.isnan(hyperspherical_energy(torch.ones(1, 4)))


def test_energy_in_chunks_equals_the_definition():
    W = draw(37, 5)
    directions = W / W.norm(dim=1, keepdim=True)
    expected = sum(1 / float((directions[i] - directions[j]).norm()) for i in range(37) for j in range(37) if i != j)
    for chunk in (1, 10, 37, 1024):
        assert hyperspherical_energy(W, chunk=chunk) == pytest.approx(expected, rel=1e-10)


def test_sampled_energy_is_an_estimate_with_a_fixed_seed():
    W = draw(400, 64)
    whole = hyperspherical_energy(W)
    assert hyperspherical_energy(W, neurons=400) == whole
    sampled = hyperspherical_energy(W, neurons=100, seed=3)
    assert sampled == hyperspherical_energy(W, neurons=100, seed=3)
    assert sampled != hyperspherical_energy(W, neurons=100, seed=4)
    assert sampled == pytest.approx(whole, rel=0.02)


def test_relative_output_change_of_a_scaled_weight():
    W, h = draw(5, 6), draw(100, 6, seed=1)
    assert relative_output_change(0.3 * W, W, h) == pytest.approx(0.09, rel=1e-12)


@pytest.mark.parametrize("tokens", [8, 60])  # fewer and more tokens than features
def test_cka_is_invariant_to_rotation_and_scale_and_symmetric(tokens):
    X = draw(tokens, 16)
    assert linear_cka(X, X) == pytest.approx(1, rel=1e-12)
    assert linear_cka(X, 3 * X @ torch.linalg.qr(draw(16, 16, seed=1))[0] + 5) == pytest.approx(1, rel=1e-12)
    Y = draw(tokens, 12, seed=2)
    assert linear_cka(X, Y) == pytest.approx(linear_cka(Y, X), rel=1e-12)
    centred = X - X.mean(0), Y - Y.mean(0)
    by_hand = (centred[1].T @ centred[0]).norm() ** 2 / (
        (centred[0].T @ centred[0]).norm() * (centred[1].T @ centred[1]).norm()
    )
    assert linear_cka(X, Y) == pytest.approx(float(by_hand), rel=1e-10)
    assert linear_cka(X, Y) < 0.95


def test_cka_of_a_constant_is_undefined_and_of_different_tokens_refused():
    assert math.isnan(linear_cka(draw(9, 3), torch.ones(9, 2, dtype=F64)))
    with pytest.raises(OFTError, match="5 rows of one and 4 of the other"):
        linear_cka(draw(5, 2), draw(4, 2))


def adapter(parameterization: str, scale: float = 0.05):
    packed = {
        "a": draw(2, packed_length(8), scale=scale).float(),
        "b": draw(3, packed_length(4), seed=1, scale=scale).float(),
    }
    weights = {"a": draw(30, 16, seed=2).float(), "b": draw(6, 12, seed=3).float()}
    rotations = {path: rotation_from(p, parameterization) for path, p in packed.items()}
    return packed, rotations, weights


def test_geometry_of_an_adapter_that_does_nothing_is_zero():
    packed, rotations, weights = adapter("cayley_neumann", scale=0.0)
    for row in geometry(packed, rotations, weights):
        assert (row.theta_max, row.orthogonality_error, row.update_norm, row.singular_drift) == (0, 0, 0, 0)
        assert row.energy_change == 0 and row.energy > 0


def test_geometry_tells_exact_from_series():
    exact = {row.path: row for row in geometry(*adapter("cayley", scale=0.2))}
    series = {row.path: row for row in geometry(*adapter("cayley_neumann", scale=0.2))}
    assert list(exact) == ["a", "b"] and exact["a"].block_size == 8
    for path in exact:
        assert exact[path].theta_max == series[path].theta_max > 0.2
        assert exact[path].singular_drift < 1e-5 < series[path].singular_drift
        assert exact[path].orthogonality_error < 1e-5 < series[path].orthogonality_error
        assert abs(exact[path].energy_change) < 1e-6
    packed, rotations, weights = adapter("cayley")
    with pytest.raises(OFTError, match=r"^b has a weight and no rotation"):
        geometry({"a": packed["a"]}, rotations, weights)


def test_geometry_of_activations():
    _, rotations, weights = adapter("cayley")
    h = draw(200, 16, seed=5).float()
    (row,) = activation_geometry(rotations, weights, {"a": h})
    W, dense = weights["a"], weights["a"] @ torch.block_diag(*rotations["a"]).T
    expected = ((h @ (dense - W).T) ** 2).sum() / ((h @ W.T) ** 2).sum()
    assert row.path == "a" and row.csd == pytest.approx(float(expected), rel=1e-4)
    assert 0.5 < row.cka < 1


def test_ablation_of_terms_has_the_closed_form_at_its_worst_block():
    Q = torch.zeros(1, 4, 4, dtype=F64)
    Q[0, 0, 1], Q[0, 1, 0] = 0.5, -0.5  # one plane, θ = 0.5
    packed = {"small": draw(2, 6, scale=1e-3), "large": pack_skew(Q)}
    rows = terms_ablation(packed)
    assert [row.terms for row in rows] == list(range(2, 9))
    for row in rows:
        assert row.path == "large" and row.theta_max == pytest.approx(0.5)
        # the plane has two singular values s, the other two are 1: ‖RᵀR - I‖_F = √2·|s² - 1|
        assert row.orthogonality_error == pytest.approx(math.sqrt(2) * abs(row.singular_value**2 - 1), rel=1e-10)
    by_terms = {row.terms: row.orthogonality_error for row in rows}
    assert by_terms[3] == by_terms[4] < by_terms[5]  # the default is the worse one
    with pytest.raises(OFTError, match="no packed parameters"):
        terms_ablation({})


def test_theta_is_the_spectral_norm():
    packed = draw(3, packed_length(6))
    (row,) = geometry({"a": packed}, {"a": cayley(packed)}, {"a": draw(4, 18, seed=1)})
    assert row.theta_max == pytest.approx(float(spectral_angle(packed).max()), rel=1e-12)


def test_rows_become_json():
    row = GeometryRow("a", 8, 0.1, 0.2, math.nan, 0.3, math.inf, 0.0)
    (mapping,) = to_rows([row])
    assert json.loads(json.dumps(mapping, allow_nan=False)) == mapping
    assert mapping["update_norm"] is None and mapping["energy"] is None and mapping["theta_max"] == 0.1
