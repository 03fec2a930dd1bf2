"""Best-of-N, iVML, ledger and resume, with a stub model."""

from __future__ import annotations

import json
import random

import pytest
from conftest import Stub

from pddl_gen.engine import IVML, BestOfN, Candidate, TestTimeScaling, faults
from pddl_gen.errors import PDDLGenError
from pddl_gen.evidence import evidence
from pddl_gen.items import suite_items
from pddl_gen.ledger import Ledger, ask
from pddl_gen.roles import critic, generate, learner
from pddl_gen.scorer import Likelihood
from pddl_gen.simulate import ErrorModel, Simulated, simulated_items
from shared.llm import LLM, Limits, Sampling, Stopped

SAMPLING = Sampling(temperature=0.7, logprobs=0)


def candidate(sample, total, tokens=10, finish="stop", domain="(define (domain d))", error=""):
    likelihood = None if total is None else Likelihood(total, tokens, "raw")
    return Candidate("i", sample, "text", "thought", domain, finish, likelihood, error)


def item():
    return suite_items("nl2domain", ["ferry"])[0]


def test_ranking_by_likelihood():
    pool = [
        candidate(0, -30.0),
        candidate(1, -10.0, finish="length"),
        candidate(2, -20.0, 40),
        candidate(3, None, error="timeout"),
    ]
    assert [c.sample for c in BestOfN(4).rank(item(), pool)] == [2, 0, 1, 3]
    assert [c.sample for c in BestOfN(4, score="mean").rank(item(), pool)][:2] == [2, 0]
    assert [c.sample for c in BestOfN(1).choose(item(), pool)] == [0]
    assert [c.sample for c in BestOfN(4, k=2).choose(item(), pool)] == [2, 0]
    twins = [candidate(0, -9.0, domain="same"), candidate(1, -8.0, domain="same"), candidate(2, -9.5, domain="other")]
    assert [c.sample for c in BestOfN(3, dedup=True).rank(item(), twins)] == [0, 2]
    with pytest.raises(PDDLGenError, match="without log-probabilities"):
        BestOfN(2).choose(item(), [candidate(0, None), candidate(1, None)])


def test_length_normalised_scores():
    likelihood = Likelihood(-30.0, 9, "raw")
    assert likelihood.value("sum") == -30.0 and likelihood.value("mean") == pytest.approx(-30 / 9)
    assert likelihood.value("power", 0.5) == pytest.approx(-10.0)
    with pytest.raises(PDDLGenError, match="sum, mean, power"):
        likelihood.value("max")


def test_selection_by_the_validator_needs_no_likelihood():
    good = item().reference
    broken = good.replace(":parameters", ":paramters", 1)
    pool = [candidate(0, None, domain=None), candidate(1, None, domain=broken), candidate(2, None, domain=good)]
    assert [c.sample for c in BestOfN(3, select="validator").rank(item(), pool)] == [2, 1, 0]
    assert faults(good, item()) == (0, 0) and faults(broken, item())[0] >= 1


@pytest.mark.parametrize(
    "make",
    [lambda: BestOfN(0), lambda: BestOfN(2, k=3), lambda: BestOfN(2, select="luck"), lambda: BestOfN(2, score="max"),
     lambda: IVML(-1), lambda: IVML(1, feedback="oracle"), lambda: IVML(1, returns="middle")],
)  # fmt: skip
def test_settings_out_of_range_are_refused_by_name(make):
    with pytest.raises(PDDLGenError, match="must be"):
        make()


def test_the_prompts_hold_their_slots_and_the_evidence():
    it = item()
    first = critic(it, "T0", "(define (domain x))", SAMPLING, round=1).messages[0].text
    assert "T0" in first and it.given in first and "(define (domain x))" in first and "checker" not in first
    more = evidence("all", it.reference, it.shown)
    assert "PDDL checker:\nnone" in more and "has a plan" in more
    assert evidence("self", it.reference, it.shown) == ""
    assert more in critic(it, "T0", it.reference, SAMPLING, round=1, evidence=more).messages[0].text
    update = learner(it, "T0", None, "F1", SAMPLING, round=1).messages[0].text
    assert "F1" in update and "held no code" in update


def simulated(path, model=None, seed=0, trials=6, n=4, rounds=2, backend=None, **limits):
    ledger = Ledger(path)
    with LLM(backend or Simulated(model or ErrorModel(), seed), limits=Limits(concurrency=4, **limits)) as llm:
        engine = TestTimeScaling(BestOfN(n), IVML(rounds))
        result = engine.run(simulated_items(trials), llm, ledger, SAMPLING, logprob_kind="raw")
    ledger.close()
    texts = {i: [c.text for c in cs] for i, cs in result.candidates.items()}
    chains = {i: [c.text for c in t.iterates] for i, t in result.from_first.items()}
    return texts, chains, ledger


def test_smaller_n_is_the_beginning_of_larger_n():
    assert simulated(None, n=2)[0] == {i: t[:2] for i, t in simulated(None, n=4)[0].items()}


def test_a_run_killed_at_20_points_resumes_to_equal_results_and_asks_nothing_twice(tmp_path):
    whole = simulated(tmp_path / "whole.jsonl")
    lines = (tmp_path / "whole.jsonl").read_bytes().splitlines(keepends=True)
    rng = random.Random(0)
    for number in range(20):
        cut = rng.randrange(len(lines))
        torn = lines[cut][: rng.randrange(1, len(lines[cut]) - 1)]
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(b"".join(lines[:cut]) + torn)
        texts, chains, ledger = simulated(path)
        assert (texts, chains) == whole[:2]
        assert "cut short" in ledger.notice and ledger.asked == len(lines) - cut
        keys = [json.loads(line)["key"] for line in path.read_bytes().splitlines()]
        assert len(keys) == len(set(keys)) == len(lines)


def test_the_budget_stops_before_it_is_passed_and_the_run_goes_on_later(tmp_path):
    stub = Stub(lambda r: "### Domain:\n```pddl\n(define (domain d))\n```", lambda r: -1.0)
    requests = [generate(item(), s, Sampling(max_tokens=5)) for s in range(20)]
    ledger = Ledger(tmp_path / "l.jsonl")
    with LLM(stub, limits=Limits(concurrency=2, max_tokens_total=3000)) as llm, pytest.raises(Stopped):
        ask(llm, requests * 1 + [generate(item(), s, Sampling(max_tokens=5)) for s in range(20, 400)], ledger)
    totals = ledger.totals()
    assert 0 < totals["prompt_tokens"] + totals["completion_tokens"] <= 3000
    ledger.close()
    again = Ledger(tmp_path / "l.jsonl")
    assert again.totals() == totals
    with LLM(stub, limits=Limits(concurrency=2)) as llm:
        assert len(ask(llm, requests, again)) == 20
    assert again.asked == max(0, 20 - totals["calls"])


def test_failed_calls_are_recorded_and_rank_last(tmp_path):
    def answer(request):
        if request.draw == 0:
            raise ValueError("no")
        return "### Domain:\n```pddl\n(define (domain d))\n```"

    from shared.llm.backend import CallError

    class Refusing(Stub):
        async def complete(self, request):
            if request.draw == 0:
                raise CallError("refused", "it will not")
            return await super().complete(request)

    ledger = Ledger(tmp_path / "l.jsonl")
    with LLM(Refusing(answer, lambda r: -1.0), limits=Limits(attempts=1)) as llm:
        result = TestTimeScaling(BestOfN(2), IVML(0)).run([item()], llm, ledger, SAMPLING, logprob_kind="raw")
    found = result.candidates[item().id]
    assert "it will not" in found[0].error and not found[1].error
    assert result.chosen[item().id] == [found[1]] and ledger.totals()["failed"] == 1


def test_a_chain_offers_last_first_valid_and_best():
    from pddl_gen.engine import Trajectory

    good = item().reference
    bad = good.replace(":parameters", ":paramters", 1)
    chain = Trajectory("i", [candidate(0, None, domain=d) for d in (bad, good, bad)])
    assert chain.returned(2).domain == bad
    assert chain.returned(2, "first_valid").domain == chain.returned(2, "best").domain == good
    assert chain.returned(0, "first_valid").domain == bad


def test_a_ledger_that_is_none_is_refused(tmp_path):
    path = tmp_path / "l.jsonl"
    path.write_text("not json\n{}\n")
    with pytest.raises(PDDLGenError, match="line 1 is no ledger record"):
        Ledger(path)
