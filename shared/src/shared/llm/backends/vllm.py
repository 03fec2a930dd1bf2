"""A model that vLLM runs in this process, on one GPU or several. Needs the package vllm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..completion import TokenLogprob
from ..errors import ModelError
from ..local_model import LocalModel, Prompt, Text
from ..seeds import draw_seed
from ..trie import Tokens
from ..weights import weights_identity

DEFAULTS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")  # that a model may bring along
SET_HERE = ("trust_remote_code", "load_format", "enable_prefix_caching", "logprobs_mode")
# options on which no answer depends
RESOURCES = ("gpu_memory_utilization", "max_num_seqs", "max_num_batched_tokens", "enforce_eager", "max_model_len")
FORCED = 8  # tokens; longer choices are read as a prompt


class InProcess(LocalModel):
    """A causal language model of vLLM: a whole grid of prompts and draws in one submission, prefixes cached.

    Choices are weighed in two ways, both with log-probabilities as they are before any temperature or cut. A short
    choice is forced token by token, each on a prompt that the prefix cache holds; a long one is read as part of the
    prompt, which vLLM does without the prefix cache.

    Args:
        model: a folder or a hub id.
        dtype, quantization, revision, tensor_parallel_size: as vLLM takes them.
        generation_config: "auto" starts from the sampling settings that the model brings along, as a vLLM server
            does; "vllm" from temperature 1 and no cuts. What a request says goes before both.
        seed, chat, max_tokens: as for `LocalModel`.
        batch: requests a submission.
        options: further arguments of `vllm.LLM`.

    Raises:
        ModelError: a setting out of its range, or an option that is set here.
    """

    name = "vllm"

    def __init__(
        self,
        model: str,
        *,
        dtype: str = "auto",
        quantization: str | None = None,
        revision: str | None = None,
        generation_config: str = "auto",
        tensor_parallel_size: int = 1,
        seed: int = 0,
        chat: bool = True,
        max_tokens: int = 2048,
        batch: int = 4096,
        options: Mapping[str, Any] | None = None,
    ):
        super().__init__(str(model), seed=seed, chat=chat, max_tokens=max_tokens, batch=batch)
        if generation_config not in ("auto", "vllm"):
            raise ModelError(f"generation_config must be 'auto' or 'vllm', not {generation_config!r}")
        self._options = dict(options or {})
        if fixed := [name for name in SET_HERE if name in self._options]:
            raise ModelError(f"options may not hold {fixed[0]!r}: it is set here, and with it what answers mean")
        self.capabilities = replace(self.capabilities, logprobs=20)  # vLLM's own bound
        self._decides = {"dtype": dtype, "quantization": quantization, "generation_config": generation_config}
        self._revision, self._parallel = revision, tensor_parallel_size
        self._engine: Any = None

    @property
    def engine(self) -> Any:
        """The vllm.LLM, made when it is first needed."""
        with self._lock:
            if self._engine is None:
                try:
                    from vllm import LLM
                except ImportError as error:
                    raise ModelError("the backend vllm needs the package vllm, which is not installed") from error
                try:
                    self._engine = LLM(
                        model=self.model,
                        revision=self.identity().get("revision"),
                        tensor_parallel_size=self._parallel,
                        seed=self.seed,
                        trust_remote_code=False,
                        load_format="safetensors",
                        enable_prefix_caching=True,
                        logprobs_mode="raw_logprobs",
                        **self._decides,
                        **self._options,
                    )
                except (OSError, ValueError, RuntimeError, TypeError) as error:
                    reason = str(error).strip().split("\n")[0].rstrip(".")
                    raise ModelError(f"vLLM cannot open {self.model!r}: {reason}") from error
            return self._engine

    @property
    def tokenizer(self) -> Any:
        return self.engine.get_tokenizer()

    async def close(self) -> None:
        with self._lock:
            await super().close()
            self._engine = None

    def _identify(self) -> dict[str, Any]:
        deciding = {name: value for name, value in self._options.items() if name not in RESOURCES}
        return {**weights_identity(self.model, self._revision), **self._decides, "options": deciding}

    def _window(self) -> int:
        return self.engine.llm_engine.model_config.max_model_len

    def _write(self, prompts: Sequence[Prompt]) -> list[Text]:
        brought = self.engine.get_default_sampling_params()
        defaults = {name: getattr(brought, name) for name in DEFAULTS}
        jobs = []
        for p in prompts:
            said = {name: getattr(p.sampling, name, None) for name in DEFAULTS}
            settings = defaults | {name: value for name, value in said.items() if value is not None}
            settings |= {"max_tokens": p.limit, "seed": draw_seed(p.key, p.draw), "logprobs": p.sampling.logprobs}
            jobs.append((p.tokens, settings | {"stop": list(p.sampling.stop)}))
        return [_text(out.outputs[0], p.sampling.logprobs) for p, out in zip(prompts, self._run(jobs), strict=True)]

    def _score(self, sequences: Sequence[tuple[Tokens, int]]) -> list[np.ndarray]:
        forced: dict[tuple[Tokens, int], float] = {}
        read: dict[Tokens, Any] = {}
        for tokens, start in sequences:
            if len(tokens) - start > FORCED:
                read[tokens] = None
            else:
                forced |= {(tokens[:at], tokens[at]): 0.0 for at in range(start, len(tokens))}
        one: dict[str, Any] = {"max_tokens": 1, "detokenize": False}
        jobs = [(before, one | {"allowed_token_ids": [token], "logprobs": 0}) for before, token in forced]
        jobs += [(tokens, one | {"prompt_logprobs": 0}) for tokens in read]
        outputs = self._run(jobs)
        for (before, token), out in zip(forced, outputs, strict=False):
            forced[before, token] = out.outputs[0].logprobs[0][token].logprob
        for tokens, out in zip(read, outputs[len(forced) :], strict=True):
            read[tokens] = out.prompt_logprobs
        values = []
        for tokens, start in sequences:
            places = range(start, len(tokens))
            if tokens in read and len(places) > FORCED:
                values.append(np.array([read[tokens][at][tokens[at]].logprob for at in places]))
            else:
                values.append(np.array([forced[tokens[:at], tokens[at]] for at in places]))
        return values

    def _run(self, jobs: Sequence[tuple[Tokens, dict[str, Any]]]) -> list[Any]:
        engine = self.engine
        from vllm import SamplingParams

        prompts = [{"prompt_token_ids": list(tokens)} for tokens, _ in jobs]
        return engine.generate(prompts, [SamplingParams(**settings) for _, settings in jobs], use_tqdm=False)


def _text(output: Any, alternatives: int | None) -> Text:
    """vLLM's CompletionOutput as ours."""
    logprobs = None
    if alternatives is not None:
        logprobs = []
        for token, entry in zip(output.token_ids, output.logprobs, strict=True):
            best = sorted(entry.values(), key=lambda e: e.rank)[:alternatives]
            top = tuple((e.decoded_token or "", e.logprob) for e in best)
            logprobs.append(TokenLogprob(entry[token].decoded_token or "", entry[token].logprob, top))
    finish = output.finish_reason or "stop"
    return Text(output.text, len(output.token_ids), finish, None if logprobs is None else tuple(logprobs))
