"""How much a candidate domain means what the reference means: rungs 2 to 7 of the ladder, up to bisimulation.

    fits         the problems parse and type-check against the candidate
    solvable     the planner finds a plan for every problem
    sound        each plan found is valid in the reference; complete: the reference's optimal plans are valid in it
    cross        both
    cost_equal   optimal costs are equal
    plan_match   plans are identical, step by step (the paper's Table 5; it depends on ties)
    ew           exploration-walk score in [0, 1] (arXiv 2407.12979, section 4)
    bisimilar    the two transition systems of every problem are bisimilar
    same_schemas equal up to the names of parameters and the order of literals, which implies bisimilar

Each is True, False, or None: unknown, because a limit was met or because there is nothing to compare. Bisimilar on the
tested problems is evidence about a domain, never a proof for all problems.

Actions correspond by a label map: equal effects on shared predicates, by name first, arguments in any order. With a
map, the systems are deterministic and a walk over pairs of states decides. Without, states are compared by what they
say about shared predicates, and classes of states are refined on the disjoint union until nothing splits.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .check import check, conjuncts
from .ground import Fact, GroundLimits, Operator, Task, TooLarge, Unsupported, bits, ground
from .parse import parse_problem
from .planner import Limits, PlanResult, plan
from .planval import PlanValidator
from .syntax import Action, Domain, Problem, show, substitute

Truth = bool | None
LabelMap = dict[str, tuple[str, tuple[int, ...]]]  # reference action -> candidate's, place of its i-th argument in ours
SAMPLE = 300  # states of each system from which labels are matched
WALKS, LONGEST = 100, 10


@dataclass(frozen=True, slots=True)
class Witness:
    """A shortest word after which two domains differ. `labels` are the reference's names, `other` the candidate's."""

    problem: int
    labels: tuple[Fact, ...]
    other: tuple[Fact, ...]
    prose: str
    last: str  # "reference" or "candidate": the only one where the last step is possible; "goal": where it differs


@dataclass(slots=True)
class Equivalence:
    """The ladder of one candidate."""

    fits: Truth = None
    solvable: Truth = None
    sound: Truth = None
    complete: Truth = None
    cross: Truth = None
    cost_equal: Truth = None
    plan_match: Truth = None
    ew: float | None = None
    bisimilar: Truth = None
    same_schemas: Truth = None
    witness: Witness | None = None
    notes: list[str] = field(default_factory=list)
    states: int = 0  # product states visited
    problems: list[dict[str, Truth]] = field(default_factory=list)  # solved, sound, optimal, for each problem

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Reference:
    """A reference domain with its problems: tasks, optimal plans and validators are made once for all candidates."""

    def __init__(self, domain: Domain, problems: Sequence[str], limits: Limits | None = None) -> None:
        self.domain, self.texts, self.limits = domain, tuple(problems), limits or Limits()
        self.problems: list[Problem] = []
        for i, text in enumerate(self.texts, 1):
            parsed = parse_problem(text, domain)
            if not parsed.ok or parsed.value is None:
                raise ValueError(f"problem {i} does not fit its own reference: {parsed.errors[0].message}")
            self.problems.append(parsed.value)
        self.tasks = [ground(domain, p, GroundLimits(operators=self.limits.operators)) for p in self.problems]
        self.validators = [PlanValidator(domain, p) for p in self.problems]
        self.plans: list[PlanResult] = [plan(domain, p, backend="internal", limits=self.limits) for p in self.problems]


def compare(
    reference: Domain | Reference,
    candidate: Domain,
    problems: Sequence[str] = (),
    *,
    state_cap: int = 50_000,
    seed: int = 0,
    limits: Limits | None = None,
) -> Equivalence:
    """The ladder. `candidate` must be free of errors.

    Args:
        problems: texts, of the reference's vocabulary; a `Reference` brings its own.
        state_cap: product states visited for each problem; beyond it `bisimilar` is None.
        limits: of planning and grounding, for each problem.
    """
    ref = reference if isinstance(reference, Reference) else Reference(reference, problems, limits)
    limits = limits or ref.limits
    found = Equivalence()
    found.same_schemas = same_schemas(ref.domain, candidate)
    fitting: list[Problem] = []
    for i, text in enumerate(ref.texts, 1):
        parsed = parse_problem(text, candidate)
        errors = parsed.errors or (
            [d for d in check(candidate, parsed.value) if d.severity == "error"] if parsed.value else []
        )
        if parsed.value is None or errors:
            found.fits = False
            found.notes.append(f"problem {i} does not fit: {errors[0].message if errors else 'unreadable'}")
            break
        fitting.append(parsed.value)
    else:
        found.fits = True
    if not found.fits:
        for name in ("solvable", "sound", "complete", "cross", "cost_equal", "plan_match", "bisimilar"):
            setattr(found, name, False)
        found.ew = 0.0
        return found
    tasks: list[Task] = []
    try:
        tasks = [ground(candidate, p, GroundLimits(operators=limits.operators)) for p in fitting]
    except (Unsupported, TooLarge) as error:
        found.notes.append(f"not grounded: {error}")
        return found
    labels = label_map(ref.tasks, tasks)
    identical = labels is not None and all(_same_system(a, b, labels) for a, b in zip(ref.tasks, tasks, strict=True))
    if identical:
        # equal ground operators: every answer is known without a search
        results = ref.plans
        found.bisimilar = True
    else:
        results = [plan(candidate, p, backend="internal", limits=limits) for p in fitting]
    _plans(found, ref, candidate, fitting, results, labels, identical)
    if labels is None:
        found.notes.append("the actions do not correspond one to one: states are compared, not labels")
    else:
        found.ew = 1.0 if identical else exploration_walk(ref.tasks, tasks, labels, seed)
    if not identical:
        verdicts: list[Truth] = []
        for i, (a, b) in enumerate(zip(ref.tasks, tasks, strict=True), 1):
            if labels is not None:
                same, witness, states = bisimulation(a, b, labels, state_cap, i)
                found.witness = found.witness or witness
            else:
                same, states, words = refinement(a, b, state_cap)
                if words:
                    found.notes.append(f"problem {i}: {words}")
            found.states += states
            verdicts.append(same)
            if same is False:
                break
        found.bisimilar = _all(verdicts)
    return found


def _all(values: Sequence[Truth]) -> Truth:
    """False beats unknown, which beats True."""
    return False if False in values else None if None in values else True


def _plans(
    found: Equivalence,
    ref: Reference,
    candidate: Domain,
    problems: Sequence[Problem],
    results: Sequence[PlanResult],
    labels: LabelMap | None,
    identical: bool,
) -> None:
    solvable: list[Truth] = []
    sound: list[Truth] = []
    complete: list[Truth] = []
    costs: list[Truth] = []
    match: list[Truth] = []
    back = inverse(labels) if labels else None
    for i, (theirs, ours) in enumerate(zip(ref.plans, results, strict=True)):
        solvable.append({"solved": True, "unsolvable": False}.get(ours.status))
        if theirs.status != "solved":
            sound.append(None)
            complete.append(None)
            costs.append(None)
            match.append(None)
            continue
        assert theirs.plan is not None
        if identical:
            for each in (sound, complete, costs, match):
                each.append(True)
            continue
        if ours.plan is None:
            sound.append(None if ours.status != "unsolvable" else False)
            costs.append(None if ours.status != "unsolvable" else False)
            match.append(None if ours.status != "unsolvable" else False)
        else:
            translated = [translate(step, back) for step in ours.plan] if back else [None]
            known = [s for s in translated if s is not None]
            sound.append(
                ref.validators[i](known).valid if back and len(known) == len(ours.plan) else False if back else None
            )
            costs.append(ours.cost == theirs.cost)
            match.append(known == list(theirs.plan) if back else None)
        if labels is None:
            complete.append(None)
        else:
            forth = [translate(step, labels) for step in theirs.plan]
            verdict = PlanValidator(candidate, problems[i])([s for s in forth if s is not None])
            complete.append(verdict.valid and None not in forth)
    found.problems = [
        {"solved": a, "sound": b, "optimal": _all([b, c])} for a, b, c in zip(solvable, sound, costs, strict=True)
    ]
    found.solvable, found.sound, found.complete = _all(solvable), _all(sound), _all(complete)
    found.cross = _all([found.sound, found.complete])
    found.cost_equal, found.plan_match = _all(costs), _all(match)


# labels


def translate(step: Fact, labels: Mapping[str, tuple[str, tuple[int, ...]]]) -> Fact | None:
    """A step under a label map; None for an action that the map does not hold."""
    if step[0] not in labels:
        return None
    name, places = labels[step[0]]
    args = step[1:]
    return (name, *(args[p] for p in places))


def inverse(labels: LabelMap) -> LabelMap:
    turned: LabelMap = {}
    for ours, (theirs, places) in labels.items():
        back = [0] * len(places)
        for i, p in enumerate(places):
            back[p] = i
        turned[theirs] = (ours, tuple(back))
    return turned


def label_map(reference: Sequence[Task], candidate: Sequence[Task]) -> LabelMap | None:
    """Which action is which: by name with the arguments where they stand, if the parameters allow it; the others by
    counting equal transitions among the first states of both systems. None where an action is left over that can
    ever be applied."""
    ours, theirs = reference[0].domain.actions, candidate[0].domain.actions
    counts: Counter[tuple[str, str, tuple[int, ...]]] = Counter()
    plain = all(
        name in theirs and [t for _, t in theirs[name].params] == [t for _, t in a.params] for name, a in ours.items()
    )
    if plain and len(ours) == len(theirs) and not _permutable(ours.values()):
        return {name: (name, tuple(range(len(a.params)))) for name, a in ours.items()}
    for a, b in zip(reference, candidate, strict=True):
        shared = vocabulary(a, b)
        one, two = _transitions(a, shared), _transitions(b, shared)
        for change, labels in one.items():
            for mine in labels:
                for other in two.get(change, ()):
                    if len(mine) == len(other) and sorted(mine[1:]) == sorted(other[1:]):
                        for places in _places(mine[1:], other[1:]):
                            counts[mine[0], other[0], places] += 1
    found: LabelMap = {}
    taken: set[str] = set()

    def rank(item: tuple[tuple[str, str, tuple[int, ...]], int]) -> tuple[Any, ...]:
        (mine, other, places), count = item
        typed = _typed(reference[0].domain, ours[mine], theirs[other], places)
        return (mine != other, not typed, -count, places != tuple(sorted(places)), mine, other, places)

    for (ours_, theirs_, places), _ in sorted(counts.items(), key=rank):
        if ours_ not in found and theirs_ not in taken:
            found[ours_] = (theirs_, places)
            taken.add(theirs_)
    # what never showed a common transition corresponds by name and number of parameters
    for name, action in ours.items():
        free = name not in found and name in theirs and name not in taken
        if free and len(theirs[name].params) == len(action.params):
            found[name] = (name, tuple(range(len(action.params))))
            taken.add(name)
    usable = {op.name[0] for t in reference for op in t.operators}
    others = {op.name[0] for t in candidate for op in t.operators}
    return None if usable - set(found) or others - taken else found


def _permutable(actions: Any) -> bool:
    """Whether an action has two parameters of one type, so that a model may have put them in another order."""
    return any(len({t for _, t in a.params}) < len(a.params) for a in actions)


def _typed(domain: Domain, ours: Action, theirs: Action, places: tuple[int, ...]) -> bool:
    return all(theirs.params[i][1] == ours.params[p][1] for i, p in enumerate(places))


def _places(mine: Sequence[str], other: Sequence[str]) -> list[tuple[int, ...]]:
    """The ways in which `other` is a reordering of `mine`; repeated objects allow several."""
    options = [[i for i, m in enumerate(mine) if m == o] for o in other]
    if any(len(o) > 1 for o in options) and len(mine) > 4:
        return []
    return [p for p in itertools.product(*options) if len(set(p)) == len(p)]


def vocabulary(a: Task, b: Task) -> set[str]:
    """Predicates that both domains declare and that change in either."""
    shared = set(a.domain.predicates) & set(b.domain.predicates)
    return {p for p in shared if p in a.compiler.fluent or p in b.compiler.fluent}


class _View:
    """States as sets of facts of a vocabulary; static facts of the vocabulary hold always."""

    def __init__(self, task: Task, shared: set[str]) -> None:
        self.task = task
        self.known: dict[int, frozenset[Fact]] = {}
        self.always = frozenset(f for f in task.static if f[0] in shared)
        self.mask = sum(1 << i for i, f in enumerate(task.facts) if f[0] in shared)

    def __call__(self, state: int) -> frozenset[Fact]:
        part = state & self.mask
        found = self.known.get(part)
        if found is None:
            found = self.known[part] = frozenset(self.task.facts[i] for i in bits(part)) | self.always
        return found


def _transitions(task: Task, shared: set[str]) -> dict[tuple[frozenset[Fact], frozenset[Fact]], list[Fact]]:
    """Labels of transitions among the first states, by the facts before and after."""
    view = _View(task, shared)
    found: dict[tuple[frozenset[Fact], frozenset[Fact]], list[Fact]] = {}
    seen, queue = {task.init}, deque([task.init])
    while queue and len(seen) < SAMPLE:
        state = queue.popleft()
        before = view(state)
        for op in task.applicable(state):
            after = task.apply(state, op)
            found.setdefault((before, view(after)), []).append(op.name)
            if after not in seen:
                seen.add(after)
                queue.append(after)
    return found


# bisimulation


def _same_system(a: Task, b: Task, labels: LabelMap) -> bool:
    """Whether operators, initial state and goal are equal, by the names of facts."""
    if a.axioms or b.axioms or len(a.operators) != len(b.operators):
        return False
    facts = set(a.facts) | set(b.facts)
    # bits of b renumbered to those of a; facts that only one has must not matter
    index = {f: i for i, f in enumerate(a.facts)}
    for f in b.facts:
        index.setdefault(f, len(index))
    number = [index[f] for f in b.facts]
    del facts

    def moved(mask: int) -> int:
        return sum(1 << number[i] for i in bits(mask))

    def clauses(given: Any, move: bool) -> Any:
        return sorted((moved(y), moved(n)) if move else (y, n) for y, n in given)

    if moved(b.init) != a.init or clauses(b.goal, True) != clauses(a.goal, False):
        return False
    for op in a.operators:
        other = b.by_name.get(translate(op.name, labels) or ())
        if other is None or op.cost != other.cost:
            return False
        if op.add != moved(other.add) or op.delete & ~op.add != moved(other.delete & ~other.add):
            return False
        if clauses(op.condition, False) != clauses(other.condition, True):
            return False
        mine = sorted((clauses(c, False), x, y) for c, x, y in op.conditional)
        if mine != sorted((clauses(c, True), moved(x), moved(y)) for c, x, y in other.conditional):
            return False
    return True


def bisimulation(
    a: Task, b: Task, labels: LabelMap, cap: int = 50_000, problem: int = 1
) -> tuple[Truth, Witness | None, int]:
    """Walks over the pairs of states that equal words lead to: breadth first, so that a witness is shortest."""
    names: dict[Fact, int] = {}
    first = [names.setdefault(translate(op.name, labels) or ("", *op.name), len(names)) for op in a.operators]
    second = [names.setdefault(op.name, len(names)) for op in b.operators]
    start = (a.init, b.init)
    parent: dict[tuple[int, int], tuple[tuple[int, int], Operator, Operator] | None] = {start: None}
    queue = deque([start])
    visited = 0
    plain_a, plain_b = _plain(a), _plain(b)
    while queue:
        pair = queue.popleft()
        s, t = pair
        visited += 1
        if a.is_goal(s) != b.is_goal(t):
            who = "reference" if a.is_goal(s) else "candidate"
            return (
                False,
                _witness(parent, pair, None, None, problem, f"the goal holds in the {who} only", "goal"),
                visited,
            )
        mine, other = a.applicable(s), b.applicable(t)
        by_label = {second[op.index]: op for op in other}
        if len(mine) != len(other) or any(first[op.index] not in by_label for op in mine):
            known = {first[op.index] for op in mine}
            extra = next((op for op in mine if first[op.index] not in by_label), None)
            if extra is not None:
                words = f"{extra} is possible in the reference and not in the candidate"
                return False, _witness(parent, pair, extra, None, problem, words, "reference", labels), visited
            surplus = next(op for op in other if second[op.index] not in known)
            words = f"{surplus} is possible in the candidate and not in the reference"
            return False, _witness(parent, pair, None, surplus, problem, words, "candidate", labels), visited
        for op in mine:
            twin = by_label[first[op.index]]
            after = (
                s & ~op.delete | op.add if plain_a else a.apply(s, op),
                t & ~twin.delete | twin.add if plain_b else b.apply(t, twin),
            )
            if after not in parent:
                if len(parent) >= cap:
                    return None, None, visited
                parent[after] = (pair, op, twin)
                queue.append(after)
    return True, None, visited


def _plain(task: Task) -> bool:
    return not task.axioms and not any(op.conditional for op in task.operators)


def _witness(
    parent: Mapping[Any, Any],
    pair: tuple[int, int],
    mine: Operator | None,
    other: Operator | None,
    problem: int,
    words: str,
    last: str,
    labels: LabelMap | None = None,
) -> Witness:
    one, two = [], []
    if mine is not None or other is not None:
        assert labels is not None
        one.append(mine.name if mine else translate(other.name, inverse(labels)) or other.name)  # type: ignore[union-attr]
        two.append(other.name if other else translate(mine.name, labels) or mine.name)  # type: ignore[union-attr]
    at: Any = pair
    while (step := parent[at]) is not None:
        at, a, b = step
        one.append(a.name)
        two.append(b.name)
    one, two = one[::-1], two[::-1]
    before = one if last == "goal" else one[:-1]
    after = f"after {', '.join('(' + ' '.join(s) + ')' for s in before)}, " if before else "in the initial state, "
    return Witness(problem, tuple(one), tuple(two), f"problem {problem}: {after}{words}", last)


def refinement(a: Task, b: Task, cap: int = 50_000) -> tuple[Truth, int, str]:
    """Bisimilarity without labels: states of both systems are split by facts of the shared vocabulary and goal, then
    by the classes of their successors, until no round splits any. Returns (verdict, states, the reason)."""
    shared = vocabulary(a, b)
    graphs = []
    for task in (a, b):
        order, edges = _graph(task, cap // 2)
        if order is None:
            return None, cap, f"more than {cap // 2:,} states"
        graphs.append((task, order, edges))
    (ta, oa, ea), (tb, ob, eb) = graphs
    views = [_View(ta, shared), _View(tb, shared)]
    seeds = [(views[0](s), ta.is_goal(s)) for s in oa] + [(views[1](s), tb.is_goal(s)) for s in ob]
    edges = ea + [[j + len(oa) for j in row] for row in eb]
    classes = _numbered(seeds)
    rounds = 0
    while True:
        if classes[0] != classes[len(oa)]:
            what = (
                f"the initial states differ after {rounds} steps at most, in the facts of {', '.join(sorted(shared))}"
            )
            return False, len(edges), what
        after = _numbered([(classes[i], frozenset(classes[j] for j in row)) for i, row in enumerate(edges)])
        if max(after, default=0) == max(classes, default=0):
            return True, len(edges), ""
        classes, rounds = after, rounds + 1


def _numbered(signatures: Sequence[Any]) -> list[int]:
    known: dict[Any, int] = {}
    return [known.setdefault(s, len(known)) for s in signatures]


def _graph(task: Task, cap: int) -> tuple[list[int] | None, list[list[int]]]:
    index = {task.init: 0}
    order, edges = [task.init], []
    at = 0
    while at < len(order):
        state = order[at]
        at += 1
        row = []
        for op in task.applicable(state):
            after = task.apply(state, op)
            j = index.get(after)
            if j is None:
                if len(order) >= cap:
                    return None, []
                j = index[after] = len(order)
                order.append(after)
            row.append(j)
        edges.append(row)
    return order, edges


# walks


def exploration_walk(reference: Sequence[Task], candidate: Sequence[Task], labels: LabelMap, seed: int = 0) -> float:
    """EW: uniform walks of 1 to 10 steps from each domain, the share executable in the other; harmonic mean of both
    directions, each averaged over problems; 0 where a direction is empty."""
    rng = random.Random(seed)
    back = inverse(labels)
    shares: tuple[list[float], list[float]] = ([], [])
    for a, b in zip(reference, candidate, strict=True):
        for direction, (one, two, names) in enumerate(((a, b, labels), (b, a, back))):
            made = fine = 0
            for i in range(WALKS // 2):
                word = walk(one, 1 + (2 * i + direction) % LONGEST, rng)
                if word:
                    made += 1
                    fine += _executable(two, [translate(s, names) for s in word])
            shares[direction].append(fine / made if made else 0.0)
    forth, back_ = (sum(s) / len(s) for s in shares)
    return 2 * forth * back_ / (forth + back_) if forth and back_ else 0.0


def walk(task: Task, length: int, rng: random.Random) -> list[Fact]:
    """A random walk; it ends early where nothing is applicable."""
    state, word = task.init, []
    for _ in range(length):
        options = task.applicable(state)
        if not options:
            break
        op = options[int(rng.random() * len(options))]
        state = task.apply(state, op)
        word.append(op.name)
    return word


def _executable(task: Task, word: Sequence[Fact | None]) -> bool:
    state = task.init
    for name in word:
        op = task.by_name.get(name) if name is not None else None
        if op is None or not any(state & y == y and not state & n for y, n in op.condition):
            return False
        state = task.apply(state, op)
    return True


# schemas


def same_schemas(a: Domain, b: Domain) -> bool:
    """Equal types, predicates' signatures and actions, up to names of variables, order of conjuncts and of parameters'
    declarations with one name; the order of an action's parameters counts, as plans name them by place."""
    if set(a.actions) != set(b.actions) or set(a.predicates) != set(b.predicates):
        return False
    if {k: set(v) for k, v in a.types.items()} != {k: set(v) for k, v in b.types.items()} or a.constants != b.constants:
        return False
    if any([t for _, t in a.predicates[p].params] != [t for _, t in b.predicates[p].params] for p in a.predicates):
        return False
    if sorted(show(d.body) for d in a.derived) != sorted(show(d.body) for d in b.derived):
        return False
    return all(_canonical(a.actions[n]) == _canonical(b.actions[n]) for n in a.actions)


def _canonical(action: Action) -> tuple[Any, ...]:
    binding = {v: f"?{i}" for i, (v, _) in enumerate(action.params)}

    def parts(f: Any) -> list[str]:
        return sorted({show(substitute(c, binding)) for c in conjuncts(f)})

    return ([t for _, t in action.params], parts(action.precondition), parts(action.effect))
