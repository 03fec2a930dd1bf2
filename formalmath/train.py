"""The statement pipeline: `python train.py`, `python train.py data=lite data.path=... autoformalizer=openai
judge=openai`."""

from pathlib import Path

from formalmath.entry import run, table
from formalmath.settings import Settings


def train(settings: Settings) -> None:
    from formalmath.pipeline.funnel import make_statements

    print(table(make_statements(settings)))


if __name__ == "__main__":
    run(train, "train", Path(__file__).parent / "conf")
