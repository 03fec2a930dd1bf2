"""A task made ready for one tokenizer: training batches, held-out batches, questions and scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from .settings import EvaluationSettings, TaskSettings, TrainingSettings
from .tasks import Example, Task, make_task
from .tasks.answer_loss import answer_loss, mean_answer_loss
from .tasks.batching import Batch, DataOrder, Encoded, batches_of, encode_all, pad_token_id, training_batch
from .tasks.generate import greedy
from .tasks.prose import prose_windows

HELD_OUT_BATCH = 8  # sequences of a forward without gradient


@dataclass
class Workload:
    """What the loop reads and what eval.py asks."""

    task: Task
    tokenizer: Any
    seed: int
    max_length: int

    @classmethod
    def of(cls, task: TaskSettings, tokenizer: Any, seed: int, max_length: int) -> Workload:
        """Raises OFTError: an option that the task does not know."""
        return cls(make_task(task.name, **task.options), tokenizer, seed, max_length)

    @cached_property
    def encoded(self) -> list[Encoded]:
        return self._encode(self.task.train_examples(self.seed))

    def batches(self, training: TrainingSettings, rank: int = 0, world: int = 1) -> Callable[[int], list[Batch]]:
        """This process's batches of each step."""
        lengths = tuple(len(e) for e in self.encoded)
        order = DataOrder(lengths, self.seed, training.batch_size, training.accumulation, rank, world)
        return batches_of(self.encoded, order, pad_token_id(self.tokenizer), self.task.form)

    def loss(self, model: nn.Module, batch: Batch) -> tuple[Tensor, int]:
        return answer_loss(model, batch)

    def held_out(self, split: str, count: int) -> list[Batch]:
        """The first `count` dev or test examples, as batches with labels, similar lengths together."""
        encoded = sorted(self._encode(self.examples(split, count)), key=len)
        groups = [encoded[i : i + HELD_OUT_BATCH] for i in range(0, len(encoded), HELD_OUT_BATCH)]
        return [training_batch(group, pad_token_id(self.tokenizer), self.task.form) for group in groups]

    def examples(self, split: str, count: int) -> Sequence[Example]:
        chosen = self.task.dev_examples if split == "dev" else self.task.test_examples
        return list(chosen(self.seed))[:count]

    def probe(self, evaluation: EvaluationSettings) -> Callable[[nn.Module], dict[str, float]]:
        """Loss on the first dev examples and on the beginning of each window of prose."""
        held_out = self.held_out("dev", evaluation.probe_problems)
        ids = prose_windows(self.tokenizer)[:, : evaluation.probe_tokens]
        prose = [Batch(ids, torch.ones_like(ids), ids)]
        return lambda model: {
            "answer_loss": mean_answer_loss(model, held_out),
            "prose_loss": mean_answer_loss(model, prose),
        }

    def asked(self, model: nn.Module, split: str, count: int, evaluation: EvaluationSettings) -> dict[str, Any] | None:
        """Greedy answers and their scores, of all together and one by one; None for a task without a score."""
        if self.task.form == "text" or not self.task.metrics:
            return None
        examples = self.examples(split, count)
        prompts = [e.prompt for e in self._encode(examples)]
        answers = greedy(
            model,
            self.tokenizer,
            prompts,
            max_new_tokens=evaluation.max_new_tokens or self.task.max_new_tokens,
            batch_size=evaluation.batch_size,
        )
        metric = self.task.metrics[0]
        each = [self.task.score([e], [a])[metric] for e, a in zip(examples, answers, strict=True)]
        scores = self.task.score(examples, answers)
        return {"metric": metric, "scores": scores, "each": each, "count": len(each), "answers": answers}

    def _encode(self, examples: Sequence[Example]) -> list[Encoded]:
        return encode_all(self.tokenizer, examples, self.task.form, self.max_length)
