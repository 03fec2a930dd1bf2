"""Is a plan valid, and if not: at which step, and for which literal? Without a full grounding, and never by a crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .check import conjuncts
from .ground import Compiler, Fact, GroundLimits, Operator, Unsupported, bits, ground, holds, supported
from .syntax import EMPTY, Action, Domain, Formula, Problem, show, substitute


@dataclass(frozen=True, slots=True)
class PlanVerdict:
    """`step` counts from 1; `literal` is the ground condition that fails; `cost` is that of a valid plan."""

    valid: bool
    step: int | None = None
    reason: str = ""
    literal: str = ""
    cost: float | None = None


class PlanValidator:
    """Validates plans of one problem; ground actions are kept between calls.

    Raises:
        Unsupported: see ground.
    """

    def __init__(self, domain: Domain, problem: Problem, limits: GroundLimits | None = None) -> None:
        supported(domain, problem)
        self.domain, self.problem = domain, problem
        self.close = None
        if domain.derived:
            task = ground(domain, problem, limits)
            self.compiler, self.init, self.close = task.compiler, task.init, task.close
        else:
            self.compiler = Compiler(domain, problem, limits or GroundLimits())
            self.init = 0
            for fact in sorted(self.compiler.true):
                if fact[0] in self.compiler.fluent:
                    self.init |= self.compiler.bit(fact)
        self.unit = problem.metric is None or problem.metric[1].name != "total-cost"
        self.goal = self.compiler.clauses(problem.goal, {})
        self.known: dict[Fact, Operator | PlanVerdict] = {}
        self.objects = {**domain.constants, **problem.objects}

    def __call__(self, plan: Sequence[Sequence[str]]) -> PlanVerdict:
        """The verdict on a plan: steps as name and arguments, in any case."""
        state, cost = self.init, 0.0
        for number, step in enumerate(plan, 1):
            key = tuple(step)
            op = self.known.get(key)
            if op is None:
                op = self.known[key] = self._operator(tuple(s.lower() for s in key))
            if isinstance(op, PlanVerdict):
                return PlanVerdict(False, number, op.reason, op.literal)
            if not holds(op.condition, state):
                return self._failing(number, op, state)
            add, delete = op.add, op.delete
            for condition, more, less in op.conditional:
                if holds(condition, state):
                    add |= more
                    delete |= less
            state = state & ~delete | add
            if self.close is not None:
                state = self.close(state)
            cost += op.cost
        if not holds(self.goal, state):
            literal = self._unmet(conjuncts(self.problem.goal), state)
            return PlanVerdict(False, len(plan), "the goal does not hold after the last step", literal)
        return PlanVerdict(True, None, "", "", cost)

    def _operator(self, step: Fact) -> Operator | PlanVerdict:
        """The ground action, or a verdict that tells why there is none."""
        action = self.domain.actions.get(step[0]) if step else None
        if action is None:
            names = ", ".join(self.domain.actions)
            return PlanVerdict(False, None, f"there is no action {step[0] if step else ''!r}; there are {names}")
        if len(step) - 1 != len(action.params):
            wanted = f"{len(action.params)} arguments, not {len(step) - 1}"
            return PlanVerdict(False, None, f"action {action.name} takes {wanted}")
        for (variable, types), name in zip(action.params, step[1:], strict=True):
            if name not in self.objects:
                return PlanVerdict(False, None, f"there is no object {name!r}", self._first(action, step, variable))
            if name not in self.compiler.of(types):
                has = " ".join(self.objects[name])
                return PlanVerdict(
                    False,
                    None,
                    f"{variable} of {action.name} must be of type {' or '.join(types)}, and {name} is of type {has}",
                    self._first(action, step, variable),
                )
        found = self.compiler.instance(action, step[1:], self.unit)
        if found is not None:
            return found
        literal = self._unmet(_ground(action, step), self.init)
        return PlanVerdict(False, None, "its precondition can never hold", literal)

    def _first(self, action: Action, step: Fact, variable: str) -> str:
        """The first condition on the variable, ground."""
        for f, g in zip(conjuncts(action.precondition), _ground(action, step), strict=True):
            if variable in show(f).replace("(", " ").replace(")", " ").split():
                return show(g)
        return ""

    def _failing(self, number: int, op: Operator, state: int) -> PlanVerdict:
        action = self.domain.actions[op.name[0]]
        literal = self._unmet(_ground(action, op.name), state)
        return PlanVerdict(False, number, f"the precondition of {op} does not hold", literal)

    def _unmet(self, parts: Sequence[Formula], state: int) -> str:
        return next((show(f) for f in parts if not holds(self.compiler.clauses(f, {}), state)), "")

    def facts(self, state: int) -> list[Fact]:
        return [self.compiler.facts[i] for i in bits(state)]


def _ground(action: Action, step: Fact) -> list[Formula]:
    binding: Mapping[str, str] = {v: a for (v, _), a in zip(action.params, step[1:], strict=True)}
    return conjuncts(substitute(action.precondition or EMPTY, binding))


def validate_plan(domain: Domain, problem: Problem, plan: Sequence[Sequence[str]]) -> PlanVerdict:
    """The verdict on one plan. What cannot be grounded is invalid, and the reason names it."""
    try:
        return PlanValidator(domain, problem)(plan)
    except Unsupported as error:
        return PlanVerdict(False, None, str(error))
