"""Long texts through a streaming cache: perplexity, bytes and memory along the way; resumes after a kill.

Two protocols. `continuous`: one text without breaks. `official_lines`: as the authors' script reads PG19, each line is
tokenised alone with BOS before it while the cache runs on; the first word of a line is then predicted from BOS, and is
reported apart, for those tokens make a perplexity of their own.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from .cache import SepCache
from .errors import SepLLMError
from .files import write_json
from .policy import AnyPolicy, StreamingPolicy
from .separators import SeparatorSet
from .stream import Blocks, stream

UNSCORED, INSIDE, FIRST = 0, 1, 2  # kinds of targets
PROTOCOLS = ("continuous", "official_lines")


def by_lines(lines: Iterable[str], tokenizer: Any, length: int) -> tuple[Tensor, Tensor]:
    """(ids, kinds), Int64 and Int8 [T]: a BOS, which is no target, and the tokens of each line."""
    bos = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if bos is None:
        raise SepLLMError("protocol official_lines needs a tokenizer with a BOS or EOS token")
    ids: list[int] = []
    kinds: list[int] = []
    for line in lines:
        found = tokenizer(line, add_special_tokens=False, verbose=False).input_ids
        ids += [bos, *found]
        kinds += [UNSCORED, *([FIRST] if found else []), *[INSIDE] * (len(found) - 1)]
        if len(ids) >= length:
            break
    return torch.tensor(ids[:length]), torch.tensor(kinds[:length], dtype=torch.int8)


def stream_text(
    model: Any,
    policy: AnyPolicy,
    separators: SeparatorSet,
    ids: Tensor,
    kinds: Tensor | None,
    every: int,
    state: Path | None = None,
    mark: str = "",
    chunk: int = 512,
    say: Callable[[str], None] | None = None,
    stop_after: int | None = None,
) -> dict[str, Any]:
    """Score Int64[T] under a cache.

    Args:
        kinds: Int8[T], kinds of targets; None for a continuous text.
        every: tokens between two rows of the result, and between two savings of the state.
        state: path without ending of the saved state (.safetensors and .json), or None to keep none.
        stop_after: stop after that many tokens of this call, keeping the state (for tests).

    Returns:
        {"rows": [{tokens, nll, scored, first_nll, first_scored, kv_bytes, rss, seconds}], ...}
    """
    kinds = torch.full_like(ids, INSIDE, dtype=torch.int8) if kinds is None else kinds
    cache = SepCache(model, policy, separators if policy.needs_separators else None)
    rows: list[dict[str, Any]] = []
    if state is not None:
        rows = _resumed(cache, state, mark)
    process = psutil.Process()
    begun = time.perf_counter() - (rows[-1]["seconds"] if rows else 0.0)
    done = begin_at = cache.get_seq_length()
    while done < len(ids) and not (stop_after is not None and done - begin_at >= stop_after):
        part = ids[done : done + every].to(model.device)
        nll = torch.cat(list(stream(model, part, cache, chunk))).double().cpu()
        target = kinds[done : done + every]
        target = target[len(target) - len(nll) :]
        inside, first = target == INSIDE, target == FIRST
        done += len(part)
        rows.append(
            {
                "tokens": done,
                "nll": float(nll[inside].sum()),
                "scored": int(inside.sum()),
                "first_nll": float(nll[first].sum()),
                "first_scored": int(first.sum()),
                "kv_bytes": cache.kv_bytes(),
                "rss": process.memory_info().rss,
                "seconds": time.perf_counter() - begun,
            }
        )
        if state is not None:
            cache.save(state.with_suffix(f".{len(rows) % 2}.safetensors"))
            write_json(state.with_suffix(".json"), {"mark": mark, "rows": rows})
        if say is not None:
            say(f"  {done}/{len(ids)} tokens, perplexity {perplexity(rows):.3f}")
    slots = next(iter(cache.groups.values()))
    result = {"rows": rows, "ppl": perplexity(rows), "kept_ratio": cache.kept_ratio(), "policy": repr(policy)}
    result["separators"] = separators.rule
    if isinstance(slots, Blocks) and isinstance(policy, StreamingPolicy):
        result |= {"mean_size": slots.mean_size(), "formula_size": policy.mean_size()}
    return result


def _resumed(cache: SepCache, state: Path, mark: str) -> list[dict[str, Any]]:
    """Rows done so far, with the cache as it was after them. The two savings take turns, so that the one that the
    JSON speaks of is whole at every moment."""
    import json

    path = state.with_suffix(".json")
    if not path.is_file():
        return []
    try:
        kept = json.loads(path.read_text())
    except ValueError as error:
        raise SepLLMError(f"{path} is not the state of a stream ({error}): remove it to begin anew") from error
    if kept.get("mark") != mark:
        return []
    rows = kept["rows"]
    cache.load(state.with_suffix(f".{len(rows) % 2}.safetensors"))
    if cache.get_seq_length() != rows[-1]["tokens"]:
        raise SepLLMError(f"{path} and its cache are of different moments: remove both to begin anew")
    return rows


def perplexity(rows: list[dict[str, Any]], first: bool = False, until: int | None = None) -> float:
    """Perplexity of the scored tokens of rows; with `first`, of the first tokens of lines only."""
    chosen = [r for r in rows if until is None or r["tokens"] <= until]
    total = sum(r["first_nll" if first else "nll"] for r in chosen)
    count = sum(r["first_scored" if first else "scored"] for r in chosen)
    return math.exp(min(700.0, total / count)) if count else float("nan")
