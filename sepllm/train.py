"""Train under the mask: `python train.py`, `python train.py scale=paper train=scratch data.path=...`."""

from pathlib import Path

from sepllm.entry import check_place, run, table, tell
from sepllm.settings import Settings


def train(settings: Settings) -> None:
    check_place(settings)
    from sepllm.experiment import train_all

    tell(table(train_all(settings)))


if __name__ == "__main__":
    run(train, "train", Path(__file__).parent / "conf")
