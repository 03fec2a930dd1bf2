"""Properties that hold for any packed numbers."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.orthogonal import cayley, cayley_neumann, inverse_cayley, pack_skew, rotate, unpack_skew

sizes = st.sampled_from([2, 3, 5, 8, 16])
seeds = st.integers(0, 2**31)
scales = st.floats(1e-4, 2.0)


def draw(b: int, seed: int, scale: float, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, b * (b - 1) // 2, generator=generator, dtype=torch.float64) * scale


@given(sizes, seeds, scales)
@settings(max_examples=50, deadline=None)
def test_packing_round_trip(b, seed, scale):
    packed = draw(b, seed, scale)
    Q = unpack_skew(packed)
    assert torch.equal(Q, -Q.mT)
    assert torch.equal(pack_skew(Q), packed)


@given(sizes, seeds, scales)
@settings(max_examples=50, deadline=None)
def test_cayley_is_a_rotation(b, seed, scale):
    packed = draw(b, seed, scale)
    R = cayley(packed)
    assert float((R.mT @ R - torch.eye(b, dtype=torch.float64)).abs().max()) < 1e-12
    torch.testing.assert_close(torch.linalg.det(R), torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(cayley(-packed), R.mT, rtol=0, atol=1e-12)


@given(sizes, seeds, st.floats(1e-3, 0.5))
@settings(max_examples=50, deadline=None)
def test_inverse_cayley_round_trip(b, seed, scale):
    packed = draw(b, seed, scale)
    torch.testing.assert_close(inverse_cayley(cayley(packed)), packed, rtol=1e-7, atol=1e-9)


@given(sizes, seeds, scales)
@settings(max_examples=50, deadline=None)
def test_rotation_keeps_norms(b, seed, scale):
    R = cayley(draw(b, seed, scale, count=3))
    x = torch.randn(4, 3 * b, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(rotate(x, R).norm(dim=-1), x.norm(dim=-1), rtol=1e-12, atol=0)


@given(sizes, st.integers(0, 9), st.sampled_from(["product", "truncated"]))
@settings(max_examples=50, deadline=None)
def test_zero_is_the_identity_bit_for_bit(b, terms, series):
    zero = torch.zeros(2, b * (b - 1) // 2)
    eye = torch.eye(b).expand(2, b, b)
    assert torch.equal(cayley_neumann(zero, terms, series), eye)
    assert torch.equal(cayley(zero), eye)
    x = torch.randn(3, 2 * b)
    assert torch.equal(rotate(x, cayley_neumann(zero, terms, series)), x)
