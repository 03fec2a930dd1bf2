"""pass@K against enumeration and the released code's simulation; intervals and tests against scipy; the paper's
tables."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from benchmarks.official import monte_carlo
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from formalmath.errors import FormalMathError
from formalmath.lean.statement import parse_statement
from formalmath.metrics import errors, paper
from formalmath.metrics.intervals import bootstrap, two_proportions, wilson
from formalmath.metrics.paired import cohen_kappa, fleiss_kappa, holm, mcnemar, paired_difference, roc
from formalmath.metrics.passk import pass_at_k, pass_curve, poststratify
from formalmath.metrics.perplexity import code_mask, perplexity


@given(st.integers(1, 12), st.data())
def test_pass_at_k_is_the_share_of_draws_with_a_proof(n, data):
    c = data.draw(st.integers(0, n))
    accepted = [i < c for i in range(n)]
    curve = pass_at_k(n, np.array([c]), range(1, n + 1))[0]
    for k in range(1, n + 1):
        draws = [any(accepted[i] for i in draw) for draw in combinations(range(n), k)]
        assert curve[k - 1] == pytest.approx(sum(draws) / len(draws), abs=1e-12)
    assert curve[0] == pytest.approx(c / n)
    assert (np.diff(curve) >= -1e-12).all()


def test_large_curves_are_exact_at_their_ends():
    n = 3200
    c = np.array([0, 1, 17, 3199, 3200])
    table = pass_at_k(n, c, [1, 1600, 3200])
    assert np.allclose(table[:, 0], c / n, atol=1e-12)
    assert np.array_equal(table[:, 2], c > 0)
    assert table[1, 1] == pytest.approx(0.5, abs=1e-12)


def test_the_released_simulation_lies_within_three_standard_errors():
    rng = np.random.default_rng(0)
    n, ks = 200, [1, 6, 32, 128]
    c = rng.binomial(n, rng.beta(0.3, 2, size=60))
    exact = pass_at_k(n, c, ks).mean(0)
    simulated, error = monte_carlo([np.arange(n) < x for x in c], ks, 50, rng)
    assert (np.abs(simulated - exact) <= 3 * np.maximum(error, 1e-9)).all()


def test_the_released_simulation_drops_short_problems_from_the_denominator():
    """§3.1: a problem with n < K silently leaves the mean there; here K > n is refused, naming it."""
    rng = np.random.default_rng(0)
    short, whole = np.zeros(4, bool), np.ones(8, bool)
    simulated, _ = monte_carlo([short, whole], [8], 10, rng)
    assert simulated[0] == 1.0
    with pytest.raises(FormalMathError, match="problem short has 4"):
        pass_at_k(np.array([4, 8]), np.array([0, 8]), [8], names=["short", "whole"])


@pytest.mark.parametrize(
    ("n", "c", "ks", "part"),
    [(4, [5], [1], "more accepted"), (4, [1], [0], "at least 1"), (4, [-1], [1], "fewer than none")],
)
def test_impossible_counts_are_refused(n, c, ks, part):
    with pytest.raises(FormalMathError, match=part):
        pass_at_k(n, np.array(c), ks)


@given(st.integers(0, 60), st.integers(1, 60))
def test_wilson_is_scipy_s(k, extra):
    n = k + extra
    low, high = wilson(k, n)
    reference = binomtest(k, n).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((reference.low, reference.high), abs=1e-9)


def test_wilson_at_lite_is_as_wide_as_said():
    low, high = wilson(213, 425)
    assert 100 * (high - low) / 2 == pytest.approx(paper.LITE_HALF_WIDTH, abs=0.1)


def test_bootstrap_agrees_with_a_loop():
    rng = np.random.default_rng(1)
    table = rng.random((40, 3)).round(1)
    ours = bootstrap(table, 4000, 0)
    loop = np.percentile([table[rng.integers(40, size=40)].mean(0) for _ in range(4000)], [2.5, 97.5], axis=0).T
    assert np.abs(ours - loop).max() < 0.02


def test_curves_show_what_open_samples_leave():
    curve = pass_curve(4, np.array([0, 2, 4]), [1, 4], open_samples=np.array([4, 0, 0]))
    assert curve.at(4)[0] == pytest.approx(2 / 3) and curve.high[-1] == 1.0
    assert curve.at(4)[1:] == pytest.approx(wilson(2, 3))


def test_mcnemar_is_exact():
    a = [True] * 9 + [False] * 3 + [True] * 5
    b = [False] * 9 + [True] * 3 + [True] * 5
    found = mcnemar(a, b)
    assert (found.only_first, found.only_second) == (9, 3)
    assert found.p == pytest.approx(binomtest(9, 12).pvalue)
    assert mcnemar([True], [True]).p == 1.0


def test_holm_and_differences():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    mean, low, high = paired_difference(np.ones(30), np.zeros(30))
    assert mean == low == high == 1.0


def test_agreement_statistics():
    # Fleiss 1971, as computed by hand: two items, three votes
    assert fleiss_kappa(np.array([[3, 0], [0, 3]])) == pytest.approx(1.0)
    assert fleiss_kappa(np.array([[2, 1], [1, 2]])) == pytest.approx(-1 / 3)
    assert cohen_kappa(["a", "b", "a", "b"], ["a", "b", "a", "b"]) == 1.0
    assert cohen_kappa(["a", "a", "b", "b"], ["a", "b", "a", "b"]) == 0.0
    assert roc([3, 2, 1, 0], [True, True, False, False])[2] == 1.0
    assert roc([1, 1, 1, 1], [True, True, False, False])[2] == 0.5


def test_poststratification_weighs_lite_s_halves():
    estimate, low, high = poststratify((190, 204), (30, 221))
    assert estimate == pytest.approx(0.1018 * 190 / 204 + 0.8982 * 30 / 221)
    assert low < estimate < high
    with pytest.raises(FormalMathError):
        poststratify((0, 0), (1, 2))


# -- the paper's tables


def test_counts_of_the_full_set_and_z_values():
    counts = {s.name: s.count for s in paper.full_set()}
    assert (
        counts["Kimina-Prover-7B"] == 915
        and counts["STP"] == 771
        and counts["Goedel-Prover"] == 752
        and counts["BFS-Prover"] == 619
    )
    assert [round(t["z"], 1) for t in paper.tests()] == [3.8, 2.2, 0.5]
    assert [t["told apart"] for t in paper.tests()] == [True, True, False]
    kimina = paper.full_set()[0]
    assert (round(kimina.low, 1), round(kimina.high, 1)) == (15.5, 17.5)


def test_sums_agree_with_the_printed_retention():
    c = paper.consistency()
    assert (
        (c["problems"], c["kept"]) == (25584, 5560) and round(c["share"], 2) == 21.73 and round(c["human"], 2) == 72.09
    )


def test_the_ensemble_is_four_problems_better():
    e = paper.ensemble()
    assert (e["ensemble"], e["STP"]) == (230, 226) and round(e["difference"], 2) == 0.94


def test_two_proportions_against_a_known_value():
    assert two_proportions(60, 100, 40, 100) == pytest.approx(2.828, abs=1e-3)


# -- errors and perplexity


def test_failures_are_labelled_from_messages():
    kinds = {
        "linarith failed to find a contradiction": "linarith failed",
        "unsolved goals\n⊢ False": "unsolved goals",
        "(deterministic) timeout at `whnf`": "deterministic timeout",
        "unknown identifier 'foo'": "unknown identifier",
        "type mismatch": "type mismatch",
        "omega could not prove the goal": "omega failed",
        "did not find instance of the pattern": "rewrite failed",
        "hm": "other",
    }
    assert {m: errors.label(m) for m in kinds} == kinds


def test_patterns_and_the_answers_of_a_model():
    s = parse_statement("theorem t (x : ℝ) : x ≤ x := by")
    found = errors.deterministic(s, "\n  have h1 : x = x := by rfl\n  nlinarith", "error", "linarith failed")
    assert {"improper automation tactics", "inadequate handling of inequalities", "redundant hypotheses"} <= set(found)
    assert errors.deterministic(s, "sorry", "incomplete", "sorry") == ["incomplete or placeholder steps"]
    answer = 'Sure: {"categories": ["redundant hypotheses"], "confidence": 0.9, "explanation": "x"}'
    assert errors.read_categories(answer) == ["redundant hypotheses"]
    for bad in ("no", '{"categories": ["laziness"]}'):
        with pytest.raises(FormalMathError):
            errors.read_categories(bad)
    assert errors.shares([["redundant hypotheses"], []])["redundant hypotheses"] == (1, 2)
    assert "categories" in errors.categories_prompt("x") and "[1]" in errors.features_prompt(["a", "b"])


def test_perplexity_over_all_and_over_code_tokens():
    proof = "-- note\nring"
    mask = code_mask([(0, 7), (7, 8), (8, 12)], proof)
    assert mask.tolist() == [False, False, True]
    found = perplexity([-1.0, -1.0, -4.0], mask)
    assert (
        found.all == pytest.approx(np.exp(2.0))
        and found.code == pytest.approx(np.exp(4.0))
        and (found.tokens, found.code_tokens) == (3, 1)
    )


def test_figure_8_is_reproduced_and_two_labels_are_swapped(lite):
    from formalmath.taxonomy import figure_8

    found = figure_8(lite)
    assert found["swapped"] == [["Discrete Mathematics", "Other"]]
    swap = {"Discrete Mathematics": "Other", "Other": "Discrete Mathematics"}
    printed = {(r["level"], r["domain"]): r["printed"] for r in found["rows"]}
    for r in found["rows"]:
        domain = swap.get(r["domain"], r["domain"]) if r["level"] == "high school" else r["domain"]
        assert round(r["share"], 1) == printed[r["level"], domain]
