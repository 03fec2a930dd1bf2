"""Evaluate provers and write the report: `python eval.py`, with the overrides that train.py was given."""

from pathlib import Path

from formalmath.entry import run, table
from formalmath.settings import Settings


def evaluate(settings: Settings) -> None:
    from formalmath.report import write_report

    path, rows = write_report(settings)
    print(table(rows))
    print(f"\nreport: {path}")


if __name__ == "__main__":
    run(evaluate, "eval", Path(__file__).parent / "conf")
