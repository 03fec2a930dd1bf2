"""formalmath: look at statements, audit data sets, install Lean, review, export verdicts.

formalmath audit lite --path FILE [--budget S] [--json OUT]     defects of a data set, with reasons, and its ceiling
formalmath stats lite --path FILE                               domains beside the paper's Figure 8
formalmath lint FILE | negate FILE [--style S] | refute FILE    one Lean statement from a file (or - for stdin)
formalmath lean install [--lean V] [--build] [--dry-run]        toolchain, Mathlib cache and REPL
formalmath lean doctor                                          what is missing
formalmath recheck DATA --path FILE --out FILE                  compiles all statements with the Lean that is here
formalmath review QUEUE --annotator NAME [--ledger FILE]        decide on statements, one after another
formalmath export VERDICTS --to inspect|lm_eval --out FILE      verdicts in other harnesses' log formats
formalmath prompts --out FILE                                   what the default run asks of a recorded model
formalmath paper                                                the paper's tables as counts with intervals
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import FormalMathError


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status 0; 1 where something is missing or was found; 2 after a refusal of one sentence on stderr."""
    given = parser().parse_args(arguments)
    try:
        return given.run(given)
    except FormalMathError as error:
        print(f"formalmath: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def problems_of(given: argparse.Namespace) -> list[Any]:
    from .problems import load

    return load(given.data, path=given.path, count=getattr(given, "count", None) or 100)


def audit(given: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .audit import audit as run

    problems = problems_of(given)
    with tqdm(total=len(problems), desc="audit", disable=None, leave=False) as bar:
        report = run(problems, given.budget, given.seed, given.workers, lambda done, total: bar.update(done - bar.n))
    print("\n".join(report.lines()))
    summary = report.summary()
    for name, value in summary.items():
        if name not in ("lints", "ceiling"):
            print(f"{name}: {value}")
    print("lints: " + ", ".join(f"{k} {v}" for k, v in sorted(summary["lints"].items())))
    c = summary["ceiling"]
    print(
        f"ceiling: {c['reachable']} of {c['of']} = {100 * c['share']:.1f} % [{100 * c['interval'][0]:.1f}, "
        f"{100 * c['interval'][1]:.1f}]"
    )
    if given.json:
        Path(given.json).write_text(json.dumps(report.to_json(), indent=1, ensure_ascii=False) + "\n")
    return 0


def stats(given: argparse.Namespace) -> int:
    from .entry import table
    from .taxonomy import figure_8, shares

    problems = problems_of(given)
    if given.data == "lite":
        found = figure_8(problems)
        print(table([{**r, "share": f"{r['share']:.1f}"} for r in found["rows"]]))
        for pair in found["swapped"]:
            print(f"the printed labels {pair[0]} and {pair[1]} are swapped in Figure 8")
    else:
        print(
            table(
                [
                    {"level": k, "domain": d, "count": c, "share": f"{s:.1f}"}
                    for k, row in shares(problems).items()
                    for d, (c, s) in row.items()
                ]
            )
        )
    return 0


def statement(given: argparse.Namespace) -> Any:
    from .lean.statement import normalise, parse_statement

    try:
        text = sys.stdin.read() if given.file == "-" else Path(given.file).read_text()
    except OSError as error:
        raise FormalMathError(f"cannot read {given.file}: {error.strerror}") from None
    return parse_statement(normalise(text))


def lint(given: argparse.Namespace) -> int:
    from .lean.lint import lint as run
    from .lean.lint import parts

    found = run(statement(given))
    print("\n".join(parts(found)) or "nothing found")
    return int(any(f.severity == "error" for f in found))


def negate(given: argparse.Namespace) -> int:
    from .lean.negation import negate as run
    from .lean.negation import vacuity

    st = statement(given)
    print(vacuity(st).text if given.style == "vacuity" else run(st, given.style).text)
    return 0


def refute(given: argparse.Namespace) -> int:
    from .pipeline.disprove import disprove

    found = disprove(statement(given), given.budget, given.seed, probe=True)
    print(f"{found.outcome} (authority {found.authority}): {found.detail}")
    for name, value in found.values.items():
        print(f"  {name} = {value}")
    if found.proof:
        print(f"\n{found.negation}\n{found.proof}")
    return int(found.outcome in ("refuted", "vacuous"))


def lean_install(given: argparse.Namespace) -> int:
    from .lean.install import install

    install(given.home, given.lean, given.build, given.dry_run)
    return 0


def lean_doctor(given: argparse.Namespace) -> int:
    from .lean.install import doctor

    missing = doctor(given.home)
    print("\n".join(missing) or "Lean, Mathlib and the REPL are in place")
    if missing:
        print("without Lean these run: lean=fragment, lean=structural, lean=replay")
    return int(bool(missing))


def recheck(given: argparse.Namespace) -> int:
    """Which statements the Lean that is here still compiles: the denominator under another Mathlib."""
    from .lean.install import fingerprint
    from .lean.pool import Worker, settings_from
    from .pipeline.compile import by_lean

    lean = {"name": "repl", "home": given.home}
    settings, mark = settings_from(lean), fingerprint(lean)

    async def run() -> list[dict[str, Any]]:
        worker = Worker(settings)
        try:
            return [{"id": p.id, **(await by_lean(worker, p.lean)).to_json()} for p in problems_of(given)]
        finally:
            worker.process.kill()

    rows = asyncio.run(run())
    head = {"lean": mark.lean, "mathlib": mark.mathlib, "repl": mark.repl}
    Path(given.out).write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in [head, *rows]))
    print(f"{sum(r['ok'] for r in rows)} of {len(rows)} statements compile under Lean {mark.lean}")
    return 0


def review(given: argparse.Namespace) -> int:
    from .pipeline.review import Ledger, read_queue
    from .pipeline.review import review as run

    ledger = Ledger(Path(given.ledger))
    count = run(read_queue(Path(given.queue)), ledger, given.annotator)
    shared, kappa = ledger.agreement()
    cost = ledger.cost()
    print(f"{count} decided; {shared} items by two annotators, Cohen's κ {kappa:.2f}; {cost['hours']:.2f} hours")
    return 0


def export(given: argparse.Namespace) -> int:
    from .export import export as run

    print(f"{run(Path(given.verdicts), given.to, Path(given.out))} samples in {given.out}")
    return 0


def prompts(given: argparse.Namespace) -> int:
    from shared.llm import write_prompts

    from .recorded import everything

    print(f"{write_prompts(given.out, everything())} prompts in {given.out}")
    return 0


def paper(given: argparse.Namespace) -> int:
    from .report import paper_sections

    print("\n\n".join(paper_sections()))
    return 0


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="formalmath", description="Lean statements, verdicts and audits without surprises."
    )
    sub = top.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Any, help: str, into: Any = sub) -> argparse.ArgumentParser:
        one = into.add_parser(name, help=help)
        one.set_defaults(run=run)
        return one

    def data(one: argparse.ArgumentParser) -> None:
        one.add_argument("data", help="mini, lite, all, minif2f, proofnet, putnam or jsonl")
        one.add_argument("--path", help="a local file; lite and all come from the hub without it")

    one = add("audit", audit, "defects of a data set")
    data(one)
    one.add_argument("--budget", type=float, default=0.3, help="CPU-seconds of the refuter a statement")
    one.add_argument("--seed", type=int, default=0)
    one.add_argument("--workers", type=int, default=None, help="processes; all cores by default")
    one.add_argument("--json", help="write everything here")
    data(add("stats", stats, "domains of a data set"))
    for name, run, help in (
        ("lint", lint, "suspicions"),
        ("negate", negate, "the negation"),
        ("refute", refute, "a counterexample"),
    ):
        one = add(name, run, f"{help} of one statement")
        one.add_argument("file")
        one.add_argument("--style", default="closed", help="closed, demorgan, kept_binders or vacuity")
        one.add_argument("--budget", type=float, default=2.0)
        one.add_argument("--seed", type=int, default=0)
    leans = sub.add_parser("lean", help="Lean on this machine").add_subparsers(required=True, metavar="install|doctor")
    one = add("install", lean_install, "toolchain, Mathlib cache, REPL", leans)
    one.add_argument("--lean", default="v4.11.0")
    one.add_argument("--build", action="store_true", help="compile Mathlib where its cache is gone")
    one.add_argument("--dry-run", action="store_true", help="say the plan and sizes")
    one.add_argument("--home", type=Path, default=None)
    add("doctor", lean_doctor, "what is missing", leans).add_argument("--home", type=Path, default=None)
    one = add("recheck", recheck, "compile all statements with the Lean that is here")
    data(one)
    one.add_argument("--out", required=True)
    one.add_argument("--home", default=None)
    one = add("review", review, "decide on statements")
    one.add_argument("queue")
    one.add_argument("--annotator", required=True)
    one.add_argument("--ledger", default="ledger.jsonl")
    one = add("export", export, "verdicts for other harnesses")
    one.add_argument("verdicts", help="a run's folder parts/verdicts-NAME")
    one.add_argument("--to", choices=("inspect", "lm_eval"), required=True)
    one.add_argument("--out", required=True)
    add("prompts", prompts, "what the default run asks of a recorded model").add_argument("--out", required=True)
    add("paper", paper, "the paper's tables as counts")
    return top


if __name__ == "__main__":
    sys.exit(main())
