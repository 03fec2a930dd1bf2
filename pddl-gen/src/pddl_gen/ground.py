"""From a domain and a problem to operators over bitsets: a state is an int, whose bit i says that fact i holds.

Read: conditions with and, or, not, imply, quantifiers and equality; conditional and universal effects; derived
predicates; action costs. An operator's condition is a disjunction of (must hold, must not hold) pairs of masks; static
atoms are decided here. Candidates for parameters come from the static atoms of the precondition, joined one after the
other, then those operators are dropped that no sequence of actions could reach even if nothing were ever deleted.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from .check import conjuncts
from .errors import PDDLGenError
from .syntax import (
    OBJECT,
    Action,
    Atom,
    Domain,
    Formula,
    Many,
    Modal,
    Not,
    Numeric,
    Params,
    Problem,
    Quantified,
    Types,
    When,
)

Fact = tuple[str, ...]  # predicate and objects
Clause = tuple[int, int]  # facts that must hold, facts that must not
Clauses = list[Clause]  # any of them; none: never
ALWAYS: Clauses = [(0, 0)]


class Unsupported(PDDLGenError):
    """The domain uses what is read and checked, but not grounded."""


class TooLarge(PDDLGenError):
    """Grounding would pass a limit; the message names the schema."""


@dataclass(frozen=True, slots=True)
class GroundLimits:
    """Bounds on grounding."""

    operators: int = 1_000_000  # bindings tried
    facts: int = 50_000  # that may change; a state and each mask of an operator have so many bits
    clauses: int = 1024  # of one condition in disjunctive form


@dataclass(slots=True)
class Operator:
    """A ground action: its name with arguments, condition, effects and cost."""

    name: Fact
    condition: Clauses
    add: int
    delete: int
    conditional: list[tuple[Clauses, int, int]]  # condition, add, delete
    cost: float
    index: int = -1

    def __str__(self) -> str:
        return f"({' '.join(self.name)})"


def holds(clauses: Clauses, state: int) -> bool:
    return any(state & yes == yes and not state & no for yes, no in clauses)


@dataclass(slots=True)
class Task:
    """A grounded problem."""

    domain: Domain
    problem: Problem
    facts: list[Fact]
    init: int
    goal: Clauses
    operators: list[Operator]
    axioms: list[list[tuple[Clauses, int]]]  # strata of (condition, fact)
    derived: int  # mask of the derived facts
    static: frozenset[Fact]
    unit_cost: bool
    compiler: Compiler = field(repr=False)
    watched: int = 0
    buckets: dict[int, list[tuple[int, int, Operator]]] = field(default_factory=dict)
    unwatched: list[Operator] = field(default_factory=list)
    by_name: dict[Fact, Operator] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count: dict[int, int] = {}
        for op in self.operators:
            for yes, _ in op.condition[:1]:
                for bit in bits(yes):
                    count[bit] = count.get(bit, 0) + 1
        for i, op in enumerate(self.operators):
            op.index = i
            self.by_name[op.name] = op
            if len(op.condition) == 1 and op.condition[0][0]:
                yes, no = op.condition[0]
                rarest = min(bits(yes), key=lambda b: (count[b], b))
                self.buckets.setdefault(1 << rarest, []).append((yes, no, op))
                self.watched |= 1 << rarest
            else:
                self.unwatched.append(op)

    def applicable(self, state: int) -> list[Operator]:
        """The operators whose condition holds."""
        found = [op for op in self.unwatched if holds(op.condition, state)]
        rest = state & self.watched
        buckets = self.buckets
        while rest:
            low = rest & -rest
            rest ^= low
            for yes, no, op in buckets[low]:
                if state & yes == yes and not state & no:
                    found.append(op)
        return found

    def apply(self, state: int, op: Operator) -> int:
        """The state after an applicable operator; what is added and deleted at once is added."""
        if not op.conditional:
            after = state & ~op.delete | op.add
        else:
            add, delete = op.add, op.delete
            for condition, more, less in op.conditional:
                if holds(condition, state):
                    add |= more
                    delete |= less
            after = state & ~delete | add
        return self.close(after) if self.axioms else after

    def close(self, state: int) -> int:
        """The state with its derived facts."""
        state &= ~self.derived
        for stratum in self.axioms:
            changed = True
            while changed:
                changed = False
                for condition, head in stratum:
                    if not state & head and holds(condition, state):
                        state |= head
                        changed = True
        return state

    def is_goal(self, state: int) -> bool:
        return any(state & yes == yes and not state & no for yes, no in self.goal)

    def true(self, state: int) -> list[Fact]:
        """The facts of a state, without the static ones."""
        return [self.facts[i] for i in bits(state)]


def bits(mask: int) -> Iterator[int]:
    """The places of the ones, from the lowest."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


class Compiler:
    """Turns formulas under a binding into clauses and masks."""

    def __init__(self, domain: Domain, problem: Problem, limits: GroundLimits) -> None:
        self.domain, self.problem, self.limits = domain, problem, limits
        self.facts: list[Fact] = []
        self.index: dict[Fact, int] = {}
        self.fluent = {d.head.name for d in domain.derived}
        for action in domain.actions.values():
            self._changed(action.effect)
        self.true = {(a.name, *a.args) for a in problem.init}
        self.static = {f for f in self.true if f[0] not in self.fluent}
        self.relation: dict[str, list[Fact]] = {}
        for fact in sorted(self.static):
            self.relation.setdefault(fact[0], []).append(fact[1:])
        self.objects: dict[str, list[str]] = {OBJECT: []}
        for name, types in {**domain.constants, **problem.objects}.items():
            for kind in sorted({k for t in types for k in domain.supertypes(t)}):
                self.objects.setdefault(kind, []).append(name)
        self.kinds: dict[Types, list[str]] = {}

    def _changed(self, f: Formula) -> None:
        if isinstance(f, Atom):
            self.fluent.add(f.name)
        elif isinstance(f, Not):
            self._changed(f.part)
        elif isinstance(f, Many):
            for part in f.parts:
                self._changed(part)
        elif isinstance(f, Quantified):
            self._changed(f.body)
        elif isinstance(f, When):
            self._changed(f.effect)

    def of(self, types: Types) -> list[str]:
        """The objects of any of these types."""
        found = self.kinds.get(types)
        if found is None:
            found = list(dict.fromkeys(o for t in types for o in self.objects.get(t, ())))
            self.kinds[types] = found
        return found

    def bit(self, fact: Fact) -> int:
        at = self.index.get(fact)
        if at is None:
            at = self.index[fact] = len(self.facts)
            if at >= self.limits.facts:
                raise TooLarge(f"there are more than {self.limits.facts:,} facts, many of them of {fact[0]}")
            self.facts.append(fact)
        return 1 << at

    def bindings(self, params: Params, binding: Mapping[str, str]) -> Iterator[dict[str, str]]:
        names = [v for v, _ in params]
        for values in itertools.product(*(self.of(types) for _, types in params)):
            yield {**binding, **dict(zip(names, values, strict=True))}

    def clauses(self, f: Formula, binding: Mapping[str, str], positive: bool = True) -> Clauses:
        """The condition, or its negation, in disjunctive form."""
        if isinstance(f, Atom):
            args = tuple([binding.get(a, a) for a in f.args])
            if f.name == "=":
                return ALWAYS if (args[0] == args[1]) == positive else []
            if f.name not in self.fluent:
                return ALWAYS if ((f.name, *args) in self.static) == positive else []
            mask = self.bit((f.name, *args))
            return [(mask, 0)] if positive else [(0, mask)]
        if isinstance(f, Not):
            return self.clauses(f.part, binding, not positive)
        if isinstance(f, Many):
            if f.op == "imply":
                left = self.clauses(f.parts[0], binding, not positive)
                right = self.clauses(f.parts[1], binding, positive)
                return self.either([left, right]) if positive else self.both([left, right])
            parts = (self.clauses(part, binding, positive) for part in f.parts)
            return self.both(parts) if (f.op == "and") == positive else self.either(parts)
        if isinstance(f, Quantified):
            parts = (self.clauses(f.body, b, positive) for b in self.bindings(f.params, binding))
            return self.both(parts) if (f.op == "forall") == positive else self.either(parts)
        raise Unsupported(f"conditions with {f.op if isinstance(f, Numeric | Modal) else 'when'} are not grounded")

    def both(self, parts: Iterator[Clauses] | Sequence[Clauses]) -> Clauses:
        result = ALWAYS
        for part in parts:
            if part is ALWAYS:
                continue
            merged = {(a | c, b | d): None for a, b in result for c, d in part if not (a | c) & (b | d)}
            result = list(merged)
            if not result:
                return []
            self._bounded(result)
        return result

    def either(self, parts: Iterator[Clauses] | Sequence[Clauses]) -> Clauses:
        found: dict[Clause, None] = {}
        for part in parts:
            if part is ALWAYS or (0, 0) in part:
                return ALWAYS
            found |= dict.fromkeys(part)
            self._bounded(found)
        return list(found)

    def _bounded(self, clauses: object) -> None:
        if len(clauses) > self.limits.clauses:  # type: ignore[arg-type]
            raise TooLarge(
                f"a condition has more than {self.limits.clauses} alternatives when its disjunctions are spread"
            )

    def effects(
        self, f: Formula, binding: Mapping[str, str], condition: Clauses, into: dict[tuple[Clause, ...], list[int]]
    ) -> None:
        """Collects [add, delete] masks by condition."""
        if isinstance(f, Atom | Not):
            atom = f.part if isinstance(f, Not) else f
            assert isinstance(atom, Atom)
            mask = self.bit((atom.name, *[binding.get(a, a) for a in atom.args]))
            into.setdefault(tuple(condition), [0, 0])[isinstance(f, Not)] |= mask
        elif isinstance(f, Many):
            for part in f.parts:
                self.effects(part, binding, condition, into)
        elif isinstance(f, Quantified):
            for inner in self.bindings(f.params, binding):
                self.effects(f.body, inner, condition, into)
        elif isinstance(f, When):
            narrower = self.both([condition, self.clauses(f.condition, binding)])
            if narrower:
                self.effects(f.effect, binding, narrower, into)
        elif not (isinstance(f, Numeric) and f.op == "increase" and f.parts[0].name == "total-cost"):
            raise Unsupported(f"effects with {f.op} are not grounded, beyond (increase (total-cost) ...)")  # type: ignore[union-attr]

    def cost(self, action: Action, binding: Mapping[str, str]) -> float:
        total = 0.0
        for part in conjuncts(action.effect):
            if isinstance(part, Numeric):
                total += self.value(part.parts[1], binding)
        return total

    def value(self, f: Numeric, binding: Mapping[str, str]) -> float:
        if f.op == "number":
            return f.value
        if f.op == "fluent":
            key = (f.name, *[binding.get(a, a) for a in f.args])
            if key not in self.problem.values:
                raise Unsupported(f"({' '.join(key)}) has no value in :init")
            return self.problem.values[key]
        if f.op in "+-*/" and f.parts:
            values = [self.value(p, binding) for p in f.parts]
            total = values[0]
            for v in values[1:]:
                if f.op == "/" and v == 0:
                    raise Unsupported("a cost divides by zero")
                total = (
                    total + v if f.op == "+" else total - v if f.op == "-" else total * v if f.op == "*" else total / v
                )
            return -total if f.op == "-" and len(values) == 1 else total
        raise Unsupported(f"{f.op} in a cost is not grounded")

    def instance(self, action: Action, args: Sequence[str], unit_cost: bool) -> Operator | None:
        """An action with its arguments; None where its condition can never hold."""
        binding = {v: a for (v, _), a in zip(action.params, args, strict=True)}
        condition = self.clauses(action.precondition, binding)
        if not condition:
            return None
        found: dict[tuple[Clause, ...], list[int]] = {}
        self.effects(action.effect, binding, ALWAYS, found)
        add, delete = found.pop(tuple(ALWAYS), (0, 0))
        conditional = [(list(c), a, d) for c, (a, d) in found.items()]
        cost = 1.0 if unit_cost else self.cost(action, binding)
        if cost < 0:
            raise Unsupported(f"({' '.join((action.name, *args))}) has the negative cost {cost:g}")
        return Operator((action.name, *args), condition, add, delete, conditional, cost)

    def candidates(self, name: str, params: Params, condition: Formula) -> Iterator[tuple[str, ...]]:
        """Arguments that satisfy the static atoms and equalities of a condition's conjunction."""
        variables = [v for v, _ in params]
        static: list[Atom] = []
        unequal: list[Fact] = []
        equal: list[Fact] = []
        for part in conjuncts(condition):
            inner = part.part if isinstance(part, Not) else part
            if not isinstance(inner, Atom):
                continue
            if inner.name == "=":
                (unequal if part is not inner else equal).append(inner.args)
            elif part is inner and inner.name not in self.fluent:
                static.append(inner)
        domains = {v: self.of(types) for v, types in params}
        order = self._order(variables, domains, static)
        tables = [self._table(i, order, static) for i in range(len(order))]
        checks: list[list[tuple[bool, str, str]]] = [[] for _ in order]
        for wanted, pairs in ((False, unequal), (True, equal)):
            for a, b in pairs:
                places = [order.index(x) for x in (a, b) if x in domains]
                if places:
                    checks[max(places)].append((wanted, a, b))
        sets = {v: set(objects) for v, objects in domains.items()}
        tried = 0
        binding: dict[str, str] = {}
        if not order:
            yield ()
            return
        # depth first by a stack of iterators: a candidate for each variable in turn
        stack = [iter(self._values(tables[0], domains[order[0]], binding))]
        while stack:
            depth = len(stack) - 1
            variable = order[depth]
            for value in stack[-1]:
                tried += 1
                if tried > self.limits.operators:
                    raise TooLarge(f"action {name} has more than {self.limits.operators:,} bindings")
                if value not in sets[variable]:
                    continue
                binding[variable] = value
                if all((binding.get(a, a) == binding.get(b, b)) == wanted for wanted, a, b in checks[depth]):
                    break
            else:
                stack.pop()
                binding.pop(variable, None)
                continue
            if depth + 1 == len(order):
                yield tuple([binding[v] for v in variables])
            else:
                following = order[depth + 1]
                stack.append(iter(self._values(tables[depth + 1], domains[following], binding)))

    def _order(self, variables: list[str], domains: Mapping[str, list[str]], static: list[Atom]) -> list[str]:
        """Variables, next always the one with a static atom to those before, else the one of the smallest domain."""
        rest = list(dict.fromkeys(variables))
        order: list[str] = []
        while rest:

            def rank(v: str) -> tuple[int, int, int]:
                linked = [a for a in static if v in a.args]
                bound = any(set(a.args) & set(order) for a in linked)
                rows = min((len(self.relation.get(a.name, ())) for a in linked), default=1 << 30)
                return (not bound, rows if not order else 0, len(domains[v]))

            best = min(rest, key=rank)
            rest.remove(best)
            order.append(best)
        return order

    def _table(
        self, place: int, order: list[str], static: list[Atom]
    ) -> list[tuple[tuple[str, ...], dict[Fact, list[str]]]]:
        """For each static atom about variable `place`: the terms known, and its values for each of their tuples."""
        variable, before = order[place], set(order[:place])
        tables = []
        for atom in static:
            if variable not in atom.args:
                continue
            keys = tuple(dict.fromkeys(a for a in atom.args if a in before or a[:1] != "?"))
            table: dict[Fact, dict[str, None]] = {}
            for row in self.relation.get(atom.name, ()):
                seen: dict[str, str] = {}
                if len(row) == len(atom.args) and all(
                    seen.setdefault(a, value) == value if a[:1] == "?" else a == value
                    for a, value in zip(atom.args, row, strict=True)
                ):
                    known = tuple(seen.get(k, k) for k in keys)
                    table.setdefault(known, {})[seen[variable]] = None
            tables.append((keys, {k: list(v) for k, v in table.items()}))
        return tables

    def _values(
        self, tables: list[tuple[tuple[str, ...], dict[Fact, list[str]]]], domain: list[str], binding: Mapping[str, str]
    ) -> list[str]:
        if not tables:
            return domain
        lists = [table.get(tuple([binding.get(k, k) for k in keys]), []) for keys, table in tables]
        shortest = min(lists, key=len)
        others = [set(x) for x in lists if x is not shortest]
        return [v for v in shortest if all(v in o for o in others)]


def supported(domain: Domain, problem: Problem | None = None) -> None:
    """Raises Unsupported for what cannot be grounded at all."""
    if any(a.duration is not None for a in domain.actions.values()):
        raise Unsupported("durative actions are not grounded")
    if domain.constraints is not None or (problem and problem.constraints is not None):
        raise Unsupported(":constraints are not grounded")
    if problem and problem.timed:
        raise Unsupported("timed initial literals are not grounded")
    metric = problem.metric if problem else None
    if metric and (metric[0] != "minimize" or metric[1].name not in ("total-cost", "(total-time)")):
        raise Unsupported("the metric is not (minimize (total-cost))")


def ground(domain: Domain, problem: Problem, limits: GroundLimits | None = None) -> Task:
    """Operators and facts of a problem. Both must be free of errors.

    Raises:
        Unsupported: durative actions, numbers beyond action costs, constraints.
        TooLarge: more bindings or alternatives than the limits allow.
    """
    supported(domain, problem)
    compiler = Compiler(domain, problem, limits or GroundLimits())
    unit = problem.metric is None or problem.metric[1].name != "total-cost"
    operators = []
    for action in domain.actions.values():
        for args in compiler.candidates(action.name, action.params, action.precondition):
            if operator := compiler.instance(action, args, unit):
                operators.append(operator)
    axioms, derived = _axioms(compiler)
    goal = compiler.clauses(problem.goal, {})
    init = 0
    for fact in sorted(compiler.true):
        if fact[0] in compiler.fluent:
            init |= compiler.bit(fact)
    operators = _reachable(init, operators, axioms)
    task = Task(
        domain,
        problem,
        compiler.facts,
        init,
        goal,
        operators,
        axioms,
        derived,
        frozenset(compiler.static),
        unit,
        compiler,
    )
    task.init = task.close(init) if axioms else init
    return task


def _axioms(compiler: Compiler) -> tuple[list[list[tuple[Clauses, int]]], int]:
    """Ground axioms in strata, and the mask of derived facts."""
    domain = compiler.domain
    if not domain.derived:
        return [], 0
    level = _strata(domain)
    strata: dict[int, list[tuple[Clauses, int]]] = {}
    derived = 0
    for rule in domain.derived:
        for args in compiler.candidates(rule.head.name, rule.head.params, rule.body):
            binding = {v: a for (v, _), a in zip(rule.head.params, args, strict=True)}
            condition = compiler.clauses(rule.body, binding)
            head = compiler.bit((rule.head.name, *args))
            derived |= head
            if condition:
                strata.setdefault(level[rule.head.name], []).append((condition, head))
    return [strata[k] for k in sorted(strata)], derived


def _strata(domain: Domain) -> dict[str, int]:
    """A level for each derived predicate, above all that it negates."""
    names = {d.head.name for d in domain.derived}
    uses: list[tuple[str, str, bool]] = []

    def walk(head: str, f: Formula, negative: bool) -> None:
        if isinstance(f, Atom):
            if f.name in names:
                uses.append((head, f.name, negative))
        elif isinstance(f, Not):
            walk(head, f.part, not negative)
        elif isinstance(f, Quantified):
            walk(head, f.body, negative)
        elif isinstance(f, Many):
            for i, part in enumerate(f.parts):
                walk(head, part, negative if f.op != "imply" or i else not negative)

    for rule in domain.derived:
        walk(rule.head.name, rule.body, False)
    level = dict.fromkeys(names, 0)
    for _ in range(len(names) + 1):
        changed = False
        for head, used, negative in uses:
            if level[head] < level[used] + negative:
                level[head] = level[used] + negative
                changed = True
        if not changed:
            return level
    raise Unsupported("a derived predicate depends on its own negation")


def _reachable(init: int, operators: list[Operator], axioms: list[list[tuple[Clauses, int]]]) -> list[Operator]:
    """The operators that can be reached when nothing is ever deleted and negative conditions always hold."""
    reached = init
    waiting: list[tuple[Clauses, int, Operator | None]] = []
    for op in operators:
        waiting.append((op.condition, op.add, op))
        for condition, add, _ in op.conditional:
            both = [(a | c, 0) for a, _ in op.condition for c, _ in condition]
            waiting.append((both, add, None))
    waiting += [(condition, head, None) for stratum in axioms for condition, head in stratum]
    kept: list[Operator] = []
    changed = True
    while changed:
        changed = False
        rest = []
        for item in waiting:
            if any(reached & yes == yes for yes, _ in item[0]):
                if item[2] is not None:
                    kept.append(item[2])
                if item[1] & ~reached:
                    reached |= item[1]
                    changed = True
            else:
                rest.append(item)
        waiting = rest
    order = {id(op): i for i, op in enumerate(operators)}
    return sorted(kept, key=lambda op: order[id(op)])
