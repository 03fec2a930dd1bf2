"""What a harness adds to each item: ours beside inspect-ai, both with a model that answers at once."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from sgp_bench.evaluate import evaluate
from sgp_bench.prompts import messages
from sgp_bench.records import Item
from shared.llm import LLM
from shared.llm.backends.fake import Fake


def ours(items: Sequence[Item], folder: Path) -> float:
    """Seconds, with every answer kept in the cache."""
    began = time.perf_counter()
    with LLM(Fake(lambda request: "Answer: A"), cache=folder / "c.sqlite") as llm:
        evaluate(items, llm)
    return time.perf_counter() - began


def inspect(items: Sequence[Item], folder: Path) -> float:
    """Seconds of inspect-ai's eval with its mock model, its log written."""
    from inspect_ai import Task
    from inspect_ai import eval as run
    from inspect_ai.dataset import MemoryDataset, Sample
    from inspect_ai.model import ModelOutput, get_model
    from inspect_ai.scorer import answer
    from inspect_ai.solver import generate

    samples = [Sample(input=messages(i)[-1].text, target=i.answer, id=n) for n, i in enumerate(items)]
    outputs = [ModelOutput.from_content("mockllm/model", "Answer: A") for _ in items]
    model = get_model("mockllm/model", custom_outputs=outputs)
    task = Task(dataset=MemoryDataset(samples), solver=generate(), scorer=answer("letter"))
    began = time.perf_counter()
    run(task, model=model, log_dir=str(folder / "logs"), display="none", log_level="error")
    return time.perf_counter() - began


def both(items: Sequence[Item]) -> dict[str, float]:
    """Milliseconds an item, after a warm-up of each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ours(items[:5], folder / "a")
        inspect(items[:5], folder / "b")
        mine, theirs = ours(items, folder / "c"), inspect(items, folder / "d")
    return {"ours": 1e3 * mine / len(items), "inspect-ai": 1e3 * theirs / len(items)}
