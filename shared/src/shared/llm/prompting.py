"""From messages to the tokens that a model in this process reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .errors import ModelError, RequestError
from .messages import Message
from .trie import Tokens


class Prompting:
    """Prompts for one model.

    Args:
        tokenizer: a transformers tokenizer.
        model: the model's name, for refusals.
        chat: put messages into the tokenizer's chat template; otherwise their texts stand plain, a blank line between.
    """

    def __init__(self, tokenizer: Any, model: str, chat: bool):
        self.tokenizer, self.model, self.chat = tokenizer, model, chat

    def text(self, messages: Sequence[Message], prefix: str | None = None) -> str:
        """What the model reads: the conversation, an opened answer, and how the answer begins.

        Raises:
            RequestError: pictures, a template that refuses the conversation, or no template.
        """
        if any(m.images for m in messages):
            raise RequestError(f"{self.model} reads no pictures")
        if not self.chat:
            return "\n\n".join(m.text for m in messages) + (prefix or "")
        if not self.tokenizer.chat_template:
            raise RequestError(f"{self.model} has no chat template: chat=false gives it the messages as plain text")
        turns = [{"role": m.role, "content": m.text} for m in messages]
        try:
            text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except Exception as error:  # a template is a program and may refuse in any way
            reason = str(error).strip().split("\n")[0].rstrip(".")
            raise RequestError(f"the chat template of {self.model} refuses the messages: {reason}") from error
        return text + (prefix or "")

    def tokens(self, texts: list[str]) -> list[Tokens]:
        """Tokens of prompts. A chat template writes the beginning token by itself; plain text gets it here."""
        beginning = () if self.chat else self.beginning()
        return [(*beginning, *ids) for ids in self._encode(texts)]

    def plain(self, texts: list[str]) -> list[Tokens]:
        """Tokens of texts outside any conversation, after the beginning token if the model is used to one."""
        return [(*self.beginning(), *ids) for ids in self._encode(texts)]

    def beginning(self) -> Tokens:
        """The beginning token, if this tokenizer puts one before a text."""
        usual = self.tokenizer("").input_ids
        return tuple(usual[:1]) if usual and usual[0] == self.tokenizer.bos_token_id else ()

    def opening(self) -> int:
        """A token for a text's first token to stand after: the beginning token, else the end token.

        Raises:
            ModelError: the tokenizer has neither.
        """
        for token in (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id):
            if token is not None:
                return token
        raise ModelError(f"{self.model} has no beginning or end token for a first token to stand after")

    def count(self, text: str) -> int:
        return len(self._encode([text])[0])

    def piece(self, token: int) -> str:
        return self.tokenizer.decode([token])

    def _encode(self, texts: list[str]) -> list[Tokens]:
        return [tuple(ids) for ids in self.tokenizer(texts, add_special_tokens=False).input_ids]
