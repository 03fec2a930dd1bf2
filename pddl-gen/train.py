"""Write domains: `python train.py`, `python train.py strands=[run] data=folder data.path=my-world llm=openai ...`."""

from pathlib import Path

from pddl_gen.entry import run
from pddl_gen.experiment import train

if __name__ == "__main__":
    run(train, "train", Path(__file__).parent / "conf")
