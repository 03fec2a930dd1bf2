"""Runs in the peers' environment: measures a kvpress press for each JSON line on stdin, answers with one on stdout.

Request: {"press", "kept", "steps"}. The first line names {"model", "ids", "after", "threads"}.
"""

import contextlib
import json
import statistics
import sys
import time

import torch
from kvpress import (
    DecodingPress,
    ExpectedAttentionPress,
    KeyRerotationPress,
    KnormPress,
    SnapKVPress,
    StreamingLLMPress,
)
from transformers import AutoModelForCausalLM, DynamicCache


def press_named(name: str, ratio: float, kept: int):
    if name == "none":
        return None
    if name == "KnormPress + DecodingPress":  # prefill by Knorm, then a compression every 4 tokens
        return KnormPress(ratio), DecodingPress(KnormPress(), compression_interval=4, target_size=kept)
    if name == "KeyRerotationPress":
        return KeyRerotationPress(StreamingLLMPress(ratio))
    kinds = (StreamingLLMPress, SnapKVPress, ExpectedAttentionPress, KnormPress)
    return {k.__name__: k for k in kinds}[name](compression_ratio=ratio)


def measure(model, ids, after, name: str, kept: int, steps: int) -> dict:
    length = ids.shape[1]
    press = press_named(name, 1 - kept / length, kept)
    decoding = None
    if isinstance(press, tuple):
        press, decoding = press
    cache = DynamicCache()
    begin = time.perf_counter()
    with press(model) if press else contextlib.nullcontext():
        model(ids, past_key_values=cache, logits_to_keep=1)
    prefill = time.perf_counter() - begin
    place = cache.get_seq_length() if name == "KeyRerotationPress" else length
    # the first decoded token comes with the text that follows, for the quality of what was kept
    positions = torch.arange(place, place + after.shape[1])[None]
    before = cache.get_seq_length()
    logits = model(after, past_key_values=cache, position_ids=positions).logits[0, :-1].float()
    loss = float(torch.nn.functional.cross_entropy(logits, after[0, 1:]))
    for layer in cache.layers:  # and back to what the press kept
        layer.keys, layer.values = layer.keys[:, :, :before].contiguous(), layer.values[:, :, :before].contiguous()
    seconds = []
    with decoding(model) if decoding else contextlib.nullcontext():
        for i in range(steps):
            begin = time.perf_counter()
            model(after[:, i : i + 1], past_key_values=cache, position_ids=torch.tensor([[place + i]]))
            seconds.append(time.perf_counter() - begin)
    stored = sum(x.nbytes for layer in cache.layers for x in (layer.keys, layer.values))
    return {
        "press": name,
        "prefill": prefill,
        "decode": statistics.median(seconds),
        "kv_bytes": stored,
        "loss_after": loss,
    }


def main() -> None:
    setup = json.loads(sys.stdin.readline())
    torch.set_num_threads(setup["threads"])
    model = AutoModelForCausalLM.from_pretrained(setup["model"], dtype=torch.float32, attn_implementation="sdpa").eval()
    ids, after = torch.tensor([setup["ids"]]), torch.tensor([setup["after"]])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            with torch.inference_mode():
                answer = measure(model, ids, after, asked["press"], asked["kept"], asked["steps"])
        except Exception as error:
            answer = {"press": asked["press"], "error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
