"""POET in transformers' Trainer: the optimizer steps and merges by itself, the callback saves and reports.

wrap(model, PoetConfig(block=64))
trainer = Trainer(model, args, train_dataset=..., optimizers=(PoetOptimizer(model, base_lr=1e-2), None),
                  callbacks=[PoetCallback()])

Trainer's own checkpoints hold W, Q, patterns and intervals, and resume exactly; `merged` beside them is a plain model.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from .errors import PoetError
from .export import save_merged
from .linear import poet_layers
from .merge import merge_all
from .optim import PoetOptimizer


class PoetCallback(TrainerCallback):
    """Checks that the optimizer is one that merges, counts merges in the log, and writes `<output_dir>/merged` at
    the end.

    Raises:
        PoetError: at the start of training, where the model has POET layers and the optimizer does not merge them.
    """

    def __init__(self, merged: bool = True):
        self.merged = merged
        self.merges = self.early = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, model: Any = None, optimizer: Any = None, **_: Any):
        inner = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
        if model is not None and poet_layers(model) and not isinstance(inner, PoetOptimizer):
            raise PoetError("this Trainer's optimizer never merges: give optimizers=(PoetOptimizer(model, ...), None)")
        self.optimizer = inner

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        events = getattr(self.optimizer, "events", [])
        self.merges += any(event.advanced for event in events)
        self.early += sum(not event.advanced for event in events)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs is not None:
            logs |= {"merges": self.merges, "early_merges": self.early}

    def on_train_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
        if model is None or not poet_layers(model):
            return
        merge_all(model, self.optimizer)
        if self.merged:
            save_merged(model, Path(args.output_dir) / "merged", writes=state.is_world_process_zero)
