"""From examples to padded batches, in an order that is a function of (seed, step) alone.

    training     prompt prompt TARGET TARGET END pad pad      labels only at TARGET and END, padding on the right
    generation   pad pad prompt prompt                        padding on the left, positions counted from the prompt

A model continues from the last column, so prompts padded on the right would make it continue the padding.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from ..errors import OFTError
from . import Example

NO_LABEL = -100  # the index that torch's cross-entropy ignores
FORMS = ("chat", "text", "pair")
SYSTEM_MARK, USER_MARK = "the system prompt stands here", "what the user says stands here"


@dataclass(frozen=True, slots=True)
class Encoded:
    """Token ids of an example; for the chat form `target` ends with the end token."""

    prompt: list[int]
    target: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.target)


@dataclass(frozen=True, slots=True)
class Batch:
    """Tensors of one forward."""

    input_ids: Tensor  # (N, L) int64
    attention_mask: Tensor  # (N, L) int64, 0 at padding
    labels: Tensor | None = None  # (N, L) int64, -100 where nothing is asked; (N, L') for an encoder-decoder
    position_ids: Tensor | None = None  # (N, L) int64, for padding on the left

    def to(self, device: torch.device | str) -> Batch:
        moved = [None if t is None else t.to(device) for t in self.tensors()]
        return Batch(*moved)  # type: ignore[arg-type]

    def tensors(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        return self.input_ids, self.attention_mask, self.labels, self.position_ids


def chat_text(tokenizer: Any, prompt: str, system: str | None = None) -> str:
    """The tokenizer's chat template around a user's message, ready for the model's answer.

    Without `system` the text holds no system prompt. Some templates (SmolLM2, Qwen2.5) then put in one of their own:
    the conversation is rendered behind a stand-in system message, and what the template renders for that message
    alone is cut off its front; a BOS token that stood there stays. A tokenizer without a template gets the prompt
    and a line break.
    """
    if not getattr(tokenizer, "chat_template", None):
        return "\n\n".join(filter(None, (system, prompt))) + "\n"
    before, after = _around_the_message(tokenizer, system)
    return before + prompt + after


def _around_the_message(tokenizer: Any, system: str | None) -> tuple[str, str]:
    def render(*messages: tuple[str, str], ask: bool = False) -> str:
        turns = [{"role": role, "content": content} for role, content in messages]
        return tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=ask)

    user = ("user", USER_MARK)
    if system is not None:
        text = render(("system", system), user, ask=True)
    else:
        text = render(user, ask=True)
        try:
            alone = render(("system", SYSTEM_MARK))
            behind = render(("system", SYSTEM_MARK), user, ask=True)
        except Exception:  # templates refuse what they do not know, each by an error of its own
            alone = behind = ""
        if alone and SYSTEM_MARK in alone and behind.startswith(alone):
            turn = behind[len(alone) :]
            bos = getattr(tokenizer, "bos_token", None) or ""
            kept = bos if bos and text.startswith(bos) and not turn.startswith(bos) else ""
            text = kept + turn
    before, found, after = text.partition(USER_MARK)
    if not found:
        raise OFTError("the tokenizer's chat template does not repeat what the user says")
    return before, after


def encode(tokenizer: Any, example: Example, max_length: int | None = None) -> Encoded:
    """Token ids of a chat example. Prompt and target are tokenised apart, as they are when the model answers.

    A longer sequence is cut at its end, which then has no end token.
    """
    # A template writes its special tokens itself; a text without a template gets the tokenizer's own.
    special = not getattr(tokenizer, "chat_template", None)
    prompt = tokenizer(chat_text(tokenizer, example.prompt, example.system), add_special_tokens=special).input_ids
    if special and prompt and prompt[-1] == tokenizer.eos_token_id:
        prompt = prompt[:-1]
    target = [*tokenizer(example.target, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
    if max_length is not None:
        prompt, target = prompt[:max_length], target[: max(0, max_length - len(prompt))]
    return Encoded(prompt, target)


def encode_all(tokenizer: Any, examples: Sequence[Example], form: str, max_length: int) -> list[Encoded]:
    """Token ids of a task's examples. Running text is joined and cut into windows of `max_length`.

    Examples of which no target token is left within `max_length` are left out.

    Raises:
        OFTError: unknown form, or nothing left.
    """
    if form == "chat":
        encoded = [encode(tokenizer, example, max_length) for example in examples]
    elif form == "pair":
        encoded = [
            Encoded(
                tokenizer(example.prompt, truncation=True, max_length=max_length).input_ids,
                tokenizer(text_target=example.target, truncation=True, max_length=max_length).input_ids,
            )
            for example in examples
        ]
    elif form == "text":
        joined = "".join(example.target for example in examples)
        ids = tokenizer(joined, add_special_tokens=False, verbose=False).input_ids
        whole = len(ids) - len(ids) % max_length
        encoded = [Encoded([], ids[i : i + max_length]) for i in range(0, whole, max_length)]
    else:
        raise OFTError(f"form must be one of {', '.join(FORMS)}, not {form!r}")
    kept = [e for e in encoded if e.target]
    if not kept:
        raise OFTError(f"none of {len(examples)} examples has a target within max_length={max_length} tokens")
    return kept


def training_batch(encoded: Sequence[Encoded], pad_id: int, form: str = "chat") -> Batch:
    """Examples padded on the right. Attention is masked by position, since END may be the padding token too."""
    if form == "pair":
        ids, mask = _pad([e.prompt for e in encoded], pad_id)
        return Batch(ids, mask, _pad([e.target for e in encoded], NO_LABEL)[0])
    ids, mask = _pad([e.prompt + e.target for e in encoded], pad_id)
    labels, _ = _pad([[NO_LABEL] * len(e.prompt) + e.target for e in encoded], NO_LABEL)
    return Batch(ids, mask, labels)


def prompt_batch(prompts: Sequence[Sequence[int]], pad_id: int, *, left: bool = True) -> Batch:
    """Prompts to be continued, padded on the left; on the right with left=False, for an encoder."""
    ids, mask = _pad(prompts, pad_id, left=left)
    return Batch(ids, mask, position_ids=(mask.cumsum(1) - 1).clamp_min(0) if left else None)


def _pad(rows: Sequence[Sequence[int]], value: int, *, left: bool = False) -> tuple[Tensor, Tensor]:
    if not rows or not all(rows):
        raise OFTError("a batch needs at least one sequence, and each at least one token")
    width = max(map(len, rows))
    ids = torch.full((len(rows), width), value, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        where = slice(width - len(row), width) if left else slice(0, len(row))
        ids[i, where] = torch.tensor(row, dtype=torch.long)
        mask[i, where] = 1
    return ids, mask


def pad_token_id(tokenizer: Any) -> int:
    """The padding token's id, or the end token's where a tokenizer has none: padding is masked, so any id serves."""
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    if pad is None:
        raise OFTError("the tokenizer has neither a padding nor an end token")
    return pad


@dataclass(frozen=True)
class DataOrder:
    """Which examples a process reads in which step: a pure function, so a resumed run goes on where it was.

    An epoch is a permutation drawn from (seed, epoch). Spans of `span_steps` steps are sorted by length, cut into
    steps and the steps shuffled, so that sequences of a batch are nearly equally long. An epoch's last step is filled
    up from the epoch's beginning: every process has its full share in every step.

    Raises:
        OFTError: no examples, or a count below 1.
    """

    lengths: tuple[int, ...]  # of the examples, in tokens
    seed: int
    batch_size: int  # examples of one process in one forward
    accumulation: int = 1  # forwards of one process in one step
    rank: int = 0
    world: int = 1  # processes
    span_steps: int = 16

    def __post_init__(self) -> None:
        if not self.lengths:
            raise OFTError("there are no examples to train on")
        for name in ("batch_size", "accumulation", "world", "span_steps"):
            if getattr(self, name) < 1:
                raise OFTError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not 0 <= self.rank < self.world:
            raise OFTError(f"rank must lie between 0 and {self.world - 1}, not {self.rank}")

    @property
    def step_size(self) -> int:
        """Examples of all processes in one step."""
        return self.batch_size * self.accumulation * self.world

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.lengths) // self.step_size)

    def indices(self, step: int) -> list[list[int]]:
        """This process's micro-batches of a step (counted from 0): `accumulation` lists of `batch_size` indices."""
        epoch, within = divmod(step, self.steps_per_epoch)
        span, place = divmod(within, self.span_steps)
        mine = _span(self, epoch, span)[place]
        batches = [mine[i : i + self.batch_size] for i in range(0, len(mine), self.batch_size)]
        return batches[self.rank :: self.world]


@lru_cache(maxsize=8)
def _span(order: DataOrder, epoch: int, span: int) -> list[list[int]]:
    """The steps of one span, each with the indices of all processes sorted by length."""
    count, size = len(order.lengths), order.step_size
    shuffled = random.Random(f"{order.seed}, epoch {epoch}").sample(range(count), count)
    first = span * order.span_steps
    last = min(first + order.span_steps, order.steps_per_epoch)
    chosen = [shuffled[i % count] for i in range(first * size, last * size)]
    chosen.sort(key=lambda i: (order.lengths[i], i))
    steps = [chosen[i : i + size] for i in range(0, len(chosen), size)]
    random.Random(f"{order.seed}, epoch {epoch}, span {span}").shuffle(steps)
    return steps


def batches_of(
    encoded: Sequence[Encoded], order: DataOrder, pad_id: int, form: str = "chat"
) -> Callable[[int], list[Batch]]:
    """step -> this process's batches of that step, for the training loop."""
    return lambda step: [training_batch([encoded[i] for i in micro], pad_id, form) for micro in order.indices(step)]
