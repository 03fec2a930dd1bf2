"""Commands on files: `pddl-gen check|plan|validate|compare|lint|record|codes ...`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from .datasets import read
from .errors import PDDLGenError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 where the answer is no; 2 after one sentence on stderr."""
    given = _parser().parse_args(arguments)
    try:
        return given.run(given)
    except (PDDLGenError, OSError) as error:
        print(f"pddl-gen: {error}", file=sys.stderr)
        return 2


def _domain(path: str):  # type: ignore[no-untyped-def]
    from .diagnostics import render
    from .parse import parse_domain

    text = read(Path(path))
    parsed = parse_domain(text)
    if not parsed.ok or parsed.value is None:
        raise PDDLGenError(f"{path} has errors:\n{render(parsed.errors, text, 'human')}")
    return parsed.value


def _problem(path: str, domain):  # type: ignore[no-untyped-def]
    from .diagnostics import render
    from .parse import parse_problem

    text = read(Path(path))
    parsed = parse_problem(text, domain)
    if not parsed.ok or parsed.value is None:
        raise PDDLGenError(f"{path} does not fit the domain:\n{render(parsed.errors, text, 'human')}")
    return parsed.value


def check(given: argparse.Namespace) -> int:
    from .diagnostics import render
    from .parse import parse_domain, parse_problem
    from .valmode import val_verdict

    text = read(Path(given.domain))
    parsed = parse_domain(text)
    shown = [d for d in parsed.diagnostics if d.severity != "info"]
    if shown or given.style == "json":
        print(render(shown, text, given.style, None))
    level = parsed.level
    if given.problem and parsed.value is not None:
        words = read(Path(given.problem))
        problem = parse_problem(words, parsed.value)
        if problem.diagnostics:
            print(render(problem.diagnostics, words, given.style, None))
        level = "error" if "error" in (level, problem.level) else level
    verdict = val_verdict(text)
    if given.style != "json":
        print(f"strict: {level}; VAL would {'pass' if verdict.passes else 'fail'}")
    return int(level == "error")


def plan_(given: argparse.Namespace) -> int:
    from .planner import Limits, plan

    domain = _domain(given.domain)
    problem = _problem(given.problem, domain)
    found = plan(domain, problem, backend=given.backend, optimal=not given.any, limits=Limits(given.seconds))
    for step in found.plan or ():
        print(f"({' '.join(step)})")
    print(f"; {found.status}, cost {found.cost}, {found.expanded} states expanded, {found.backend} {found.detail}")
    return int(found.plan is None)


def validate(given: argparse.Namespace) -> int:
    from .extract import steps
    from .planval import validate_plan

    domain = _domain(given.domain)
    verdict = validate_plan(domain, _problem(given.problem, domain), steps(read(Path(given.plan)).splitlines()))
    if verdict.valid:
        print(f"valid, cost {verdict.cost:g}")
    else:
        print(f"invalid at step {verdict.step}: {verdict.reason}" + (f": {verdict.literal}" if verdict.literal else ""))
    return int(not verdict.valid)


def compare_(given: argparse.Namespace) -> int:
    from .equivalence import compare

    reference, candidate = _domain(given.reference), _domain(given.candidate)
    for path in given.problems:
        _problem(path, reference)
    found = compare(reference, candidate, [read(Path(p)) for p in given.problems], state_cap=given.cap)
    for name, value in found.to_json().items():
        if name in ("witness", "notes", "problems", "states"):
            continue
        print(f"{name}: {'unknown' if value is None else value}")
    for line in [*([found.witness.prose] if found.witness else []), *found.notes]:
        print(line)
    return int(found.bisimilar is not True)


def lint(given: argparse.Namespace) -> int:
    from .lint import hints

    found = hints(_domain(given.domain), read(Path(given.problem)) if given.problem else None)
    print("\n".join(found) or "no hint")
    return 0


def record(given: argparse.Namespace) -> int:
    from shared.llm import Header, build_recording, write_prompts
    from shared.llm.recording import Recording

    from . import recorded

    if given.what == "verify":
        found = recorded.verify()
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return int(bool(found["missing"]) or bool(found["unasked"]))
    if given.what == "prompts":
        recording = Recording.open(recorded.RECORDING)
        _, lack = recorded.wanted(recording, recorded.KeptScores())
        print(f"{write_prompts(given.file, lack) if lack else 0} prompts lack an answer")
        return 0
    header = Header(given.source, given.model, given.date, given.settings)
    count = build_recording(given.file, given.answers, given.recording or recorded.RECORDING, header, partial=True)
    print(f"the recording holds {count} completions")
    return 0


def codes(given: argparse.Namespace) -> int:
    from .codes import CODES, example

    print("| code | severity | example | fix |\n| --- | --- | --- | --- |")
    for name, about in CODES.items():
        shown = " ".join(example(name).split())
        shown = shown if len(shown) <= 120 else shown[:117] + "..."
        print(f"| `{name}` | {about.severity} | `{shown.replace('|', '/')}` | {about.fix.replace('|', '/')} |")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="pddl-gen", description="Checks, plans and compares PDDL.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run, words: str, *arguments: str) -> argparse.ArgumentParser:  # type: ignore[no-untyped-def]
        one = commands.add_parser(name, help=words)
        one.set_defaults(run=run)
        for a in arguments:
            one.add_argument(a)
        return one

    one = command("check", check, "every error of a domain, with its place", "domain")
    one.add_argument("problem", nargs="?")
    one.add_argument("--style", choices=("human", "llm", "json"), default="human")
    one = command("plan", plan_, "a cheapest plan", "domain", "problem")
    one.add_argument("--backend", choices=("auto", "internal", "fd"), default="auto")
    one.add_argument("--seconds", type=float, default=60.0)
    one.add_argument("--any", action="store_true", help="some plan instead of a cheapest one")
    command("validate", validate, "is a plan valid, and where does it fail", "domain", "problem", "plan")
    one = command("compare", compare_, "two domains on problems, up to bisimulation", "reference", "candidate")
    one.add_argument("problems", nargs="+")
    one.add_argument("--cap", type=int, default=50_000, help="product states for each problem")
    one = command("lint", lint, "hints about meaning, without a reference", "domain")
    one.add_argument("problem", nargs="?")
    command("codes", codes, "the table of diagnostics")
    one = command("record", record, "the recording: prompts that lack an answer, import, verify")
    one.add_argument("what", choices=("prompts", "import", "verify"))
    one.add_argument("file", nargs="?", default="prompts.jsonl", help="prompts, as JSON lines")
    one.add_argument("--answers", help="JSON lines or a folder of <key>.txt")
    one.add_argument("--recording")
    one.add_argument("--source", default="a large general-purpose language model")
    one.add_argument("--model", default="a large general-purpose language model")
    one.add_argument("--date", default="")
    one.add_argument("--settings", default="")
    return parser


if __name__ == "__main__":
    sys.exit(main())
