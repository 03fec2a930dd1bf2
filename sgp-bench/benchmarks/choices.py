"""Choice scoring: our shared-prefix scorer beside lm-evaluation-harness on the same model and questions."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sgp_bench.evaluate import Results, evaluate
from sgp_bench.prompts import messages
from sgp_bench.records import LETTERS, Item
from shared.llm import LLM
from shared.llm.backends.transformers import Local

STYLE = {"letter": "letter", "text": "text"}


def ours(lm: Any, tokenizer: Any, items: Sequence[Item], by: str) -> tuple[Results, float, int]:
    """Results, seconds, and tokens that went through the model."""
    local = Local.of(lm, tokenizer, name="bench")
    with LLM(local) as llm:
        began = time.perf_counter()
        results = evaluate(items, llm, f"{by}_logprob")
        seconds = time.perf_counter() - began
        return results, seconds, local._scorer.forwarded if local._scorer else 0


def lm_eval(lm: Any, tokenizer: Any, items: Sequence[Item], by: str) -> tuple[list[str], float]:
    """Letters and seconds of a local multiple-choice task in lm-eval's hf backend, batch size 1 and its caches on."""
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    rows = []
    for item in items:
        turns = [{"role": m.role, "content": m.text} for m in messages(item, STYLE[by])]
        text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        choices = list(LETTERS) if by == "letter" else list(item.options)
        rows.append({"text": text, "choices": choices, "gold": LETTERS.index(item.answer)})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.jsonl"
        path.write_text("\n".join(json.dumps(r) for r in rows))
        task = {
            "task": f"sgp_{by}", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": str(path)}, "cache_dir": folder},  # noqa: E501
            "test_split": "test", "output_type": "multiple_choice", "doc_to_text": "{{text}}", "doc_to_choice": "choices",  # noqa: E501
            "doc_to_target": "gold", "target_delimiter": "", "metric_list": [{"metric": "acc"}], "num_fewshot": 0,
        }  # fmt: skip
        wrapped = HFLM(pretrained=lm, tokenizer=tokenizer, batch_size=1)
        began = time.perf_counter()
        out = simple_evaluate(model=wrapped, tasks=[task], log_samples=True, bootstrap_iters=0, verbosity="ERROR")
        seconds = time.perf_counter() - began
    samples = sorted(out["samples"][f"sgp_{by}"], key=lambda s: s["doc_id"])
    letters = []
    for sample in samples:
        values = [r[0] if isinstance(r, list | tuple) else r for r in sample["filtered_resps"]]
        letters.append(LETTERS[max(range(4), key=values.__getitem__)])
    return letters, seconds
