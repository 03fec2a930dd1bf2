"""kvpress beside SepCache: two processes that take turns, as its environment cannot hold our transformers."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from sepllm import SepCache, SepPolicy
from sepllm.separators import SeparatorSet

HERE = Path(__file__).parent / "peers"
PRESSES = (
    "none", "StreamingLLMPress", "SnapKVPress", "ExpectedAttentionPress", "KnormPress", "KnormPress + DecodingPress",
    "KeyRerotationPress",
)  # fmt: skip
CONTEXT, AFTER = 2048, 128


def environment() -> Path | None:
    """The peers' Python, installed on first use; None where that fails (no network)."""
    python = HERE / ".venv" / "bin" / "python"
    if (HERE / ".venv" / ".ready").exists():
        return python
    uv = shutil.which("uv") or str(Path(sys.executable).parent / "uv")
    variables = {**os.environ, "UV_FIND_LINKS": os.environ.get("UV_FIND_LINKS", os.environ.get("PIP_FIND_LINKS", ""))}
    try:
        subprocess.run([uv, "venv", "--quiet", "--allow-existing", str(HERE / ".venv")], check=True, env=variables)
        listed = [uv, "pip", "install", "--quiet", "--python", str(python), "-r", str(HERE / "pyproject.toml")]
        subprocess.run(listed, check=True, env=variables)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"the presses of kvpress are left out: their environment could not be made ({error})", file=sys.stderr)
        return None
    (HERE / ".venv" / ".ready").touch()
    return python


@torch.inference_mode()
def ours(model: Any, separators: SeparatorSet, ids: Tensor, after: Tensor, policy: Any, steps: int) -> dict[str, Any]:
    """The same measurement as peers/worker.py makes of a press; `policy` None is DynamicCache."""
    cache = DynamicCache(config=model.config) if policy is None else SepCache(model, policy, separators)
    begin = time.perf_counter()
    model(ids, past_key_values=cache, logits_to_keep=1)
    prefill = time.perf_counter() - begin
    seconds = []
    for i in range(steps):
        begin = time.perf_counter()
        model(after[:, i : i + 1], past_key_values=cache)
        seconds.append(time.perf_counter() - begin)
    stored = cache.kv_bytes() if policy is not None else sum(x.keys.nbytes + x.values.nbytes for x in cache.layers)
    again = DynamicCache(config=model.config) if policy is None else SepCache(model, policy, separators)
    model(ids, past_key_values=again, logits_to_keep=1)
    logits = model(after, past_key_values=again).logits[0, :-1].float()
    loss = float(torch.nn.functional.cross_entropy(logits, after[0, 1:]))
    return {"prefill": prefill, "decode": statistics.median(seconds), "kv_bytes": stored, "loss_after": loss}


def compare(model: Any, tokenizer: Any, separators: SeparatorSet, text: Tensor, rounds: int = 7) -> dict[str, Any]:
    """Ours and each press at the same number of kept tokens, A-B-B-A, medians with quartiles of ratios."""
    from shared.llm.gguf_cache import converted_folder
    from shared.llm.packaged import packaged_gguf

    python = environment()
    if python is None:
        return {}
    ids, after = text[None, :CONTEXT], text[None, CONTEXT : CONTEXT + AFTER]
    policy, steps = SepPolicy(a=4, n=256), 8
    probe = SepCache(model, policy, separators)
    with torch.inference_mode():
        model(ids, past_key_values=probe, logits_to_keep=1)
    kept = probe.kept_tokens()[0]
    setup = {
        "model": str(converted_folder(packaged_gguf("smollm2-135m-instruct"))),
        "ids": ids[0].tolist(),
        "after": after[0].tolist(),
        "threads": torch.get_num_threads(),
    }
    process = subprocess.Popen(
        [str(python), str(HERE / "worker.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None

    def ask(request: dict[str, Any]) -> dict[str, Any]:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        return json.loads(process.stdout.readline())

    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ("SepCache", "DynamicCache", *PRESSES)}
    try:
        ask(setup)
        for turn in range(rounds):
            mine = [("SepCache", policy), ("DynamicCache", None)]
            order: list[Any] = [*mine, *PRESSES]
            for item in order if turn % 2 == 0 else reversed(order):
                if isinstance(item, tuple):
                    found[item[0]].append(ours(model, separators, ids, after, item[1], steps))
                else:
                    found[item].append(ask({"press": item, "kept": kept, "steps": steps}))
    finally:
        process.stdin.close()
        process.wait(timeout=60)
    return {"kept": kept, "rows": [row(name, values, found["SepCache"]) for name, values in found.items()]}


def row(name: str, values: list[dict[str, Any]], base: list[dict[str, Any]]) -> dict[str, Any]:
    broken = next((v["error"] for v in values if "error" in v), None)
    label = f"kvpress {name}" if name in PRESSES[1:] else "kvpress's DynamicCache" if name == "none" else name
    if broken:
        return {"cache": label, "error": broken}
    out: dict[str, Any] = {"cache": label}
    for what in ("prefill", "decode"):
        ratios = sorted(v[what] / b[what] for v, b in zip(values, base, strict=True))
        out[what] = statistics.median(v[what] for v in values)
        out[f"{what} / SepCache"] = statistics.median(ratios)
        out[f"{what} range"] = [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]]
    return out | {"kv_bytes": values[-1]["kv_bytes"], "loss_after": values[-1]["loss_after"]}
