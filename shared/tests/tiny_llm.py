"""Small causal language models with random weights, and a tokenizer of bytes, made on the spot."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    BloomConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system turns here') }}{% endif %}"
    "<{{ m.role }}>{{ m.content }}<end>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
SPECIAL = ["<end>", "<user>", "<assistant>"]
VOCABULARY = 256 + len(SPECIAL)
# large weights: with the usual ones a token that sees too much or too little would hardly change a logit
SHAPE = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "initializer_range": 0.35}
HEADS = {"num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 160}
MAKES = {
    "llama": lambda: LlamaConfig(**SHAPE, **HEADS, num_key_value_heads=2),
    "neox": lambda: GPTNeoXConfig(**SHAPE, **HEADS),
    "qwen2": lambda: Qwen2Config(**SHAPE, **HEADS, num_key_value_heads=2),
    "mistral": lambda: MistralConfig(**SHAPE, **HEADS, num_key_value_heads=2, sliding_window=8),
    "bloom": lambda: BloomConfig(vocab_size=VOCABULARY, hidden_size=32, n_layer=2, n_head=4, initializer_range=0.35),
}


def tiny_lm(make: str = "llama", *, attention: str | None = None, seed: int = 0) -> Any:
    """A model of one of MAKES in evaluation mode, which ends nothing by itself."""
    torch.manual_seed(seed)
    config = MAKES[make]()
    config.bos_token_id = config.eos_token_id = config.pad_token_id = None
    lm = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    lm.generation_config.eos_token_id = None
    lm.config.name_or_path = f"tiny {make}"
    return lm.eval()


def byte_tokenizer(*, template: str | None = TEMPLATE, beginning: bool = False, endless: bool = False) -> Any:
    """One token a byte and one for each of SPECIAL, of which `<end>` ends an answer unless the tokenizer is endless."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<end>", additional_special_tokens=SPECIAL[1:])
    if endless:
        tokenizer.eos_token = None
    tokenizer.chat_template = template
    if beginning:
        from tokenizers.processors import TemplateProcessing

        tokenizer.bos_token = "<user>"
        bos = tokenizer.convert_tokens_to_ids("<user>")
        tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
            single="<user> $A", special_tokens=[("<user>", bos)]
        )
    return tokenizer
