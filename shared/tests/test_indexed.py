"""Rotations of chosen coordinates, and gradients without a graph, against dense matrices and autograd."""

from __future__ import annotations

import pytest
import torch

from shared.orthogonal import cayley, cayley_neumann, packed_length
from shared.orthogonal.gradients import cayley_gradient, cayley_neumann_gradient
from shared.orthogonal.indexed import indexed_gram, rotate_columns, rotate_rows


def dense(G: torch.Tensor, index: torch.Tensor, d: int) -> torch.Tensor:
    R = torch.eye(d, dtype=G.dtype)
    b = G.shape[1]
    for k, block in enumerate(G):
        rows = index[k * b : (k + 1) * b]
        R[rows[:, None], rows[None, :]] = block
    return R


def blocks(r: int, b: int) -> torch.Tensor:
    return cayley(0.3 * torch.randn(r, packed_length(b), dtype=torch.float64))


@pytest.mark.parametrize("d, r, b", [(12, 3, 4), (12, 1, 5), (12, 2, 4), (8, 1, 8)])
def test_rows_and_columns_equal_the_dense_product_with_its_gradients(d, r, b):
    torch.manual_seed(0)
    index = torch.randperm(d)[: r * b]
    W = torch.randn(d, d, dtype=torch.float64, requires_grad=True)
    G = blocks(r, b).requires_grad_()
    R = dense(G, index, d)
    probe = torch.randn(d, d, dtype=torch.float64)
    for ours, reference in ((rotate_columns(W, G, index), W @ R), (rotate_rows(W, G, index), R @ W)):
        torch.testing.assert_close(ours, reference, rtol=0, atol=1e-12)
        found = torch.autograd.grad((ours * probe).sum(), (W, G), retain_graph=True)
        expected = torch.autograd.grad((reference * probe).sum(), (W, G), retain_graph=True)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-4), (torch.bfloat16, 1e-4)])
def test_the_gram_is_the_dense_gram_s_blocks(dtype, tolerance):
    a, c = torch.randn(2, 20, 12).to(dtype)
    index = torch.randperm(12)[:8]
    whole = a.double().T @ c.double()
    found = indexed_gram(a, c, index, 4)
    for k in range(2):
        at = index[4 * k : 4 * k + 4]
        torch.testing.assert_close(found[k].double(), whole[at[:, None], at[None, :]], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "terms, series", [(1, "product"), (2, "product"), (3, "product"), (4, "product"), (4, "truncated")]
)
def test_series_gradient_equals_autograd(terms, series):
    packed = (0.2 * torch.randn(3, packed_length(6), dtype=torch.float64)).requires_grad_()
    dR = torch.randn(3, 6, 6, dtype=torch.float64)
    (expected,) = torch.autograd.grad(cayley_neumann(packed, terms, series), packed, dR)
    found = cayley_neumann_gradient(packed.detach(), dR, terms, series)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_cayley_gradient_equals_autograd():
    packed = (0.5 * torch.randn(3, packed_length(6), dtype=torch.float64)).requires_grad_()
    dR = torch.randn(3, 6, 6, dtype=torch.float64)
    R = cayley(packed)
    (expected,) = torch.autograd.grad(R, packed, dR)
    torch.testing.assert_close(cayley_gradient(R.detach(), dR), expected, rtol=0, atol=1e-12)


def test_an_index_of_the_wrong_length_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="2 blocks of size 4 need as many coordinates, not 7"):
        rotate_columns(torch.ones(3, 12), torch.ones(2, 4, 4), torch.arange(7))
