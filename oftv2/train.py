"""Train adapters: `python train.py`, `python train.py scale=paper task=gsm8k model=llama2_7b method=oftv2`."""

from pathlib import Path

from oftv2.entry import check_place, run, table, tell
from oftv2.settings import Settings


def train(settings: Settings) -> None:
    if settings.dry_run:
        from oftv2.dry_run import dry_run

        print(table(dry_run(settings)))
        return
    check_place(settings)
    if settings.sweep:
        from oftv2.sweep import sweep

        tell(table(sweep(settings)))
        return
    from oftv2.experiment import train_all

    tell(table(train_all(settings)))


if __name__ == "__main__":
    run(train, "train", Path(__file__).parent / "conf")
