"""Every sampler: what it draws, what it costs, and that its exact form is the law of its draws."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import Oracle, leaning, told
from scipy import stats
from standin import StandIn

from vrs.bits import knuth_yao
from vrs.calibration import PAPER_GRID, calibration
from vrs.continuous import Continuous, Discretised
from vrs.engine import Engine
from vrs.errors import VRSError
from vrs.in_context import InContext
from vrs.ledger import Ledger
from vrs.samplers import (
    SAMPLERS,
    VRS,
    VRSM,
    AdaptiveQ,
    Constrained,
    Direct,
    DirectCheck,
    Dyadic,
    Ensemble,
    Factory,
    Fixed,
    Inversion,
    LogitExact,
    Sequence,
    SSoT,
    Verbalized,
    VRSHybrid,
    VRSSelf,
    VRSSimple,
    VRSSimpleM,
    sampler,
)
from vrs.samplers.factory import cells, expected_bits, peres, von_neumann
from vrs.samplers.proposals import sensitivity
from vrs.samplers.sequence import above_median
from vrs.samplers.ssot import number
from vrs.targets import Bernoulli, Binomial, Categorical, fraction
from vrs.theory import acceptance, bound_prop1, fair_error, vrs_distribution
from vrs.wording import Worded

GRID = [i / 20 for i in range(21)]
FORCED = Worded(forced=True)


def made(name, llm, **kwargs):
    extra = {"inversion": {"pilot": 20}, "sequence": {"length": 25}}.get(name, {})
    return SAMPLERS[name](llm, **extra, **kwargs)


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_true_coin_gives_the_target(name):
    """With a model that has no bias of its own every sampler draws what it is asked for."""
    ones = 0
    n, seeds = 100, 6
    for seed in range(seeds):
        found = made(name, Oracle().client(concurrency=16)).sample(Bernoulli("0.3"), n, rng=seed)
        assert len(found.values) == n and set(found.values) <= {0, 1}
        assert found.accepted_index == tuple(sorted(found.accepted_index))
        ones += sum(found.values)
    sd = math.sqrt(0.3 * 0.7 * n * seeds)
    # inversion asks the levels that a pilot of 20 draws a level shows, and inherits its error
    assert abs(ones - 0.3 * n * seeds) < (10 if name == "inversion" else 4) * sd


@pytest.mark.parametrize("name", SAMPLERS)
def test_a_second_run_from_the_ledger_asks_nothing(name, tmp_path):
    runs = []
    for _ in range(2):
        llm = Oracle(leaning, malformed=0.1).client(concurrency=16)
        with Ledger(tmp_path / "ledger.jsonl") as ledger:
            runs.append(made(name, llm, ledger=ledger).sample_many([Bernoulli("0.3"), Bernoulli("0.8")], 20, rng=3))
    assert llm.calls == [] and runs[0] == runs[1]
    assert json.loads(json.dumps(runs[0][0].to_json()))["n"] == 20


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("concurrency", [1, 64])
def test_concurrency_and_company_change_no_draw(name, concurrency):
    targets = [Bernoulli("0.2"), Bernoulli("0.7")]
    llm = Oracle(leaning).client(concurrency=16)
    llm.concurrency, llm.latency = concurrency, lambda r, t: random.Random(r.draw).random()
    together = made(name, llm).sample_many(targets, 15, rng=5)
    alone = [made(name, Oracle(leaning).client(concurrency=16)).sample(t, 15, rng=5) for t in targets]
    if name == "inversion":
        # the pilot is the same; its calls are asked once
        assert [s.values for s in together] == [s.values for s in alone]
    else:
        assert together == alone


@pytest.mark.parametrize("name", SAMPLERS)
def test_seeds_make_independent_samples(name):
    llm = Oracle(leaning).client(concurrency=16)
    one, two = (made(name, llm).sample(Bernoulli("0.5"), 60, rng=seed) for seed in (1, 2))
    assert one.values != two.values
    asked = [(r.messages, r.prefix, r.choices, r.sampling.temperature, r.draw) for r in llm.calls if r.draw]
    assert len(set(asked)) == len(asked)


EXACT = {
    "direct": lambda llm: Direct(llm, question=FORCED),
    "direct, swapped": lambda llm: Direct(llm, question=Worded(forced=True, relabel="swap")),
    "direct, random words": lambda llm: Direct(llm, question=Worded(forced=True, relabel="random_tokens")),
    "direct, in context": lambda llm: Direct(llm, question=InContext(relabel="swap")),
    "constrained": lambda llm: Constrained(llm),
    "vrs": lambda llm: VRS(llm, question=FORCED),
    "vrs, swapped": lambda llm: VRS(llm, question=Worded(forced=True, relabel="swap")),
    "vrs_m": lambda llm: VRSM(llm, question=FORCED),
    "vrs_simple": lambda llm: VRSSimple(llm, question=FORCED),
    "vrs_simple_m": lambda llm: VRSSimpleM(llm, question=FORCED),
    "vrs_self": lambda llm: VRSSelf(llm, question=FORCED),
    "vrs_self, measured": lambda llm: VRSSelf(llm, question=FORCED, described="measured", measured="0.52"),
    "vrs_hybrid": lambda llm: VRSHybrid(llm, question=FORCED),
    "vrs_hybrid, in context": lambda llm: VRSHybrid(llm, question=InContext()),
    "adaptive_q": lambda llm: AdaptiveQ(llm, question=FORCED),
    "adaptive_q of vrs": lambda llm: AdaptiveQ(llm, question=FORCED, inner="vrs", bits=2),
    "factory": lambda llm: Factory(llm, question=FORCED),
    "factory, Peres": lambda llm: Factory(llm, question=FORCED, method="peres"),
    "inversion": lambda llm: Inversion(llm, question=FORCED, estimator="exact"),
    "logit_exact": lambda llm: LogitExact(llm),
    "ensemble": lambda llm: Ensemble(llm, question=FORCED, temperatures=(None,)),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("p", ["0.15", "0.6"])
def test_the_exact_form_is_the_law_of_the_draws(name, p):
    llm = Oracle(leaning).client(concurrency=16)
    made_ = EXACT[name](llm)
    exact = made_.exact(Bernoulli(p))
    n = 1500
    drawn = made_.sample(Bernoulli(p), n, rng=11)
    sd = math.sqrt(exact.pmf[1] * exact.pmf[0] / n)
    assert abs(drawn.p_hat() - exact.pmf[1]) < 4 * sd
    assert exact.pmf.sum() == pytest.approx(1)
    assert exact.mass == pytest.approx(0.9)
    used = drawn.calls - drawn.unused_calls
    if not math.isnan(exact.calls):
        assert used / n == pytest.approx(exact.calls, rel=0.1)
    if "Peres" not in name and "factory" not in name and name != "logit_exact":
        assert drawn.outside_bits / n == pytest.approx(exact.bits, rel=0.1, abs=1e-9)


def test_vrs_is_the_rejection_sampler_of_its_acceptance_curve():
    """P̃ ∝ Q·Ã; the scores are read from the prompts of both proposals."""
    sampler_ = VRS(Oracle(leaning).client(), question=FORCED)
    for p, exact in zip(GRID, sampler_.exact_many([Bernoulli(p) for p in GRID]), strict=True):
        accept = acceptance(Bernoulli(p), Bernoulli("0.5"))
        curve = [leaning(accept.A(x)) for x in (0, 1)]
        assert list(exact.curve.values()) == pytest.approx(curve, abs=1e-9)
        assert exact.pmf == pytest.approx(vrs_distribution(Bernoulli(p), Bernoulli("0.5"), curve))
        assert exact.acceptance == pytest.approx(np.mean(curve))


def test_a_coin_that_forgets_m_gives_the_closed_form():
    """min(1, P/Q) and a perfect coin: STVD 5.683 for VRS and 11.369 for VRS-simple over the paper's grid."""
    llm = Oracle(forgets_m=True).client()
    assert calibration(VRS(llm, question=FORCED), PAPER_GRID, exact=True).stvd == pytest.approx(5.683, abs=1e-3)
    simple = calibration(VRSSimple(llm, question=FORCED), PAPER_GRID, exact=True)
    # the prompt tells p = a/(1 + a) to four decimals
    assert simple.stvd == pytest.approx(11.369, abs=5e-3)


@pytest.mark.parametrize("bias", [leaning, lambda p: 0.4, lambda p: p**2, lambda p: round(p)])
def test_the_hybrid_turns_the_error_of_the_coin_into_the_theory_s(bias):
    """TV = P'²|e|/(1 + P'e), and P' calls a draw where nothing is malformed."""
    hybrid = VRSHybrid(Oracle(bias).client(), question=FORCED)
    for p in GRID[1:-1]:
        larger = max(p, 1 - p)
        level = round((1 - larger) / larger, 4)
        found = hybrid.exact(Bernoulli(p))
        # at p = 1/2 both values are sure, and no question is asked
        e = 0.0 if p == 0.5 else bias(level) - (1 - larger) / larger
        assert abs(found.pmf[1] - p) == pytest.approx(float(fair_error(p, e)), abs=1e-9)
        if p != 0.5:
            assert hybrid.plan(Bernoulli(p)).calls == pytest.approx(larger)


def test_costs_of_a_true_coin_over_the_grid():
    targets = [Bernoulli(p) for p in PAPER_GRID]
    llm = Oracle().client()

    def mean(sampler_, field="calls"):
        return np.mean([getattr(sampler_.plan(t), field) for t in targets])

    assert mean(VRS(llm)) == pytest.approx(1.50495, abs=1e-5)
    assert mean(VRS(llm), "bits") == pytest.approx(1.50495, abs=1e-5)
    assert mean(VRSHybrid(llm)) == pytest.approx(0.7525, abs=0.01)
    assert mean(AdaptiveQ(llm, inner="vrs")) == pytest.approx(1.084, abs=1e-3)
    proposals = [Dyadic(3)(t) for t in targets]
    moved = [float(sensitivity(fraction(t, 1), fraction(Q, 1))) for t, Q in zip(targets, proposals, strict=True)]
    assert np.mean(moved) == pytest.approx(0.203, abs=1e-3)
    assert all(knuth_yao([fraction(Q, 0), fraction(Q, 1)]) <= 3 for Q in proposals)
    assert Factory(llm).plan(Bernoulli("0.3")).calls == pytest.approx(8, abs=1e-9)


def test_calls_follow_the_plan():
    llm = Oracle().client(concurrency=8)
    for sampler_ in (VRS(llm), VRSHybrid(llm), AdaptiveQ(llm), Factory(llm), VRSSelf(llm), Direct(llm)):
        curve = calibration(sampler_, [i / 10 for i in range(11)], 150)
        used = sum(s.calls - s.unused_calls for s in curve.samples) / (11 * 150)
        planned = np.mean([sampler_.plan(Bernoulli(i / 10)).calls for i in range(11)])
        assert used == pytest.approx(planned, rel=0.06), sampler_.name
        assert curve.calls_per_sample >= used


# -- the factory


@settings(max_examples=10, deadline=None)
@given(b=st.floats(0.05, 0.95), p=st.integers(0, 1000), seed=st.integers(0, 2**32))
def test_the_factory_is_unbiased_for_any_coin(b, p, seed):
    """5 standard deviations, on draws made of up to 10^5 flips."""
    target, n = Bernoulli(p / 1000), 1000
    rng = random.Random(seed)
    llm = StandIn(lambda r: "1" if rng.random() < b else "0")
    kinds = {"von_neumann": {}, "peres": {"group": 50, "block": 64}}
    for method, sizes in kinds.items():
        found = Factory(llm, question=FORCED, method=method, **sizes).sample(target, n, rng=seed)
        sd = math.sqrt(target.p * (1 - target.p) / n)
        assert abs(found.p_hat() - target.p) <= 5 * sd
        assert found.outside_bits == 0


@pytest.mark.parametrize("b, flips", [(0.5, 8), (0.9, 22.2)])
def test_the_factory_s_price(b, flips):
    rng = random.Random(0)
    llm = StandIn(lambda r: "1" if rng.random() < b else "0")
    found = Factory(llm, question=FORCED).sample(Bernoulli("0.3"), 4000)
    assert found.calls / 4000 == pytest.approx(flips, rel=0.05)
    assert found.unused_calls / found.calls < 0.01


def test_peres_pays_less_than_von_neumann_and_gives_fair_bits():
    rng = random.Random(3)
    flips = [int(rng.random() < 0.8) for _ in range(200_000)]
    plain, more = von_neumann(flips), peres(flips)
    entropy = stats.entropy([0.2, 0.8], base=2)
    assert len(plain) == pytest.approx(0.16 * len(flips), rel=0.02)
    assert 0.9 * entropy * len(flips) < len(more) <= entropy * len(flips) * 1.01
    for bits in (plain, more):
        assert abs(np.mean(bits) - 0.5) < 5 * 0.5 / math.sqrt(len(bits))
        ones = np.corrcoef(bits[1:], bits[:-1])[0, 1]
        assert abs(ones) < 5 / math.sqrt(len(bits))


@given(st.lists(st.sampled_from([0, 1, None]), max_size=40))
def test_extractors_are_total(flips):
    assert set(von_neumann(flips)) | set(peres(flips)) <= {0, 1}


def test_fair_bits_that_the_factory_compares():
    """Bern(1/2) needs one bit, Bern(3/8) seven quarters, others two; never more than the entropy and two."""
    assert expected_bits(cells(Bernoulli("0.5"))) == 1
    assert expected_bits(cells(Bernoulli("0.375"))) == pytest.approx(1.75)
    assert expected_bits(cells(Bernoulli("0.3"))) == pytest.approx(2, abs=1e-12)
    assert expected_bits(cells(Bernoulli(0))) == expected_bits(cells(Bernoulli(1))) == 0
    four = Categorical([0.1, 0.2, 0.3, 0.4])
    assert expected_bits(cells(four)) <= stats.entropy(four.probabilities, base=2) + 3


@pytest.mark.parametrize("pmf, bits", [([0.5, 0.5], 1), ([0.125, 0.875], 1.75), ([1.0], 0), ([0.25] * 4, 2)])
def test_knuth_yao_bits(pmf, bits):
    assert knuth_yao(pmf) == pytest.approx(bits)
    entropy = stats.entropy(pmf, base=2)
    assert entropy - 1e-12 <= knuth_yao(pmf) < entropy + 2


def test_knuth_yao_refuses_what_is_no_distribution():
    with pytest.raises(VRSError, match="sum to 1"):
        knuth_yao([0.5, 0.6])


def test_a_malformed_flip_spoils_its_pair_only():
    rng = random.Random(1)
    llm = StandIn(lambda r: rng.choice(["Output: 0", "Output: 1", "Output: 1", "?"]))
    found = Factory(llm, engine=Engine(redraws=0)).sample(Bernoulli("0.7"), 1500)
    assert len(found.values) == 1500 and set(found.decisions) == {"accept"}
    assert abs(found.p_hat() - 0.7) < 4 * math.sqrt(0.21 / 1500)
    assert found.malformed > 1000


def test_a_coin_with_one_face_is_told_from_others():
    with pytest.raises(VRSError, match="more than 4096 questions: this coin is too one-sided"):
        Factory(StandIn(lambda r: "1"), question=FORCED).sample(Bernoulli("0.3"), 1)
    with pytest.raises(VRSError, match="always answers 1"):
        Factory(Oracle(lambda p: 1.0).client(), question=FORCED).exact(Bernoulli("0.3"))


# -- other targets


K_ARY = Categorical([0.1, 0.2, 0.3, 0.4])
BINOMIAL = Binomial(6, "0.3")
NORMAL = Discretised(stats.norm(0, 1), bins=6)


class Leaning(Oracle):
    """Accepts with an error of at most c; flips a fixed coin of bias 0.7 when it is asked for one half."""

    def chances(self, request):
        text = request.messages[-1].text
        if "Target distribution P:" in text:
            P, Q = (told(line) for line in _lines(text))
            x = text.split("drawn from Q: ")[1].split()[0]
            M = max(P[v] / Q[v] for v in P)
            a = min(1.0, P[x] / (M * Q[x]))
            e = 0.05 * math.sin(7 * float(x) + 1)
            accept = min(1.0, max(0.0, a + e))
            return {"T": accept, "F": 1 - accept}
        return {"0": 0.3, "1": 0.7}


def _lines(text):
    return [
        line.split(": ", 1)[1].rstrip(".") for line in text.splitlines() if line.startswith(("Target d", "Proposal d"))
    ]


@pytest.mark.parametrize("target", [K_ARY, BINOMIAL, NORMAL], ids=["K-ary", "binomial", "normal"])
def test_more_than_two_outcomes(target):
    """VRS stays within Prop. 1's bound of its acceptor's error; the factory gives the target itself."""
    llm = Leaning().client(concurrency=32)
    words = Worded(phrasing="P01", forced=True)
    exact = VRS(llm, question=words).exact(target)
    M = acceptance(target, VRS(llm).proposal(target)).M
    tv = 0.5 * np.abs(exact.pmf - target.probabilities).sum()
    # probabilities are told to four decimals
    assert 0 < tv <= bound_prop1(M, 0.05 + 1e-3)
    n = 1500
    drawn = VRS(llm, question=words).sample(target, n, rng=2).pmf(target.support)
    assert 0.5 * np.abs(drawn - exact.pmf).sum() < 4 * 0.5 * math.sqrt(len(target.support) / n)
    made_ = Factory(llm, question=FORCED).sample(target, n, rng=2)
    counts = made_.pmf(target.support) * n
    assert stats.chisquare(counts, target.probabilities * n).pvalue > 1e-4


def test_adaptive_proposals_of_more_outcomes_have_the_least_m():
    for bits in (3, 4, 6):
        Q = Dyadic(bits)(K_ARY)
        assert all((q * 2**bits).is_integer() and q > 0 for q in Q.probabilities)
        assert acceptance(K_ARY, Q).M <= acceptance(K_ARY, Categorical([0.25] * 4)).M
    with pytest.raises(VRSError, match="need at least 2 bits"):
        Dyadic(1)(K_ARY)


def test_a_continuous_target_is_proposed_and_judged():
    target = Continuous(stats.norm(0, 1), proposal=stats.t(3))
    llm = StandIn(lambda r: "Decision: T")
    found = VRS(llm).sample(target, 20)
    assert len(set(found.values)) == 20 and found.outside_bits == 53 * 20
    assert all(isinstance(v, float) for v in found.values)
    hybrid = VRSHybrid(StandIn(lambda r: "Output: 1" if random.Random(r.draw).random() < 0.5 else "Output: 0"))
    assert len(hybrid.sample(target, 20).values) == 20
    with pytest.raises(VRSError, match="names no proposal"):
        VRS(llm).sample(Continuous(stats.norm(0, 1)), 5)
    with pytest.raises(VRSError, match="discretise it"):
        Factory(llm).sample(target, 5)


# -- single samplers


def test_direct_check_shows_its_draw_to_the_model_in_one_reply():
    llm = StandIn(lambda r: "Candidate: 1\nCheck: F\nOutput: 0")
    found = DirectCheck(llm).sample(Bernoulli("0.5"), 5)
    assert found.values == (0,) * 5 and found.calls == 5
    with pytest.raises(VRSError, match="needs the answer at once"):
        DirectCheck(llm).exact(Bernoulli("0.5"))
    with pytest.raises(VRSError, match="cannot be forced"):
        DirectCheck(llm, question=FORCED).sample(Bernoulli("0.5"), 5)


def test_vrs_self_describes_the_proposal_as_fair_or_as_it_was_measured():
    llm = Oracle(lambda p: 0.7 if p == 0.5 else p).client()
    fair, measured = (VRSSelf(llm, question=FORCED, described=d) for d in ("fair", "measured"))
    target = Bernoulli("0.3")
    # a true judge of a proposal that is told wrongly is wrong, and right where it is told rightly
    assert fair.exact(target).pmf[1] == pytest.approx(0.7 * 3 / 7 / (0.7 * 3 / 7 + 0.3), abs=1e-9)
    assert measured.exact(target).pmf[1] == pytest.approx(0.3, abs=1e-9)
    drawn = measured.sample(target, 300)
    assert any("frequency 0.7" in flag or "frequency 0.6" in flag for flag in drawn.flags)
    prompts = {r.messages[-1].text.split("Proposal distribution Q: ")[-1].split("\n")[0] for r in llm.calls if r.draw}
    assert any("is 0.6" in text or "is 0.7" in text for text in prompts)
    assert fair.sample(target, 50).outside_bits == 0


def test_inversion_asks_the_level_that_gives_p():
    llm = Oracle(leaning).client()
    for p in (0.2, 0.5, 0.77, 0.9):
        exact = Inversion(llm, question=FORCED, estimator="exact").exact(Bernoulli(p))
        assert exact.pmf[1] == pytest.approx(p, abs=1e-4) and not exact.flags
    low = Inversion(llm, question=FORCED, estimator="exact").exact(Bernoulli("0.05"))
    assert low.pmf[1] == pytest.approx(0.15) and "beyond the range" in low.flags[0]
    pilot = Inversion(llm, question=FORCED, pilot=400).sample(Bernoulli("0.6"), 1000)
    assert abs(pilot.p_hat() - 0.6) < 0.1


@pytest.mark.parametrize("curve", [(0.5, 0.3, 0.4, 0.9), (0.2, 0.2, 0.2, 0.2), (0.9, 0.1, 0.5, 0.5)])
@pytest.mark.parametrize("p", [0.0, 0.2, 0.35, 0.5, 0.9, 1.0])
def test_inversion_mixes_levels_of_any_curve(curve, p):
    found = Inversion(None, levels=("0", "0.3", "0.6", "1"), curve=curve).mixture(p)
    assert sum(weight for weight, _ in found) == pytest.approx(1)
    assert all(0 < weight <= 1 for weight, _ in found)


def test_ssot_reads_the_answer_or_hashes_the_string():
    reply = "<random_string>abc</random_string>\n<answer>1</answer>"
    assert SSoT(StandIn(lambda r: reply)).sample(Bernoulli("0.5"), 3).values == (1, 1, 1)
    assert number("abc", "sum") == pytest.approx(((97 + 98 + 99) % 100 + 0.5) / 100)
    # 94.5 % is beyond 0.3 of [0, 1), and within 0.95 of it
    hashed = {p: SSoT(StandIn(lambda r: reply), hashed="sum").sample(Bernoulli(p), 2).values for p in ("0.3", "0.95")}
    assert hashed == {"0.3": (0, 0), "0.95": (1, 1)}
    for kind in ("sum", "rolling"):
        found = SSoT(Oracle().client(concurrency=16), hashed=kind).sample(K_ARY, 1000)
        assert stats.chisquare(found.pmf(K_ARY.support) * 1000, K_ARY.probabilities * 1000).pvalue > 1e-3
    assert SSoT(StandIn(lambda r: "no tags")).sample(Bernoulli("0.5"), 2).flags


def test_verbalized_draws_from_what_is_stated():
    llm = StandIn(lambda r: "Result: 0 | Probability: 0.2\nResult: 1 | Probability: 0.8")
    found = Verbalized(llm, k=10).sample(Bernoulli("0.3"), 1000)
    assert found.calls == 100 and abs(found.p_hat() - 0.8) < 4 * 0.4 / math.sqrt(1000)


def test_a_sequence_tells_how_its_draws_depend():
    alternating = StandIn(lambda r: "Output: " + ", ".join("01" * 25))
    found = Sequence(alternating, length=50).sample(Bernoulli("0.5"), 200)
    assert found.calls == 4 and found.values == (0, 1) * 100
    assert "lag-1 autocorrelation -0.995, 200 runs where 101.0" in found.flags[-1]
    free = Sequence(Oracle().client(concurrency=16), length=25).sample(Bernoulli("0.4"), 1000)
    assert abs(float(free.flags[-1].split("autocorrelation ")[1].split(",")[0])) < 0.15
    assert above_median((3, 1, 2, 9)).tolist() == [1, 0, 0, 1] and above_median(("b", "a", "b")).tolist() == [1, 0, 1]


def test_an_ensemble_varies_its_setting():
    llm = Oracle().client()
    Ensemble(llm, seed_digits=6, temperatures=(0.5, 1.5)).sample(Bernoulli("0.5"), 80)
    assert {r.sampling.temperature for r in llm.calls} == {0.5, 1.5}
    assert {r.messages[0].role for r in llm.calls} == {"system", "user"}
    assert len({r.messages[-1].text for r in llm.calls}) > 75
    with pytest.raises(VRSError, match="scored exactly with temperatures"):
        Ensemble(llm, question=FORCED).exact(Bernoulli("0.5"))


def test_logit_bias_is_sent_with_the_labels_tokens():
    llm = Oracle(lambda p: 0.75).client()
    found = LogitExact(llm, via="logit_bias", tokens={"0": 32, "1": 33})
    found.sample(Bernoulli("0.25"), 5)
    sent = llm.calls[-1].sampling.extra["logit_bias"]
    assert sent["33"] - sent["32"] == pytest.approx(math.log(1 / 3) - math.log(3), abs=1e-5)
    with pytest.raises(VRSError, match="needs logit_exact.tokens"):
        LogitExact(llm, via="logit_bias")
    with pytest.raises(VRSError, match="gives no number for the label '1'"):
        LogitExact(llm, via="logit_bias", tokens={"0": 32}).sample(Bernoulli("0.5"), 2)


def test_relabelling_cancels_a_liking_for_a_token():
    """A coin that writes "1" too often leans one way in one labelling and the other in the other."""
    likes_one = Oracle(lambda p: 0.2 + 0.8 * p).client()
    plain, swapped = (
        Direct(likes_one, question=Worded(forced=True, phrasing=phrasing, relabel=relabel)).exact(Bernoulli("0.3"))
        for phrasing, relabel in (("P01", "off"), ("P01", "swap"))
    )
    assert plain.pmf[1] == pytest.approx(0.2 + 0.8 * 0.3)
    # half asks Bern(0.3) for a 1, half Bern(0.7) for a 0
    assert swapped.pmf[1] == pytest.approx(0.5 * (0.2 + 0.8 * 0.3) + 0.5 * (1 - (0.2 + 0.8 * 0.7)))


# -- the in-context coin


def test_the_in_context_coin_needs_168_prompts_with_or_without_relabelling():
    levels = [Bernoulli(p) for p in PAPER_GRID]
    prompts = {}
    for relabel in ("off", "swap"):
        asks = [ask for target in levels for _, ask in InContext(relabel=relabel).ways(target)]
        prompts[relabel] = {ask.digest for ask in asks}
    assert prompts["off"] == prompts["swap"]
    # at 0 and at 1 all orders are the same record, and next to them some may be
    assert 18 * 8 <= len(prompts["off"]) <= 19 * 8 + 2


def test_between_levels_the_in_context_coin_is_linear():
    llm = Oracle(leaning).client()
    coin = Direct(llm, question=InContext())
    at = [e.pmf[1] for e in coin.exact_many([Bernoulli(p) for p in ("0.30", "0.32", "0.35")])]
    assert at[1] == pytest.approx(0.6 * at[0] + 0.4 * at[2])


def test_relabelling_the_in_context_coin_makes_it_symmetric():
    llm = Oracle(leaning).client()
    found = Direct(llm, question=InContext(relabel="swap")).exact_many([Bernoulli("0.2"), Bernoulli("0.8")])
    assert found[0].pmf[1] == pytest.approx(1 - found[1].pmf[1])
    assert found[0].pmf[1] == pytest.approx(0.5 * (leaning(0.2) + 1 - leaning(0.8)))


# -- refusals


@pytest.mark.parametrize(
    "make, sentence",
    [
        (lambda llm: sampler("vsr"), "sampler must be one of direct"),
        (lambda llm: Direct(llm).sample(Bernoulli("0.5"), 0), "n, the number of draws, must be a whole number"),
        (lambda llm: Direct(llm).sample_many([], 5), "was given no targets"),
        (lambda llm: Direct(llm).exact(Bernoulli("0.5")), "set forced=true"),
        (lambda llm: Direct(StandIn(lambda r: "1"), question=FORCED).exact(Bernoulli("0.5")), "tells no log-probab"),
        (lambda llm: Worded(forced=True, cot=100), "cot must be 0, not 100"),
        (lambda llm: Worded(phrasing="P7"), "phrasing must be one of"),
        (lambda llm: Worded(relabel="mirror"), "relabel must be one of"),
        (lambda llm: VRS(llm, proposal=Fixed(Bernoulli(0))).sample(Bernoulli("0.5"), 5), "M is infinite"),
        (lambda llm: VRS(llm, proposal=Fixed(K_ARY)).sample(Bernoulli("0.5"), 5), "another support"),
        (lambda llm: VRSSimple(llm).sample(K_ARY, 5), "draws a Bernoulli target only"),
        (lambda llm: VRSSelf(llm).sample(K_ARY, 5), "draws a Bernoulli target only"),
        (lambda llm: VRSSelf(llm, described="guessed"), "fair or measured"),
        (lambda llm: Inversion(llm).sample(K_ARY, 5), "draws a Bernoulli target only"),
        (lambda llm: Inversion(llm, levels=("0.5",)), "two or more numbers"),
        (lambda llm: Inversion(llm, curve=(0.1,)), "has 1 values for 21 levels"),
        (lambda llm: AdaptiveQ(llm, inner="direct"), "wraps vrs, vrs_m, vrs_hybrid, not 'direct'"),
        (lambda llm: AdaptiveQ(llm, bits=0).sample(Bernoulli("0.5"), 5), "1 to 16 bits, not 0"),
        (lambda llm: Factory(llm, method="elias"), "von_neumann or peres"),
        (lambda llm: Factory(llm, pairs=0), "must be at least 1"),
        (lambda llm: SSoT(llm, hashed="md5"), "sum, rolling or none"),
        (lambda llm: Verbalized(llm, k=0), "must be at least 1"),
        (lambda llm: Sequence(llm, length=1), "must be at least 2"),
        (lambda llm: Ensemble(llm, temperatures=()), "at least one temperature"),
        (lambda llm: InContext(orders=7), "come in pairs"),
        (lambda llm: InContext(relabel="random_tokens"), "off or swap"),
        (lambda llm: Direct(llm, question=InContext()).sample(K_ARY, 5), "draws a Bernoulli target only"),
        (lambda llm: calibration(Direct(llm), [], 5), "the grid of a calibration is empty"),
        (lambda llm: calibration(Direct(llm), [0.5, "0.5"], 5), "holds a level twice"),
        (lambda llm: calibration(Direct(llm), [1.5], 5), r"must lie in \[0, 1\], not 1.5"),
        (lambda llm: calibration(Direct(llm), ["x"], 5), "must be a number"),
        (lambda llm: calibration(Direct(llm), [float("nan")], 5), "not nan"),
    ],
)
def test_refusals(make, sentence):
    llm = Oracle().client()
    with pytest.raises(VRSError, match=sentence) as raised:
        make(llm)
    assert "\n" not in str(raised.value) and llm.calls == []
