"""Scoring along a trie: the same log-probabilities as one sequence at a time in float64, each token read once."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_llm import MAKES, VOCABULARY, tiny_lm

from shared.llm import ModelError, scoring
from shared.llm.choices import choice_tokens, cumulative, pick, probabilities
from shared.llm.errors import RequestError
from shared.llm.request import Sampling
from shared.llm.scoring import Scored, Scorer, shares_beginnings
from shared.llm.trie import build_trie, common_prefix

few_tokens = st.lists(st.integers(0, 2), min_size=1, max_size=7).map(tuple)
batches = st.lists(few_tokens, min_size=1, max_size=12)


@pytest.fixture(scope="module", params=MAKES)
def lm(request):
    return tiny_lm(request.param)


@pytest.fixture(scope="module")
def llama():
    return tiny_lm("llama")


def family(seed: int, count: int = 20) -> list[Scored]:
    """Sequences that branch at several depths, some of them equal, some the beginning of another."""
    rng = np.random.default_rng(seed)
    sequences = [tuple(rng.integers(0, VOCABULARY, 12).tolist())]
    while len(sequences) < count:
        kept = sequences[rng.integers(len(sequences))]
        kept = kept[: rng.integers(0, len(kept) + 1)]
        sequences.append(kept + tuple(rng.integers(0, VOCABULARY, rng.integers(0 if len(kept) > 1 else 2, 9)).tolist()))
    return [Scored(s, int(rng.integers(1, len(s)))) for s in sequences]


@torch.inference_mode()
def reference(lm, sequences: list[Scored]) -> list[np.ndarray]:
    """One sequence at a time, everything in float64."""
    double = copy.deepcopy(lm).double()
    values = []
    for s in sequences:
        logprobs = double(input_ids=torch.tensor([s.tokens])).logits[0].log_softmax(-1)
        values.append(np.array([logprobs[at - 1, s.tokens[at]] for at in range(s.start, len(s.tokens))]))
    return values


def assert_alike(found: list[np.ndarray], expected: list[np.ndarray], tolerance: float = 1e-4) -> None:
    assert [len(v) for v in found] == [len(v) for v in expected]
    assert max(np.abs(a - b).max() for a, b in zip(found, expected, strict=True)) < tolerance


# the trie


@given(batches)
def test_paths_spell_the_sequences(sequences):
    trie = build_trie(sequences)
    assert [tuple(trie.tokens[p].tolist()) for p in trie.paths] == sequences
    for path in trie.paths:
        assert trie.depths[path].tolist() == list(range(len(path)))
        assert trie.parents[path].tolist() == [-1, *path[:-1].tolist()]


@given(batches)
def test_one_node_for_each_distinct_beginning(sequences):
    assert len(build_trie(sequences)) == len({s[:n] for s in sequences for n in range(1, len(s) + 1)})


@given(batches)
def test_ancestors_lie_on_the_path_to_the_node_before(sequences):
    trie = build_trie(sequences)
    for node in range(1, len(trie)):
        assert set(trie.ancestors(node).tolist()) <= {*trie.ancestors(node - 1).tolist(), node - 1}


@given(batches, st.randoms())
def test_trie_does_not_depend_on_the_order(sequences, random):
    trie, shuffled = build_trie(sequences), random.sample(sequences, len(sequences))
    other = build_trie(shuffled)
    assert trie.tokens.tolist() == other.tokens.tolist() and trie.parents.tolist() == other.parents.tolist()


@given(few_tokens, few_tokens)
def test_common_prefix(first, second):
    n = common_prefix(first, second)
    assert first[:n] == second[:n]
    assert n == min(len(first), len(second)) or first[n] != second[n]


# scoring


@pytest.mark.parametrize("portion", [1, 5, 64])
def test_equals_one_at_a_time_in_float64(lm, portion):
    sequences = family(portion)
    assert_alike(Scorer(lm, portion)(sequences), reference(lm, sequences))


def test_equals_one_at_a_time_with_eager_attention():
    lm, sequences = tiny_lm("llama", attention="eager"), family(3)
    assert_alike(Scorer(lm, 7)(sequences), reference(lm, sequences))


@settings(max_examples=40, deadline=None)
@given(batch=batches.map(lambda b: [(*s, 0) for s in b]), portion=st.integers(1, 9), data=st.data())
def test_equals_one_at_a_time_on_any_batch(llama, batch, portion, data):
    sequences = [Scored(s, data.draw(st.integers(1, len(s) - 1))) for s in batch]
    assert_alike(Scorer(llama, portion)(sequences), reference(llama, sequences))


@pytest.mark.parametrize("make", ["llama", "neox", "qwen2"])
def test_each_shared_beginning_is_read_once(make):
    lm, sequences = tiny_lm(make), family(1)
    scorer = Scorer(lm, 6)
    assert shares_beginnings(lm)
    scorer(sequences)
    assert scorer.forwarded == len({s.tokens[:n] for s in sequences for n in range(1, len(s.tokens))})


def test_beginning_of_the_call_before_is_not_read_again(llama):
    scorer, beginning = Scorer(llama, 8), tuple(range(20, 60))
    scorer([Scored((*beginning, 1, 2), 41), Scored((*beginning, 3, 4), 41)])
    before = scorer.forwarded
    later = [Scored((*beginning, 5, 6), 41), Scored((*beginning, 7, 8, 9), 41)]
    found = scorer(later)
    assert scorer.forwarded - before == 1 + 2
    assert_alike(found, reference(llama, later))


def test_calls_that_share_less_and_less(llama):
    scorer = Scorer(llama, 4)
    for seed in range(6):
        sequences = family(seed, 3 + seed)
        assert_alike(scorer(sequences), reference(llama, sequences))
        again = [Scored(s.tokens, 1) for s in sequences]  # now with log-probabilities inside what is held
        assert_alike(scorer(again), reference(llama, again))


def test_value_does_not_depend_on_company_or_order(llama):
    sequences = family(5)
    together = Scorer(llama, 8)(sequences)
    backwards = Scorer(llama, 8)(sequences[::-1])[::-1]
    alone = [Scorer(llama, 8)([s])[0] for s in sequences]
    assert_alike(together, alone, 2e-5)
    assert_alike(together, backwards, 2e-5)


def test_output_layer_runs_only_where_it_is_wanted(llama):
    rows = []
    hook = llama.lm_head.register_forward_hook(lambda module, inputs, output: rows.append(output.shape[-2]))
    scorer = Scorer(llama, 6)
    scorer._shares = True
    sequences = family(2)
    scorer(sequences)
    hook.remove()
    assert sum(rows) == len({s.tokens[:n] for s in sequences for n in range(s.start, len(s.tokens))})


def test_window_that_slides_is_kept():
    lm = tiny_lm("mistral")
    short, long = [Scored((1, 2, 3, 4, 5), 1)], [Scored(tuple(range(30)), 1), Scored((*range(20), 99, 98), 1)]
    scorer = Scorer(lm, 8)
    assert shares_beginnings(lm)
    for sequences in (short, long, short):
        assert_alike(scorer(sequences), reference(lm, sequences))


def test_model_that_cannot_read_a_trie_is_read_one_by_one():
    lm = tiny_lm("bloom")  # its positions come from a two-dimensional mask, not from position_ids
    assert not shares_beginnings(lm)


def test_the_trial_sees_a_mask_that_shows_too_much(llama, monkeypatch):
    right = scoring.visible
    monkeypatch.setattr(scoring, "visible", lambda *args: np.tril(np.ones_like(right(*args)), right(*args).shape[1]))
    assert not shares_beginnings(llama)


def test_half_precision_is_summed_in_float64(llama):
    half = copy.deepcopy(llama).bfloat16()
    sequences = family(4)
    found = Scorer(half, 16)(sequences)
    assert found[0].dtype == np.float64
    assert_alike(found, reference(half, sequences), 0.5)


def test_logits_that_are_not_finite(llama):
    broken = copy.deepcopy(llama)
    with torch.no_grad():
        broken.lm_head.weight[3, 0] = float("nan")
    with pytest.raises(ModelError, match="logits of 'tiny llama' are not finite in torch.float32"):
        Scorer(broken)([Scored((1, 2, 3), 1)])


@pytest.mark.parametrize("start", [0, 3, -1])
def test_start_outside_the_sequence(llama, start):
    with pytest.raises(ValueError, match=f"start must be from 1 to 2, .* not {start}"):
        Scorer(llama)([Scored((1, 2, 3), start)])


def test_nothing_to_score(llama):
    assert Scorer(llama)([]) == []


# choices


def test_what_all_choices_begin_with_counts_as_prompt():
    split = choice_tokens([(5, 6, 216, 32), (5, 6, 216, 33)], ("0", "1"))
    assert split.context == (5, 6, 216) and split.rests == ((32,), (33,))


def test_choices_whose_tokens_part_inside_the_prompt():
    split = choice_tokens([(5, 6, 7), (5, 8)], ("a", "b"))
    assert split.context == (5,) and split.rests == ((6, 7), (8,))


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ([(5, 6), (5, 6)], "'a' and 'b' share all tokens"),
        ([(5, 6), (5, 6, 7)], "'a' is how 'b' begins"),
        ([(5, 6, 7), (5, 9), (5, 6)], "'c' is how 'a' begins"),
        ([(5,), (6,)], "the prompt is empty"),
    ],
)
def test_choices_that_cannot_be_told_apart(encoded, message):
    with pytest.raises(RequestError, match=message):
        choice_tokens(encoded, ("a", "b", "c"))


logprob_lists = st.lists(st.floats(-30, 0), min_size=2, max_size=8)


@given(logprob_lists, st.floats(0.05, 5), st.integers(1, 8), st.floats(0.05, 1), st.floats(0, 1))
def test_cuts_keep_the_likeliest_in_proportion(values, temperature, k, top_p, min_p):
    logprobs = np.array(values)
    plain = probabilities(logprobs, Sampling(temperature=temperature))
    cut = probabilities(logprobs, Sampling(temperature=temperature, top_k=k, top_p=top_p, min_p=min_p))
    assert cut.sum() == pytest.approx(1) and plain.sum() == pytest.approx(1)
    kept = cut > 0
    assert kept[plain.argmax()] and plain[kept].min() >= plain[~kept].max(initial=0)
    assert cut[kept] / cut[kept].sum() == pytest.approx(plain[kept] / plain[kept].sum())


def test_cuts_one_by_one():
    logprobs = np.log([0.5, 0.25, 0.15, 0.1])
    kept = {
        "top_k": probabilities(logprobs, Sampling(top_k=2)),
        "top_p": probabilities(logprobs, Sampling(top_p=0.7)),
        "min_p": probabilities(logprobs, Sampling(min_p=0.29)),
    }
    assert kept["top_k"] == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert kept["top_p"] == pytest.approx([2 / 3, 1 / 3, 0, 0])
    assert kept["min_p"] == pytest.approx([5 / 9, 2.5 / 9, 1.5 / 9, 0])


def test_temperature():
    logprobs = np.log([0.8, 0.2]) - 5  # choices need not make up the whole
    assert probabilities(logprobs, Sampling()) == pytest.approx([0.8, 0.2])
    assert probabilities(logprobs, Sampling(temperature=2)) == pytest.approx([2 / 3, 1 / 3])
    assert probabilities(logprobs, Sampling(temperature=0)).tolist() == [1, 0]
    assert probabilities(logprobs, Sampling(temperature=1e-9)).tolist() == [1, 0]


@given(logprob_lists, st.floats(0, 1, exclude_max=True), st.integers(1, 3))
def test_a_draw_falls_where_its_number_lies(values, u, k):
    p = probabilities(np.array(values), Sampling(top_k=k))
    cumulated = cumulative(values, Sampling(top_k=k))
    i = pick(cumulated, u)
    assert p[i] > 0
    assert cumulated[i] - p[i] - 1e-12 <= u * cumulated[-1] <= cumulated[i] + 1e-12


def test_the_largest_number_below_one_picks_what_can_be():
    assert pick(np.cumsum([0.3, 0.7, 0.0]), np.nextafter(1, 0)) == 1
    assert pick(np.cumsum([0.0, 1.0, 0.0]), 0.0) == 1
