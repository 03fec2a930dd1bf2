"""Names, types, scopes and requirements: what a domain or a problem says beyond its grammar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .diagnostics import Collector, Diagnostic, Span, near
from .forms import Form, Word
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
    Signature,
    Types,
    When,
    kind,
    show,
    signature,
)

ADL = [
    ":typing",
    ":negative-preconditions",
    ":disjunctive-preconditions",
    ":equality",
    ":existential-preconditions",
    ":universal-preconditions",
    ":quantified-preconditions",
    ":conditional-effects",
]
IMPLIED = {
    ":adl": ADL,
    ":quantified-preconditions": [":existential-preconditions", ":universal-preconditions"],
    ":fluents": [":numeric-fluents", ":action-costs"],
    ":numeric-fluents": [":action-costs"],
    ":durative-actions": [":numeric-fluents"],
    ":timed-initial-literals": [":durative-actions"],
}
Scope = Mapping[str, Types]


def check(domain: Domain, problem: Problem | None = None) -> list[Diagnostic]:
    """Findings about a domain, or about a problem of it; nodes that were not read from a text have the span (0, 0)."""
    report = Collector()
    if problem is None:
        check_domain(domain, report)
    else:
        check_problem(domain, problem, report)
    return report.found


def check_domain(domain: Domain, report: Collector) -> None:
    _Checker(domain, report).domain_()


def check_problem(domain: Domain, problem: Problem, report: Collector) -> None:
    _Checker(domain, report).problem_(problem)


class _Checker:
    def __init__(self, domain: Domain, report: Collector) -> None:
        self.domain, self.report = domain, report
        self.objects: dict[str, Types] = dict(domain.constants)
        self.needed: dict[str, Span] = {}  # requirement -> where it is first needed
        self.above: dict[str, frozenset[str]] = {}
        self.below: dict[str, set[str]] = {}
        self.unscoped = domain.meta.get("unscoped", ())
        self.missing: set[str] = set()  # types that were reported
        self.unknown: set[str] = set()  # those of them that fit anything, so that one mistake is one finding
        self.derived = {d.head.name for d in domain.derived}

    def domain_(self) -> None:
        domain, report = self.domain, self.report
        sections: dict[str, Form] = domain.meta.get("sections", {})
        self.type_section()
        report.section = ":constants"
        for name, types in domain.constants.items():
            self.types(types, sections.get(":constants"), f"constant {name}", val="")
        report.section = ":predicates"
        for declared in domain.predicates.values():
            self.params(declared.params, declared.form, f"predicate {declared.name}")
        for untyped, word in domain.meta.get("untyped", ()):
            if domain.types:
                message = f"{word.text} of {untyped.name} has no type, so any object fits"
                report.add("predicate-untyped", word.span, message)
        report.section = ":functions"
        for declared in domain.functions.values():
            self.params(declared.params, declared.form, f"function {declared.name}")
        if domain.functions and ":functions" in sections:
            self.need(":action-costs", sections[":functions"].span)
        report.section = ":derived"
        for derived in domain.derived:
            self.need(":derived-predicates", at(derived.form))
            self.params(derived.head.params, derived.head.form, f"derived predicate {derived.head.name}")
            self.applied(Atom(derived.head.name, tuple(v for v, _ in derived.head.params), derived.head.form), None)
            self.condition(derived.body, dict(derived.head.params))
        report.section = ":constraints"
        if domain.constraints is not None:
            self.condition(domain.constraints, {})
        for action in domain.actions.values():
            self.action(action)
        report.action = report.section = ""
        if not domain.actions and not any(d.severity == "error" for d in report.found):
            report.add("no-actions", (0, 7), "the domain has no action")
        self.reused()
        self.requirements(domain.requirements)

    def problem_(self, problem: Problem) -> None:
        domain, report = self.domain, self.report
        self.type_closure()
        sections: dict[str, Form] = problem.meta.get("sections", {})
        if problem.domain and problem.domain != domain.name:
            report.add(
                "domain-mismatch",
                at(sections.get(":domain")),
                f'the problem is for domain "{problem.domain}", and this one is "{domain.name}"',
            )
        report.section = ":objects"
        for name, types in problem.objects.items():
            if name in domain.constants:
                report.add(
                    "duplicate-object", at(sections.get(":objects")), f'"{name}" is a constant of the domain, too'
                )
            self.types(types, sections.get(":objects"), f"object {name}")
        self.objects |= problem.objects
        report.section = ":init"
        for atom in problem.init:
            self.atom(atom, {})
        for head, form in problem.meta.get("values", {}).items():
            self.number(Numeric("fluent", head[0], head[1:], form=form), {})
        report.section = ":goal"
        self.condition(problem.goal, {})
        if problem.metric:
            report.section = ":metric"
            self.number(problem.metric[1], {})
        report.section = ""

    # types

    def type_section(self) -> None:
        domain, report = self.domain, self.report
        report.section = ":types"
        places: dict[str, Word] = domain.meta.get("types", {})
        for name, parents in list(domain.types.items()):
            for parent in parents:
                if parent != OBJECT and parent not in domain.types and parent not in self.missing:
                    self.missing.add(parent)
                    span = places[name].span if name in places else (0, 0)
                    report.add("type-implicit", span, f'supertype "{parent}" of "{name}" is not declared itself')
        for name in self.missing:
            domain.types.setdefault(name, ())
        self.type_closure()
        for name in domain.types:
            walk, seen = list(domain.types[name]), set()
            while walk:
                parent = walk.pop()
                if parent == name and name != OBJECT:
                    span = places[name].span if name in places else (0, 0)
                    report.add("type-cycle", span, f'type "{name}" is its own ancestor')
                    break
                if parent not in seen:
                    seen.add(parent)
                    walk.extend(domain.types.get(parent, ()))
            else:
                continue
            break

    def type_closure(self) -> None:
        types = self.domain.types
        self.above = {name: self.domain.supertypes(name) for name in (*types, OBJECT)}
        self.below = {name: set() for name in self.above}
        parents = {p for ps in types.values() for p in ps}
        for name in types:
            if name not in parents:  # a leaf
                for ancestor in self.above[name]:
                    self.below.setdefault(ancestor, set()).add(name)

    def types(self, types: Types, form: Form | None, of: str, val: str = "V") -> None:
        for name in types:
            if name in self.above:
                continue
            if name not in self.missing:
                self.missing.add(name)
                if (
                    not self.domain.types
                    and "sections" in self.domain.meta
                    and ":types" not in self.domain.meta["sections"]
                ):
                    val = "P"
                self.report.add(
                    "type-undeclared",
                    word_in(form, name),
                    f'type "{name}" of {of} is not declared',
                    expected=(*self.domain.types, OBJECT),
                    hint=meant(name, self.domain.types),
                    val=val,
                )
            self.above[name] = frozenset((name, OBJECT))
            self.unknown.add(name)

    def params(self, params: Params, form: Form | None, of: str) -> None:
        for variable, types in params:
            self.types(types, form, f"{variable} in {of}")
            if types != (OBJECT,):
                self.need(":typing", at(form))

    def fits(self, given: Types, declared: Types, covered: bool = True) -> bool:
        """Whether every object of `given` is one of `declared`; `covered` also takes a type all of whose kinds are."""
        if self.unknown and not self.unknown.isdisjoint((*given, *declared)):
            return True
        for name in given:
            above = self.above.get(name, ())
            if any(d in above for d in declared):
                continue
            leaves = self.below.get(name, set())
            # (either a b) takes a type that has no other kinds than a and b
            if (
                covered
                and len(declared) > 1
                and leaves
                and all(any(d in self.above[leaf] for d in declared) for leaf in leaves)
            ):
                continue
            return False
        return True

    # actions and formulas

    def action(self, action: Action) -> None:
        report = self.report
        report.action, report.section = action.name, ":parameters"
        if action.duration is not None:
            self.need(":durative-actions", at(action.form))
        self.params(action.params, action.form, f"action {action.name}")
        scope = dict(action.params)
        report.section = ":condition" if action.duration is not None else ":precondition"
        self.condition(action.precondition, scope)
        self.contradictions(action.precondition, "contradictory-condition", "is required and forbidden")
        if action.duration is not None:
            self.condition(action.duration, scope)
        report.section = ":effect"
        self.effect(action.effect, scope)
        self.contradictions(action.effect, "contradictory-effect", "is added and deleted")
        report.action = report.section = ""

    def contradictions(self, formula: Formula, code: str, words: str) -> None:
        """Atoms that stand with and without `not` in one conjunction."""
        yes: dict[tuple[str, ...], Form | None] = {}
        no: set[tuple[str, ...]] = set()
        for part in conjuncts(formula):
            if isinstance(part, Atom):
                yes.setdefault((part.name, *part.args), part.form)
            elif isinstance(part, Not) and isinstance(part.part, Atom):
                no.add((part.part.name, *part.part.args))
        for key in no & set(yes):
            self.report.add(code, at(yes[key]), f"({' '.join(key)}) {words}")

    def condition(self, f: Formula, scope: Scope, negated: bool = False) -> None:
        if isinstance(f, Atom):
            self.atom(f, scope)
        elif isinstance(f, Not):
            if (isinstance(f.part, Atom) and f.part.name != "=") or isinstance(f.part, Many | Quantified):
                self.need(":negative-preconditions", at(f.form))
            self.condition(f.part, scope)
        elif isinstance(f, Many):
            if f.op != "and":
                self.need(":disjunctive-preconditions", at(f.form))
            for part in f.parts:
                self.condition(part, scope)
        elif isinstance(f, Quantified):
            self.need(":universal-preconditions" if f.op == "forall" else ":existential-preconditions", at(f.form))
            self.condition(f.body, self.inner(f, scope))
        elif isinstance(f, Numeric):
            self.need(":numeric-fluents", at(f.form))
            for expression in f.parts:
                self.number(expression, scope)
        elif isinstance(f, Modal):
            for part in f.parts:
                self.condition(part, scope)

    def effect(self, f: Formula, scope: Scope) -> None:
        if isinstance(f, Atom):
            self.atom(f, scope)
            if f.name in self.derived:
                message = f'"{f.name}" is derived, and an effect changes it'
                self.report.add("derived-in-effect", at(f.form), message)
        elif isinstance(f, Not):
            self.effect(f.part, scope)
        elif isinstance(f, Many | Modal):
            for part in f.parts:
                self.effect(part, scope)
        elif isinstance(f, Quantified):
            self.need(":conditional-effects", at(f.form))
            self.effect(f.body, self.inner(f, scope))
        elif isinstance(f, When):
            self.need(":conditional-effects", at(f.form))
            self.condition(f.condition, scope)
            self.effect(f.effect, scope)
        elif isinstance(f, Numeric):
            cost = f.parts[0].name == "total-cost"
            self.need(":action-costs" if cost else ":numeric-fluents", at(f.form))
            for expression in f.parts:
                self.number(expression, scope)
            if cost and f.op == "increase" and f.parts[1].op == "number" and f.parts[1].value < 0:
                self.report.add("negative-cost", at(f.form), "this action costs less than nothing")

    def inner(self, f: Quantified, scope: Scope) -> Scope:
        self.params(f.params, f.form, f.op)
        for variable, _ in f.params:
            if variable in scope:
                self.report.add("shadowed-variable", word_in(f.form, variable), f"{variable} hides a parameter")
        return {**scope, **dict(f.params)}

    def atom(self, f: Atom, scope: Scope) -> None:
        if f.name == "=":
            self.need(":equality", at(f.form))
            if len(f.args) != 2:
                self.report.add("arity", at(f.form), f"= takes 2 arguments, and has {len(f.args)}", val="")
            for i, term in enumerate(f.args):
                self.term(term, scope, f.form, i)
            return
        self.applied(f, scope)

    def applied(self, f: Atom, scope: Scope | None) -> None:
        """An atom against its declaration; without a scope only name and arity."""
        declared = self.domain.predicates.get(f.name)
        if declared is None:
            self.undeclared(f)
        elif len(declared.params) != len(f.args):
            self.arity(f, declared)
        if scope is None:
            return
        params = declared.params if declared and len(declared.params) == len(f.args) else None
        for i, term in enumerate(f.args):
            types = self.term(term, scope, f.form, i)
            if params and types is not None and types != params[i][1] and not self.fits(types, params[i][1]):
                self.report.add(
                    "type-mismatch",
                    place(f.form, i + 1),
                    f"{term} is a {kind(types)}, and argument {i + 1} of {f.name} is a {kind(params[i][1])}",
                    found=kind(types),
                    expected=(signature(declared),),  # type: ignore[arg-type]
                )
            elif params and types is not None and len(params[i][1]) > 1 and not self.fits(types, params[i][1], False):
                self.report.add(
                    "either-covered", place(f.form, i + 1), f"{kind(types)} is taken for a {kind(params[i][1])}"
                )

    def undeclared(self, f: Atom) -> None:
        known = self.domain.predicates
        listed = "sections" in self.domain.meta and ":predicates" not in self.domain.meta["sections"]
        hint = "inequality is written (not (= ?a ?b))" if f.name == "!=" else meant(f.name, known)
        self.report.add(
            "predicate-undeclared",
            place(f.form, 0),
            f'predicate "{f.name}" is not declared',
            found=f.name,
            expected=[f"{p.name}/{len(p.params)}" for p in known.values()],
            hint=hint,
            val="" if listed or f.name == "!=" else "V",
        )

    def arity(self, f: Atom, declared: Signature) -> None:
        self.report.add(
            "arity",
            at(f.form),
            f"{show(f)} has {len(f.args)} arguments, and {f.name} takes {len(declared.params)}",
            found=str(len(f.args)),
            expected=(signature(declared),),
        )

    def term(self, term: str, scope: Scope, form: Form | None, index: int) -> Types | None:
        """The types of a variable or object; None where it is not known."""
        if term[:1] == "?":
            if term in scope:
                return scope[term]
            if self.report.action not in self.unscoped:
                self.report.add(
                    "variable-unbound",
                    place(form, index + 1),
                    f"{term} is no parameter here",
                    found=term,
                    expected=tuple(scope),
                    hint=meant(term, scope),
                )
            return None
        if term in self.objects:
            return self.objects[term]
        self.report.add(
            "constant-undeclared",
            place(form, index + 1),
            f'"{term}" is not declared',
            found=term,
            expected=tuple(self.objects),
            hint=meant(term, self.objects) or (f"did you mean the variable ?{term}?" if "?" + term in scope else ""),
        )
        return None

    def number(self, f: Numeric, scope: Scope) -> None:
        for part in f.parts:
            self.number(part, scope)
        if f.op != "fluent":
            return
        declared = self.domain.functions.get(f.name)
        if declared is None:
            self.report.add(
                "function-undeclared",
                at(f.form),
                f'function "{f.name}" is not declared',
                found=f.name,
                expected=[f"{d.name}/{len(d.params)}" for d in self.domain.functions.values()],
                hint=meant(f.name, self.domain.functions),
            )
        elif len(declared.params) != len(f.args):
            self.arity(Atom(f.name, f.args, f.form), declared)
        for i, term in enumerate(f.args):
            self.term(term, scope, f.form, i)

    # the domain as a whole

    def reused(self) -> None:
        domain = self.domain
        for name, action in domain.actions.items():
            if name in domain.predicates:
                self.report.add("name-reused", word_in(action.form, name), f'"{name}" names an action and a predicate')
        for name, declared in domain.predicates.items():
            if name in domain.types:
                self.report.add("name-reused", word_in(declared.form, name), f'"{name}" names a predicate and a type')

    def need(self, requirement: str, span: Span) -> None:
        self.needed.setdefault(requirement, span)

    def requirements(self, declared: Iterable[str]) -> None:
        have = set(declared)
        for name in tuple(have):
            for implied in IMPLIED.get(name, ()):
                have |= {implied, *IMPLIED.get(implied, ())}
        if self.domain.types:
            self.needed.setdefault(":typing", at(self.domain.meta.get("sections", {}).get(":types")))
        for name, span in self.needed.items():
            if name not in have:
                self.report.add("requirement-missing", span, f"{name} is used and not among the :requirements")


def conjuncts(f: Formula) -> list[Formula]:
    """The parts of nested conjunctions."""
    found: list[Formula] = []
    todo = [f]
    while todo:
        part = todo.pop()
        if isinstance(part, Many) and part.op == "and":
            todo.extend(reversed(part.parts))
        else:
            found.append(part)
    return found


def meant(name: str, names: Iterable[str]) -> str:
    close = near(name, names)
    return f"did you mean {close}?" if close else ""


def at(form: Form | None) -> Span:
    return (0, 0) if form is None else form.span


def place(form: Form | None, index: int) -> Span:
    """The span of one item of a form."""
    if form is None or index >= len(form.items):
        return at(form)
    return form.items[index].span


def word_in(form: Form | None, text: str) -> Span:
    """The span of the first such word in a form, else the form's own."""
    todo = [form] if form else []
    while todo:
        node = todo.pop(0)
        for item in node.items:
            if type(item) is Word:
                if item.text == text:
                    return item.span
            elif isinstance(item, Form):
                todo.append(item)
    return at(form)
