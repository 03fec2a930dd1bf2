"""Which token ids are separators (paper §3.1), for any tokenizer.

The paper names nine strings: . , ? ! ; : blank, tab, newline. Byte-level vocabularies also hold tokens that fuse them
("\\n\\n", "...", ".\\n"), which lists of single characters miss; the rules differ in what they do with those:

    paper     the decoded token is one of the nine strings
    fused     it consists of characters of the nine only
    ends      fused, or its last character is one of . , ? ! ; : tab newline
    official  the list in the authors' code for this family of models
    ids       the list given
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .errors import SepLLMError, one_of

NINE = (".", ",", "?", "!", ";", ":", " ", "\t", "\n")
RULES = ("paper", "fused", "ends", "official", "ids")

# Read in the configurations of github.com/HKUDS/SepLLM (commit f250f59) and of transformers-community/sep_cache.
# llama: Llama-3's training-free configurations, whose list holds the BOS 128000 and no tab.
# llama-streaming: the streaming list, with leading-blank forms and without BOS.
OFFICIAL: dict[str, tuple[int, ...]] = {
    "llama": (13, 11, 30, 0, 26, 25, 198, 220, 128000),
    "llama-streaming": (13, 11, 30, 0, 26, 25, 198, 220, 662, 1174, 949, 758, 2652, 551, 720, 256, 262),
    "gpt_neox": (15, 13, 32, 2, 28, 27, 209, 186, 187),
    "gpt_neox-streaming": (
        *(15, 13, 32, 2, 28, 27, 209, 186, 187, 964, 1157, 3736, 2195, 3706, 1163, 2490),
        *(586, 4928, 50276, 50275),
    ),
    "falcon": (25, 23, 42, 12, 38, 37, 193, 4610, 204, 258, 1212, 23787, 466),
}
OFFICIAL_VOCABULARY = {"llama": 128256, "gpt_neox": 50254, "falcon": 65024}  # below it, another tokenizer is meant


@dataclass(frozen=True)
class SeparatorSet:
    """Ids of separator tokens.

    Attributes:
        ids: sorted, without duplicates.
        vocabulary: number of ids that the tokenizer or model knows.
        rule: the rule that found them.
        texts: what each id decodes to, where a tokenizer was at hand.
    """

    ids: tuple[int, ...]
    vocabulary: int
    rule: str = "ids"
    texts: dict[int, str] = field(default_factory=dict, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(sorted(set(self.ids))))
        wrong = [i for i in self.ids if not 0 <= i < self.vocabulary]
        if wrong:
            raise SepLLMError(
                f"separator ids must lie in [0, {self.vocabulary}), and {wrong[0]} does not: is this list for another "
                "tokenizer?"
            )

    @classmethod
    def from_tokenizer(
        cls,
        tokenizer: Any,
        rule: str | Sequence[int] = "paper",
        include: Iterable[int] = (),
        exclude: Iterable[int] = (),
        model_type: str | None = None,
    ) -> SeparatorSet:
        """The separators of a tokenizer.

        Args:
            rule: one of `paper`, `fused`, `ends`, `official`, or a list of ids.
            include, exclude: ids to add and to take away afterwards. Special tokens come in by `include` only.
            model_type: for `official`, a key of OFFICIAL.

        Raises:
            SepLLMError: an unknown rule, no separator in the vocabulary, or an id out of range.
        """
        vocabulary = len(tokenizer)
        if not isinstance(rule, str):
            found, name = set(rule), "ids"
        else:
            one_of("rule of separators", rule, RULES[:-1])
            name = rule
            found = official_ids(model_type, vocabulary) if rule == "official" else decoded_ids(tokenizer, rule)
        found = (found | set(include)) - set(exclude)
        if not found:
            raise SepLLMError(
                f"the vocabulary of this tokenizer ({vocabulary} ids) has no separator by rule {name!r}: try rule "
                "'fused' or 'ends', give ids, or use WindowPolicy, which needs none"
            )
        ids = tuple(sorted(found))
        if ids[0] < 0 or ids[-1] >= vocabulary:
            wrong = ids[0] if ids[0] < 0 else ids[-1]
            raise SepLLMError(f"separator ids must lie in [0, {vocabulary}), and {wrong} does not")
        return cls(ids, vocabulary, name, {i: tokenizer.decode([i]) for i in ids})

    @classmethod
    def nothing(cls, vocabulary: int) -> SeparatorSet:
        """No separator: what SepPolicy then keeps is StreamingLLM's initial tokens and window."""
        return cls((), vocabulary, "none")

    def lut(self, device: torch.device | str = "cpu", size: int = 0) -> Tensor:
        """Bool[max(vocabulary, size)], True at separators; one look-up instead of a comparison with each id.

        `size`: rows of the model's embedding, which may be more than its tokenizer's ids.
        """
        table = torch.zeros(max(self.vocabulary, size), dtype=torch.bool)
        table[list(self.ids)] = True
        return table.to(device)

    def digest(self) -> str:
        """A hash of the ids, kept with a saved cache."""
        return hashlib.sha256(repr((self.ids, self.vocabulary)).encode()).hexdigest()[:16]

    def coverage(self, ids: Tensor) -> float:
        """Share of separators among these tokens."""
        return float(torch.isin(ids, torch.tensor(self.ids, dtype=ids.dtype)).float().mean())

    def describe(self, ids: Tensor | None = None, most: int = 24) -> str:
        """A line for a person: rule, number, share among `ids`, and the first tokens themselves."""
        shown = ", ".join(f"{i} {self.texts[i]!r}" if i in self.texts else str(i) for i in self.ids[:most])
        more = f", and {len(self.ids) - most} more" if len(self.ids) > most else ""
        share = "" if ids is None else f", {self.coverage(ids):.1%} of {ids.numel()} tokens"
        return f"rule {self.rule}: {len(self.ids)} separators{share}: {shown}{more}"


def official_ids(model_type: str | None, vocabulary: int) -> set[int]:
    if model_type not in OFFICIAL:
        raise SepLLMError(
            f"the authors' code has no list for model type {model_type!r}, only for {', '.join(OFFICIAL)}: use rule "
            "'paper', 'fused' or 'ends'"
        )
    if vocabulary < OFFICIAL_VOCABULARY[model_type.partition("-")[0]]:
        raise SepLLMError(
            f"the authors' list for {model_type!r} is for another tokenizer than this one of {vocabulary} ids: use "
            "rule 'paper', 'fused' or 'ends'"
        )
    return set(OFFICIAL[model_type])


def decoded_ids(tokenizer: Any, rule: str) -> set[int]:
    """Ids whose text, each decoded alone, satisfies the rule; special tokens never do."""
    special = set(tokenizer.all_special_ids) | set(getattr(tokenizer, "added_tokens_decoder", {}))
    nine, enders = set(NINE), set(NINE) - {" "}
    found = set()
    ordinary = [i for i in range(len(tokenizer)) if i not in special]
    for i, text in zip(ordinary, tokenizer.batch_decode([[i] for i in ordinary]), strict=True):
        fused = bool(text) and all(c in nine for c in text)
        if text in nine if rule == "paper" else fused or (rule == "ends" and text[-1:] in enders):
            found.add(i)
    return found
