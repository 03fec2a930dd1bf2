"""The error model: its closed forms, and the engine against them."""

from __future__ import annotations

import pytest

from pddl_gen import suite
from pddl_gen.experiment import simulate
from pddl_gen.parse import parse_domain
from pddl_gen.simulate import GAMMA, ErrorModel, right, sites


def test_closed_forms_have_the_known_values():
    plain, added = ErrorModel(), ErrorModel(new=0.05)
    assert [plain.single(t) for t in (0, 1, 5)] == pytest.approx([0.2190, 0.3454, 0.7747], abs=5e-5)
    assert [plain.bon_then_ivml(8, t) for t in (0, 1, 5)] == pytest.approx([0.8616, 0.9028, 0.9765], abs=5e-5)
    assert added.single(5) == pytest.approx(0.6744, abs=5e-5)
    assert [added.bon_then_ivml(8, t) for t in (0, 1, 5)] == pytest.approx([0.8616, 0.8587, 0.8501], abs=5e-5)
    spread = ErrorModel(gamma=GAMMA["nl2domain"])
    assert [spread.coverage(n) for n in (1, 8, 32, 256)] == pytest.approx([0.219, 0.731, 0.942, 0.998], abs=6e-4)
    other = ErrorModel(gamma=GAMMA["prob2domain"])
    assert [other.coverage(n) for n in (1, 8, 32)] == pytest.approx([0.184, 0.633, 0.873], abs=6e-4)
    for n in (1, 3, 8):
        assert plain.bon_then_ivml(n, 0) == pytest.approx(plain.coverage(n), abs=1e-9)
    for t in (0, 2, 7):
        assert added.bon_then_ivml(1, t) == pytest.approx(added.single(t), abs=1e-9)


@pytest.mark.parametrize("name", suite.NAMES)
def test_errors_are_read_back_from_the_text(name):
    where = sites(name)
    assert where.errors(where.text({})) == {} and right(where.text({}), name)
    for start in range(3):
        errors = {n: ("drop", "name")[n % 2] for n in range(start, len(where.places), 3)}
        plain = {
            n: k
            for n, k in errors.items()
            if "increase" not in str(where.actions[where.places[n][0]][where.places[n][1]][where.places[n][2]])
        }
        text = where.text(plain)
        assert where.errors(text) == plain and not right(text, name)
        if "name" in plain.values():
            assert any(d.code == "predicate-undeclared" for d in parse_domain(text).errors) or parse_domain(text).errors


@pytest.mark.parametrize("model", [ErrorModel(), ErrorModel(new=0.05)])
def test_the_engine_reproduces_the_closed_forms(model):
    n = 300
    found = simulate(model, 8, 2, n, seed=3)
    pairs = [(found["single"][t], model.single(t)) for t in (0, 1, 2)]
    pairs += [(found["bon8"][t], model.bon_then_ivml(8, t)) for t in (0, 1, 2)]
    pairs += [(count, model.coverage(int(k))) for k, count in found["coverage"].items()]
    for count, value in pairs:
        assert abs(count / n - value) <= 3.5 * (value * (1 - value) / n) ** 0.5
    assert found["selected"] == found["coverage"]  # without noise S finds the best


def test_noise_in_the_likelihood_costs_selection():
    found = simulate(ErrorModel(noise=5.0), 8, 0, 200, seed=1)
    assert found["selected"][8] < found["coverage"][8]
