"""SIT at the paper's scale by trl's SFTTrainer: Alpaca template, loss on all text, one epoch, launched by accelerate.

Deviations from the official script, each a setting: warm-up of 500 steps only where the run has as many (it had 500 of
1,250 for the 10k subset), the answer is never cut (official: the whole text at 2,048 tokens), `oft` is peft's OFT with
blocks of 32, which BOFT with one butterfly factor is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import SGPError
from .prompts import fill
from .sit import Pair
from .tune import TuneConfig, adapter_config

SETS = ("10k", "25k", "40k", "55k", "72k")
PREFIX = {"forward": "sit", "reverse": "rev_sit", "mixed": "mixed_sit"}


@dataclass(frozen=True, slots=True)
class SftConfig:
    """The official scripts' values; batch_size is of one process."""

    epochs: float = 1.0
    batch_size: int = 1
    accumulation: int = 1
    learning_rate: float = 1e-4
    warmup_steps: int = 500
    warmup_share: float = 0.03  # where warmup_steps are more than a tenth of the run
    weight_decay: float = 0.05
    max_length: int = 2048
    bf16: bool = True
    seed: int = 0


def load_pairs(source: str, direction: str = "forward", size: str = "10k") -> list[Pair]:
    """Published instruction data: rows of instruction, input, output, from the hub or a file of JSON lines.

    Raises:
        SGPError: another direction or size, or a source that cannot be read.
    """
    if direction not in PREFIX or size not in SETS:
        raise SGPError(
            f"sit.direction is one of {tuple(PREFIX)}, sit.size one of {SETS}, not {direction!r} and {size!r}"
        )
    if Path(source).is_file():
        import json

        rows: Iterable[Mapping[str, Any]] = [json.loads(line) for line in Path(source).read_text().splitlines() if line]
    else:
        from datasets import load_dataset

        name = source if "/" in source else f"sgp-bench/{PREFIX[direction]}_{size}"
        try:
            rows = load_dataset(name, split="train")  # type: ignore[assignment]
        except Exception as error:  # the hub's clients raise dozens of kinds
            raise SGPError(f"cannot load {name} from the hub: {str(error).splitlines()[0]}") from None
    pairs = [Pair(str(r["instruction"]), str(r.get("input") or ""), str(r["output"]), direction) for r in rows]
    if not pairs:
        raise SGPError(f"{source} holds no pairs")
    return pairs


def alpaca(pair: Pair, tokenizer: Any, limit: int) -> dict[str, str] | None:
    """Prompt and completion in the Alpaca template within `limit` tokens: the input is cut, the output never.

    None where instruction and output alone are too long.
    """
    completion = pair.output + (tokenizer.eos_token or "")
    room = limit - len(tokenizer(completion, add_special_tokens=False).input_ids) - 1
    text = pair.input
    while True:
        prompt = fill("sit.alpaca", instruction=pair.instruction, input=text, output="")
        over = len(tokenizer(prompt, add_special_tokens=False).input_ids) - room
        if over <= 0:
            return {"prompt": prompt, "completion": completion}
        if not text:
            return None
        text = text[: max(0, len(text) - max(over, 8))]


def tune_sft(
    model: Any, tokenizer: Any, pairs: Sequence[Pair], adapter: TuneConfig, config: SftConfig, folder: Path
) -> dict[str, Any]:
    """Trains and saves an adapter; resumes from the folder's last checkpoint. Returns counts and the last loss."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    rows = [alpaca(p, tokenizer, config.max_length) for p in pairs]
    kept = [r for r in rows if r is not None]
    if not kept:
        raise SGPError(f"none of {len(pairs)} pairs fits into {config.max_length} tokens with its output whole")
    import os

    processes = int(os.environ.get("WORLD_SIZE", "1"))
    steps = max(1, int(len(kept) * config.epochs) // (config.batch_size * config.accumulation * processes))
    warmup = config.warmup_steps if config.warmup_steps <= steps // 10 else max(1, round(config.warmup_share * steps))
    arguments = SFTConfig(
        output_dir=str(folder / "trainer"),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.batch_size,
        gradient_accumulation_steps=config.accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=warmup,
        weight_decay=config.weight_decay,
        bf16=config.bf16,
        use_cpu=not config.bf16 and not _cuda(),
        max_length=config.max_length,
        completion_only_loss=adapter.loss_on == "answer",
        save_steps=adapter.save_every,
        save_total_limit=1,
        logging_steps=max(1, steps // 100),
        report_to=[],
        seed=config.seed,
    )
    trainer = SFTTrainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_list(kept),
        processing_class=tokenizer,
        peft_config=adapter_config(adapter),
    )
    resumable = any((folder / "trainer").glob("checkpoint-*"))
    result = trainer.train(resume_from_checkpoint=resumable or None)
    trainer.save_model(str(folder / "adapter"))
    return {
        "pairs": len(kept),
        "left out": len(rows) - len(kept),
        "steps": trainer.state.global_step,
        "warm-up steps": warmup,
        "loss": float(result.training_loss),
    }


def _cuda() -> bool:
    import torch

    return torch.cuda.is_available()
