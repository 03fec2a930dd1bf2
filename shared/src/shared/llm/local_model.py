"""What the backends that run a model in this process have in common: prompts to tokens, choices, draws, refusals."""

from __future__ import annotations

import asyncio
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from .backend import CallError, Capabilities
from .choices import cumulative, pick
from .completion import Completion, Source, TokenLogprob, Usage
from .errors import ModelError, RequestError
from .prompting import Prompting
from .request import Request, Sampling
from .seeds import draw_generator
from .trie import Tokens, common_prefix
from .weighing import Weighed, Weigher, too_long

OPTIONS = tuple(f.name for f in fields(Sampling) if f.name != "extra")  # what may differ between keys


@dataclass(frozen=True, slots=True)
class Prompt:
    """A request for text, ready for the model."""

    tokens: Tokens
    sampling: Sampling
    limit: int  # tokens the completion may have
    key: str  # of the request's draw 0: with the number of the draw it decides the random numbers
    draw: int


@dataclass(frozen=True, slots=True)
class Text:
    """What a model wrote: its text, its tokens' number with the end token, and how it ended."""

    text: str
    tokens: int
    finish: str
    logprobs: tuple[TokenLogprob, ...] | None = None


class LocalModel(ABC):
    """A model in this process, as a `Backend` that answers many requests in one call.

    A request with choices costs one reading of its prompt, however many draws of it there are: the log-probabilities
    of the choices are remembered, and a draw is a random number. A draw depends on the seed, on the request and on
    the number of the draw, and not on what is asked beside it.

    Args:
        model: what `weights_identity` takes.
        seed: of the draws; `Sampling.seed` adds to it.
        chat: put messages into the model's chat template; otherwise their texts stand plain, a blank line between.
        max_tokens: of a completion whose request says nothing.
        batch: requests for text that are written at a time.
        memo: prompts with choices whose log-probabilities are remembered.
    """

    name = ""

    def __init__(self, model: str, *, seed: int, chat: bool, max_tokens: int, batch: int, memo: int = 16_384):
        for option, value, least in (("seed", seed, 0), ("max_tokens", max_tokens, 1), ("batch", batch, 1)):
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise ModelError(f"{option} must be a whole number from {least}, not {value!r}")
        self.model, self.seed, self.chat, self.max_tokens, self.batch = model, seed, chat, max_tokens, batch
        self.capabilities = Capabilities(
            top_k=True,
            min_p=True,
            seed=True,
            logprobs=100,
            prefix=True,
            choices=True,
            choice_logprobs=True,
            extra=False,
        )
        self._weigher = Weigher(memo)
        self._identity: dict[str, Any] | None = None
        self._prompting: Prompting | None = None
        self._lock = threading.RLock()

    # what a backend adds

    @abstractmethod
    def _identify(self) -> dict[str, Any]:
        """The part of the identity that takes time: name and weights."""

    @property
    @abstractmethod
    def tokenizer(self) -> Any:
        """The model's transformers tokenizer."""

    @abstractmethod
    def _window(self) -> int:
        """Tokens that prompt and completion may have together."""

    @abstractmethod
    def _score(self, sequences: Sequence[tuple[Tokens, int]]) -> list[np.ndarray]:
        """For each (tokens, start) the float64 natural-log probabilities of the tokens from `start` (≥ 1) on."""

    @abstractmethod
    def _write(self, prompts: Sequence[Prompt]) -> list[Text]:
        """One completion for each prompt."""

    # the Backend protocol

    def identity(self) -> Mapping[str, Any]:
        """Backend, model, weights or commit, dtype and the settings that decide an answer; no versions, no paths.

        Raises:
            ModelError: the weights cannot be found.
        """
        if self._identity is not None:
            return self._identity  # without the lock, which a call under way may hold for long
        with self._lock:
            if self._identity is None:
                self._identity = {
                    "backend": self.name,
                    **self._identify(),
                    "chat": self.chat,
                    "max_tokens": self.max_tokens,
                    "seed": self.seed,
                }
            return self._identity

    async def complete(self, request: Request) -> Completion:
        """One answer, made in a thread. Raises CallError."""
        (answer,) = await asyncio.to_thread(self.complete_many, [request])
        if isinstance(answer, CallError):
            raise answer
        return answer

    def complete_many(self, requests: Sequence[Request]) -> list[Completion | CallError]:
        """Answers in the order of the requests. `latency_s` is that of the whole call."""
        begun, date = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
        with self._lock:
            try:
                source = Source("live", self.name, str(self.identity()["model"]), date)
                answers: dict[int, Completion | CallError] = {}
                answers |= {i: error for i, r in enumerate(requests) if (error := self._refusal(r))}
                keys = self._keys({i: r for i, r in enumerate(requests) if i not in answers})
                for answer, chosen in ((self._choose, True), (self._speak, False)):
                    asked = [i for i, r in enumerate(requests) if bool(r.choices) is chosen and i not in answers]
                    if asked:
                        answers |= answer(asked, requests, keys, source, begun)
            except ModelError as error:
                return [CallError("server", str(error), stops="model") for _ in requests]
        return [answers[i] for i in range(len(requests))]

    async def close(self) -> None:
        """Forgets the choices' log-probabilities; a subclass gives its memory back."""
        self.forget()
        self._prompting = None

    # beyond the protocol

    def forget(self) -> None:
        """Drops everything remembered from the model's answers: needed after a change of its weights."""
        with self._lock:
            self._weigher.forget()

    @property
    def prompting(self) -> Prompting:
        """How this model's prompts are made."""
        if self._prompting is None:
            self._prompting = Prompting(self.tokenizer, self.model, self.chat)
        return self._prompting

    def count_tokens(self, text: str) -> int:
        """Tokens of a text by itself."""
        return self.prompting.count(text)

    def continuation_logprobs(self, pairs: Iterable[tuple[str, str]]) -> list[float]:
        """For each (prefix, continuation) of plain texts log p(continuation | prefix), in nats.

        Prefix and continuation are put into tokens together, and all tokens after those that they share with the
        prefix alone are scored. What several pairs begin with is read once.

        Raises:
            RequestError: an empty continuation, or a pair longer than the model's window.
            ModelError: the model cannot be loaded, or its logits are not finite.
        """
        sequences = []
        for prefix, continuation in pairs:
            if not continuation:
                raise RequestError("a continuation needs at least one character")
            whole, alone = self.prompting.plain([prefix + continuation, prefix])
            # what the last token of the prefix becomes by the continuation is part of the continuation
            start = min(common_prefix(whole, alone), len(whole) - 1)
            sequences.append((whole, start) if start else ((self.prompting.opening(), *whole), 1))
        return [float(values.sum()) for values in self._checked_score(sequences)]

    def token_logprobs(self, texts: Iterable[str]) -> list[list[float]]:
        """Log p(token | tokens before) in nats for every token of each plain text, the first one included.

        The first token stands after the model's beginning token or, where it has none, its end token.

        Raises:
            RequestError: an empty text, or one longer than the model's window.
            ModelError: the model cannot be loaded, or its logits are not finite.
        """
        sequences = []
        for text in texts:
            if not text:
                raise RequestError("a text needs at least one character")
            tokens = self.prompting.plain([text])[0][len(self.prompting.beginning()) :]
            sequences.append(((self.prompting.opening(), *tokens), 1))
        return [values.tolist() for values in self._checked_score(sequences)]

    def _checked_score(self, sequences: list[tuple[Tokens, int]]) -> list[np.ndarray]:
        with self._lock:
            window = self._window()
            for tokens, _ in sequences:
                if len(tokens) > window:
                    raise RequestError(f"a text of {len(tokens)} tokens is over the {window} that {self.model} reads")
            return self._score(sequences)

    def _keys(self, requests: Mapping[int, Request]) -> dict[int, str]:
        """For each request the key of its draw 0."""
        from .key import request_key

        known: dict[Any, str] = {}
        keys = {}
        for i, r in requests.items():
            same = (r.messages, r.prefix, r.choices, *(getattr(r.sampling, option) for option in OPTIONS))
            if same not in known:
                known[same] = request_key(self.identity(), replace(r, draw=0, tag=""))
            keys[i] = known[same]
        return keys

    # choices

    def _choose(
        self, asked: list[int], requests: Sequence[Request], keys: Mapping[int, str], source: Source, begun: float
    ) -> dict[int, Completion | CallError]:
        weighed = self._weigher([requests[i] for i in asked], self.prompting, self._window(), self._score)
        answers: dict[int, Completion | CallError] = {}
        ready: dict[str, tuple[np.ndarray, list[Completion]]] = {}
        for i, found in zip(asked, weighed, strict=True):
            r = requests[i]
            if isinstance(found, CallError):
                answers[i] = found
                continue
            if keys[i] not in ready:
                made = self._completions(found, r.sampling, source, time.perf_counter() - begun)
                ready[keys[i]] = cumulative(list(found.logprobs.values()), r.sampling), made
            cumulated, completions = ready[keys[i]]
            answers[i] = completions[pick(cumulated, draw_generator(keys[i], r.draw).random())]
        return answers

    def _completions(self, weighed: Weighed, sampling: Sampling, source: Source, latency: float) -> list[Completion]:
        """The answer for each choice; draws that fall on one choice have one answer, which nothing changes."""
        made = []
        for choice, rest, values in zip(weighed.logprobs, weighed.split.rests, weighed.token_logprobs, strict=True):
            tokens = None
            if sampling.logprobs is not None:
                pieces = map(self.prompting.piece, rest)
                tokens = tuple(TokenLogprob(p, float(v)) for p, v in zip(pieces, values, strict=True))
            usage = Usage(prompt=len(weighed.split.context), completion=len(rest))
            made.append(
                Completion(
                    choice,
                    usage=usage,
                    tokens=tokens,
                    choice_logprobs=weighed.logprobs,
                    model_reported=source.model,
                    source=source,
                    latency_s=latency,
                )
            )
        return made

    # text

    def _speak(
        self, asked: list[int], requests: Sequence[Request], keys: Mapping[int, str], source: Source, begun: float
    ) -> dict[int, Completion | CallError]:
        answers: dict[int, Completion | CallError] = {}
        prompts: dict[int, Prompt] = {}
        encoded: dict[Any, Tokens] = {}
        for i in asked:
            r = requests[i]
            try:
                if (r.messages, r.prefix) not in encoded:
                    text = self.prompting.text(r.messages, r.prefix)
                    encoded[r.messages, r.prefix] = self.prompting.tokens([text])[0]
            except RequestError as error:
                answers[i] = CallError("bad_request", str(error))
                continue
            tokens = encoded[r.messages, r.prefix]
            room = self._window() - len(tokens)
            if not tokens:
                answers[i] = CallError("bad_request", "the prompt is empty")
            elif room < 1:
                answers[i] = too_long(len(tokens) + 1, self._window(), self.model)
            else:
                prompts[i] = Prompt(
                    tokens, r.sampling, min(r.sampling.max_tokens or self.max_tokens, room), keys[i], r.draw
                )
        written = self._write(list(prompts.values())) if prompts else []
        latency = time.perf_counter() - begun
        for (i, prompt), reply in zip(prompts.items(), written, strict=True):
            answers[i] = Completion(
                reply.text,
                finish=reply.finish,
                usage=Usage(prompt=len(prompt.tokens), completion=reply.tokens),
                tokens=reply.logprobs,
                model_reported=source.model,
                source=source,
                latency_s=latency,
            )
        return answers

    def _refusal(self, r: Request) -> CallError | None:
        unknown = {"schema": r.schema, "extra": r.sampling.extra, "reasoning_effort": r.sampling.reasoning_effort}
        given = [name for name, value in unknown.items() if value]
        return CallError("bad_request", f"the backend {self.name} takes no {given[0]}") if given else None
