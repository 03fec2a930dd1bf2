"""The vLLM backend against a stand-in that answers from a tiny model; vLLM itself needs a GPU."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import torch
from tiny_llm import byte_tokenizer, tiny_lm

from shared.llm import ModelError
from shared.llm.backend import CallError
from shared.llm.backends.transformers import Local
from shared.llm.backends.vllm import InProcess
from shared.llm.messages import user
from shared.llm.request import Request, Sampling


class SamplingParams:
    """vLLM's, as far as it is used here; an unknown field is a mistake."""

    def __init__(
        self,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        min_p=0.0,
        repetition_penalty=1.0,
        max_tokens=16,
        seed=None,
        stop=None,
        logprobs=None,
        prompt_logprobs=None,
        allowed_token_ids=None,
        detokenize=True,
    ):
        self.__dict__.update({name: value for name, value in locals().items() if name != "self"})


class LLM:
    """Stands in for vllm.LLM: real log-probabilities, uniform draws among what is allowed."""

    made: ClassVar[list[LLM]] = []

    def __init__(self, **settings):
        self.settings, self.seen = settings, []
        self.lm, self.tokenizer = tiny_lm("llama"), byte_tokenizer()
        self.llm_engine = SimpleNamespace(model_config=SimpleNamespace(max_model_len=160))
        self.made.append(self)
        if "unknown" in settings:
            raise TypeError("got an unexpected keyword argument 'unknown'")

    def get_tokenizer(self):
        return self.tokenizer

    def get_default_sampling_params(self):
        brought = {"temperature": 0.6, "top_p": 0.9} if self.settings["generation_config"] == "auto" else {}
        return SamplingParams(**brought)

    def generate(self, prompts, params, use_tqdm):
        assert not use_tqdm and len(prompts) == len(params)
        self.seen.append(list(zip(prompts, params, strict=True)))
        return [self._answer(p["prompt_token_ids"], s) for p, s in self.seen[-1]]

    @torch.inference_mode()
    def _answer(self, prompt, params):
        logprobs = self.lm(input_ids=torch.tensor([prompt])).logits[0].log_softmax(-1)
        read = None
        if params.prompt_logprobs is not None:
            read = [None] + [{t: self._entry(logprobs[at], t)} for at, t in enumerate(prompt[1:])]
        rng = np.random.default_rng(params.seed)
        tokens, said = [], []
        for _ in range(params.max_tokens):
            row = self.lm(input_ids=torch.tensor([[*prompt, *tokens]])).logits[0, -1].log_softmax(-1)
            allowed = params.allowed_token_ids or range(97, 120)
            token = int(rng.choice(list(allowed)))
            tokens.append(token)
            best = row.argsort(descending=True)[: params.logprobs or 0].tolist()
            said.append({t: self._entry(row, t) for t in {token, *best}})
        text = self.tokenizer.decode(tokens) if params.detokenize else ""
        output = SimpleNamespace(
            text=text, token_ids=tokens, finish_reason="length", logprobs=None if params.logprobs is None else said
        )
        return SimpleNamespace(outputs=[output], prompt_logprobs=read)

    def _entry(self, row, token):
        rank = int((row > row[token]).sum()) + 1
        return SimpleNamespace(logprob=float(row[token]), rank=rank, decoded_token=self.tokenizer.decode([token]))


@pytest.fixture(autouse=True)
def vllm(monkeypatch):
    module = ModuleType("vllm")
    module.LLM, module.SamplingParams = LLM, SamplingParams
    monkeypatch.setitem(sys.modules, "vllm", module)
    monkeypatch.setattr(LLM, "made", [])
    monkeypatch.setattr(
        "shared.llm.backends.vllm.weights_identity", lambda model, revision: {"model": model, "revision": "c0ffee"}
    )


def ask(draw: int = 0, **sampling) -> Request:
    return Request("Say.", Sampling(max_tokens=4, **sampling), draw=draw)


def test_one_engine_made_late_with_what_is_set_here():
    backend = InProcess("a/b", tensor_parallel_size=4, options={"gpu_memory_utilization": 0.8})
    backend.identity()
    assert LLM.made == []
    backend.complete_many([ask()])
    backend.complete_many([ask(1)])
    (engine,) = LLM.made
    assert engine.settings["revision"] == "c0ffee" and engine.settings["tensor_parallel_size"] == 4
    assert engine.settings["enable_prefix_caching"] and engine.settings["trust_remote_code"] is False
    assert engine.settings["logprobs_mode"] == "raw_logprobs" and engine.settings["load_format"] == "safetensors"
    assert engine.settings["gpu_memory_utilization"] == 0.8


def test_whole_batch_is_one_submission_with_a_seed_for_each_draw():
    backend = InProcess("a/b")
    answers = backend.complete_many([ask(d) for d in range(20)])
    (submission,) = LLM.made[0].seen
    seeds = [params.seed for _, params in submission]
    assert len(set(seeds)) == 20 and all(0 <= s < 2**63 for s in seeds)
    assert [a.text for a in answers] == [a.text for a in backend.complete_many([ask(d) for d in range(20)])]
    assert answers[0].source.backend == "vllm" and answers[0].finish == "length" and answers[0].usage.completion == 4


def test_what_a_request_leaves_open_is_what_the_model_brings_along():
    InProcess("a/b").complete_many([ask(), ask(temperature=0.0, top_k=5, stop=("\n",))])
    InProcess("a/b", generation_config="vllm").complete_many([ask()])
    (_, opened), (_, said) = LLM.made[0].seen[0]
    assert (opened.temperature, opened.top_p, opened.top_k, opened.stop) == (0.6, 0.9, 0, [])
    assert (said.temperature, said.top_p, said.top_k, said.stop) == (0.0, 0.9, 5, ["\n"])
    ((_, plain),) = LLM.made[1].seen[0]
    assert (plain.temperature, plain.top_p) == (1.0, 1.0)


@pytest.mark.parametrize(
    "choices", [("0", "1"), ("yes", "no", "yellow"), ("a rather long choice", "another long choice")]
)
def test_choices_have_the_log_probabilities_of_the_transformers_backend(choices):
    request = Request("Flip.", choices=choices, prefix="I say ")
    (found,) = InProcess("a/b").complete_many([request])
    (expected,) = Local.of(tiny_lm("llama"), byte_tokenizer(), name="tiny").complete_many([request])
    assert found.choice_logprobs == pytest.approx(dict(expected.choice_logprobs), abs=1e-3)
    assert found.text in choices and found.usage.prompt == expected.usage.prompt


def test_draws_of_a_choice_are_one_submission():
    backend = InProcess("a/b")
    answers = backend.complete_many([Request("Flip.", choices=("0", "1"), draw=d) for d in range(200)])
    assert [len(submission) for submission in LLM.made[0].seen] == [2]
    assert {a.text for a in answers} == {"0", "1"}


def test_texts_and_choices_together_keep_their_places():
    requests = [ask(), Request("Flip.", choices=("0", "1")), Request("x" * 300), ask(1)]
    answers = InProcess("a/b").complete_many(requests)
    assert [getattr(a, "choice_logprobs", None) is not None for a in answers] == [False, True, False, False]
    assert isinstance(answers[2], CallError) and answers[2].kind == "too_long"


def test_token_logprobs():
    (answer,) = InProcess("a/b").complete_many([ask(logprobs=2)])
    assert len(answer.tokens) == 4
    for t in answer.tokens:
        assert len(t.top) == 2 and t.top[0][1] >= t.top[1][1] and t.top[0][1] >= t.logprob
    assert answer.text == "".join(t.token for t in answer.tokens)


def test_continuations():
    pairs = [("ab", "cd"), ("ab", "a continuation of many tokens")]
    expected = Local.of(tiny_lm("llama"), byte_tokenizer(), name="tiny").continuation_logprobs(pairs)
    assert InProcess("a/b").continuation_logprobs(pairs) == pytest.approx(expected, abs=1e-3)


def test_identity_tells_what_decides_an_answer():
    plain = InProcess("a/b").identity()
    assert plain == InProcess("a/b", tensor_parallel_size=8, options={"max_num_seqs": 64}).identity()
    for changed in ({"dtype": "float16"}, {"generation_config": "vllm"}, {"options": {"hf_overrides": {"a": 1}}}):
        assert InProcess("a/b", **changed).identity() != plain


def test_refusals(monkeypatch):
    with pytest.raises(ModelError, match="generation_config must be 'auto' or 'vllm', not 'hub'"):
        InProcess("a/b", generation_config="hub")
    with pytest.raises(ModelError, match="options may not hold 'trust_remote_code'"):
        InProcess("a/b", options={"trust_remote_code": True})
    (answer,) = InProcess("a/b", options={"unknown": 1}).complete_many([ask()])
    assert answer.stops == "model" and "vLLM cannot open 'a/b': got an unexpected" in answer.message
    monkeypatch.setitem(sys.modules, "vllm", None)
    (answer,) = InProcess("a/b").complete_many([Request((user("Hi"),))])
    assert (
        answer.stops == "model" and answer.message == "the backend vllm needs the package vllm, which is not installed"
    )
