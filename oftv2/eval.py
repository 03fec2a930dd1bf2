"""Score what train.py made and write the report: `python eval.py`, with the overrides that train.py was given."""

from pathlib import Path

from oftv2.entry import check_place, run, table
from oftv2.errors import OFTError
from oftv2.settings import Settings


def evaluate(settings: Settings) -> None:
    if settings.dry_run:
        raise OFTError("eval.py has no dry run: train.py has one")
    check_place(settings)
    from oftv2.report import write_report

    path, rows = write_report(settings)
    print(table(rows))
    print(f"\nreport: {path}")


if __name__ == "__main__":
    run(evaluate, "eval", Path(__file__).parent / "conf")
