"""The user's files, the commands, the settings, the borders of the package."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

import pddl_gen
from pddl_gen import datasets, suite
from pddl_gen.cli import main
from pddl_gen.codes import CODES
from pddl_gen.entry import checked
from pddl_gen.errors import PDDLGenError
from pddl_gen.parse import parse_domain, parse_problem
from pddl_gen.problems import equal_problems

ROOT = Path(__file__).parents[1]


@pytest.fixture
def files(tmp_path):
    about = suite.load("ferry")
    (tmp_path / "d.pddl").write_text(about.domain)
    (tmp_path / "p.pddl").write_text(about.problems[0])
    (tmp_path / "bad.pddl").write_text(about.domain.replace(":precondition", ":preconditon", 1))
    return tmp_path


def test_commands(files, capsys):
    d, p, bad = (str(files / n) for n in ("d.pddl", "p.pddl", "bad.pddl"))
    assert main(["check", d, p]) == 0 and "VAL would pass" in capsys.readouterr().out
    assert main(["check", bad]) == 1 and "keyword-unknown" in capsys.readouterr().out
    assert main(["plan", d, p]) == 0
    out = capsys.readouterr().out
    (files / "plan").write_text(out)
    assert main(["validate", d, p, str(files / "plan")]) == 0 and "valid, cost" in capsys.readouterr().out
    (files / "short").write_text("\n".join(out.splitlines()[1:-1]))
    assert main(["validate", d, p, str(files / "short")]) == 1 and "invalid at step 1" in capsys.readouterr().out
    assert main(["compare", d, d, p]) == 0 and "bisimilar: True" in capsys.readouterr().out
    assert main(["lint", d, p]) == 0
    assert main(["plan", bad, p]) == 2 and "has errors" in capsys.readouterr().err
    assert main(["check", str(files / "none.pddl")]) == 2 and "cannot read" in capsys.readouterr().err
    assert main(["codes"]) == 0
    out = capsys.readouterr().out
    assert all(f"`{code}`" in out for code in CODES)


def test_the_documented_table_of_codes_is_the_generated_one(capsys):
    main(["codes"])
    assert capsys.readouterr().out.strip() in (ROOT / "DIAGNOSTICS.md").read_text(encoding="utf-8")


def test_a_folder_of_the_user(tmp_path):
    about = suite.load("ferry")
    with pytest.raises(PDDLGenError, match=r"no description\.md"):
        datasets.from_folder(tmp_path, "nl2domain")
    (tmp_path / "description.md").write_text(about.terse)
    (item,) = datasets.from_folder(tmp_path, "nl2domain")
    assert item.given == about.terse and item.reference is None and item.problems == ()
    (tmp_path / "problems").mkdir()
    for i, text in enumerate(about.problems, 1):
        (tmp_path / "problems" / f"p{i}.pddl").write_text(text)
    (tmp_path / "domain.pddl").write_bytes(b"\xef\xbb\xbf" + about.domain.encode())
    (item,) = datasets.from_folder(tmp_path, "prob2domain")
    assert item.reference == about.domain and len(item.problems) == 3 and about.problems[0].strip() in item.given
    with pytest.raises(PDDLGenError, match=r"data\.path must be a folder"):
        datasets.from_folder(tmp_path / "none", "nl2domain")


def test_a_clone_of_the_ipc_instances(tmp_path):
    with pytest.raises(PDDLGenError, match="no clone"):
        datasets.from_ipc(tmp_path, "nl2domain")
    for number, name in enumerate(("a", "b", "c")):
        folder = tmp_path / "ipc-1998" / "domains" / name
        (folder / "instances").mkdir(parents=True)
        (folder / "README.md").write_text(f"# X\n## Domain Description\nthe world {name}\n## Else\nno\n")
        (folder / "instances" / "instance-10.pddl").write_text("ten")
        (folder / "instances" / "instance-2.pddl").write_text("two")
        if number < 2:
            (folder / "domain.pddl").write_text(("; x\n" if number else "") + "(DEFINE  (domain d) )")
    items = datasets.from_ipc(tmp_path, "nl2domain")
    assert [i.given for i in items] == ["the world a", "the world b"] and items[0].group == items[1].group
    problems = datasets.from_ipc(tmp_path, "prob2domain")
    assert len(problems) == 3 and "two" in problems[0].given


def test_rows_with_a_wrong_column_are_refused_with_those_there_are(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"id": 1, "nl": "text", "pddl": "(define)", "domain": "d"}) + "\n")
    columns = {"id": "id", "text": "nl", "problem": "problem", "domain": "domain"}
    with pytest.raises(PDDLGenError, match="there are domain, id, nl, pddl"):
        datasets.from_rows(path, columns)
    (item,) = datasets.from_rows(path, {**columns, "problem": "pddl"})
    assert item.task == "nl2problem" and "text" in item.given


def test_objects_that_a_domain_names_become_constants():
    domain = """(define (domain d) (:requirements :typing) (:types tool) (:predicates (have ?t - tool))
      (:action take :parameters () :precondition (and) :effect (have wrench)))"""
    problem = "(define (problem p) (:domain d) (:objects wrench - tool) (:init) (:goal (have wrench)))"
    assert not parse_domain(domain).ok
    fixed = parse_domain(datasets.promoted(domain, [problem]))
    assert fixed.ok and fixed.value.constants == {"wrench": ("tool",)}
    assert datasets.promoted(domain, []) == domain


def test_equal_problems_up_to_names():
    about = suite.load("ferry")
    domain = parse_domain(about.domain).value
    one = parse_problem(about.problems[0], domain).value
    names = sorted(one.objects, key=len, reverse=True)
    text = about.problems[0]
    for i, name in enumerate(names):
        text = text.replace(f" {name})", f" zz{i})").replace(f" {name} ", f" zz{i} ").replace(f" {name} ", f" zz{i} ")
    other = parse_problem(text, domain)
    if other.ok:
        assert equal_problems(one, other.value)
    assert equal_problems(one, one)
    assert not equal_problems(one, parse_problem(about.problems[1], domain).value)


def settings(**changes):
    base = {
        "strands": ["simulated"], "seed": 0, "workers": 1, "output_dir": "results",
        "simulated": {"trials": 5, "rounds": 1}, "live": {"samples": 1, "max_tokens": 16},
        "evaluation": {"seconds": 60, "memory_mb": 1024, "state_cap": 10, "expansions": 10},
    }  # fmt: skip
    for name, value in changes.items():
        base[name] = value
    return base


def test_settings_are_checked_in_one_sentence():
    assert checked(settings())
    for changes, words in (
        ({"strands": ["all"]}, "strands must be a list of"),
        ({"workers": 0}, r"workers must be a whole number in \[1, 256\], not 0"),
        ({"seed": True}, "seed must be"),
        ({"output_dir": "/dev/null/none"}, "cannot be written"),
    ):
        with pytest.raises(PDDLGenError, match=words):
            checked(settings(**changes))


def test_the_package_imports_no_gpl_code():
    banned = {"pyperplan", "up_fast_downward", "fast_downward", "downward", "unified_planning", "pddl", "tarski"}
    for path in Path(pddl_gen.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(node.module or "")
            assert not banned & {n.split(".")[0] for n in names}, path


def test_train_and_eval_run_and_go_on(tmp_path):
    given = ["strands=[simulated]", "simulated.trials=20", "simulated.rounds=1", f"output_dir={tmp_path / 'out'}"]

    def call(script, *more):
        return subprocess.run([sys.executable, script, *given, *more], cwd=ROOT, capture_output=True, text=True)

    done = call("train.py")
    assert done.returncode == 0, done.stderr
    done = call("eval.py")
    assert done.returncode == 0 and "| BoN-8, T = 1 |" in done.stdout, done.stderr
    first = (tmp_path / "out" / "metrics.json").read_text()
    assert json.loads(first)["simulated"] and (tmp_path / "out" / "simulated.png").is_file()
    refused = call("train.py", "strands=[nothing]")
    assert refused.returncode == 2 and refused.stderr.count("\n") == 1
