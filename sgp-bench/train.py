"""Build questions and tune on them: `python train.py`, `python train.py data=folder data.path=DIR`."""

from pathlib import Path

from sgp_bench.entry import run, table, tell
from sgp_bench.errors import SGPError
from sgp_bench.settings import Settings


def train(settings: Settings) -> None:
    if settings.data.kind == "folder":
        from sgp_bench.benchmark import build_folder

        tell(table([build_folder(settings)]))
        return
    if settings.data.kind == "hub":
        from sgp_bench.experiment import tune_published

        tell(table([tune_published(settings)]))
        return
    from sgp_bench.study import Study

    study = Study(settings)
    built = study.build()
    tell(table([{k: v for k, v in built.items() if k != "digests in common"}]))
    if settings.tune is None:
        return
    result = study.tuned()
    if not result["rows"]:
        raise SGPError("the tuning made no step")
    last = result["rows"][-10:]
    tell(table([{"steps": len(result["rows"]), "trained parameters": result["trained parameters"],
                 "loss at first": result["rows"][0]["loss"], "loss at last": sum(r["loss"] for r in last) / len(last),
                 "seconds": sum(r["seconds"] for r in result["rows"])}]))  # fmt: skip


if __name__ == "__main__":
    run(train, "train", Path(__file__).parent / "conf")
