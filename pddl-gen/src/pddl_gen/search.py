"""Forward search over bitset states: A*, greedy best first, breadth first; blind, h_max, LM-cut and h_FF.

LM-cut (Helmert and Domshlak, ICAPS 2009) needs a task without conditional effects; where there are some, h_max serves.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from .ground import Operator, Task, bits

INFINITY = float("inf")
Status = Literal["solved", "unsolvable", "limit", "unsupported", "error"]
Heuristic = Callable[[int], float]
UNIT = 1  # of costs inside LM-cut


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """Bounds of one search."""

    seconds: float = 5.0
    expansions: int = 200_000
    states: int = 2_000_000  # kept in memory


@dataclass(slots=True)
class Found:
    """What a search came to. `cost` is that of the plan; `expanded` counts states whose successors were made."""

    status: Status
    plan: list[Operator] | None
    cost: float | None
    expanded: int
    seconds: float


def astar(
    task: Task,
    heuristic: Heuristic | None = None,
    limits: SearchLimits | None = None,
    weight: float | None = 1.0,
) -> Found:
    """Cheapest plan by A* (`heuristic` None: uniform cost); with `weight` None greedy best-first search.

    Optimal for admissible heuristics and finite weight 1; states are opened again where a cheaper way is found.
    """
    limits = limits or SearchLimits()
    began = time.perf_counter()
    h = heuristic or (lambda state: 0.0)
    start = task.init
    first = h(start)
    best: dict[int, float] = {start: 0.0}
    parent: dict[int, tuple[int, Operator] | None] = {start: None}
    known: dict[int, float] = {start: first}
    closed: set[int] = set()
    queue: list[tuple[float, float, int, int, float]] = []
    count = expanded = 0
    if first < INFINITY:
        queue.append((first, first, 0, start, 0.0))
    clock = 0
    while queue:
        _, _, _, state, g = heapq.heappop(queue)
        if g > best[state] or (state in closed and g >= best[state]):
            continue
        if task.is_goal(state):
            return Found("solved", _path(parent, state), best[state], expanded, time.perf_counter() - began)
        closed.add(state)
        expanded += 1
        clock += 1
        if expanded > limits.expansions or len(best) > limits.states:
            return Found("limit", None, None, expanded, time.perf_counter() - began)
        if clock & 15 == 0 and time.perf_counter() - began > limits.seconds:
            return Found("limit", None, None, expanded, time.perf_counter() - began)
        for op in task.applicable(state):
            after = task.apply(state, op)
            cost = g + op.cost
            old = best.get(after)
            if old is not None and old <= cost:
                continue
            value = known.get(after)
            if value is None:
                value = known[after] = h(after)
            if value == INFINITY:
                best[after] = cost
                continue
            best[after] = cost
            parent[after] = (state, op)
            closed.discard(after)
            count += 1
            f = value if weight is None else cost + weight * value
            heapq.heappush(queue, (f, value, count, after, cost))
    return Found("unsolvable", None, None, expanded, time.perf_counter() - began)


def bfs(task: Task, limits: SearchLimits | None = None) -> Found:
    """A plan of fewest actions, whatever they cost."""
    limits = limits or SearchLimits()
    began = time.perf_counter()
    parent: dict[int, tuple[int, Operator] | None] = {task.init: None}
    layer, expanded = [task.init], 0
    while layer:
        following = []
        for state in layer:
            if task.is_goal(state):
                plan = _path(parent, state)
                return Found("solved", plan, sum(op.cost for op in plan), expanded, time.perf_counter() - began)
            expanded += 1
            if expanded > limits.expansions or len(parent) > limits.states:
                return Found("limit", None, None, expanded, time.perf_counter() - began)
            if expanded & 255 == 0 and time.perf_counter() - began > limits.seconds:
                return Found("limit", None, None, expanded, time.perf_counter() - began)
            for op in task.applicable(state):
                after = task.apply(state, op)
                if after not in parent:
                    parent[after] = (state, op)
                    following.append(after)
        layer = following
    return Found("unsolvable", None, None, expanded, time.perf_counter() - began)


def _path(parent: dict[int, tuple[int, Operator] | None], state: int) -> list[Operator]:
    plan = []
    while (step := parent[state]) is not None:
        state, op = step
        plan.append(op)
    return plan[::-1]


class Relaxed:
    """The task without deletes: every effect a unary or small rule over facts and, where needed, negated facts.

    Facts 0 … n-1 are the task's, n … are negations of those that conditions forbid, then come the goal and a fact that
    always holds. Negations of derived facts are taken to hold always, which keeps h_max and LM-cut admissible.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        n = len(task.facts)
        forbidden = 0
        for op in task.operators:
            for _, no in op.condition:
                forbidden |= no
            for condition, _, _ in op.conditional:
                for _, no in condition:
                    forbidden |= no
        for _, no in task.goal:
            forbidden |= no
        for stratum in task.axioms:
            for condition, _ in stratum:
                for _, no in condition:
                    forbidden |= no
        self.forbidden = forbidden & ~task.derived
        self.negated = {bit: n + i for i, bit in enumerate(bits(self.forbidden))}
        self.goal = n + len(self.negated)
        self.always = self.goal + 1
        self.size = self.always + 1
        self.pre: list[tuple[int, ...]] = []
        self.add: list[tuple[int, ...]] = []
        self.cost: list[float] = []
        self.origin: list[Operator | None] = []
        self.exact = True  # whether no operator is spread over several rules that fire together
        for op in task.operators:
            for yes, no in op.condition:
                self._rule(yes, no, op.add, op.delete, op.cost, op)
                for condition, add, delete in op.conditional:
                    self.exact = False
                    for more, less in condition:
                        self._rule(yes | more, no | less, add, delete, op.cost, op)
        for stratum in task.axioms:
            for condition, head in stratum:
                for yes, no in condition:
                    self._rule(yes, no, head, 0, 0.0, None)
        for yes, no in task.goal:
            self.pre.append(self._facts(yes, no))
            self.add.append((self.goal,))
            self.cost.append(0.0)
            self.origin.append(None)
        self.needs: list[list[int]] = [[] for _ in range(self.size)]
        for rule, pre in enumerate(self.pre):
            for fact in pre:
                self.needs[fact].append(rule)
        self.adders: list[list[int]] = [[] for _ in range(self.size)]
        for rule, added in enumerate(self.add):
            for fact in added:
                self.adders[fact].append(rule)
        self.counts = [len(pre) for pre in self.pre]

    def _facts(self, yes: int, no: int) -> tuple[int, ...]:
        facts = list(bits(yes)) + [self.negated[b] for b in bits(no & self.forbidden)]
        return tuple(facts) or (self.always,)

    def _rule(self, yes: int, no: int, add: int, delete: int, cost: float, op: Operator | None) -> None:
        pre = self._facts(yes, no)
        added = [*bits(add), *(self.negated[b] for b in bits(delete & self.forbidden & ~add))]
        adds = tuple([fact for fact in added if fact not in pre])
        if adds:
            self.pre.append(pre)
            self.add.append(adds)
            self.cost.append(cost)
            self.origin.append(op)

    def state(self, state: int) -> list[int]:
        """The facts that hold."""
        found = list(bits(state))
        found += [self.negated[b] for b in bits(self.forbidden & ~state)]
        found.append(self.always)
        return found

    def h_max(self, state: int) -> float:
        """The cost of the dearest fact on the way to the goal."""
        return self._explore(self.state(state), self.cost)[0][self.goal]

    def _explore(self, facts: list[int], costs: list[float]) -> tuple[list[float], list[int], list[float], list[int]]:
        """Dijkstra: (cost of each fact, supporter of each rule, cost of the supporter, unmet conditions)."""
        cost = [INFINITY] * self.size
        unmet = self.counts.copy()
        supporter = [-1] * len(unmet)
        support = [INFINITY] * len(unmet)
        queue: list[tuple[float, int]] = []
        for fact in facts:
            cost[fact] = 0.0
            queue.append((0.0, fact))
        needs, adds = self.needs, self.add
        push, pop = heapq.heappush, heapq.heappop
        while queue:
            value, fact = pop(queue)
            if value > cost[fact]:
                continue
            for rule in needs[fact]:
                unmet[rule] -= 1
                if not unmet[rule]:
                    supporter[rule], support[rule] = fact, value
                    reached = value + costs[rule]
                    for added in adds[rule]:
                        if reached < cost[added]:
                            cost[added] = reached
                            push(queue, (reached, added))
        return cost, supporter, support, unmet

    def h_ff(self, state: int) -> float:
        """The cost of a relaxed plan, read off the cheapest supporters of h_add."""
        cost = [INFINITY] * self.size
        best: list[int] = [-1] * self.size
        unmet = self.counts.copy()
        total = [0.0] * len(unmet)
        queue: list[tuple[float, int]] = []
        for fact in self.state(state):
            cost[fact] = 0.0
            queue.append((0.0, fact))
        while queue:
            value, fact = heapq.heappop(queue)
            if value > cost[fact]:
                continue
            if fact == self.goal:
                break
            for rule in self.needs[fact]:
                unmet[rule] -= 1
                total[rule] += value
                if not unmet[rule]:
                    # a cost of nothing still counts as a step, so that search makes progress
                    reached = total[rule] + max(self.cost[rule], 1e-3)
                    for added in self.add[rule]:
                        if reached < cost[added]:
                            cost[added], best[added] = reached, rule
                            heapq.heappush(queue, (reached, added))
        if cost[self.goal] == INFINITY:
            return INFINITY
        chosen: set[int] = set()
        todo = [self.goal]
        seen = {self.goal}
        while todo:
            rule = best[todo.pop()]
            if rule < 0:
                continue
            chosen.add(rule)
            for fact in self.pre[rule]:
                if fact not in seen:
                    seen.add(fact)
                    todo.append(fact)
        return sum(max(self.cost[r], 1e-3) for r in chosen)

    def lm_cut(self, state: int) -> float:
        """Landmarks from cuts: admissible where `exact`."""
        costs = self.cost.copy()
        fact_cost, supporter, support, _ = self._explore(self.state(state), costs)
        goal = self.goal
        if fact_cost[goal] == INFINITY:
            return INFINITY
        total = 0.0
        pre, adds, needs, adders = self.pre, self.add, self.needs, self.adders
        start = self.state(state)
        push, pop = heapq.heappush, heapq.heappop
        while fact_cost[goal] > 0:
            # facts from which the goal is reached along supporters at no cost
            zone = bytearray(self.size)
            zone[goal] = 1
            stack = [goal]
            while stack:
                for rule in adders[stack.pop()]:
                    if costs[rule] == 0 and (fact := supporter[rule]) >= 0 and not zone[fact]:
                        zone[fact] = 1
                        stack.append(fact)
            # rules that lead from before the zone into it
            before = bytearray(self.size)
            stack = []
            for fact in start:
                if not zone[fact]:
                    before[fact] = 1
                    stack.append(fact)
            cut: list[int] = []
            while stack:
                fact = stack.pop()
                for rule in needs[fact]:
                    if supporter[rule] != fact:
                        continue
                    inside = False
                    for added in adds[rule]:
                        if zone[added]:
                            inside = True
                            break
                    if inside:
                        cut.append(rule)
                        continue
                    for added in adds[rule]:
                        if not before[added]:
                            before[added] = 1
                            stack.append(added)
            least = min([costs[rule] for rule in cut])
            total += least
            queue: list[tuple[float, int]] = []
            for rule in cut:
                costs[rule] -= least
                reached = support[rule] + costs[rule]
                for added in adds[rule]:
                    if reached < fact_cost[added]:
                        fact_cost[added] = reached
                        push(queue, (reached, added))
            # what became cheaper, and the supporters that change with it
            while queue:
                value, fact = pop(queue)
                if value > fact_cost[fact]:
                    continue
                for rule in needs[fact]:
                    if supporter[rule] != fact or support[rule] <= value:
                        continue
                    dearest, worth = fact, value
                    for other in pre[rule]:
                        if fact_cost[other] > worth:
                            dearest, worth = other, fact_cost[other]
                    supporter[rule], support[rule] = dearest, worth
                    reached = worth + costs[rule]
                    for added in adds[rule]:
                        if reached < fact_cost[added]:
                            fact_cost[added] = reached
                            push(queue, (reached, added))
        return total


def optimal(task: Task, limits: SearchLimits | None = None, probe: int = 3000) -> Found:
    """A cheapest plan: `probe` blind expansions, which small tasks need at most, then A* with LM-cut or h_max."""
    limits = limits or SearchLimits()
    first = astar(task, None, SearchLimits(limits.seconds, min(probe, limits.expansions), limits.states))
    if first.status != "limit" or limits.expansions <= probe:
        return first
    relaxed = Relaxed(task)
    heuristic = relaxed.lm_cut if relaxed.exact else relaxed.h_max
    left = SearchLimits(limits.seconds - first.seconds, limits.expansions - first.expanded, limits.states)
    found = astar(task, heuristic, left)
    return Found(found.status, found.plan, found.cost, first.expanded + found.expanded, first.seconds + found.seconds)


def satisficing(task: Task, limits: SearchLimits | None = None) -> Found:
    """Some plan, by greedy best-first search with h_FF."""
    return astar(task, Relaxed(task).h_ff, limits, weight=None)
