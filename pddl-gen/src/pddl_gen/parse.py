"""From nested forms to a domain or a problem. A mistake is reported and stepped over: one bad action hides no other."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Literal

from . import check as checks
from .diagnostics import Collector, Parsed, near
from .forms import Form, Limits, Node, Word, read
from .syntax import (
    EMPTY,
    OBJECT,
    Action,
    Atom,
    Derived,
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
)

NAME = re.compile(r"[a-z][a-z0-9_-]*\Z")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\Z")
COMPARISONS = frozenset(("<", "<=", ">", ">=", "="))
CHANGES = frozenset(("assign", "increase", "decrease", "scale-up", "scale-down"))
TIMES = {"at": ("start", "end"), "over": ("all",)}
TRAJECTORY = frozenset(
    [
        "always",
        "sometime",
        "within",
        "at-most-once",
        "sometime-after",
        "sometime-before",
        "always-within",
        "hold-during",
        "hold-after",
    ]
)
DOMAIN_ORDER = (
    ":requirements",
    ":types",
    ":constants",
    ":predicates",
    ":functions",
    ":constraints",
    ":derived",
    ":action",
)
RANK = {name: i for i, name in enumerate(DOMAIN_ORDER)} | {":durative-action": 7, ":derived": 7}
ONCE = frozenset((":requirements", ":types", ":constants", ":predicates", ":functions", ":constraints"))
REQUIREMENTS = frozenset(
    [
        ":strips",
        ":typing",
        ":negative-preconditions",
        ":disjunctive-preconditions",
        ":equality",
        ":existential-preconditions",
        ":universal-preconditions",
        ":quantified-preconditions",
        ":conditional-effects",
        ":fluents",
        ":numeric-fluents",
        ":object-fluents",
        ":adl",
        ":durative-actions",
        ":duration-inequalities",
        ":continuous-effects",
        ":derived-predicates",
        ":timed-initial-literals",
        ":preferences",
        ":constraints",
        ":action-costs",
        ":goal-utilities",
        ":time",
    ]
)
PROBLEM_SECTIONS = (":domain", ":requirements", ":objects", ":init", ":goal", ":constraints", ":metric", ":length")
Mode = Literal["strict", "val"]


def parse_domain(text: str, *, mode: Mode = "strict", limits: Limits | None = None) -> Parsed[Domain]:
    """Reads and checks a domain; reports every finding that does not follow from another one.

    `mode="val"` adds what only VAL of 2021-10 minds, and reads as it does: nothing after the first definition counts.
    """
    report = Collector()
    limits = limits or Limits()
    domain = _Domain(report, limits, mode).read(text)
    if domain is not None:
        checks.check_domain(domain, report)
    return Parsed(domain, _kept(report, mode, limits), text)


def parse_problem(
    text: str, domain: Domain | None = None, *, mode: Mode = "strict", limits: Limits | None = None
) -> Parsed[Problem]:
    """Reads a problem, and checks it against a domain where one is given."""
    report = Collector()
    limits = limits or Limits()
    problem = _Problem(report, limits, mode).read(text)
    if problem is not None and domain is not None:
        checks.check_problem(domain, problem, report)
    return Parsed(problem, _kept(report, mode, limits), text)


def _kept(report: Collector, mode: Mode, limits: Limits) -> list:
    kept = report.found if mode == "val" else [d for d in report.found if d.severity != "info"]
    return sorted(kept, key=lambda d: d.span)[: limits.findings]


class _Reader:
    """What domains and problems have in common."""

    kind = "domain"

    def __init__(self, report: Collector, limits: Limits, mode: Mode) -> None:
        self.report, self.limits, self.mode = report, limits, mode

    def definition(self, text: str) -> tuple[str, list[Node]] | None:
        """Name and sections of the first (define ...)."""
        if not text.strip():
            self.report.add("empty", (0, len(text)), "the text is empty")
            return None
        nodes = read(text, self.report, self.limits, reopen=self.mode == "strict")
        at = next((i for i, n in enumerate(nodes) if type(n) is Form and n.head == "define"), None)
        if at is None:
            if not any(d.severity == "error" for d in self.report.found):
                self.report.add("no-definition", (0, len(text)), f"there is no (define ({self.kind} in this text")
            return None
        if at > 0:
            span = nodes[0].span[0], nodes[at - 1].span[1]
            self.report.add("text-before", span, "something stands before (define", found=text[span[0] : span[1]][:40])
        if at + 1 < len(nodes):
            span = nodes[at + 1].span[0], nodes[-1].span[1]
            second = any(type(n) is Form and n.head == "define" for n in nodes[at + 1 :])
            what = "another definition" if second else "something"
            self.report.add(
                "text-after", span, f"{what} stands after the definition", found=text[span[0] : span[1]][:40]
            )
        define = nodes[at]
        assert isinstance(define, Form)
        if len(define.items) < 2 or type(define.items[1]) is not Form:
            self.syntax(define, f"(define must be followed by ({self.kind} <name>)", "V")
            return None
        title = define.items[1]
        other = "problem" if self.kind == "domain" else "domain"
        if title.head == other:
            self.report.add(f"not-a-{self.kind}", title.span, f"this defines a {other}, not a {self.kind}")
            return None
        if title.head != self.kind:
            self.syntax(title, f"(define must be followed by ({self.kind} <name>), not by ({title.head}", "V")
            return None
        name = ""
        if len(title.items) == 2 and type(title.items[1]) is Word:
            name = self.name(title.items[1])
        else:
            self.syntax(title, f"({self.kind} needs exactly one name", "V")
        return name, define.items[2:]

    def syntax(self, node: Node, message: str, val: str = "P", hint: str = "") -> None:
        span = node.span if type(node) is Word else (node.start, min(node.end, node.start + 40))  # type: ignore[union-attr]
        self.report.add("syntax", span, message, val=val, hint=hint)

    def name(self, word: Word) -> str:
        """A name that is being declared."""
        if not NAME.match(word.text):
            ascii_only = word.text.isascii()
            self.report.add("name-illegal", word.span, f'"{word.text}" is no name', val="P" if ascii_only else "PX")
        return word.text

    def typed(self, nodes: Sequence[Node], variables: bool) -> list[tuple[Word, Types, bool]]:
        """(word, types, whether a type was written) of a typed list."""
        found: list[tuple[Word, Types, bool]] = []
        waiting: list[Word] = []
        i = 0
        while i < len(nodes):
            node = nodes[i]
            if type(node) is Form:
                self.syntax(node, "a list of names, - and types has a parenthesis in it that does not belong", "PV")
            elif node.text == "-":  # type: ignore[union-attr]
                i += 1
                if i == len(nodes) or (nodes[i].span[1] - nodes[i].span[0] == 1 and node_text(nodes[i]) == "-"):
                    self.syntax(node, "- must be followed by a type", "PV")
                    continue
                types = self.types(nodes[i])
                if not waiting:
                    self.syntax(node, "- must follow a name", "PV")
                found += [(w, types, True) for w in waiting]
                waiting = []
            else:
                word: Word = node  # type: ignore[assignment]
                if variables and word.text[0] != "?":
                    self.syntax(word, f'the parameter "{word.text}" has no question mark', "PV", f"write ?{word.text}")
                    word = Word("?" + word.text, word.start)
                elif not variables and word.text[0] == "?":
                    self.syntax(word, f'the variable "{word.text}" stands where a name belongs', "PV")
                elif not NAME.match(word.text[1:] if variables else word.text):
                    self.name(word)
                waiting.append(word)
            i += 1
        found += [(w, (OBJECT,), False) for w in waiting]
        return found

    def types(self, node: Node) -> Types:
        if type(node) is Word:
            return (node.text,)
        assert isinstance(node, Form)
        names = [n.text for n in node.items[1:] if type(n) is Word]
        if node.head != "either" or not names or len(names) != len(node.items) - 1:
            self.syntax(node, "a type is a name or (either <name> <name> ...)", "PV")
        return tuple(names) or (OBJECT,)

    def params(self, nodes: Sequence[Node], declaring: str = "", severity: str | None = None) -> Params:
        """Parameters; a repeated one is reported and kept, with the arity it gives."""
        found: list[tuple[str, Types]] = []
        seen: set[str] = set()
        for word, types, _ in self.typed(nodes, variables=True):
            if word.text in seen:
                message = f'"{word.text}" is declared twice in {declaring or "this list"}'
                self.report.add("duplicate-parameter", word.span, message, severity=severity)
            seen.add(word.text)
            found.append((word.text, types))
        if len(found) > self.limits.parameters:
            self.report.add(
                "size-limit", nodes[0].span, f"{len(found)} parameters; {self.limits.parameters} are read at most"
            )
            del found[self.limits.parameters :]
        return tuple(found)

    def signature(self, form: Form, what: str) -> Signature | None:
        if not form.items or type(form.items[0]) is not Word:
            self.syntax(form, f"a {what} begins with its name")
            return None
        name = self.name(form.items[0])
        untyped = [w for w, _, written in self.typed_quietly(form.items[1:]) if not written]
        signature = Signature(name, self.params(form.items[1:], f"{what} {name}", "warning"), form)
        if untyped:
            self.untyped.append((signature, untyped[0]))
        return signature

    untyped: list[tuple[Signature, Word]]

    def typed_quietly(self, nodes: Sequence[Node]) -> list[tuple[Word, Types, bool]]:
        kept = len(self.report.found)
        found = self.typed(nodes, variables=True)
        del self.report.found[kept:]
        return found

    def objects(self, form: Form, into: dict[str, Types], what: str) -> None:
        for word, types, _ in self.typed(form.items[1:], variables=False):
            if word.text in into:
                self.report.add("duplicate-object", word.span, f'{what} "{word.text}" is declared twice')
            into[word.text] = types

    # formulas

    def terms(self, nodes: Sequence[Node]) -> tuple[str, ...]:
        found = []
        for node in nodes:
            if type(node) is Word:
                found.append(node.text)
            else:
                self.syntax(node, "an argument is a variable or a name, not a form in parentheses", "PV")
        return tuple(found)

    def condition(self, node: Node, durative: bool = False) -> Formula:
        """A condition; what cannot be read of it becomes the empty conjunction."""
        if type(node) is Word:
            self.syntax(node, f'"{node.text}" is no condition: one stands in parentheses', "PV")
            return EMPTY
        assert isinstance(node, Form)
        items = node.items
        if not items:
            return Many("and", (), node)
        first = items[0]
        if type(first) is not Word:
            self.syntax(node, "a condition begins with a predicate or with and, or, not, imply, forall, exists", "PV")
            return EMPTY
        head, rest = first.text, items[1:]
        if head in ("and", "or"):
            parts = []
            for item in rest:
                if type(item) is Form and not item.items:
                    self.syntax(item, f"() stands inside ({head}", "P")
                else:
                    parts.append(self.condition(item, durative))
            return Many(head, tuple(parts), node)
        if head == "not":
            if len(rest) != 1:
                self.syntax(node, f"not takes one condition, and has {len(rest)}", "PV")
                return EMPTY if not rest else Not(self.condition(rest[0], durative), node)
            return Not(self.condition(rest[0], durative), node)
        if head == "imply":
            if len(rest) != 2:
                self.syntax(node, f"imply takes two conditions, and has {len(rest)}", "PV")
                return EMPTY
            return Many("imply", (self.condition(rest[0], durative), self.condition(rest[1], durative)), node)
        if head in ("forall", "exists"):
            return self.quantified(node, head, lambda body: self.condition(body, durative))
        if head == "when":
            message = "when belongs into an effect, not into a condition"
            self.report.add("condition-illegal", node.span, message)
            return EMPTY
        if head in COMPARISONS and (head != "=" or self.numeric(rest)):
            return self.operation(node, head, 2)
        if head in CHANGES:
            self.report.add("condition-illegal", node.span, f"{head} changes a value: it belongs into an effect")
            return EMPTY
        if head in TIMES and self.timed(rest, head):
            what = f"{head} {node_text(rest[0])}"
            if not durative:
                self.report.add("condition-illegal", node.span, f"({what} belongs into a durative action")
            return Modal(what, (self.condition(rest[1], durative),), node)
        if head == "preference":
            body = rest[-1] if rest else node
            return Modal(head, (self.condition(body, durative),), node) if rest else EMPTY
        if head in TRAJECTORY:
            inner = tuple([self.condition(n, durative) for n in rest if type(n) is Form])
            return Modal(head, inner, node)
        return self.atom(node)

    def timed(self, rest: Sequence[Node], head: str) -> bool:
        return len(rest) == 2 and type(rest[1]) is Form and node_text(rest[0]) in TIMES[head]

    def atom(self, node: Form) -> Formula:
        first = node.items[0]
        assert isinstance(first, Word)
        if first.text[0] == "?":
            self.syntax(first, f'the variable "{first.text}" stands where a predicate belongs', "PV")
            return EMPTY
        for item in node.items:
            if type(item) is not Word:
                return Atom(first.text, self.terms(node.items[1:]), None)
        return Atom(first.text, tuple([item.text for item in node.items[1:]]), node)  # type: ignore[union-attr]

    def quantified(self, node: Form, head: str, body: Callable[[Node], Formula]) -> Formula:
        rest = node.items[1:]
        if len(rest) != 2 or type(rest[0]) is not Form:
            self.syntax(
                node, f"{head} takes a list of variables in parentheses and one body, and has {len(rest)} parts", "PV"
            )
            return EMPTY
        return Quantified(head, self.params(rest[0].items), body(rest[1]), node)

    def effect(self, node: Node, durative: bool = False, inside: str = "") -> Formula:
        """An effect; `inside` is "when" below a conditional one."""
        if type(node) is Word:
            self.syntax(node, f'"{node.text}" is no effect: one stands in parentheses', "PV")
            return EMPTY
        assert isinstance(node, Form)
        items = node.items
        if not items or type(items[0]) is not Word:
            self.syntax(node, "an effect begins with a predicate or with and, not, forall, when, increase", "P")
            return EMPTY
        head, rest = items[0].text, items[1:]
        if head == "and":
            parts = []
            for item in rest:
                parts.append(self.effect(item, durative, inside))
            return Many("and", tuple(parts), node)
        if head == "not":
            if len(rest) != 1:
                self.syntax(node, f"not takes one atom, and has {len(rest)}", "PV")
                return EMPTY
            inner = rest[0]
            if type(inner) is Form and inner.head in ("not", "and", "or", "forall", "exists", "when", "imply"):
                message = f"an effect deletes one atom: (not ({inner.head} ...)) says nothing"
                self.report.add("effect-illegal", node.span, message, val="PX" if inner.head == "not" else "P")
                return EMPTY
            part = self.effect(inner, durative, inside)
            return Not(part, node) if isinstance(part, Atom) else EMPTY
        if head == "forall":
            return self.quantified(node, head, lambda body: self.effect(body, durative, inside))
        if head == "when":
            if len(rest) == 1:
                message = "when has a condition and no effect"
                self.report.add("effect-illegal", node.span, message, val="")
                return EMPTY
            if len(rest) != 2:
                self.syntax(node, f"when takes a condition and one effect, and has {len(rest)} parts", "PV")
                return EMPTY
            if inside == "when":
                self.report.add("effect-illegal", node.span, "when stands inside of when", val="")
            return When(self.condition(rest[0], durative), self.effect(rest[1], durative, "when"), node)
        if head in CHANGES:
            return self.operation(node, head, 2)
        if head in ("or", "imply", "exists", "=") or (head in COMPARISONS):
            self.report.add(
                "effect-illegal", node.span, f"({head} ...) is a condition, and an effect states what becomes true"
            )
            return EMPTY
        if head == "at" and durative and self.timed(rest, head):
            return Modal(f"at {node_text(rest[0])}", (self.effect(rest[1], durative, inside),), node)
        return self.atom(node)

    # numbers

    def numeric(self, nodes: Sequence[Node]) -> bool:
        """Whether an equation is between numbers: a function, a sum or a number is on one side."""
        return any(type(n) is Form or NUMBER.match(node_text(n)) or node_text(n) == "?duration" for n in nodes)

    def operation(self, node: Form, head: str, arity: int) -> Formula:
        rest = node.items[1:]
        if len(rest) != arity:
            self.syntax(node, f"{head} takes {arity} expressions, and has {len(rest)}", "PV")
            return EMPTY
        left, right = self.expression(rest[0]), self.expression(rest[1])
        return Numeric(head, parts=(left, right), form=node)

    def expression(self, node: Node) -> Numeric:
        if type(node) is Word:
            if NUMBER.match(node.text):
                return Numeric("number", value=float(node.text))
            if node.text in ("?duration", "#t", "total-time"):
                return Numeric("term", node.text)
            if node.text[0] == "?" or not NAME.match(node.text):
                self.syntax(node, f'"{node.text}" is no number', "PX")
            # a function without its parentheses, as some readers allow
            return Numeric("fluent", node.text)
        assert isinstance(node, Form)
        if not node.items or type(node.items[0]) is not Word:
            self.syntax(node, "an expression is a number, a function or + - * / over expressions", "PX")
            return Numeric("number")
        head, rest = node.items[0].text, node.items[1:]
        if head in ("+", "-", "*", "/"):
            parts = []
            for item in rest:
                parts.append(self.expression(item))
            return Numeric(head, parts=tuple(parts), form=node)
        if head == "total-time" and not rest:
            return Numeric("term", "(total-time)")
        if head == "is-violated":
            return Numeric("term", f"(is-violated {' '.join(map(node_text, rest))})")
        return Numeric("fluent", head, self.terms(rest), form=node)

    def goal(self, node: Node) -> Formula:
        return self.condition(node)


def node_text(node: Node) -> str:
    return node.text if type(node) is Word else ""


class _Domain(_Reader):
    kind = "domain"

    def read(self, text: str) -> Domain | None:
        self.untyped = []
        found = self.definition(text)
        if found is None:
            return None
        name, sections = found
        self.domain = domain = Domain(name)
        handlers: dict[str, Callable[[Form], None]] = {
            ":requirements": self.requirements,
            ":types": self.type_section,
            ":constants": lambda f: self.objects(f, domain.constants, "constant"),
            ":predicates": self.predicates,
            ":functions": self.functions,
            ":constraints": self.constraint_section,
            ":action": self.action,
            ":durative-action": self.action,
            ":derived": self.derived,
        }
        seen: dict[str, Form] = {}
        rank = 0
        for form in sections:
            if type(form) is Word:
                self.syntax(form, f'"{form.text}" stands between sections', "PV")
                continue
            assert isinstance(form, Form)
            head = form.head
            self.report.action, self.report.section = "", head if head in ONCE else ""
            if head not in handlers:
                shown = f"({head}" if head else "("
                meant = near(head, handlers) or near(":" + head, handlers)
                self.report.add(
                    "section-unknown",
                    form.items[0].span if form.items else form.span,
                    f"{shown} begins no section of a domain",
                    expected=() if meant else handlers,
                    hint=f"did you mean {meant}?" if meant else "",
                )
                if not meant:
                    continue
                head = meant
            if head in seen and head in ONCE:
                self.report.add(
                    "duplicate-section", form.items[0].span, f"a second {head}", val="" if head == ":types" else "P"
                )
            if RANK[head] < rank:
                self.report.add("order", form.items[0].span, f"{head} stands after {DOMAIN_ORDER[rank]}", val="")
            rank = max(rank, RANK[head])
            seen[head] = form
            handlers[head](form)
        self.report.action = self.report.section = ""
        domain.meta |= {"sections": seen, "untyped": self.untyped}
        return domain

    def requirements(self, form: Form) -> None:
        names = []
        for node in form.items[1:]:
            word = node_text(node)
            if word not in REQUIREMENTS:
                meant = near(word, REQUIREMENTS)
                self.report.add(
                    "requirement-unknown",
                    node.span,
                    f'"{word}" is no requirement',
                    hint=f"did you mean {meant}?" if meant else "",
                )
            else:
                names.append(word)
        self.domain.requirements = tuple(dict.fromkeys(self.domain.requirements + tuple(names)))

    def type_section(self, form: Form) -> None:
        types = self.domain.types
        places = self.domain.meta.setdefault("types", {})
        for word, parents, written in self.typed(form.items[1:], variables=False):
            name = word.text
            if name in types and name != OBJECT:
                self.report.add("duplicate-type", word.span, f'type "{name}" is declared twice')
            places.setdefault(name, word)
            given = [p for p in parents if p != OBJECT] if written else []
            types[name] = tuple(dict.fromkeys((*types.get(name, ()), *given)))

    def predicates(self, form: Form) -> None:
        for node in form.items[1:]:
            if type(node) is not Form:
                self.syntax(node, "a predicate is declared in parentheses: (name ?variable - type ...)", "PV")
                continue
            if signature := self.signature(node, "predicate"):
                if signature.name in self.domain.predicates:
                    self.report.add("duplicate-predicate", node.span, f'predicate "{signature.name}" is declared twice')
                else:
                    self.domain.predicates[signature.name] = signature

    def functions(self, form: Form) -> None:
        items = form.items[1:]
        i = 0
        while i < len(items):
            node = items[i]
            if node_text(node) == "-":
                i += 2  # the type of the values
                continue
            if type(node) is not Form:
                self.syntax(node, "a function is declared in parentheses: (name ?variable - type ...) - number", "PV")
            elif signature := self.signature(node, "function"):
                if signature.name in self.domain.functions:
                    self.report.add("duplicate-predicate", node.span, f'function "{signature.name}" is declared twice')
                self.domain.functions[signature.name] = signature
            i += 1

    def constraint_section(self, form: Form) -> None:
        if len(form.items) == 2:
            self.domain.constraints = self.condition(form.items[1], durative=True)
        else:
            self.syntax(form, ":constraints holds one formula")

    def derived(self, form: Form) -> None:
        if len(form.items) != 3 or type(form.items[1]) is not Form:
            self.syntax(form, ":derived takes a predicate with parameters and one condition", "PV")
            return
        self.report.section = ":derived"
        kept = len(self.untyped)
        head = self.signature(form.items[1], "derived predicate")
        del self.untyped[kept:]
        body = self.condition(form.items[2])
        if head:
            self.domain.derived.append(Derived(head, body, form))

    def action(self, form: Form) -> None:
        durative = form.head == ":durative-action"
        items = form.items
        if len(items) < 2 or type(items[1]) is not Word or items[1].text[0] == ":":
            self.syntax(form, f"{form.head} must be followed by the action's name", "PV")
            name, at = f"action-{len(self.domain.actions) + 1}", 1
        else:
            name, at = self.name(items[1]), 2
        report = self.report
        report.action = name
        if len(self.domain.actions) >= self.limits.actions:
            report.add("size-limit", form.span, f"more than {self.limits.actions} actions")
            return
        condition = ":condition" if durative else ":precondition"
        order = (
            (":parameters", ":duration", condition, ":effect") if durative else (":parameters", condition, ":effect")
        )
        values, touched = self.keywords(form, items[at:], order)
        action = Action(name, (), form=form)
        action.form = form
        if ":parameters" in values:
            (node, *_) = values[":parameters"]
            report.section = ":parameters"
            if type(node) is Form:
                action.params = self.params(node.items, f"action {name}")
            else:
                self.syntax(node, ":parameters is a list in parentheses", "PV")
        elif ":parameters" not in touched:
            report.section = ""
            report.add(
                "parameters-missing", items[1].span if at == 2 else form.span, f"action {name} has no :parameters"
            )
            self.domain.meta.setdefault("unscoped", set()).add(name)
        if condition in values:
            report.section = condition
            action.precondition = self.joined([self.condition(n, durative) for n in values[condition]])
        elif condition not in touched:
            report.section = ""
            report.add("precondition-missing", items[0].span, f"action {name} has no {condition}")
        report.section = ":effect"
        effects = values.get(":effect", [])
        if effects and not (len(effects) == 1 and type(effects[0]) is Form and not effects[0].items):
            action.effect = self.joined([self.effect(n, durative) for n in effects])
        elif ":effect" not in touched or effects:
            report.section = ""
            span = effects[0].span if effects else items[0].span
            report.add("effect-missing", span, f"action {name} has no effect")
        if durative:
            report.section = ":duration"
            action.duration = self.joined([self.condition(n, True) for n in values.get(":duration", [])])
        report.section = ""
        if name in self.domain.actions:
            report.add("duplicate-action", items[1].span, f'action "{name}" is defined twice')
        else:
            self.domain.actions[name] = action
        report.action = ""

    def joined(self, parts: list[Formula]) -> Formula:
        return parts[0] if len(parts) == 1 else Many("and", tuple(parts))

    def keywords(
        self, form: Form, nodes: Sequence[Node], order: tuple[str, ...]
    ) -> tuple[dict[str, list[Node]], set[str]]:
        """The forms behind each keyword, and the keywords that were there in some shape."""
        report = self.report
        values: dict[str, list[Node]] = {}
        touched: set[str] = set()
        current, rank, again = "", -1, False
        for node in nodes:
            word = node_text(node)
            report.section = current
            if word[:1] == ":":
                again = False
                known = word if word in order else near(word, order)
                if word not in order:
                    report.add(
                        "keyword-unknown",
                        node.span,
                        f'"{word}" is no part of {form.head[1:]}',
                        expected=() if known else order,
                        hint=f"did you mean {known}?" if known else "",
                        val="PV" if known == ":precondition" else "P",
                    )
                elif word in touched:
                    report.add("duplicate-keyword", node.span, f"a second {word}")
                    again = True
                elif order.index(word) < rank:
                    report.add("order", node.span, f"{word} stands after {order[rank]}", val="P")
                if known:
                    rank = max(rank, order.index(known))
                current = known
                touched.add(known)
            elif not current:
                if not touched:
                    self.syntax(
                        node, f"{form.head} {report.action} must go on with a keyword such as :parameters", "PV"
                    )
            elif current in values and again:
                values[current].append(node)
            elif current in values:
                message = f"a second form after {current}; several conditions or effects are joined by (and ...)"
                self.syntax(node, message, "PV")
                if current != ":parameters":
                    values[current].append(node)
            else:
                values[current] = [node]
        for keyword in touched - set(values) - {""}:
            self.syntax(form.items[0], f"nothing stands after {keyword}", "PV")
        return values, touched


class _Problem(_Reader):
    kind = "problem"

    def read(self, text: str) -> Problem | None:
        self.untyped = []
        found = self.definition(text)
        if found is None:
            return None
        name, sections = found
        self.problem = problem = Problem(name, "")
        seen: dict[str, Form] = {}
        for form in sections:
            if type(form) is Word:
                self.syntax(form, f'"{form.text}" stands between sections', "PV")
                continue
            assert isinstance(form, Form)
            head = form.head
            self.report.section = head
            if head not in PROBLEM_SECTIONS:
                meant = near(head, PROBLEM_SECTIONS) or near(":" + head, PROBLEM_SECTIONS)
                self.report.add(
                    "section-unknown",
                    form.items[0].span if form.items else form.span,
                    f"({head} begins no section of a problem",
                    expected=() if meant else PROBLEM_SECTIONS,
                    hint=f"did you mean {meant}?" if meant else "",
                )
                continue
            if head in seen:
                self.report.add("duplicate-section", form.items[0].span, f"a second {head}")
            seen[head] = form
            self.section(head, form)
        self.report.section = ""
        for needed in (":domain", ":init", ":goal"):
            if needed not in seen:
                self.report.add("section-missing", (0, 7), f"the problem has no {needed}")
        problem.meta["sections"] = seen
        return problem

    def section(self, head: str, form: Form) -> None:
        problem, rest = self.problem, form.items[1:]
        if head == ":domain":
            if len(rest) == 1 and type(rest[0]) is Word:
                problem.domain = rest[0].text
            else:
                self.syntax(form, ":domain takes one name")
        elif head == ":requirements":
            problem.requirements = tuple(node_text(n) for n in rest)
        elif head == ":objects":
            self.objects(form, problem.objects, "object")
        elif head == ":init":
            for node in rest:
                self.fact(node)
        elif head in (":goal", ":constraints"):
            if len(rest) != 1:
                self.syntax(
                    form, f"{head} holds one formula, and has {len(rest)}; several are joined by (and ...)", "PV"
                )
            if rest:
                formula = self.condition(rest[0], durative=head == ":constraints")
                if head == ":goal":
                    problem.goal = formula
                else:
                    problem.constraints = formula
        elif head == ":metric":
            if len(rest) == 2 and node_text(rest[0]) in ("minimize", "maximize"):
                problem.metric = node_text(rest[0]), self.expression(rest[1])
            else:
                self.syntax(form, ":metric takes minimize or maximize, and one expression")

    def fact(self, node: Node) -> None:
        if type(node) is Word or not isinstance(node, Form) or not node.head:
            self.syntax(node, "a fact stands in parentheses and begins with a predicate", "PV")
            return
        rest = node.items[1:]
        if node.head == "=":
            if len(rest) == 2 and NUMBER.match(node_text(rest[1])):
                left = self.expression(rest[0])
                self.problem.values[(left.name, *left.args)] = float(node_text(rest[1]))
                self.problem.meta.setdefault("values", {})[(left.name, *left.args)] = node
            else:
                self.syntax(node, "= in :init sets a function to a number", "PV")
        elif node.head == "at" and len(rest) == 2 and NUMBER.match(node_text(rest[0])) and type(rest[1]) is Form:
            self.problem.timed.append((float(node_text(rest[0])), self.condition(rest[1])))
        elif node.head == "not" and len(rest) == 1 and type(rest[0]) is Form:
            self.problem.meta.setdefault("false", []).append(rest[0])  # what is not said is false anyway
        elif node.head in ("and", "or", "forall", "exists", "imply", "when"):
            self.report.add("init-illegal", node.span, f"({node.head} ...) is no fact")
        else:
            atom = self.atom(node)
            if isinstance(atom, Atom):
                self.problem.init.append(atom)
