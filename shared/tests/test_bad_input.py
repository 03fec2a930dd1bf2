"""Refusals: one sentence that names the value and what is allowed."""

from __future__ import annotations

import pytest
import torch

from shared.orthogonal import (
    block_size_of,
    cayley_neumann,
    inverse_cayley,
    nearest_rotation,
    neumann_coefficients,
    rotate,
    rotate_many,
)


@pytest.mark.parametrize("length", [0, 2, 4, 5, 497])
def test_lengths_that_are_no_triangle(length):
    with pytest.raises(ValueError, match=r"b\(b-1\)/2 .* not " + str(length)):
        block_size_of(length)


@pytest.mark.parametrize("terms", [-1, 65])
def test_number_of_terms(terms):
    with pytest.raises(ValueError, match=f"between 0 and 64 powers, not {terms}"):
        neumann_coefficients(terms)


def test_unknown_series():
    with pytest.raises(ValueError, match="'product' or 'truncated', not 'taylor'"):
        cayley_neumann(torch.zeros(1, 6), 3, "taylor")


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 5, 5)])
def test_blocks_that_do_not_fit(shape):
    with pytest.raises(ValueError, match="not 16"):
        rotate(torch.zeros(2, 16), torch.zeros(shape))


def test_rotation_of_wrong_rank():
    with pytest.raises(ValueError, match=r"\(r, b, b\) blocks, not of shape \(4, 4\)"):
        rotate_many(torch.zeros(2, 16), [torch.zeros(4, 4)])


def test_half_turn_has_no_inverse_cayley():
    with pytest.raises(ValueError, match="half turn"):
        inverse_cayley(-torch.eye(2).unsqueeze(0))


def test_no_polar_factor_within_reach():
    with pytest.raises(ValueError, match="Newton-Schulz did not reach"):
        nearest_rotation(torch.zeros(1, 3, 3))


def test_unknown_backend():
    with pytest.raises(ValueError, match="auto, torch, triton, not 'cuda'"):
        cayley_neumann(torch.zeros(1, 6), backend="cuda")


def test_kernel_for_an_odd_block_size():
    with pytest.raises(ValueError, match=r"\[2, 4, 8, 16, 32, 64\], not 3"):
        cayley_neumann(torch.zeros(1, 3), backend="triton")
