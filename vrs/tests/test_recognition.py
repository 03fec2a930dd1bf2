"""The recognition matrix: who drew the numbers, what is asked, and how it is scored."""

from __future__ import annotations

import numpy as np
import pytest
from oracle import Oracle
from standin import StandIn

from vrs.errors import VRSError
from vrs.ledger import Ledger
from vrs.recognition import PAPER_LEVELS, Recognition, drawn_by, drawn_by_python, recognition
from vrs.samplers import Direct
from vrs.wording import Worded


def test_numbers_have_the_levels_shares():
    numbers = drawn_by_python(draws=2000, repeats=3)
    assert numbers.shape == (3, 11, 2000)
    assert numbers.mean(axis=(0, 2)) == pytest.approx([float(p) for p in PAPER_LEVELS], abs=0.03)
    assert (drawn_by_python() == drawn_by_python()).all() and (drawn_by_python() != drawn_by_python(seed=1)).any()


def test_the_paper_s_matrix_takes_605_calls_for_each_source():
    llm = Oracle().client(concurrency=32)
    found = recognition(llm, drawn_by_python())
    assert found.calls == 605 and found.matrix.shape == (11, 11)
    # the oracle says yes to what lies within 2.5 standard deviations
    assert np.diag(found.matrix).mean() > 0.9 and found.accuracy > 0.85
    assert found.matrix[0, 5] == 0 and found.malformed == 0


def test_exact_and_drawn_matrices_agree():
    numbers = drawn_by_python(repeats=1)
    drawn = recognition(Oracle().client(), numbers)
    exact = recognition(Oracle().client(), numbers, exact=True)
    assert exact.matrix == pytest.approx(drawn.matrix, abs=1e-6)


def test_numbers_of_the_model_itself():
    llm = Oracle(lambda p: 0.5).client(concurrency=16)
    numbers = drawn_by(Direct(llm, question=Worded(phrasing="P1")), draws=50, repeats=2)
    assert numbers.shape == (2, 11, 50) and abs(numbers.mean() - 0.5) < 0.1
    assert len(recognition(llm, numbers).yes) == 2
    never = StandIn(lambda r: "no answer")
    with pytest.raises(VRSError, match="gave too few draws"):
        drawn_by(Direct(never), levels=("0.5",), draws=2, repeats=1)


def test_a_second_run_asks_nothing(tmp_path):
    numbers = drawn_by_python(repeats=1)
    results = []
    for _ in range(2):
        llm = Oracle(malformed=0.2).client()
        with Ledger(tmp_path / "ledger.jsonl") as ledger:
            results.append(recognition(llm, numbers, ledger=ledger))
    assert llm.calls == [] and (results[0].yes == results[1].yes).all()


def test_a_missing_answer_is_wrong_and_counted():
    llm = StandIn(lambda r: "perhaps")
    found = recognition(llm, drawn_by_python(repeats=1, draws=5))
    assert np.isnan(found.yes).all() and found.accuracy == 0 and found.malformed == found.calls == 121 * 4


@pytest.mark.parametrize("answer, accuracy", [("No", 10 / 11), ("Yes", 1 / 11)])
def test_one_answer_to_everything_has_a_balanced_accuracy_of_one_half(answer, accuracy):
    found = recognition(StandIn(lambda r: f"Answer: {answer}"), drawn_by_python(repeats=2, draws=5))
    assert found.accuracy == pytest.approx(accuracy) and found.balanced_accuracy == pytest.approx(0.5)


def test_the_right_answer_is_yes_on_the_diagonal():
    yes = np.array([[[1.0, 0.0], [np.nan, 0.0]]])
    found = Recognition(("0.1", "0.9"), yes, 4, 1)
    assert found.right.tolist() == [[[1.0, 1.0], [0.0, 0.0]]]
    assert found.accuracy == 0.5


@pytest.mark.parametrize("numbers", [np.zeros((5, 3, 10)), np.full((1, 11, 4), 2), np.zeros(11)])
def test_other_numbers_are_refused(numbers):
    with pytest.raises(VRSError, match="recognition needs numbers 0 and 1 of shape"):
        recognition(Oracle().client(), numbers)
