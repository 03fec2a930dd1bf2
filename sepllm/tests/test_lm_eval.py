"""lm-eval runs under a policy, offline, on a two-document task of its own."""

from __future__ import annotations

import json

import pytest
import torch

pytest.importorskip("lm_eval", reason="the harness is in the extra eval")

from small_model import write_small_model

from sepllm import SeparatorSet, SepPolicy, StreamingPolicy, masked

TASK = """
task: {name}
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: {kind}
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
{more}
metric_list:
  - metric: {metric}
"""


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    data = folder / "documents.jsonl"
    documents = [
        {"question": "One, two. Three; four: five. Then", "answer": " six", "choices": [" six", " the"]},
        {"question": "Red, green. Blue; white: black. Then", "answer": " pink", "choices": [" pink", " of"]},
    ]
    data.write_text("\n".join(map(json.dumps, documents)))
    until = "generation_kwargs: {until: ['\\n'], max_gen_toks: 6, do_sample: false}"
    choices = 'doc_to_choice: "{{choices}}"'
    for name, kind, metric, more in (
        ("two_generated", "generate_until", "exact_match", until),
        ("two_choices", "multiple_choice", "acc", choices),
    ):
        (folder / f"{name}.yaml").write_text(TASK.format(name=name, data=data, kind=kind, metric=metric, more=more))
    return folder


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    from shared.llm import load_causal_lm

    return load_causal_lm(str(write_small_model(tmp_path_factory.mktemp("model"))), attn_implementation="sdpa")


def test_tasks_run_under_the_policy(tasks, small, monkeypatch, tmp_path):
    from sepllm.lm_eval_model import run_tasks

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path))
    model, tokenizer = small
    marks = SeparatorSet.from_tokenizer(tokenizer)
    asked = {"num_fewshot": 0, "limit": None, "batch_size": 2, "include_path": str(tasks)}
    for policy in (SepPolicy(a=2, n=4), StreamingPolicy(a=1, s=2, w=3, c=9)):
        found = run_tasks(model, tokenizer, policy, marks, {"tasks": ["two_generated", "two_choices"], **asked})
        assert set(found["results"]) == {"two_generated", "two_choices"} and 0 < found["r_kv"] < 1


def test_log_likelihoods_are_those_under_the_mask(small):
    from sepllm.lm_eval_model import SepLM

    model, tokenizer = small
    lm = SepLM(model, tokenizer=tokenizer, policy="sep", a=2, n=4, device="cpu")
    assert lm.policy == SepPolicy(a=2, n=4)
    ids = torch.tensor([tokenizer("One, two. Three; four: five. Then").input_ids])
    with masked(model, SepPolicy(a=2, n=4), tokenizer), torch.no_grad():
        expected = model(ids).logits
    assert torch.equal(lm._model_call(ids), expected)
    assert not torch.allclose(model(ids).logits, expected)


def test_the_harness_knows_the_name():
    from lm_eval.api.registry import get_model

    from sepllm.lm_eval_model import SepLM

    assert get_model("sepllm") is SepLM
