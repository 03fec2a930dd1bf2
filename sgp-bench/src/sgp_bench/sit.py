"""Symbolic Instruction Tuning: pairs of programs and what they show, forward, reversed or mixed, and their tokens.

    forward   instruction, program -> description        (SIT, §4)
    reverse   instruction, description -> program        (rev-SIT)
    mixed     both
    qa        program, question, options -> the answer's words (ours, for models too small to learn from captions)

A long program can fill a context to its end and push the answer out, which then trains nothing. Here the answer is
never cut: the program is, or the pair is left out, and both are counted.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from shared.llm import Message, user
from shared.llm.scoring import visible
from shared.llm.trie import Tokens, build_trie

from .errors import SGPError
from .prompts import fill, messages
from .records import Item

DIRECTIONS = ("forward", "reverse", "mixed", "qa")


@dataclass(frozen=True, slots=True)
class Pair:
    """A row of instruction data, as the published sets have it."""

    instruction: str
    input: str
    output: str
    direction: str = "forward"

    def swapped(self) -> Pair:
        """Input for output: forward pairs become reverse ones and the other way round."""
        other = "reverse" if self.direction == "forward" else "forward"
        return Pair(fill(f"sit.{other}"), self.output, self.input, other)


def build_sit(described: Iterable[tuple[str, str]], direction: str, seed: int = 0) -> list[Pair]:
    """Pairs of (program, description), in a direction; `mixed` holds each pair both ways, shuffled.

    Raises:
        SGPError: another direction, or an empty program or description.
    """
    forward = [Pair(fill("sit.forward"), program, text) for program, text in described]
    if bad := [i for i, p in enumerate(forward, 1) if not p.input.strip() or not p.output.strip()]:
        raise SGPError(f"pair {bad[0]} lacks its program or its description")
    if direction == "forward":
        return forward
    if direction == "reverse":
        return [p.swapped() for p in forward]
    if direction == "mixed":
        both = [q for p in forward for q in (p, p.swapped())]
        random.Random(f"mixed/{seed}").shuffle(both)
        return both
    raise SGPError(f"direction must be one of {', '.join(DIRECTIONS[:3])}, not {direction!r}")


@dataclass(frozen=True, slots=True)
class Turn:
    """What is asked and what is to be answered. `shortenable` is the part of the question that may be cut."""

    messages: tuple[Message, ...]
    answer: str
    shortenable: str = ""
    weight: float = 1.0


def pair_turn(pair: Pair, weight: float = 1.0) -> Turn:
    return Turn((user(f"{pair.instruction}\n\n{pair.input}"),), pair.output, pair.input, weight)


def question_turn(item: Item, style: str = "text") -> Turn:
    """An item with the words (or the letter) of its answer."""
    return Turn(messages(item, style), item.right if style == "text" else item.answer, item.program)


@dataclass(frozen=True, slots=True)
class Encoded:
    """Tokens of question and answer; those from `start` on are the answer with the token that ends it."""

    tokens: Tokens
    start: int
    weight: float = 1.0


@dataclass
class Fitted:
    """What became of the turns under a token budget."""

    encoded: list[Encoded]
    shortened: int = 0
    dropped: int = 0


def encode(turns: Sequence[Turn], tokenizer: Any, limit: int, on_long: str = "shorten") -> Fitted:
    """Chat-formatted tokens, each within `limit`, every answer whole.

    Raises:
        SGPError: no turn is left, or on_long is neither shorten nor drop.
    """
    if on_long not in ("shorten", "drop"):
        raise SGPError(f"on_long must be shorten or drop, not {on_long!r}")
    fitted = Fitted([])
    for turn in turns:
        answer = [*tokenizer(turn.answer, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        question = _question(turn.messages, tokenizer)
        over = len(question) + len(answer) - limit
        if over > 0 and on_long == "shorten" and turn.shortenable:
            question = _shortened(turn, tokenizer, limit - len(answer))
            fitted.shortened += bool(question)
        if not question or len(question) + len(answer) > limit:
            fitted.dropped += 1
            continue
        fitted.encoded.append(Encoded((*question, *answer), len(question), turn.weight))
    if turns and not fitted.encoded:
        raise SGPError(f"none of {len(turns)} turns fits into {limit} tokens with its answer whole: raise the limit")
    return fitted


def _question(asked: Sequence[Message], tokenizer: Any) -> list[int]:
    chat = [{"role": m.role, "content": m.text} for m in asked]
    text = tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    return tokenizer(text, add_special_tokens=False).input_ids


def _shortened(turn: Turn, tokenizer: Any, room: int) -> list[int]:
    """The question with its program cut at the end until it fits; empty where even without a program it does not."""
    low, high = 0, len(turn.shortenable)
    best: list[int] = []
    while low <= high:
        middle = (low + high) // 2
        cut = turn.shortenable[:middle]
        asked = [replace(m, parts=(m.text.replace(turn.shortenable, cut),)) for m in turn.messages]
        tokens = _question(asked, tokenizer)
        if len(tokens) <= room:
            best, low = tokens, middle + 1
        else:
            high = middle - 1
    return best


@dataclass(frozen=True, slots=True)
class Packed:
    """Many turns as one row, what they share computed once: a program with k questions costs P + kQ, not k(P + Q).

    ids and positions [1, n]; mask [1, 1, n, n], additive; `nodes` are the places whose logits predict `targets`, and
    `weights` sum to 1.
    """

    ids: Int[Tensor, "1 n"]
    positions: Int[Tensor, "1 n"]
    mask: Float[Tensor, "1 1 n n"]
    nodes: Int[Tensor, " m"]
    targets: Int[Tensor, " m"]
    weights: Float[Tensor, " m"]


def pack(turns: Sequence[Encoded], dtype: torch.dtype = torch.float32, loss_on: str = "answer") -> Packed:
    """One row of turns in which none sees another. Each turn's loss is the mean over its tokens; turns are weighted.

    `loss_on="all"` also trains the question's tokens, as the paper's scripts do.
    """
    if not turns:
        raise SGPError("there is nothing to train on: no turns")
    trie = build_trie([t.tokens[:-1] for t in turns])
    seen = visible(trie.parents, np.empty(0, dtype=np.int64), 0, len(trie))
    mask = torch.zeros(seen.shape, dtype=dtype).masked_fill_(~torch.from_numpy(seen), torch.finfo(dtype).min)
    nodes, targets, weights = [], [], []
    total = sum(t.weight for t in turns)
    for turn, path in zip(turns, trie.paths, strict=True):
        begin = turn.start if loss_on == "answer" else 1
        nodes.append(path[begin - 1 :])
        targets.append(np.array(turn.tokens[begin:]))
        count = len(turn.tokens) - begin
        weights.append(np.full(count, turn.weight / total / count))
    return Packed(
        torch.from_numpy(trie.tokens)[None],
        torch.from_numpy(trie.depths)[None],
        mask[None, None],
        torch.from_numpy(np.concatenate(nodes)),
        torch.from_numpy(np.concatenate(targets)),
        torch.from_numpy(np.concatenate(weights)).float(),
    )


def packed_loss(lm: Any, packed: Packed) -> Float[Tensor, ""]:
    """Weighted mean of -log p(target), the head computed at the wanted places alone."""
    device = lm.device
    wanted, rows = torch.unique(packed.nodes, return_inverse=True)
    logits = lm(
        input_ids=packed.ids.to(device),
        position_ids=packed.positions.to(device),
        attention_mask=packed.mask.to(device=device, dtype=lm.dtype),
        logits_to_keep=wanted.to(device),
        use_cache=False,
    ).logits[0]
    losses = torch.nn.functional.cross_entropy(
        logits.float()[rows.to(device)], packed.targets.to(device), reduction="none"
    )
    return (losses * packed.weights.to(device)).sum()
