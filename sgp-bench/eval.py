"""Ask, score and report: `python eval.py`, with the overrides that train.py was given."""

from pathlib import Path

from sgp_bench.entry import run
from sgp_bench.settings import Settings


def evaluate(settings: Settings) -> None:
    if settings.data.kind == "synthetic":
        from sgp_bench.report import write_study_report

        path, rows = write_study_report(settings)
    else:
        from sgp_bench.benchmark import run_benchmark

        path, rows = run_benchmark(settings)
    print(rows)
    print(f"\nreport: {path}")


if __name__ == "__main__":
    run(evaluate, "eval", Path(__file__).parent / "conf")
