"""The harness lm-eval under a policy: `lm_eval --model sepllm`, or `python -m sepllm.lm_eval_model`.

    lm_eval --model sepllm --model_args pretrained=meta-llama/Meta-Llama-3-8B-Instruct,policy=sep,a=3,n=256 --tasks ...

The harness has no plug-in mechanism, so the plain `lm_eval` command must import this module first:
`python -m sepllm.lm_eval_model ...` takes the same arguments and does so.
"""

from __future__ import annotations

from typing import Any

import torch
from lm_eval.api.registry import register_model
from lm_eval.models.huggingface import HFLM
from torch import Tensor

from .attach import masked
from .cache import SepCache
from .errors import SepLLMError
from .policy import AnyPolicy, Policy, make_policy
from .separators import SeparatorSet

SETTINGS = {
    "a": int, "n": int, "s": int, "w": int, "c": int, "layers": str, "sep_cap": int, "delta": int, "rho": float,
    "seed": int, "positions": str, "compress_at": str,
}  # fmt: skip


@register_model("sepllm")
class SepLM(HFLM):
    """HFLM whose log-likelihoods run under the mask and whose generation uses SepCache.

    Further arguments: `policy` and its settings, `rule` of separators, `prefill`; or `policy_object` and `separators`
    in Python. A streaming policy is no mask: its log-likelihoods are computed through the cache, in exact pieces.
    """

    def __init__(
        self,
        pretrained: Any,
        policy: str = "sep",
        rule: str = "paper",
        prefill: str = "sep",
        policy_object: AnyPolicy | None = None,
        separators: SeparatorSet | None = None,
        **kwargs: Any,
    ):
        settings = {name: SETTINGS[name](kwargs.pop(name)) for name in list(kwargs) if name in SETTINGS}
        if isinstance(pretrained, str) and "tokenizer" not in kwargs and not kwargs.get("gguf_file"):
            from shared.llm.packaged import PACKAGED_MODELS

            if pretrained in PACKAGED_MODELS or pretrained.lower().endswith(".gguf"):
                from shared.llm import load_causal_lm

                pretrained, kwargs["tokenizer"] = load_causal_lm(pretrained, attn_implementation="sdpa")
        super().__init__(pretrained, **kwargs)
        self.policy = policy_object or make_policy({"name": policy, **settings})
        model_type = self.model.config.model_type
        self.separators = separators or SeparatorSet.from_tokenizer(self.tokenizer, rule, model_type=model_type)
        self.prefill = prefill
        self.ratios: list[float] = []  # r.KV of each generation

    def _cache(self) -> SepCache:
        return SepCache(self.model, self.policy, self.separators, prefill=self.prefill)

    def _model_call(self, inps: Tensor, attn_mask: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        if attn_mask is not None or labels is not None:
            raise SepLLMError("sepllm is for decoders, and this task passes labels to an encoder–decoder")
        with torch.no_grad():
            if isinstance(self.policy, Policy):
                with masked(self.model, self.policy, self.separators):
                    return self.model(inps, use_cache=False).logits
            return self.model(inps, past_key_values=self._cache(), use_cache=True).logits

    def _model_generate(self, context: Tensor, max_length: int, stop: list[str], **kwargs: Any) -> Tensor:
        cache = self._cache()
        out = super()._model_generate(context, max_length, stop, past_key_values=cache, **kwargs)
        self.ratios.append(cache.kept_ratio())
        return out


def run_tasks(
    model: Any, tokenizer: Any, policy: AnyPolicy, separators: SeparatorSet, asked: dict[str, Any]
) -> dict[str, Any]:
    """Scores of tasks by the harness, and the mean r.KV of what it generated."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    lm = SepLM(
        model, tokenizer=tokenizer, policy_object=policy, separators=separators, batch_size=asked["batch_size"],
        device=str(model.device),
    )  # fmt: skip
    found = simple_evaluate(
        lm, tasks=list(asked["tasks"]), num_fewshot=asked["num_fewshot"], limit=asked["limit"],
        task_manager=TaskManager(include_path=asked["include_path"]), bootstrap_iters=0,
    )  # fmt: skip
    scores = {
        task: {k: v for k, v in values.items() if isinstance(v, (int, float))}
        for task, values in found["results"].items()
    }
    ratio = sum(lm.ratios) / len(lm.ratios) if lm.ratios else None
    return {"results": scores, "r_kv": ratio, "policy": repr(policy), "separators": separators.describe()}


def main() -> None:
    from lm_eval.__main__ import cli_evaluate

    cli_evaluate()


if __name__ == "__main__":
    # this file runs as __main__; the registered class must be the importable one
    from sepllm.lm_eval_model import main as run

    run()
