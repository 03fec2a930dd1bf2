"""A model that transformers runs in this process, on the CPU or one GPU."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from ..causal_lm import DEFAULT_MODEL, DTYPES, load_causal_lm
from ..errors import ModelError
from ..generation import Draw, Generator
from ..local_model import LocalModel, Prompt, Text
from ..scoring import Scored, Scorer
from ..seeds import draw_generator
from ..trie import Tokens
from ..weights import state_digest, weights_identity

UNBOUNDED = 1 << 20  # the window of a model that states none


class Local(LocalModel):
    """A causal language model of transformers, with the exact log-probabilities of its choices.

    It is loaded when it is first asked: a run whose every answer is in a cache loads nothing.

    Args:
        model: a packaged name, a `.gguf` file, a folder with safetensors, or a hub id (see `load_causal_lm`).
        dtype, device, revision, quantization, attn_implementation: as `load_causal_lm` takes them.
        seed: of the draws; `Sampling.seed` adds to it.
        chat: put messages into the model's chat template; otherwise their texts stand plain, a blank line between.
        max_tokens: of a completion whose request says nothing.
        batch: requests for text that are written at a time.

    Raises:
        ModelError: a setting out of its range.
    """

    name = "transformers"

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        *,
        dtype: str = "float32",
        device: str | None = None,
        revision: str | None = None,
        quantization: str | None = None,
        attn_implementation: str | None = None,
        seed: int = 0,
        chat: bool = True,
        max_tokens: int = 512,
        batch: int = 32,
    ):
        super().__init__(str(model), seed=seed, chat=chat, max_tokens=max_tokens, batch=batch)
        if dtype not in DTYPES:
            raise ModelError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype!r}")
        self._dtype, self._quantization, self._revision = dtype, quantization, revision
        self._placing = {"device": device, "attn_implementation": attn_implementation}
        self._own = False  # whether the model was given and not loaded here
        self._lm: Any = None
        self._tokenizer: Any = None
        self._scorer: Scorer | None = None
        self._generator: Generator | None = None

    @classmethod
    def of(cls, lm: Any, tokenizer: Any, *, name: str, **settings: Any) -> Local:
        """A model that is already in memory, such as one that was just trained, under a name for the reports.

        Its identity is a SHA-256 of its weights; call `forget` after changing them.
        """
        local = cls(name, **settings)
        local._own, local._lm, local._tokenizer = True, lm.eval(), tokenizer
        local._dtype = str(lm.dtype).removeprefix("torch.")
        return local

    def forget(self) -> None:
        with self._lock:
            super().forget()
            if self._own:
                self._identity = None
            if self._scorer:
                self._scorer.forget()

    async def close(self) -> None:
        with self._lock:
            await super().close()
            self._lm = self._tokenizer = self._scorer = self._generator = None

    @property
    def lm(self) -> Any:
        """The transformers model."""
        with self._lock:
            if self._lm is None:
                if self._own:
                    raise ModelError(f"{self.model} was closed")
                # of the hub exactly the commit that identity tells
                revision = self.identity().get("revision")
                self._lm, self._tokenizer = load_causal_lm(
                    self.model,
                    dtype=self._dtype,
                    revision=revision,
                    quantization=self._quantization,
                    **self._placing,  # type: ignore[arg-type]
                )
            return self._lm

    @property
    def tokenizer(self) -> Any:
        return self._tokenizer if self.lm is not None else None

    def _identify(self) -> dict[str, Any]:
        known = (
            {"model": self.model, "weights": state_digest(self.lm)}
            if self._own
            else weights_identity(self.model, self._revision)
        )
        return {**known, "dtype": self._dtype, "quantization": self._quantization}

    def _window(self) -> int:
        config = self.lm.config.get_text_config()
        return getattr(config, "max_position_embeddings", None) or UNBOUNDED

    def _score(self, sequences: Sequence[tuple[Tokens, int]]) -> list[np.ndarray]:
        if self._scorer is None:
            self._scorer = Scorer(self.lm)
        with _room(self.model):
            return self._scorer([Scored(tokens, start) for tokens, start in sequences])

    def _write(self, prompts: Sequence[Prompt]) -> list[Text]:
        if self._generator is None:
            self._generator = Generator(self.lm, self.tokenizer, rows=self.batch)
        draws = [Draw(p.tokens, p.sampling, p.limit, draw_generator(p.key, p.draw)) for p in prompts]
        with _room(self.model):
            self._generator(draws)
        return [
            Text(d.text, len(d.tokens), d.finish, None if d.sampling.logprobs is None else tuple(d.logprobs))
            for d in draws
        ]


@contextlib.contextmanager
def _room(model: str) -> Iterator[None]:
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise ModelError(
            f"the GPU has no room for the batch of {model}: lower batch, or choose a half dtype"
        ) from error
