"""Measure and write the report: `python eval.py`, with the overrides that train.py was given."""

from pathlib import Path

from sepllm.entry import check_place, run, table
from sepllm.settings import Settings


def evaluate(settings: Settings) -> None:
    check_place(settings)
    from sepllm.report import write_report

    path, rows = write_report(settings)
    print(table(rows))
    print(f"\nreport: {path}")


if __name__ == "__main__":
    run(evaluate, "eval", Path(__file__).parent / "conf")
