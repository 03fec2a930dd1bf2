"""A proof checker for the fragment: a script of the commonest tactics, run on goals over ℕ ℤ ℚ ℝ.

Sound for the fragment's semantics. It may close a goal where Lean's tactic of that name would not (and the reverse),
so its verdicts carry the authority `fragment`. A tactic that it does not know gives `unsupported`, never `error`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from ..errors import Unsupported, Unsure
from ..lean.goal import Goal
from ..lean.lexer import lex
from ..lean.negation import CONNECTIVES, all_binders, with_phantoms
from ..lean.render import render, substitute
from ..lean.statement import Statement
from ..lean.terms import Term, parse_term
from . import arithmetic as tactics
from .elaborate import LADDER, conjuncts
from .refute import opened_namespaces
from .state import (
    FragmentGoal,
    Incomplete,
    TacticError,
    id_,
    instantiated,
    node,
    opened_quantifier,
    projected,
    split_at,
    split_block,
    stated,
)

SECONDS = 4.0  # CPU-time of one proof
CASES = 400  # of interval_cases
PLACEHOLDERS = frozenset(("sorry", "admit", "sorryAx", "exact?", "apply?"))


@dataclass(frozen=True)
class Checked:
    """What became of a script: proved, error, incomplete, timeout or unsupported, with the reason."""

    verdict: str
    reason: str = ""
    steps: int = 0


def initial_goal(st: Statement, goal: Goal | None = None) -> FragmentGoal:
    """The goal after `:= by`.

    Raises:
        Unsupported: a binder outside the fragment.
    """
    st = with_phantoms(st, goal)
    state = FragmentGoal((), (), parse_term(st.type), opened_namespaces(st.preamble))
    for b in all_binders(st):
        if b.kind == "instance" or not b.type:
            raise Unsupported("an instance or a binder without a type")
        t = parse_term(b.type)
        for name in b.names:
            state = introduced(state, name, t)
    state.elaborator().prop(state.target)  # refuse early what no tactic could read
    return state


def introduced(goal: FragmentGoal, name: str, t: Term) -> FragmentGoal:
    """A variable of a type, or a hypothesis."""
    try:
        return goal.with_variable(name, goal.elaborator().type_of(t))
    except Unsupported:
        if t.op not in CONNECTIVES and t.op not in ("∀", "→"):  # surely a proposition, whatever it says
            goal.elaborator().prop(t)
        return goal.with_hypothesis(name, t)


def check(st: Statement, script: str, seconds: float = SECONDS, goal: Goal | None = None) -> Checked:
    """Runs a script that follows `:= by`."""
    machine = Machine(seconds)
    try:
        left = machine.block([initial_goal(st, goal)], script)
    except Incomplete as error:
        return Checked("incomplete", str(error), machine.steps)
    except TacticError as error:
        return Checked("error", str(error), machine.steps)
    except TimeoutError:
        return Checked("timeout", f"more than {seconds:g} s", machine.steps)
    except (Unsupported, Unsure) as error:
        return Checked("unsupported", str(error), machine.steps)
    except RecursionError:
        return Checked("unsupported", "nested too deeply", machine.steps)
    if left:
        return Checked("error", f"unsolved goals\n{left[0].pretty()}", machine.steps)
    return Checked("proved", "", machine.steps)


class Machine:
    """Runs tactics on lists of goals. `steps` counts those that ran."""

    def __init__(self, seconds: float = SECONDS):
        self.limit = time.process_time() + seconds
        self.steps = 0

    def block(self, goals: list[FragmentGoal], text: str) -> list[FragmentGoal]:
        """All tactics of a block in turn, on the first goal each; the goals that remain."""
        for tactic in split_block(text):
            goals = self.one(goals, tactic)
        return goals

    def one(self, goals: list[FragmentGoal], text: str) -> list[FragmentGoal]:
        self.steps += 1
        if time.process_time() > self.limit:
            raise TimeoutError
        parts = split_at(text, "<;>")
        if len(parts) > 1:
            last = parts.pop()
            if not goals:
                raise TacticError("no goals to be proved")
            made = self.one(goals[:1], "<;>".join(parts))
            return [g for new in made for g in self.one([new], last)] + goals[1:]
        tokens = lex(text).tokens
        if not tokens:
            return goals
        word = tokens[0].text
        rest = (
            " " * tokens[0].end + text[tokens[0].end :] if "\n" not in text[: tokens[0].end] else text[tokens[0].end :]
        )
        if any(t.kind == "ident" and t.text in PLACEHOLDERS for t in tokens):
            raise Incomplete("the script has a placeholder")
        if word in ("all_goals", "any_goals"):
            return self.everywhere(goals, rest, word == "any_goals")
        if not goals:
            raise TacticError("no goals to be proved")
        if word in ("·", "."):
            if left := self.block(goals[:1], rest):
                raise TacticError(f"unsolved goals\n{left[0].pretty()}")
            return goals[1:]
        if word == "(":
            inner = text[tokens[0].end : text.rstrip().rfind(")")]
            return self.block(goals[:1], " " * tokens[0].end + inner) + goals[1:]
        if word == "try":
            try:
                return self.block(goals[:1], rest) + goals[1:]
            except TacticError:
                return goals
        if word == "first":
            return self.first(goals[:1], rest) + goals[1:]
        if word == "repeat":
            return self.repeat(goals[:1], rest) + goals[1:]
        run = TACTICS.get(word)
        if run is None:
            raise Unsupported(f"the tactic `{word}`")
        return run(self, goals[0], rest.strip() if word != "have" else rest) + goals[1:]

    def everywhere(self, goals: list[FragmentGoal], text: str, optional: bool) -> list[FragmentGoal]:
        found = []
        for g in goals:
            try:
                found += self.block([g], text)
            except TacticError:
                if not optional:
                    raise
                found.append(g)
        return found

    def first(self, goals: list[FragmentGoal], text: str) -> list[FragmentGoal]:
        failure: TacticError | None = None
        for alternative in split_at(text, "|")[1:]:
            try:
                return self.block(goals, alternative)
            except TacticError as error:
                failure = error
        raise failure or TacticError("first: no alternatives")

    def repeat(self, goals: list[FragmentGoal], text: str) -> list[FragmentGoal]:
        while goals:
            try:
                goals = self.block(goals[:1], text) + goals[1:]
            except TacticError:
                break
        return goals


# -- tactics: (machine, goal, what follows the name) -> goals

Run = Callable[[Machine, FragmentGoal, str], list[FragmentGoal]]


def closing(run: Callable[..., None], name: str) -> Run:
    """A tactic that closes the goal; `[h, …]` are equations to rewrite with first, `at h` looks for an absurd h."""

    def tactic(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
        rest, place = without_place(rest)
        rest = rest.removeprefix("only").strip() if name == "simp" else rest.strip().removeprefix("!")
        hints = bracketed(rest, goal) if rest else []
        if place:
            return at_hypothesis(goal, place, hints, name)
        facts = [h for h in hints if h.op in ("=", "∀")]
        for h in hints:
            if h.op not in ("=", "∀"):
                goal = goal.with_hypothesis(goal.fresh("hint"), h)
        run(tactics.rewritten(goal, facts) if facts else goal, name)
        return []

    return tactic


def at_hypothesis(goal: FragmentGoal, place: str, hints: list[Term], name: str) -> list[FragmentGoal]:
    prop = goal.hypothesis(place)
    if prop is None:
        raise TacticError(f"unknown hypothesis {place}")
    inside = tactics.rewritten(replace(goal, target=prop), [h for h in hints if h.op in ("=", "∀")])
    found = tactics.ground(inside)
    if found is False:
        return []
    if found is None:
        raise Unsupported(f"{name} at a hypothesis that stays open")
    raise TacticError(f"{name} made no progress")


def without_place(rest: str) -> tuple[str, str]:
    tokens = lex(rest).tokens
    for i, t in enumerate(tokens):
        if t.text == "at" and i + 1 < len(tokens):
            return rest[: t.start], tokens[i + 1].text
    return rest, ""


def bracketed(rest: str, goal: FragmentGoal) -> list[Term]:
    """What the terms in `[a, b]` state."""
    rest = rest.strip()
    if not (rest.startswith("[") and rest.endswith("]")):
        raise Unsupported(f"the arguments `{rest[:40]}`")
    inner = rest[1:-1].strip()
    return [stated(parse_term(part.strip().removeprefix("←")), goal) for part in split_at(inner, ",")] if inner else []


def with_hints(nonlinear: bool) -> Run:
    name = "nlinarith" if nonlinear else "linarith"

    def tactic(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
        tactics.linarith(goal, bracketed(rest, goal) if rest else [], nonlinear=nonlinear, name=name)
        return []

    return tactic


def plain(run: Callable[[FragmentGoal], None]) -> Run:
    def tactic(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
        if rest:
            raise Unsupported(f"arguments `{rest[:30]}`")
        run(goal)
        return []

    return tactic


def intro(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    patterns = [p.strip() for p in _patterns(rest)] or ["_"]
    goals = [goal]
    for p in patterns:
        goals = [g for one in goals for g in intro_one(one, p)]
    return goals


def intro_one(goal: FragmentGoal, pattern: str) -> list[FragmentGoal]:
    t = goal.target
    if t.op == "¬":
        t = node("→", t.args[0], id_("False"))
    if t.op == "≠":
        t = node("→", node("=", *t.args), id_("False"))
    name = pattern if pattern.isidentifier() or pattern.replace("₀", "0").isalnum() else "this"
    if t.op == "∀":
        single = opened_quantifier(t)
        bound = single.bounds[0]
        name = goal.fresh(name if name not in ("_", "this") or pattern == name else bound.names[0])
        el = goal.elaborator()
        kind = el.type_of(bound.type) if bound.type is not None else el.infer(bound.names[0], single.args[0])
        body = substitute(single.args[0], {bound.names[0]: id_(name)})
        return [replace(goal.with_variable(name, kind), target=body)]
    if t.op == "→":
        return destructed(replace(goal, target=t.args[1]), t.args[0], pattern)
    raise TacticError("introN failed: the goal is neither ∀ nor →")


def destructed(goal: FragmentGoal, prop: Term, pattern: str) -> list[FragmentGoal]:
    """The goal with a fact taken apart by a pattern: a name, `_`, `rfl`, `⟨p, q⟩`, `p | q`."""
    pattern = pattern.strip()
    if pattern.startswith("(") and pattern.endswith(")"):
        pattern = pattern[1:-1].strip()
    options = split_at(pattern, "|")
    if len(options) > 1:
        if prop.op != "∨":
            raise TacticError("rcases: a disjunction is expected")
        left = destructed(goal, prop.args[0], options[0])
        return left + destructed(goal, prop.args[1], "|".join(options[1:]))
    if pattern == "rfl":
        return substituted(goal, prop)
    if pattern.startswith("⟨"):
        parts = split_at(pattern[1:-1], ",")
        if prop.op == "∃":
            single = opened_quantifier(prop)
            name = goal.fresh(parts[0].strip() if parts[0].strip() != "_" else single.bounds[0].names[0])
            el = goal.elaborator()
            given = single.bounds[0].type
            kind = el.type_of(given) if given is not None else el.infer(single.bounds[0].names[0], single.args[0])
            body = substitute(single.args[0], {single.bounds[0].names[0]: id_(name)})
            rest = parts[1].strip() if len(parts) == 2 else f"⟨{','.join(parts[1:])}⟩"
            return destructed(goal.with_variable(name, kind), body, rest)
        if prop.op in ("∧", "↔"):
            first, second = projected(prop, "1"), projected(prop, "2")
            rest = parts[1].strip() if len(parts) == 2 else f"⟨{','.join(parts[1:])}⟩"
            return [g for one in destructed(goal, first, parts[0]) for g in destructed(one, second, rest)]
        raise TacticError(f"rcases: `{render(prop)}` has no parts")
    return [goal.with_hypothesis(goal.fresh("this" if pattern in ("_", "") else pattern), prop)]


def substituted(goal: FragmentGoal, prop: Term) -> list[FragmentGoal]:
    if prop.op != "=":
        raise TacticError("subst: an equation is expected")
    variables = {x for x, _ in goal.variables}
    for a, b in (prop.args[::-1], prop.args):
        if a.op == "id" and a.name in variables and not any(x.op == "id" and x.name == a.name for x in b.walk()):
            el = goal.elaborator()
            if el.value(b, el.types[a.name])[0] != el.types[a.name]:
                raise TacticError("subst: the types differ")
            value = (
                b
                if b.op in ("id", "num")
                else Term("ascribe", (b, id_(el.types[a.name])))
                if el.types[a.name] in LADDER
                else b
            )
            if b.op == "num":
                value = Term("ascribe", (b, id_(el.types[a.name])))
            return [goal.substituted(a.name, value)]
    raise TacticError("subst: no variable to replace")


def subst(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    if rest == "_vars" or not rest:
        raise Unsupported("subst without a name")
    for name in rest.split():
        prop = goal.hypothesis(name)
        if prop is None:
            raise TacticError(f"subst: unknown hypothesis {name}")
        goal = replace(goal, hypotheses=tuple(h for h in goal.hypotheses if h[0] != name))
        (goal,) = substituted(goal, prop)
    return [goal]


def constructor(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    t = goal.target
    if t.op == "∧":
        return [replace(goal, target=a) for a in t.args]
    if t.op == "↔":
        return [replace(goal, target=node("→", *t.args)), replace(goal, target=node("→", *t.args[::-1]))]
    if t.op == "app" and t.args[0].name in ("IsGreatest", "IsLeast"):
        raise Unsupported("the bound of a set")
    raise TacticError("constructor failed: no constructor applies")


def refine(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    if not rest.strip().startswith("⟨"):
        raise Unsupported("refine with another term")
    return filled(m, goal, _parts(rest))


def _parts(text: str) -> list[str]:
    """The texts between the commas of `⟨a, b⟩`."""
    return [part.strip() for part in split_at(text.strip()[1:-1], ",")]


def filled(m: Machine, goal: FragmentGoal, parts: list[str]) -> list[FragmentGoal]:
    """`⟨a, b, …⟩` for a conjunction, an equivalence or an existential; `?_` and `_` leave goals."""
    t = goal.target
    if t.op in ("∧", "↔") and len(parts) >= 2:
        first, second = t.args if t.op == "∧" else (node("→", *t.args), node("→", *t.args[::-1]))
        return filled(m, replace(goal, target=first), parts[:1]) + filled(m, replace(goal, target=second), parts[1:])
    if t.op == "∃" and len(parts) >= 2:
        return filled(m, replace(goal, target=witness(goal, opened_quantifier(t), parse_term(parts[0]))), parts[1:])
    if len(parts) == 1:
        (p,) = parts
        if p in ("_", "?_"):
            return [goal]
        return filled(m, goal, _parts(p)) if p.startswith("⟨") else exact(m, goal, p)
    raise TacticError("invalid anonymous constructor")


def witness(goal: FragmentGoal, single: Term, value: Term) -> Term:
    bound = single.bounds[0]
    el = goal.elaborator()
    kind = el.type_of(bound.type) if bound.type is not None else el.infer(bound.names[0], single.args[0])
    el.as_type(value, kind)
    typed = value if value.op == "id" else Term("ascribe", (value, id_(kind)))
    return substitute(single.args[0], {bound.names[0]: typed})


def use(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    for part in split_at(rest, ","):
        if goal.target.op != "∃":
            raise TacticError("use failed: the goal is not ∃")
        single = opened_quantifier(goal.target)
        goal = replace(goal, target=witness(goal, single, parse_term(part.strip())))
    t = goal.target  # Mathlib's `use` then tries `rfl`
    return [] if t.op == "=" and render(t.args[0]) == render(t.args[1]) else [goal]


def exact(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    body = rest.strip()
    if body.startswith(("by ", "by\n")):
        if m.block([goal], body[2:]):
            raise TacticError("unsolved goals")
        return []
    if body == "rfl":
        tactics.decide(goal, "rfl") if tactics.ground(goal) is not None else tactics.ring(goal, "rfl")
        return []
    if body.startswith("⟨"):
        if filled(m, goal, _parts(body)):
            raise TacticError("exact leaves goals")
        return []
    prop = stated(parse_term(body), goal)
    if render(prop) == render(goal.target) or _same_relation(goal, prop):
        return []
    if prop.op == "id" and prop.name == "False":
        return []
    raise TacticError(f"type mismatch: `{render(prop)}` where `{render(goal.target)}` is expected")


def _same_relation(goal: FragmentGoal, prop: Term) -> bool:
    """Whether two relations have the same normal form (`a > b` and `b < a`, up to brackets and casts)."""
    flip = {"<": "<", ">": "<", "≤": "≤", "≥": "≤", "=": "="}
    if prop.op not in flip or goal.target.op not in flip or flip[prop.op] != flip[goal.target.op]:
        return False
    one = prop.args if prop.op in ("<", "≤", "=") else prop.args[::-1]
    two = goal.target.args if goal.target.op in ("<", "≤", "=") else goal.target.args[::-1]
    return [render(a) for a in one] == [render(b) for b in two]


def assumption(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    for name, _ in goal.hypotheses:
        try:
            return exact(m, goal, name)
        except (TacticError, Unsupported):
            continue
    raise TacticError("tactic 'assumption' failed")


def have(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    tokens = lex(rest).tokens
    assign = next((i for i, t in enumerate(tokens) if t.text == ":="), None)
    if assign is None:
        raise Unsupported("have without a proof")
    depth_colon = next((i for i, t in enumerate(tokens[:assign]) if t.text == ":"), None)
    head = rest[tokens[0].start : tokens[depth_colon if depth_colon is not None else assign].start].strip()
    pattern = head or "this"
    body = rest[tokens[assign].end :]
    if depth_colon is None:
        return destructed(goal, stated(parse_term(body.strip()), goal), pattern)
    prop = parse_term(rest[tokens[depth_colon].end : tokens[assign].start])
    goal.elaborator().prop(prop)
    inner = replace(goal, target=prop)
    if assign + 1 < len(tokens) and tokens[assign + 1].text == "by":
        at = tokens[assign + 1].end
        before = rest[:at].rpartition("\n")[2]
        if m.block([inner], " " * len(before) + rest[at:]):
            raise TacticError("unsolved goals in have")
    else:
        exact(m, inner, body)
    return destructed(goal, prop, pattern)


def obtain(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    pattern, assign, proof = rest.partition(":=")
    if not assign:
        raise Unsupported("obtain without a proof")
    return destructed(goal, stated(parse_term(proof.strip()), goal), pattern.partition(" : ")[0])


def rcases(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    tokens = lex(rest).tokens
    word = next((t for t in tokens if t.text == "with"), None)
    if word is None:
        raise Unsupported("rcases without a pattern")
    return destructed(goal, stated(parse_term(rest[: word.start].strip()), goal), rest[word.end :])


def side(place: int) -> Run:
    def tactic(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
        if goal.target.op != "∨":
            raise TacticError("the goal is not a disjunction")
        return [replace(goal, target=goal.target.args[place])]

    return tactic


def rewrite(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    if lex(rest).tokens and "←" in rest:
        raise Unsupported("rewriting from right to left")
    inner, place = without_place(rest)
    if place:
        raise Unsupported("rewriting at a hypothesis")
    goal = tactics.rewritten(goal, bracketed(inner, goal), once=True)
    try:
        tactics.ring(goal, "rfl") if goal.target.op == "=" and render(goal.target.args[0]) == render(
            goal.target.args[1]
        ) else _open()
        return []
    except (TacticError, Unsupported):
        return [goal]


def _open() -> None:
    raise TacticError("open")


def interval_cases(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    name = rest.split()[0] if rest.split() else ""
    kind = dict(goal.variables).get(name)
    if kind not in ("ℕ", "ℤ"):
        raise TacticError("interval_cases: a variable in ℕ or ℤ is expected")
    stated_ = [p for _, t in goal.hypotheses for p in conjuncts(t)]
    whole = stated_[0] if stated_ else id_("True")
    for p in stated_[1:]:
        whole = node("∧", whole, p)
    listed = goal.elaborator().limits(name, whole, {x for x, _ in goal.variables})
    if listed is None:
        raise TacticError(f"interval_cases failed: bounds of {name} not found")
    values = listed({})
    if len(values) > CASES:
        raise Unsupported("interval_cases over too many values")
    numeral = [Term("num", name=str(v)) if v >= 0 else node("neg", Term("num", name=str(-v))) for v in values]
    return [goal.substituted(name, Term("ascribe", (v, id_(kind)))) for v in numeral]


def exfalso(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    return [replace(goal, target=id_("False"))]


def by_contra(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    if goal.target.op == "¬":
        fact = goal.target.args[0]
    else:
        fact = node("¬", goal.target)
    return [replace(goal.with_hypothesis(goal.fresh(rest.strip() or "this"), fact), target=id_("False"))]


def trivial(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    try:
        return assumption(m, goal, "")
    except TacticError:
        tactics.decide(goal, "trivial")
        return []


def specialize(m: Machine, goal: FragmentGoal, rest: str) -> list[FragmentGoal]:
    head, args = parse_term(rest).spine()
    prop = stated(head, goal)
    for a in args:
        prop = instantiated(prop, a, goal)
    kept = replace(goal, hypotheses=tuple(h for h in goal.hypotheses if h[0] != head.name))
    return [kept.with_hypothesis(head.name, prop)]


def _patterns(rest: str) -> list[str]:
    """Patterns of intro and rintro: names and bracketed groups, one after another."""
    found, depth, begin = [], 0, None
    for t in lex(rest).tokens:
        if t.text in ("⟨", "(", "{"):
            begin = t.start if depth == 0 else begin
            depth += 1
        elif t.text in ("⟩", ")", "}"):
            depth -= 1
            if depth == 0 and begin is not None:
                found.append(rest[begin : t.end])
        elif depth == 0:
            found.append(t.text)
    return found


TACTICS: dict[str, Run] = {
    "norm_num": closing(tactics.norm_num, "norm_num"),
    "simp": closing(tactics.norm_num, "simp"),
    "ring": plain(tactics.ring),
    "ring_nf": plain(lambda g: tactics.ring(g, "ring_nf")),
    "decide": plain(tactics.decide),
    "rfl": plain(lambda g: tactics.decide(g, "rfl")),
    "omega": plain(tactics.omega),
    "positivity": plain(tactics.positivity),
    "linarith": with_hints(False),
    "nlinarith": with_hints(True),
    "intro": intro,
    "intros": intro,
    "rintro": intro,
    "subst": subst,
    "constructor": constructor,
    "refine": refine,
    "use": use,
    "exact": exact,
    "assumption": assumption,
    "have": have,
    "obtain": obtain,
    "rcases": rcases,
    "left": side(0),
    "right": side(1),
    "rw": rewrite,
    "interval_cases": interval_cases,
    "exfalso": exfalso,
    "by_contra": by_contra,
    "trivial": trivial,
    "specialize": specialize,
}
