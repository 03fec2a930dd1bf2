"""Provers without a large model: a grammar of tactics filled in from the goal, and three ways to weigh it.

uniform    every tactic of the menu alike
smollm2    log p(tactic | goal) − log p(tactic | no goal) under a small language model; without the subtraction the
           ranking hardly depends on the goal
fitted     multinomial logistic regression from features of the goal to the kind of the first tactic, fitted on
           reference proofs of other generated goals (from the same templates, so it knows its exam)
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..fragment.check import initial_goal
from ..fragment.elaborate import LADDER
from ..fragment.state import FragmentGoal
from ..lean.lexer import lex
from ..lean.terms import RELATIONS
from ..problems import Problem

CLOSING = ("norm_num", "ring", "omega", "linarith", "nlinarith", "decide", "positivity", "simp")
WITNESSES = ("0", "1", "2", "3")
TEMPERATURE = 1.0


@dataclass(frozen=True)
class Choice:
    """A tactic of the menu and its kind; `opens` says that goals usually remain."""

    text: str
    kind: str
    opens: bool = False


def menu(goal: FragmentGoal) -> list[Choice]:
    """All tactics that the grammar offers for a goal."""
    found = [Choice(t, t) for t in CLOSING]
    reals = [x for x, k in goal.variables if k in ("ℝ", "ℚ", "ℤ")]
    for i, x in enumerate(reals[:4]):
        for y in reals[i + 1 : 4]:
            found.append(Choice(f"nlinarith [sq_nonneg ({x} - {y})]", "nlinarith_square"))
    numerals = list(
        dict.fromkeys(t.text for t in lex(goal.pretty()).tokens if t.kind == "num" and t.text not in ("0", "2"))
    )[:4]
    for x in reals[:2]:
        found += [Choice(f"nlinarith [sq_nonneg ({x} - {c})]", "nlinarith_shift") for c in numerals]
    names = [name for name, _ in goal.hypotheses]
    if names:
        found.append(Choice(f"nlinarith [{', '.join(names[:4])}]", "nlinarith_hypotheses"))
        found.append(Choice(f"simp [{', '.join(names[:4])}]", "simp_hypotheses"))
    for name, prop in goal.hypotheses:
        if prop.op in ("=", "∀"):
            found.append(Choice(f"rw [{name}]", "rw", True))
            found.append(Choice(f"norm_num [{name}]", "norm_num_with"))
        if prop.op == "=" and any(a.op == "id" and a.name in dict(goal.variables) for a in prop.args):
            found.append(Choice(f"subst {name}", "subst", True))
        if prop.op in ("∧", "∃"):
            found.append(Choice(f"obtain ⟨h₁, h₂⟩ := {name}", "obtain", True))
        if prop.op == "∨":
            found.append(Choice(f"rcases {name} with h | h", "rcases", True))
        found.append(Choice(f"exact {name}", "exact"))
    equations = [name for name, prop in goal.hypotheses if prop.op in ("=", "∀")]
    if len(equations) > 1:
        found.append(Choice(f"norm_num [{', '.join(reversed(equations))}]", "norm_num_with"))
    for x, k in goal.variables:
        if k in ("ℕ", "ℤ"):
            found.append(Choice(f"interval_cases {x}", "interval_cases", True))
    if goal.target.op in ("∧", "↔"):
        found.append(Choice("constructor", "constructor", True))
    if goal.target.op == "∨":
        found += [Choice("left", "side", True), Choice("right", "side", True)]
    if goal.target.op in ("∀", "→", "¬"):
        found.append(Choice("intro h", "intro", True))
    if goal.target.op == "∃":
        found += [Choice(f"use {w}", "use", True) for w in WITNESSES]
    return found


KINDS = (
    *CLOSING,
    "nlinarith_square",
    "nlinarith_shift",
    "nlinarith_hypotheses",
    "simp_hypotheses",
    "rw",
    "norm_num_with",
    "subst",
    "obtain",
    "rcases",
    "exact",
    "interval_cases",
    "constructor",
    "side",
    "intro",
    "use",
    "have",
)
Weigh = Callable[[FragmentGoal, Sequence[Choice]], np.ndarray]


def uniform(goal: FragmentGoal, choices: Sequence[Choice]) -> np.ndarray:
    return np.full(len(choices), 1 / len(choices))


def features(goal: FragmentGoal) -> np.ndarray:
    """What the regression sees of a goal; float64 of fixed length."""
    target = list(goal.target.walk())
    kinds = [k for _, k in goal.variables]
    ops = {t.op for t in target}
    facts = [p.op for _, p in goal.hypotheses]
    names = {t.name for t in target if t.op == "id"}
    values = [
        1.0,
        *(float(goal.target.op == op) for op in ("=", "≤", "<", "≥", ">", "∧", "∨", "∃", "∣")),
        *(float(k in kinds) for k in LADDER),
        float(any(isinstance(k, tuple) for k in kinds)),
        float(not kinds),
        len(kinds) / 3,
        facts.count("=") / 2,
        facts.count("∀"),
        sum(f in RELATIONS for f in facts) / 3,
        float(not facts),
        float("∨" in facts),
        *(float(op in ops) for op in ("^", "*", "/", "%", "-", "∑", "abs", "app", "√", "ascribe")),
        float(bool(names & {"Nat.gcd", "Nat.choose", "Real.sqrt"})),
        len(target) / 20,
        float(any(t.op == "^" for _, p in goal.hypotheses for t in p.walk())),
        float(any(t.op == "*" and all(a.op == "id" for a in t.args) for t in target)),
    ]
    return np.array(values)


class Fitted:
    """The regression. `weights` is [features, kinds]."""

    def __init__(self, weights: np.ndarray, smoothing: float = 0.05):
        self.weights, self.smoothing = weights, smoothing

    @classmethod
    def fit(cls, problems: Sequence[Problem], penalty: float = 0.02) -> Fitted:
        """Maximum likelihood with an L2 penalty, from the first tactics of reference proofs."""
        from scipy.optimize import minimize

        goals = [initial_goal(p.statement) for p in problems]
        x = np.stack([features(g) for g in goals])
        y = np.array([KINDS.index(first_kind(p.reference, g)) for p, g in zip(problems, goals, strict=True)])
        shape = (x.shape[1], len(KINDS))

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            w = flat.reshape(shape)
            logits = x @ w
            logits -= logits.max(1, keepdims=True)
            p = np.exp(logits)
            p /= p.sum(1, keepdims=True)
            value = -np.log(p[np.arange(len(y)), y]).mean() + penalty * (w**2).sum() / len(y)
            p[np.arange(len(y)), y] -= 1
            return value, (x.T @ p / len(y) + 2 * penalty * w / len(y)).ravel()

        found = minimize(loss, np.zeros(shape[0] * shape[1]), jac=True, method="L-BFGS-B", options={"maxiter": 200})
        return cls(found.x.reshape(shape))

    def __call__(self, goal: FragmentGoal, choices: Sequence[Choice]) -> np.ndarray:
        logits = features(goal) @ self.weights
        p = np.exp(logits - logits.max())
        p /= p.sum()
        counts = {k: sum(c.kind == k for c in choices) for k in KINDS}
        weights = np.array([p[KINDS.index(c.kind)] / counts[c.kind] for c in choices])
        weights = weights / weights.sum()
        return (1 - self.smoothing) * weights + self.smoothing / len(choices)


def first_kind(proof: str, goal: FragmentGoal) -> str:
    """The menu's kind of a reference proof's first tactic."""
    line = proof.strip().splitlines()[0].strip().partition(" <;>")[0]
    word = line.split()[0]
    if word == "nlinarith" and "sq_nonneg" in line and "," not in line:
        inner = [t for t in lex(line[line.index("(") :]).tokens if t.kind in ("ident", "num")]
        return "nlinarith_square" if all(t.kind == "ident" for t in inner) else "nlinarith_shift"
    if word == "nlinarith" and "[" in line:
        return "nlinarith_shift" if "sq_nonneg" in line else "nlinarith_hypotheses"
    if word == "norm_num" and "[" in line:
        return "norm_num_with"
    return word if word in KINDS else "norm_num"


class SmallModel:
    """Weights from a language model: how much likelier the goal makes a tactic.

    Args:
        score: from (prompt, continuation) pairs to log-probabilities, such as `Local.continuation_logprobs`.
        temperature: of the softmax over the differences.
    """

    def __init__(self, score: Callable[[list[tuple[str, str]]], Sequence[float]], temperature: float = TEMPERATURE):
        self.score, self.temperature = score, temperature
        self.without_goal: dict[str, float] = {}
        self.known: dict[str, np.ndarray] = {}
        self.root: dict[str, float] = {}

    PROMPT = "Lean 4 tactic proof.\nGoal:\n{goal}\nNext tactic:"

    def __call__(self, goal: FragmentGoal, choices: Sequence[Choice]) -> np.ndarray:
        key = goal.pretty()
        if key not in self.known:
            self.learn([(key, choices)])
        return self.known[key]

    def learn(self, goals: Sequence[tuple[str, Sequence[Choice]]]) -> None:
        """Scores the menus of several goals; tactics without a goal are scored once each."""
        new = list(dict.fromkeys(c.text for _, cs in goals for c in cs if c.text not in self.without_goal))
        empty = self.PROMPT.format(goal="⊢ ?")
        if new:
            self.without_goal.update(zip(new, self.score([(empty, f" {t}\n") for t in new]), strict=True))
        for key, choices in goals:
            prompt = self.PROMPT.format(goal=key[-1500:])
            values = self.score([(prompt, f" {c.text}\n") for c in choices])
            difference = np.array([v - self.without_goal[c.text] for v, c in zip(values, choices, strict=True)])
            weights = np.exp((difference - difference.max()) / self.temperature)
            self.known[key] = weights / weights.sum()


def draw_script(goal: FragmentGoal, choices: Sequence[Choice], weights: np.ndarray, rng: random.Random) -> str:
    """A whole proof without looking at what its tactics do: one closing tactic, or an opening one and then a closing
    one."""
    pick = rng.choices(range(len(choices)), weights.tolist())[0]
    first = choices[pick]
    if not first.opens:
        return f"\n  {first.text}\n"
    closing = [i for i, c in enumerate(choices) if not c.opens]
    second = choices[rng.choices(closing, [weights[i] for i in closing])[0]]
    joint = " <;> " if first.kind in ("constructor", "interval_cases", "rcases") else "\n  "
    return f"\n  {first.text}{joint}{second.text}\n"


def scripts(problems: Sequence[Problem], weigh: Weigh, n: int, seed: int) -> Mapping[str, list[str]]:
    """n whole proofs for each problem."""
    found = {}
    for p in problems:
        goal = initial_goal(p.statement)
        choices = menu(goal)
        weights = weigh(goal, choices)
        rng = random.Random(f"{seed}/{p.id}")
        found[p.id] = [draw_script(goal, choices, weights, rng) for _ in range(n)]
    return found


class MenuPolicy:
    """Proposals for tree search: S distinct tactics of a state's menu, drawn by weight, with their log-weights."""

    def __init__(self, weigh: Weigh):
        self.weigh = weigh

    def __call__(self, goals: Sequence[FragmentGoal], count: int, rng: random.Random) -> list[tuple[str, float]]:
        choices = menu(goals[0])
        weights = np.asarray(self.weigh(goals[0], choices))
        # Gumbel's trick: the `count` largest of log w + noise are a draw without replacement
        keys = [math.log(w) - math.log(-math.log(rng.random() or 1e-300)) for w in weights]
        best = sorted(range(len(choices)), key=lambda i: -keys[i])[:count]
        return [(choices[i].text, math.log(weights[i])) for i in best]
