from __future__ import annotations

import itertools

import pytest

from pddl_gen.report import any_of, spearman
from pddl_gen.stats import paired_bootstrap, pass_at_k, wilson


def test_pass_at_k_is_the_share_of_subsets_with_a_success():
    for n, c in ((5, 2), (6, 0), (4, 4)):
        for k in range(1, n + 1):
            subsets = list(itertools.combinations(range(n), k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(min(s) < c for s in subsets) / len(subsets))
    with pytest.raises(ValueError, match="k <= n"):
        pass_at_k(2, 1, 3)


def test_wilson_and_bootstrap():
    low, high = wilson(8, 10)
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    mean, low, high = paired_bootstrap({"a": [(0.0, 1.0)], "b": [(0.0, 0.0)], "c": [(1.0, 1.0)]})
    assert mean == pytest.approx(1 / 3) and low == 0.0 and high <= 1.0
    assert spearman([1, 2, 3], [3.0, 2.0, 1.0]) == pytest.approx(-1.0) and spearman([1, 1], [1.0, 2.0]) is None


def test_unknown_is_neither_true_nor_false():
    assert any_of([{"bisimilar": None}, {"bisimilar": False}], "bisimilar") is None
    assert any_of([{"bisimilar": None}, {"bisimilar": True}], "bisimilar") is True
    assert any_of([{"ew": None}, {"ew": 0.5}], "ew") == 0.5
