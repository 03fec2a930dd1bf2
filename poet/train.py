"""Pretrain: `python train.py`, `train.py scale=paper model=1b method=paper/poet_fs`, `train.py sweep.enabled=true`."""

from pathlib import Path

from poet.entry import check_place, run, table, tell
from poet.settings import Settings


def train(settings: Settings) -> None:
    if settings.diagnostics != "train":
        from poet.inspections import inspect

        print(table(inspect(settings)))
        return
    check_place(settings)
    if settings.sweep.enabled:
        from poet.sweep import sweep

        tell(table(sweep(settings)))
        return
    from poet.experiment import train_all
    from poet.inspections import announce, check_shapes
    from poet.pretrained import train_pretrained

    check_shapes(settings)
    announce(settings, tell)
    tell(table(train_all(settings, tell)))
    if settings.pretrained.enabled:
        tell(train_pretrained(settings, tell))


if __name__ == "__main__":
    run(train, "train", Path(__file__).parent / "conf")
