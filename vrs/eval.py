"""Score what train.py collected and write the report: `python eval.py`, with the overrides that train.py was given."""

from pathlib import Path

from vrs.study.entry import run, table
from vrs.study.settings import Settings


def evaluate(settings: Settings) -> None:
    from vrs.study.report import write_report

    path, rows = write_report(settings)
    names = ("method", "question", "levels", "STVD exact", "STVD at n", "floor", "z", "calls/draw", "paper")
    print(table([{name: row.get(name) for name in names} for row in rows]))
    print(f"\nreport: {path}")


if __name__ == "__main__":
    run(evaluate, "eval", Path(__file__).parent / "conf")
