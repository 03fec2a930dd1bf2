"""`make bench-sepllm`: decode, prefill, attention and bytes beside transformers' caches, the authors' algorithm and
kvpress, as ratios from one run with the bound from bytes read. A target missed by more than a tenth ends with status 1.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention as sdpa

from sepllm import SeparatorSet, SepCache, SepPolicy, StreamingPolicy, stream
from sepllm.attention import attend
from sepllm.data import topics
from sepllm.files import environment, write_json
from sepllm.mask import lives_of, visible
from sepllm.speed import decode_times, update_share

from . import presses

TOLERANCE = 1.1
SMOLLM2 = {"heads": 9, "kv": 3, "d": 64}


@dataclass
class Target:
    """A ratio and the least (or with `at_most` the most) that it has to be."""

    what: str
    ratio: float
    bound: float
    at_most: bool = False

    @property
    def met(self) -> bool:
        return self.ratio <= self.bound if self.at_most else self.ratio >= self.bound

    @property
    def missed(self) -> bool:
        """By more than a tenth."""
        return self.ratio > self.bound * TOLERANCE if self.at_most else self.ratio < self.bound / TOLERANCE

    def line(self) -> str:
        verdict = "met" if self.met else "MISSED" if self.missed else "missed by less than a tenth"
        return f"  {self.ratio:7.3f}  {'<=' if self.at_most else '>='} {self.bound:<5g} {self.what}: {verdict}"


def turns(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of calls that take turns, in alternating order."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(repeats + 1):
        for name in calls if turn % 2 else reversed(calls):
            begin = time.perf_counter()
            calls[name]()
            if turn:
                seconds[name].append(time.perf_counter() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


def attention_times(length: int, n: int, density: float, backward: bool, repeats: int) -> dict[str, float]:
    """Gathered attention beside causal SDPA and SDPA with the dense mask; heads of SmolLM2."""
    generator = torch.Generator().manual_seed(0)
    marks = torch.rand(1, length, generator=generator) < density
    policy = SepPolicy(a=4, n=n)
    shape = lambda heads: (1, heads, length, SMOLLM2["d"])  # noqa: E731
    q, k, v = (torch.randn(shape(h), requires_grad=backward) for h in (SMOLLM2["heads"], SMOLLM2["kv"], SMOLLM2["kv"]))
    lives = lives_of(policy, marks, n)
    mask = visible(lives)

    def whole(forward: Callable[[], torch.Tensor]) -> Callable[[], Any]:
        return (lambda: torch.autograd.grad(forward().sum(), (q, k, v))) if backward else forward

    return turns(
        {
            "gathered": whole(lambda: attend(q, k, v, lives)),
            "causal": whole(lambda: sdpa(q, k, v, is_causal=True, enable_gqa=True)),
            "dense mask": whole(lambda: sdpa(q, k, v, attn_mask=mask, enable_gqa=True)),
        },
        repeats,
    )


def streaming_times(model: Any, separators: SeparatorSet, ids: torch.Tensor) -> dict[str, float]:
    """Seconds a token of teacher-forced streaming, in exact pieces and one by one, in the steady state."""
    policy = StreamingPolicy(a=4, s=64, w=256, c=800)
    found = {}
    for name, chunk, tokens in (("pieces", 512, 2 * policy.period), ("one by one", 1, 24)):
        cache = SepCache(model, policy, separators)
        list(stream(model, ids[:1600], cache))
        begin = time.perf_counter()
        list(stream(model, ids[1600 : 1600 + tokens], cache, chunk))
        found[name] = (time.perf_counter() - begin) / tokens
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--repeats", type=int, default=7, help="timed rounds of each comparison (default 7)")
    parser.add_argument("--threads", type=int, default=None, help="CPU threads (default: torch's)")
    parser.add_argument("--no-peers", action="store_true", help="leave kvpress out")
    parser.add_argument("--output", type=Path, default=Path("results/bench.json"))
    options = parser.parse_args()
    if options.repeats < 7:
        parser.error(f"--repeats must be at least 7 for a median that means something, not {options.repeats}")
    warnings.filterwarnings("ignore")
    if options.threads:
        torch.set_num_threads(options.threads)
    from shared.llm import load_causal_lm

    begun = time.perf_counter()
    model, tokenizer = load_causal_lm(device="auto", attn_implementation="sdpa")
    separators = SeparatorSet.from_tokenizer(tokenizer)
    text = torch.tensor(tokenizer(topics(), add_special_tokens=False, verbose=False).input_ids)
    density = separators.coverage(text)
    print(f"SmolLM2-135M, {separators.describe(text, 9)}")

    with torch.no_grad():
        prefill = attention_times(4096, 128, density, False, options.repeats)
    training = attention_times(2048, 128, density, True, options.repeats)
    show("attention, T = 4096, n = 128, forward", prefill)
    show("attention, T = 2048, n = 128, forward and backward", training)
    tables: dict[str, Any] = {"attention_forward_4096": prefill, "attention_training_2048": training}

    small = {"StreamingPolicy": StreamingPolicy(a=4, s=64, w=256, c=512)}
    large = {"StreamingPolicy": StreamingPolicy(a=4, s=512, w=2048, c=4096)}
    decode = {c: decode_times(model, separators, small, c, density, options.repeats) for c in (512, 8000)}
    decode_large = decode_times(model, separators, large, 8000, density, options.repeats)
    for title, rows in (
        ("decode at 512", decode[512]),
        ("decode at 8000, c = 512", decode[8000]),
        ("decode at 8000, c = 4096", decode_large),
    ):
        base = next(r for r in rows if r["cache"] == "StreamingPolicy")["seconds"]
        print(f"\n{title}")
        for r in rows:
            print(
                f"  {r['cache']:32s}{r['seconds'] * 1e3:9.1f} ms   x{r['seconds'] / base:.2f}   KV "
                f"{r['kv_bytes'] / 1e6:7.1f} MB   bound by bytes read {r['bound']:.2f}x"
            )
    tables |= {"decode_512": decode[512], "decode_8000": decode[8000], "decode_8000_c4096": decode_large}

    share = update_share(model, separators, small["StreamingPolicy"], 8000, density)
    streamed = streaming_times(model, separators, text)
    show("streaming, seconds a token", streamed)
    tables |= {"update_share": share, "streaming": streamed}

    def at(rows: list[dict[str, Any]], name: str) -> float:
        return next(r["seconds"] for r in rows if r["cache"] == name)

    ours, concat = "StreamingPolicy", "StreamingPolicy, concatenating"
    targets = [
        Target("decode at 8000: DynamicCache / ours", at(decode[8000], "DynamicCache") / at(decode[8000], ours), 2.5),
        Target("decode: ours at 8000 / at 512", at(decode[8000], ours) / at(decode[512], ours), 1.05, at_most=True),
        Target("cache's own work / step", share, 0.02, at_most=True),
        Target("c = 512: the authors' algorithm / ours", at(decode[8000], concat) / at(decode[8000], ours), 1.1),
        Target("c = 4096: the authors' algorithm / ours", at(decode_large, concat) / at(decode_large, ours), 1.3),
        Target("T = 4096 forward: causal SDPA / ours", prefill["causal"] / prefill["gathered"], 2.2),
        Target("T = 4096 forward: dense mask / ours", prefill["dense mask"] / prefill["gathered"], 6.0),
        Target("T = 2048 training: causal SDPA / ours", training["causal"] / training["gathered"], 1.7),
        Target("T = 2048 training: dense mask / ours", training["dense mask"] / training["gathered"], 3.0),
        Target("streaming: one by one / in pieces", streamed["one by one"] / streamed["pieces"], 10.0),
    ]
    if not options.no_peers:
        tables["kvpress"] = presses.compare(model, tokenizer, separators, text, options.repeats)
        print(f"\nkvpress, context 2048, {tables['kvpress'].get('kept')} tokens kept, in turns (another transformers)")
        for r in tables["kvpress"].get("rows", []):
            if "error" in r:
                print(f"  {r['cache']:40s}{r['error']}")
                continue
            spans = {
                w: "{:.2f}x ({:.2f}-{:.2f})".format(r[f"{w} / SepCache"], *r[f"{w} range"])
                for w in ("prefill", "decode")
            }
            print(
                f"  {r['cache']:40s}prefill {r['prefill']:6.2f} s {spans['prefill']:20s} decode "
                f"{r['decode'] * 1e3:6.1f} ms {spans['decode']:20s} KV {r['kv_bytes'] / 1e6:6.1f} MB   loss on the "
                f"next 128 {r['loss_after']:.3f}"
            )
    print("\ntargets (ratio, bound)")
    print("\n".join(target.line() for target in targets))
    record = {
        "tables": tables,
        "targets": [asdict(t) | {"met": t.met, "missed": t.missed} for t in targets],
        "environment": environment(),
        "repeats": options.repeats,
        "date": time.strftime("%Y-%m-%d"),
        "wall_seconds": round(time.perf_counter() - begun, 1),
    }
    write_json(options.output, json.loads(json.dumps(record)))
    print(f"\n{options.output}, {record['wall_seconds']:.0f} s")
    return int(any(t.missed for t in targets))


def show(title: str, seconds: dict[str, float]) -> None:
    first = next(iter(seconds.values()))
    print(f"\n{title}")
    for name, value in seconds.items():
        print(f"  {name:32s}{value * 1e3:9.2f} ms   x{value / first:.2f}")


if __name__ == "__main__":
    sys.exit(main())
