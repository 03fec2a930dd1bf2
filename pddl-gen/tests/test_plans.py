"""Plan validation, the planner's backends and their limits."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from pddl_gen import suite
from pddl_gen.errors import PDDLGenError
from pddl_gen.parse import parse_domain, parse_problem
from pddl_gen.planner import Limits, downward, plan, run_limited
from pddl_gen.planval import validate_plan


def pair(name: str, index: int = 0):
    s = suite.load(name)
    domain = parse_domain(s.domain).value
    return domain, parse_problem(s.problems[index], domain).value


def test_val_agrees_on_all_plan_probes(data):
    literals = 0
    for line in (data / "plan_probes.jsonl").read_text().splitlines():
        probe = json.loads(line)
        domain = parse_domain((data / probe["domain"]).read_text(errors="replace")).value
        problem = parse_problem((data / probe["problem"]).read_text(errors="replace"), domain).value
        verdict = validate_plan(domain, problem, [tuple(s.strip("()").split()) for s in probe["plan"]])
        assert verdict.valid == probe["valid"], probe["id"]
        if probe["val"] == "unsatisfied-precondition":
            assert verdict.step and verdict.literal.startswith("("), probe["id"]
            literals += 1
    assert literals == 10


@pytest.mark.parametrize("name", ["blocksworld", "gripper", "floortile", "pottery", "canal"])
def test_optimal_plans_validate_at_the_recorded_cost(name):
    domain, problem = pair(name)
    found = plan(domain, problem, backend="internal")
    assert found.status == "solved"
    verdict = validate_plan(domain, problem, found.plan)
    assert verdict.valid and verdict.cost == found.cost == suite.load(name).optimal_costs[0]
    assert not validate_plan(domain, problem, found.plan[:-1]).valid
    assert "no action" in validate_plan(domain, problem, [("fly",)]).reason
    assert "arguments" in validate_plan(domain, problem, [(next(iter(domain.actions)),)]).reason


def test_limits_and_unknown_backends():
    domain, problem = pair("barman", 2)
    began = time.monotonic()
    found = plan(domain, problem, backend="internal", limits=Limits(seconds=0.2, expansions=10**9))
    assert found.status in ("limit", "solved") and time.monotonic() - began < 5
    few = plan(domain, problem, backend="internal", limits=Limits(operators=3))
    assert few.status == "limit" and "action" in few.detail
    with pytest.raises(PDDLGenError, match=r"planner\.backend must be one of"):
        plan(domain, problem, backend="vhpop")


def test_a_program_out_of_time_is_killed_with_its_children(tmp_path):
    began = time.monotonic()
    code, _ = run_limited(["/bin/sh", "-c", "sleep 300 & echo $! > child; sleep 300"], tmp_path, 0.5, 512)
    assert code is None and time.monotonic() - began < 5
    child = int((tmp_path / "child").read_text())
    time.sleep(0.2)
    state = Path(f"/proc/{child}/stat")
    assert not state.exists() or state.read_text().split()[2] == "Z"


@pytest.mark.skipif(downward() is None, reason="needs the extra fd")
@pytest.mark.parametrize("name", ["blocksworld", "floortile", "pottery"])
def test_fast_downward_finds_the_same_costs(name):
    domain, problem = pair(name)
    found = plan(domain, problem, backend="fd", limits=Limits(seconds=60))
    assert found.status == "solved" and found.cost == suite.load(name).optimal_costs[0]


def test_without_fast_downward_the_refusal_says_how_to_get_it():
    if downward() is not None:
        pytest.skip("Fast Downward is here")
    with pytest.raises(PDDLGenError, match="pip install"):
        plan(*pair("gripper"), backend="fd")
