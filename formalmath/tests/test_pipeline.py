"""Votes, candidates, disproofs, review; prompts; menus and tree search; the recorded completions."""

from __future__ import annotations

import asyncio
import json
import random

import numpy as np
import pytest

from formalmath.audit import audit
from formalmath.errors import FormalMathError
from formalmath.fragment.check import initial_goal
from formalmath.lean.backend import ProofState, StepResult
from formalmath.lean.fragment_backend import FragmentTactics, structural_problem
from formalmath.lean.lint import lint, parts
from formalmath.lean.statement import parse_statement
from formalmath.pipeline import autoformalize, judge
from formalmath.pipeline.compile import structural
from formalmath.pipeline.disprove import by_lean, disprove, negation_problems
from formalmath.pipeline.review import Decision, Ledger, read_queue, review
from formalmath.problems import Problem, from_records, mini
from formalmath.provers.best_first import SearchSettings, attempt, search
from formalmath.provers.menu import Fitted, MenuPolicy, SmallModel, features, menu, scripts, uniform
from formalmath.provers.prompts import MODES, prompt, template, template_hash

# -- votes


@pytest.mark.parametrize(
    ("text", "vote"),
    [
        ("The same.\nTrue", "True"),
        ("1. ... 2. ...\n**False**", "False"),
        ("true", "True"),
        ("It is true that x. Still:\nFalse.", "False"),
        ("```\nTrue\n```", "abstain"),
        ("I cannot say.", "abstain"),
        ("True or False", "abstain"),
        ("", "abstain"),
        ("Verdict: TRUE", "True"),
        ("untrue", "abstain"),
        ("```lean\nexact True.intro\n```\nFalse", "False"),
    ],
)
def test_votes_are_the_last_standalone_word(text, vote):
    assert judge.read_vote(text) == vote


def test_rules_of_voting():
    ballots = {"a": "True", "b": "True", "c": "abstain"}
    assert not judge.decide(ballots).accepted
    assert judge.decide(ballots, "at_least_k", 2).accepted
    assert (
        judge.decide(ballots, "weighted", weights={"c": 1.5}).accepted
        and not judge.decide(ballots, "weighted", weights={"c": 5}).accepted
    )
    for rule, k, given in (("most", 1, ballots), ("at_least_k", 4, ballots), ("unanimous", 1, {})):
        with pytest.raises(FormalMathError):
            judge.decide(given, rule, k)


def fake(respond):
    from shared.llm.backends.fake import Fake
    from shared.llm.client import LLM

    return LLM(Fake(respond))


def test_two_step_judges_do_not_show_the_words_to_the_translator():
    seen = []

    def respond(request):
        text = request.messages[-1].text
        seen.append(text)
        return "For all x, x = x." if "Translate this statement" in text else "True"

    with fake(respond) as llm:
        vote = judge.judge_equivalence("WORDS", "theorem t : True := by", {"j": judge.llm_judge(llm, mode="two_step")})
    assert vote.accepted and "WORDS" not in seen[0] and "WORDS" in seen[1] and "For all x" in seen[1]
    with fake(lambda r: "False") as llm:
        assert not judge.judge_equivalence("W", "t", {"j": judge.llm_judge(llm)}).accepted
    with pytest.raises(FormalMathError, match="judge.mode"):
        judge.llm_judge(None, mode="three_step")


# -- candidates and disproofs


def test_synthetic_candidates_err_at_their_rates():
    found = autoformalize.synthetic(mini(60, 0), 4, 0)
    assert len(found) == 60 * 4 * 3
    for name, rate in autoformalize.ERROR_RATES.items():
        own = [c for c in found if c.autoformalizer == name]
        wrong = np.mean([not c.correct for c in own])
        assert abs(wrong - rate) < 4 * np.sqrt(rate * (1 - rate) / len(own)) + 0.02
    assert found == autoformalize.synthetic(mini(60, 0), 4, 0)


def test_candidates_of_a_model_are_cut_out_of_their_answer():
    answer = "Here:\n```lean4\nimport Mathlib\n\ntheorem t : 1 = 1 := by sorry\n```\nDone."
    assert autoformalize.statement_in(answer) == "import Mathlib\n\ntheorem t : 1 = 1 := by"
    with fake(lambda r: answer) as llm:
        found = list(autoformalize.from_llm(llm, "m", mini(2, 0), 2, llm.sampling))
    assert {(c.problem_id, c.number) for c in found} == {(p.id, i) for p in mini(2, 0) for i in range(2)}


@pytest.mark.parametrize(
    ("text", "ok"),
    [
        ("theorem t (x : ℝ) : x = x := by", True),
        ("theorem t (x : ℝ : x = x := by", False),
        ("theorem t (x : ℝ) : x == := by", False),
        ("theorem t : x < y < z := by", False),
        ("theorem t (x : ℝ) : x + = 2 := by", False),
        ("theorem t := by", False),
        ("theorem t : Foo.bar 1 = 2 := by", False),
        ("theorem t : ∀ᶠ x in atTop, x = x := by", True),
    ],
)
def test_the_structural_check(text, ok):
    assert structural(text).ok is ok


def test_the_structural_check_accepts_what_lean_accepted(lite):
    refused = [p.id for p in lite if structural_problem(p.statement)]
    assert len(refused) <= 4, refused


def test_outcomes_of_disproof():
    assert disprove(parse_statement("theorem t (x : ℝ) : x / x = 1 := by")).outcome == "refuted"
    found = disprove(parse_statement("theorem t (x : ℝ) (h : x < 0) (k : 0 < x) : x = 7 := by"), 0.3)
    assert (found.outcome, found.authority) == ("vacuous", "fragment") and "t_vacuous" in found.negation
    assert (
        disprove(parse_statement("theorem t (x : ℝ) (h : x = 1) : x = 1 := by"), 0.1, probe=True).trivial_by
        == "assumption"
    )
    assert disprove(parse_statement("theorem t (z : ℂ) : z = z := by")).outcome == "outside"


def test_negations_become_problems_for_a_prover():
    problems = mini(3, 0)
    negations = negation_problems(problems)
    assert [p.id for p in negations] == [f"{p.id}_negative" for p in problems] and all(
        "¬" in p.statement.type for p in negations
    )
    assert list(by_lean(problems, [negations[1].id])) == [problems[1].id]


def test_review_keeps_a_ledger_and_goes_on_where_it_was(tmp_path):
    queue = [{"id": f"q{i}", "words": "w", "lean": "theorem t : True := by", "lints": ["1:0 note"]} for i in range(4)]
    (tmp_path / "queue.jsonl").write_text("\n".join(map(json.dumps, queue)))
    ledger = Ledger(tmp_path / "ledger.jsonl")
    said, answers = [], iter(["x", "a", "fine", "r", "9", "1", "dropped", "s", "q"])
    assert review(read_queue(tmp_path / "queue.jsonl"), ledger, "ann", lambda _: next(answers), said.append) == 2
    assert [(d.item, d.decision, d.error) for d in ledger.decisions()] == [
        ("q0", "accept", ""),
        ("q1", "reject", "condition"),
    ]
    answers = iter(["q"])
    review(queue, ledger, "ann", lambda _: next(answers), said.append)
    assert "q2" in said[-1]
    for item in ("q0", "q1"):
        ledger.add(Decision(item, "ben", "accept"))
    assert ledger.agreement() == (2, 0.0)
    assert ledger.cost()["usd"] == pytest.approx(4 * 6.89)


# -- lints


@pytest.mark.parametrize(
    ("text", "id"),
    [
        ("theorem t (x : ℝ) : x + C = 1 := by", "phantom-variable"),
        ("theorem t (x : ℕ := 5) : x = 5 := by", "optparam-binder"),
        ("theorem t (x y : ℝ) : x = x := by", "unused-binder"),
        ("theorem t (x : ℝ) (h : x = 1) (k : x = 1) : x = 1 := by", "duplicate-hypothesis"),
        ("theorem t (x : ℝ) (x : ℕ) : x = x := by", "shadowed-binder"),
        ("theorem t : ∃ x : ℝ, x > 0 → x = 1 := by", "exists-implies"),
        ("theorem t : ∃ k : ℕ, 0 < k ↔ k = 1 := by", "exists-iff"),
        ("theorem t : ∀ k : ℕ, 0 < k ↔ k = 1 := by", "forall-iff"),
        ("theorem t : ∑ i ∈ Finset.range 3, i + 1 = 4 := by", "big-operator-cut"),
        ("theorem t (n : ℕ) : n - 1 = 0 := by", "natural-subtraction"),
        ("theorem t (n : ℕ) : n / 2 = 0 := by", "whole-division"),
        ("theorem t (k : ℝ) : k ^ (4 / 19) = 1 := by", "exponent-division"),
        ("theorem t (x : ℝ) : 1 / x = 1 := by", "division-may-vanish"),
        ("theorem t (x : ℝ) : x % 1 = 0 := by", "field-remainder"),
        ("theorem t (x : ℝ) : Real.sqrt (x - 1) = 0 := by", "root-of-negative"),
        ("theorem t : 5 - 7 = 0 := by", "natural-literals"),
        ("theorem s : True := by sorry\ntheorem t : True := by", "sorry-in-preamble"),
        ("def t : True := by", "target-not-a-theorem"),
        ("theorem t (x : ℝ) (h : x = 1) : x = 1 := by", "goal-is-hypothesis"),
        ("theorem s : True := trivial\ntheorem t : True := by", "several-theorems"),
    ],
)
def test_each_lint_finds_its_defect_and_says_a_remedy(text, id):
    found = {f.id: f for f in lint(parse_statement(text))}
    assert id in found and found[id].remedy and found[id].severity in ("error", "warning", "note")
    assert all(": " in line for line in parts(list(found.values())))


def test_good_statements_have_no_errors():
    assert not [f for p in mini(38, 0) for f in lint(p.statement) if f.severity == "error"]


def test_the_audit_lists_the_known_defects(lite):
    names = {"u-math_1091", "omni_theorem_2411", "omni_theorem_3647", "omni_theorem_2161", "u-math_59", "u-math_1044"}
    report = audit([p for p in lite if p.id in names], 0.5, workers=1)
    summary = report.summary()
    assert (summary["refuted"], summary["unsolvable"], summary["phantom variables"]) == (3, 2, 1)
    assert summary["ceiling"]["reachable"] == 1 and summary["ceiling"]["official checker"] == 4
    text = "\n".join(report.lines())
    assert all(name in text for name in names)


# -- prompts


def test_prompts_end_where_the_model_goes_on():
    p = mini(1, 0)[0]
    assert prompt(p, "vanilla") == f"\nComplete the following Lean 4 code:\n```lean4\n{p.lean}"
    assert "explanatory comments preceding each line of code" in prompt(p, "cot")
    assert prompt(p, "nl_cot").endswith(f"/- {p.solution} -/\n")
    assert len({template_hash(m) for m in MODES}) >= 5
    for mode in ("kimina", "deepseek_v2", "chat"):
        assert p.lean in prompt(p, mode)
    with pytest.raises(FormalMathError, match="no solution"):
        prompt(Problem("a", "", p.lean), "nl_cot")
    with pytest.raises(FormalMathError, match="prompt must be one of"):
        template("poem")


# -- menus and search


def test_scripts_are_drawn_by_weight_and_seed():
    problems = mini(8, 0)
    assert scripts(problems, uniform, 5, 1) == scripts(problems, uniform, 5, 1) != scripts(problems, uniform, 5, 2)
    goal = initial_goal(problems[0].statement)
    choices = menu(goal)
    one = np.zeros(len(choices))
    one[[c.text for c in choices].index("linarith")] = 1
    assert set(scripts(problems[:1], lambda g, c: one, 5, 0)[problems[0].id]) == {"\n  linarith\n"}


def test_the_fitted_menu_learns_which_tactic_fits():
    weigh = Fitted.fit(mini(76, 1, "fitted"))
    right = 0
    problems = mini(38, 2, "other")
    for p in problems:
        goal = initial_goal(p.statement)
        choices = menu(goal)
        w = weigh(goal, choices)
        assert w.sum() == pytest.approx(1) and w.min() > 0
        right += choices[int(np.argmax(w))].text.split()[0] == p.reference.split()[0]
    assert right > 24
    assert features(goal).shape == features(initial_goal(problems[0].statement)).shape


def test_a_small_model_s_weights_are_differences():
    asked = []

    def score(pairs):
        asked.append(len(pairs))
        return [-10.0 + 5.0 * ("linarith" in text and "⊢ ?" not in prompt) for prompt, text in pairs]

    goal = initial_goal(mini(1, 0)[0].statement)
    choices = menu(goal)
    weigh = SmallModel(score)
    w = weigh(goal, choices)
    assert choices[int(np.argmax(w))].text.split()[0].endswith("linarith")
    calls = len(asked)
    weigh(goal, choices)
    assert len(asked) == calls


def run(coroutine):
    return asyncio.run(coroutine)


def test_search_finds_a_proof_of_two_tactics():
    st = parse_statement("theorem t (x : ℝ) (h : x = 3) (k : 0 < x) : x ^ 2 = 9 ∧ 0 < x := by")
    policy = MenuPolicy(uniform)
    settings = SearchSettings(attempts=3, tactics=12, expansions=40)
    attempts = run(search(FragmentTactics(), st, lambda s, n, rng: policy(s.handle, n, rng), settings))
    found = [a for a in attempts if a.script]
    assert found and found[0].tactics > 0
    from formalmath.fragment.check import check

    assert all(check(st, a.script).verdict == "proved" for a in found)


class Tree:
    """States as words; `go` appends, `loop` changes nothing, `win` ends at depth 3, `die` fails."""

    def __init__(self):
        self.stepped = []

    async def start(self, st):
        return ProofState(("root",), "root")

    async def step(self, state, tactic):
        self.stepped.append((state.handle, tactic))
        if tactic == "die":
            return StepResult(None, "error", "no")
        if tactic == "loop":
            return StepResult(state)
        if tactic == "win" and state.handle.count("/") == 2:
            return StepResult(ProofState((), None))
        deeper = f"{state.handle}/{tactic}"
        return StepResult(ProofState((deeper,), deeper))


def test_search_is_best_first_and_prunes_what_it_has_seen():
    st = parse_statement("theorem t : True := by")
    tree = Tree()
    proposals = [("a", -0.1), ("b", -2.0), ("loop", -0.01), ("die", -0.01), ("win", -3.0)]
    found = run(attempt(tree, st, lambda s, n, rng: proposals, SearchSettings(1, 5, 10), 0))
    assert found.script == "\n  a\n  a\n  win\n" and found.expansions == 3 and found.reasons == {"error": 3}
    none = run(attempt(Tree(), st, lambda s, n, rng: [("die", 0.0)], SearchSettings(1, 5, 10), 0))
    assert none.script is None and none.expansions == 1
    with pytest.raises(FormalMathError, match=r"search\.tactics"):
        SearchSettings(tactics=0)


def test_a_length_normalised_priority_prefers_sure_long_paths():
    """Σ log p / L^α: with α = 1 three steps of −0.5 beat one of −0.6; with α = 0 they do not."""
    st = parse_statement("theorem t : True := by")
    for alpha, first in ((1.0, "root/a/a"), (0.0, "root/b")):
        tree = Tree()
        run(attempt(tree, st, lambda s, n, rng: [("a", -0.5), ("b", -0.6)], SearchSettings(1, 2, 3, alpha), 0))
        assert tree.stepped[4][0] == first


def test_random_draws_of_a_policy_are_without_repeats():
    goal = initial_goal(mini(1, 0)[0].statement)
    drawn = MenuPolicy(uniform)([goal], 8, random.Random(0))
    assert len({t for t, _ in drawn}) == 8


# -- records


@pytest.mark.parametrize(
    ("records", "part"),
    [
        ([{"theorem_names": "a"}], "'autoformalization' is missing"),
        (["x"], "a record is a mapping"),
        ([{"theorem_names": "a", "autoformalization": "theorem a : True := by"}] * 2, "is that of record 0 already"),
        (
            [
                {
                    "theorem_names": "a",
                    "autoformalization": "theorem a : True := by",
                    "compiler_feedback": "__import__('os')",
                }
            ],
            "not a Python literal",
        ),
    ],
)
def test_broken_records_are_refused_by_number(records, part):
    with pytest.raises(FormalMathError, match=part):
        from_records(records, "file")


def test_other_field_names_are_mapped(tmp_path):
    from formalmath.problems import load

    (tmp_path / "p.jsonl").write_text('{"name": "a", "formal": "theorem a : True := by sorry", "nl": "w"}\n')
    fields = {"theorem_names": "name", "autoformalization": "formal", "refined_statement": "nl"}
    (p,) = load("jsonl", path=str(tmp_path / "p.jsonl"), fields=fields)
    assert (p.id, p.words, p.statement.name) == ("a", "w", "a")
    (tmp_path / "m.jsonl").write_text(
        '{"name": "b", "split": "test", "header": "import Mathlib\\n", "formal_statement": "theorem b : True := '
        'by sorry"}\n'
    )
    assert load("minif2f", path=str(tmp_path / "m.jsonl"), split="test")[0].statement.imports == ("Mathlib",)
    for name, path, part in (
        ("nothing", None, "data.path"),
        ("minif2f", None, "data.path"),
        ("jsonl", "/nonexistent", "cannot read"),
    ):
        with pytest.raises(FormalMathError, match=part):
            load(name, path=path)


# -- the recording


def test_every_prompt_of_the_default_run_is_in_the_recording():
    from formalmath.recorded import RECORDING, everything, proof_problems, vote_items
    from shared.llm import Recording

    items = vote_items()
    assert len(items) == 20 and sum(i.operator == "identity" for i in items) == 10 and len(proof_problems()) == 20
    if not RECORDING.exists():
        pytest.skip("the recording is not here")
    assert Recording.open(RECORDING).missing(everything()) == []
