"""A folder with a random model of two layers and its tokenizer, for runs from the command line."""

from __future__ import annotations

from pathlib import Path


def write_small_model(folder: Path, kind: str = "llama") -> Path:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from sepllm.data import topics, train_tokenizer

    tokenizer = train_tokenizer(topics()[:60_000], 400)
    tokenizer.bos_token = "<eos>"
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    sizes |= {} if kind == "gpt_neox" else {"num_key_value_heads": 2}
    config = AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), max_position_embeddings=4096, eos_token_id=0, **sizes
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
