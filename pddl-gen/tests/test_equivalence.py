"""The ladder of comparison: labelled perturbations, witnesses that replay, renamed actions, what is not known."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from pddl_gen import suite
from pddl_gen.equivalence import Reference, bisimulation, compare, exploration_walk, label_map, refinement
from pddl_gen.ground import ground
from pddl_gen.mutate import KINDS, equivalents, mutants
from pddl_gen.parse import parse_domain, parse_problem
from pddl_gen.planval import PlanValidator
from pddl_gen.study import LABELLED, SEEN, domain_of, study_mutants
from pddl_gen.syntax import print_domain


@pytest.mark.parametrize("name", suite.NAMES)
def test_every_perturbed_file_fails_or_passes_at_its_label(name):
    about = suite.load(name)
    reference = Reference(domain_of(name), about.problems[:LABELLED])
    itself = compare(reference, domain_of(name))
    assert itself.bisimilar and itself.same_schemas and itself.cross and itself.ew == 1.0
    labelled = about.perturbed()
    assert len(labelled) >= 12 and sum(label["equivalent"] for label, _ in labelled) >= 3
    for label, text in labelled:
        parsed = parse_domain(text)
        assert parsed.ok, label
        found = compare(reference, parsed.value)
        assert [r for r in SEEN if getattr(found, r) is False] == label["fails"], label
        assert found.bisimilar is label["equivalent"], label
        if not label["equivalent"]:
            replays(found.witness, reference, parsed.value)


def replays(witness, reference, candidate):
    """The witness's word ends as it says, by the plan validator, which shares no code with the bisimulation."""
    text = reference.texts[witness.problem - 1]
    ours = PlanValidator(reference.domain, reference.problems[witness.problem - 1])(witness.labels)
    theirs = PlanValidator(candidate, parse_problem(text, candidate).value)(witness.other)
    last = len(witness.labels)
    if witness.last == "goal":
        assert ours.valid != theirs.valid
    else:
        able, unable = (ours, theirs) if witness.last == "reference" else (theirs, ours)
        assert unable.step == last and not unable.reason.startswith("the goal")
        assert able.valid or able.reason.startswith("the goal")


def test_all_kinds_of_edits_occur():
    kinds = {label["kind"] for name in suite.NAMES for label, _ in suite.load(name).perturbed()}
    assert set(KINDS) <= kinds


def renamed_actions(domain):
    names = {n: f"act{i}" for i, n in enumerate(domain.actions)}
    actions = {names[n]: replace(a, name=names[n], params=tuple(reversed(a.params))) for n, a in domain.actions.items()}
    return replace(domain, actions=actions)


@pytest.mark.parametrize("name", ["blocksworld", "logistics", "ferry"])
def test_renamed_actions_with_reordered_parameters_are_bisimilar(name):
    reference = Reference(domain_of(name), suite.load(name).problems[:2])
    found = compare(reference, renamed_actions(domain_of(name)))
    assert found.bisimilar and found.cross and found.cost_equal and found.ew == 1.0
    assert not found.same_schemas


def test_an_auxiliary_parameter_leaves_states_to_compare():
    domain = domain_of("ferry")
    action = domain.actions["sail"]
    wider = replace(action, params=(*action.params, ("?extra", action.params[0][1])))
    found = compare(
        Reference(domain, suite.load("ferry").problems[:1]), replace(domain, actions={**domain.actions, "sail": wider})
    )
    assert found.bisimilar is True and found.ew is None and found.sound is None
    assert any("correspond" in note for note in found.notes)


def test_the_cap_gives_unknown_and_never_equal():
    domain = domain_of("gripper")
    task = ground(domain, parse_problem(suite.load("gripper").problems[1], domain).value)
    labels = {n: (n, tuple(range(len(a.params)))) for n, a in domain.actions.items()}
    assert bisimulation(task, task, labels, cap=10)[0] is None
    assert refinement(task, task, cap=10)[0] is None
    assert refinement(task, task)[0] is True and bisimulation(task, task, labels)[0] is True


def test_refinement_and_bisimulation_agree_on_mutants():
    domain = domain_of("blocksworld")
    problem = suite.load("blocksworld").problems[0]
    reference = Reference(domain, [problem])
    decided = 0
    for mutant in list(mutants(domain))[::5]:
        other = ground(mutant.domain, parse_problem(problem, mutant.domain).value)
        labels = label_map(reference.tasks, [other])
        if labels is None:
            continue
        by_label = bisimulation(reference.tasks[0], other, labels)[0]
        by_state = refinement(reference.tasks[0], other)[0]
        assert not (by_label and by_state is False), mutant.what
        decided += 1
        walk = exploration_walk(reference.tasks, [other], labels)
        if by_label:
            assert walk == 1.0
            found = compare(reference, mutant.domain)
            assert found.cross and found.cost_equal
    assert decided > 5


def test_equivalent_edits_stay_bisimilar():
    for name in ("termes", "pottery", "floortile"):
        reference = Reference(domain_of(name), suite.load(name).problems[:1])
        for mutant in equivalents(domain_of(name), random.Random(5)):
            parsed = parse_domain(print_domain(mutant.domain))
            assert parsed.ok, mutant.what
            assert compare(reference, parsed.value).bisimilar is True, mutant.what


def test_a_domain_whose_interface_differs_fails_every_rung_above():
    reference = Reference(domain_of("ferry"), suite.load("ferry").problems[:1])
    found = compare(reference, domain_of("gripper"))
    assert found.fits is False and found.bisimilar is False and found.ew == 0.0 and found.notes


def test_mutants_pass_the_first_rung_and_few_are_bisimilar():
    found = study_mutants(24, 0, ("blocksworld", "gripper", "elevator"))
    assert found["edits"] == found["counts"]["val_pass"] == 24
    assert found["counts"]["bisimilar"] < found["counts"]["solvable"]
