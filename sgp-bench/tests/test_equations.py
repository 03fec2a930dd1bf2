"""The paper's metric, intervals and the packed loss against closed forms and other libraries."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from scipy.stats import binomtest
from statsmodels.stats.contingency_tables import mcnemar as reference_mcnemar
from statsmodels.stats.proportion import proportion_confint

from sgp_bench.consistency import agreement, chance_rate, consistency, uniform_chance
from sgp_bench.records import Item
from sgp_bench.sit import Encoded, Pair, encode, pack, packed_loss, pair_turn, question_turn
from sgp_bench.statistics import bootstrap, compare, mcnemar, rate, wilson
from shared.llm import load_causal_lm


def test_uniform_guessing_scores_0_4697_with_six_versions():
    outcomes = [max(Counter(o).values()) / 6 for o in itertools.product("ABCD", repeat=6)]
    assert len(outcomes) == 4096
    assert uniform_chance(6) == pytest.approx(np.mean(outcomes), abs=1e-12)
    assert round(uniform_chance(6), 4) == 0.4697 and round(uniform_chance(5), 4) == 0.4961


def test_the_chance_rate_of_uneven_answers_is_the_sum_over_outcomes():
    p = {"A": 0.7, "B": 0.2, None: 0.1}
    direct = sum(np.prod([p[v] for v in o]) * max(Counter(o).values()) / 3 for o in itertools.product(p, repeat=3))
    assert chance_rate(p, 3) == pytest.approx(direct, abs=1e-12)


def test_consistency_of_a_worked_example():
    answers = [("A", "A", "B"), ("C", "C", "C"), ("D", "A", "B"), (None, None, "A")]
    c = consistency(answers, ["A", "C", "A", "B"], ["p", "p", "q", "r"])
    assert c.rate == pytest.approx((2 / 3 + 1 + 1 / 3 + 2 / 3) / 4)  # the paper counts None as an answer
    assert c.answered == pytest.approx((2 / 3 + 1 + 1 / 3) / 3)
    assert c.all_right == pytest.approx(1 / 4)
    assert c.accuracy == pytest.approx((0.5, 0.75, 0.25))
    assert c.flips == pytest.approx((0 + 1 + 0 + 0 + 1 + 1 + 0 + 1) / 8)
    assert c.drop.difference == pytest.approx(np.mean([0.5 - 1, 0, 0.5, 0]))


def test_a_model_that_never_answers_or_always_says_a_is_consistent_and_no_better_than_chance():
    for value in (None, "A"):
        c = consistency([(value,) * 4] * 8, list("ABCD") * 2, list("aabbccdd"))
        assert c.rate == 1 and c.chance == pytest.approx(1) and c.kappa is None
    assert consistency([(None,) * 4] * 8, list("ABCD") * 2, list("aabbccdd")).answered is None
    assert agreement((None, None, "A")) == pytest.approx(2 / 3)


@pytest.mark.parametrize(("right", "n"), [(0, 7), (3, 11), (60, 60), (412, 1200)])
def test_wilson_is_that_of_statsmodels(right, n):
    assert wilson(right, n) == pytest.approx(proportion_confint(right, n, method="wilson"), abs=1e-9)


@pytest.mark.parametrize(("b", "c"), [(0, 0), (1, 0), (4, 9), (20, 20), (3, 31)])
def test_mcnemar_is_the_exact_test_of_scipy_and_statsmodels(b, c):
    assert mcnemar(b, c) == pytest.approx(reference_mcnemar([[5, b], [c, 5]], exact=True).pvalue, abs=1e-12)
    if b + c:
        assert mcnemar(b, c) == pytest.approx(min(1.0, binomtest(b, b + c).pvalue), abs=1e-9)


def test_the_cluster_bootstrap_is_wider_where_questions_of_a_program_agree():
    right = [1.0] * 4 * 15 + [0.0] * 4 * 15
    together = rate(right, [str(i // 4) for i in range(120)])
    apart = rate(right, [str(i) for i in range(120)])
    width = lambda r: r.cluster[1] - r.cluster[0]  # noqa: E731
    assert together.wilson == apart.wilson
    assert width(together) > 1.7 * width(apart)
    # clusters of size m with perfect agreement are one observation each: sd grows by sqrt(m)
    assert width(together) / width(apart) == pytest.approx(2, rel=0.15)


def test_bootstrap_means_centre_on_the_mean_and_a_paired_difference_needs_pairs():
    values = np.random.default_rng(0).random((50, 1))
    draws = bootstrap(values, [str(i // 2) for i in range(50)])
    assert draws.mean() == pytest.approx(values.mean(), abs=0.01)
    same = compare([1, 0, 1], [1, 0, 1], ["a", "b", "c"])
    assert same.difference == 0 and same.p == 1 and not same.excludes_zero
    with pytest.raises(ValueError, match="same questions"):
        compare([1, 0], [1], ["a", "b"])


def test_the_packed_loss_is_the_weighted_mean_of_separate_losses_in_float64(tiny):
    lm, _ = load_causal_lm(str(tiny))
    lm = lm.double()
    rng = np.random.default_rng(0)
    program = tuple(rng.integers(5, 200, 30).tolist())
    turns = [
        Encoded((*program, *rng.integers(5, 200, k + a).tolist()), 30 + k, w)
        for k, a, w in ((4, 1, 1.0), (6, 3, 2.0), (2, 8, 0.5))
    ]
    turns.append(Encoded(tuple(rng.integers(5, 200, 12).tolist()), 9))  # another program in the same row
    for loss_on in ("answer", "all"):
        packed = packed_loss(lm, pack(turns, torch.float64, loss_on))
        losses = []
        for t in turns:
            logits = lm(input_ids=torch.tensor([t.tokens[:-1]])).logits[0]
            begin = t.start if loss_on == "answer" else 1
            each = torch.nn.functional.cross_entropy(logits[begin - 1 :], torch.tensor(t.tokens[begin:]))
            losses.append(t.weight * each)
        reference = sum(losses) / sum(t.weight for t in turns)
        assert packed.item() == pytest.approx(reference.item(), abs=1e-6)


def test_a_program_is_packed_once_for_all_of_its_questions(tiny):
    _, tokenizer = load_causal_lm(str(tiny))
    items = [
        Item(
            f"q{i}", "g", "<svg>" + "x" * 200 + "</svg>", f"What {i}?", ("red", "blue", "green", "black"), "A", "Color"
        )
        for i in range(4)
    ]
    encoded = encode([question_turn(i) for i in items], tokenizer, 4096).encoded
    alone = len(pack(encoded[:1]).ids[0])
    assert len(pack(encoded).ids[0]) < alone + 3 * 60 < 4 * alone
    assert pack(encoded).weights.sum() == pytest.approx(1)


def test_a_pair_keeps_its_words(tiny):
    _, tokenizer = load_causal_lm(str(tiny))
    pair = Pair("Describe.", "<svg/>", "A red circle.")
    (encoded,) = encode([pair_turn(pair)], tokenizer, 200).encoded
    assert tokenizer.decode(encoded.tokens[encoded.start :]) == "A red circle.</s>"
    assert "<svg/>" in tokenizer.decode(encoded.tokens[: encoded.start])
