"""Collect draws and scores: `python train.py`, `python train.py task=sample task.p=0.3 task.n=100 llm=openai`."""

from pathlib import Path

from vrs.study.entry import run, table
from vrs.study.settings import Settings


def train(settings: Settings) -> None:
    if settings.estimate:
        from vrs.study.estimate import estimated

        print(table(estimated(settings)))
    elif settings.task.name == "study":
        from vrs.study.collect import collect

        print(table(collect(settings)))
    elif settings.task.name == "sample":
        from vrs.study.collect import one_sample

        print(one_sample(settings))
    else:
        from vrs.study.collect import certificate

        print(certificate(settings))


if __name__ == "__main__":
    run(train, "train", Path(__file__).parent / "conf")
