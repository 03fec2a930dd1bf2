"""Every code a finding can have: how severe it is, what VAL makes of it, what to do, and an example.

An example is an edit (old, new) of the domain `BASE`, or, where it begins with "problem:", of the problem
`BASE_PROBLEM`. `val` tells which program of VAL (2021-10-18) reports an error: P its Parser, V its Validate, X a crash.
The documentation's table is made from this file, and a test runs every example.
"""

# ruff: noqa: E501 (a table, one code a line)
from __future__ import annotations

from typing import NamedTuple

BASE = """\
(define (domain greenhouse)
  (:requirements :strips :typing)
  (:types bench - object plant tray - item item - object)
  (:predicates
    (on ?i - item ?b - bench)
    (dry ?p - plant)
    (beside ?a ?b - bench))
  (:action move
    :parameters (?i - item ?a ?b - bench)
    :precondition (and (on ?i ?a) (beside ?a ?b))
    :effect (and (not (on ?i ?a)) (on ?i ?b)))
  (:action water
    :parameters (?p - plant ?b - bench)
    :precondition (and (on ?p ?b) (dry ?p))
    :effect (not (dry ?p))))
"""
BASE_PROBLEM = """\
(define (problem spring)
  (:domain greenhouse)
  (:objects fern - plant left right - bench)
  (:init (on fern left) (dry fern) (beside left right))
  (:goal (and (on fern right) (not (dry fern)))))
"""


class Code(NamedTuple):
    severity: str
    val: str
    meaning: str
    fix: str
    old: str
    new: str


E, W, I = "error", "warning", "info"  # noqa: E741
COST = "    :effect (and (increase (total-cost) {}) (not (dry ?p)))))\n"
WATER = "    :effect (not (dry ?p))))\n"
CODES: dict[str, Code] = {
    # the text as a whole
    "empty": Code(E, "V", "there is no text", "write one (define (domain <name>) ...)", BASE, " "),
    "no-definition": Code(E, "V", "nothing begins with (define", "begin with (define (domain <name>)", BASE, "Sorry, no."),
    "not-a-domain": Code(E, "V", "a problem stands where a domain is wanted", "write (define (domain <name>) ...)", "(domain greenhouse)", "(problem greenhouse)"),
    "not-a-problem": Code(E, "V", "a domain stands where a problem is wanted", "write (define (problem <name>) ...)", "problem:(problem spring)", "(domain spring)"),
    "text-before": Code(E, "V", "something stands before the definition", "remove it: the text begins with (define", "(define (domain", "Here it is:\n(define (domain"),
    "text-after": Code(E, "", "something stands after the definition", "remove it: one definition is all there is", WATER, WATER + "I hope this helps."),
    "parenthesis-missing": Code(E, "PV", "the text ends before all parentheses are closed", "close it", WATER, WATER.rstrip()[:-1]),
    "parenthesis-extra": Code(E, "", "a parenthesis closes nothing, or the definition too early", "remove it", WATER, WATER.rstrip() + ")\n"),
    "syntax": Code(E, "P", "the grammar allows something else here", "", "(and (on ?i ?a) (beside ?a ?b))", "(and (on ?i ?a) (not))"),
    "depth-limit": Code(E, "P", "parentheses are nested too deeply", "flatten nested (and ...)", "(and (on ?p ?b) (dry ?p))", "(and " * 300 + "(dry ?p)" + ")" * 300),
    "size-limit": Code(E, "P", "the text, a name or a list is too long to be read", "shorten it", "(domain greenhouse)", f"(domain {'g' * 200})"),
    # sections and keywords
    "section-unknown": Code(E, "PV", "no section has this name", "", "(:predicates", "(:predicats"),
    "section-missing": Code(E, "PV", "the problem lacks a section it needs", "add it", "problem:(:goal (and (on fern right) (not (dry fern))))", ""),
    "duplicate-section": Code(E, "P", "a section stands twice", "put both into one", "  (:action move", "  (:predicates (wet ?p - plant))\n  (:action move"),
    "order": Code(W, "", "sections or parts of an action are not in the customary order", "the order is requirements, types, constants, predicates, functions, actions; parameters, precondition, effect", "  (:types bench - object plant tray - item item - object)\n  (:predicates\n    (on ?i - item ?b - bench)\n    (dry ?p - plant)\n    (beside ?a ?b - bench))", "  (:predicates\n    (on ?i - item ?b - bench)\n    (dry ?p - plant)\n    (beside ?a ?b - bench))\n  (:types bench - object plant tray - item item - object)"),
    "keyword-unknown": Code(E, "P", "no part of an action has this name", "", ":precondition (and (on ?p", ":preconditions (and (on ?p"),
    "duplicate-keyword": Code(E, "P", "a part of an action stands twice", "join both by (and ...)", WATER, "    :effect (not (dry ?p))\n    :effect (not (dry ?p))))\n"),
    "parameters-missing": Code(E, "PV", "an action has no :parameters", "write :parameters (), also for none", "    :parameters (?p - plant ?b - bench)\n", ""),
    "precondition-missing": Code(I, "P", "an action has no :precondition, which VAL does not take", "write :precondition ()", "    :precondition (and (on ?p ?b) (dry ?p))\n", ""),
    "effect-missing": Code(W, "P", "an action has no effect", "write what it changes", WATER, "    :effect ()))\n"),
    "no-actions": Code(W, "PV", "nothing can ever be done", "define at least one action", BASE[BASE.index("  (:action move") :], ")"),
    # names
    "name-illegal": Code(E, "P", "a name has other signs than letters, digits, - and _, or no letter first", "begin with a letter; use a-z, 0-9, - and _", "(:action water", "(:action 2water"),
    "requirement-unknown": Code(E, "P", "there is no such requirement", "", ":strips :typing", ":strips :typing :magic"),
    "requirement-missing": Code(W, "", "something is used that the requirements do not name", "add it to :requirements", ":strips :typing", ":strips"),
    "type-undeclared": Code(E, "V", "a type is used that is not declared", "declare it in :types", "(?p - plant ?b - bench)", "(?p - plnat ?b - bench)"),
    "type-implicit": Code(W, "", "a supertype is not declared itself", "declare it in :types", "bench - object plant tray - item item - object", "bench - object plant tray - item"),
    "type-cycle": Code(E, "X", "a type is its own ancestor", "break the circle", "item - object", "item - plant"),
    "duplicate-type": Code(W, "", "a type is declared twice", "declare it once", "item - object", "item bench - object"),
    "predicate-untyped": Code(I, "V", "an argument of a predicate has no type where types are used", "give it one", "(dry ?p - plant)", "(dry ?p)"),
    "either-covered": Code(I, "V", "a type is passed for (either ...) of all its kinds, which VAL does not take", "declare a common supertype", "(dry ?p - plant)\n    (beside ?a ?b - bench))\n  (:action move\n    :parameters (?i - item ?a ?b - bench)\n    :precondition (and ", "(dry ?p - (either plant tray))\n    (beside ?a ?b - bench))\n  (:action move\n    :parameters (?i - item ?a ?b - bench)\n    :precondition (and (dry ?i) "),
    "predicate-undeclared": Code(E, "V", "a predicate is used that is not declared", "declare it in :predicates", "(and (on ?p ?b) (dry ?p))", "(and (on ?p ?b) (thirsty ?p))"),
    "function-undeclared": Code(E, "X", "a function is used that is not declared", "declare it in :functions", WATER, COST.format(1)),
    "constant-undeclared": Code(E, "V", "an object is named that is not declared", "declare it in :constants; a domain cannot name the objects of a problem", "(and (on ?p ?b) (dry ?p))", "(and (on ?p window) (dry ?p))"),
    "duplicate-predicate": Code(E, "P", "a predicate or function is declared twice", "declare it once; another arity needs another name", "(dry ?p - plant)", "(dry ?p - plant) (dry ?p - plant)"),
    "duplicate-action": Code(E, "P", "two actions have one name", "rename one of them", "(:action water", "(:action move"),
    "duplicate-parameter": Code(E, "", "a variable is declared twice in one list", "rename one of them", "(?i - item ?a ?b - bench)", "(?i - item ?a ?b ?a - bench)"),
    "duplicate-object": Code(E, "", "an object is declared twice", "declare it once", "problem:left right - bench", "left right left - bench"),
    "name-reused": Code(W, "", "one name for things of two kinds", "rename one of them", "(:action water", "(:action dry"),
    # types and scopes
    "arity": Code(E, "V", "a predicate has too many or too few arguments", "give it the arguments that it is declared with", "(and (on ?p ?b) (dry ?p))", "(and (on ?p) (dry ?p))"),
    "type-mismatch": Code(E, "V", "an argument's type does not fit the declaration", "use a parameter of that type, or widen the declaration", "(and (on ?p ?b) (dry ?p))", "(and (on ?p ?b) (dry ?b))"),
    "variable-unbound": Code(E, "V", "a variable is no parameter and not quantified", "add it to :parameters", "(and (on ?p ?b) (dry ?p))", "(and (on ?p ?c) (dry ?p))"),
    "shadowed-variable": Code(W, "", "a quantified variable hides a parameter", "rename it", "(and (on ?p ?b) (dry ?p))", "(and (on ?p ?b) (forall (?p - plant) (dry ?p)))"),
    # effects and conditions
    "effect-illegal": Code(E, "P", "this cannot be an effect", "an effect is a conjunction of atoms, (not <atom>), forall, when, increase", WATER, "    :effect (or (not (dry ?p)) (dry ?p))))\n"),
    "condition-illegal": Code(E, "PV", "this cannot be a condition", "move it to :effect", "(and (on ?p ?b) (dry ?p))", "(and (on ?p ?b) (when (dry ?p) (dry ?p)))"),
    "contradictory-effect": Code(W, "", "an effect adds and deletes one atom", "the addition wins; remove one of the two", WATER, "    :effect (and (dry ?p) (not (dry ?p)))))\n"),
    "contradictory-condition": Code(W, "", "a condition that can never hold", "remove one of the two", "(and (on ?p ?b) (dry ?p))", "(and (on ?p ?b) (dry ?p) (not (dry ?p)))"),
    "negative-cost": Code(W, "", "an action costs less than nothing", "costs begin at 0", BASE[BASE.index("  (:action move") :], BASE[BASE.index("  (:action move") :].replace("  (:action move", "  (:functions (total-cost) - number)\n  (:action move").replace(WATER, COST.format(-1))),
    "derived-in-effect": Code(W, "", "an effect changes a derived predicate", "change what it is derived from", "  (:action move", "  (:derived (dry ?p - plant) (not (exists (?b - bench) (on ?p ?b))))\n  (:action move"),
    # problems
    "domain-mismatch": Code(W, "", "the problem names another domain", "use one name", "problem:(:domain greenhouse)", "(:domain garden)"),
    "init-illegal": Code(E, "P", "this cannot be a fact of the initial state", "list atoms, without and", "problem:(:init (on fern left) (dry fern) (beside left right))", "(:init (and (on fern left) (dry fern)))"),
    # what is read but not grounded
    "unsupported": Code(E, "", "this can be read and checked, not grounded", "durative actions, numbers beyond action costs and trajectory constraints need another planner", "", ""),
}  # fmt: skip


def example(code: str) -> str:
    """The text that shows a code: `BASE` or `BASE_PROBLEM` with its edit."""
    entry = CODES[code]
    if entry.old.startswith("problem:"):
        return BASE_PROBLEM.replace(entry.old[8:], entry.new, 1)
    return BASE.replace(entry.old, entry.new, 1)
