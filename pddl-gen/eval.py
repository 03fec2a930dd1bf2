"""Judge what train.py wrote and write the report: `python eval.py`, with the overrides that train.py was given."""

from pathlib import Path

from pddl_gen.entry import run
from pddl_gen.report import evaluate

if __name__ == "__main__":
    run(evaluate, "eval", Path(__file__).parent / "conf")
