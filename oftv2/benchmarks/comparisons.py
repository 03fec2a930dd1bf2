"""The comparisons: training steps over widths, building rotations, LyCORIS, NF4 bases, and kernels on a GPU."""

from __future__ import annotations

import argparse

import peft
import torch
from tqdm import tqdm

from oftv2.quant import linear_4bit
from oftv2.rotation import rotation_from
from shared.orthogonal import packed_length, rotate, rotate_many

from .measure import interleaved, kept_bytes, peak_bytes
from .variants import BLOCK, MAKERS, RANK, SMOLLM2, Shape, Variant, adapted, with_peft

Table = dict[str, dict[str, float]]


def steps(shape: Shape, rows: int, length: int, names: list[str], options: argparse.Namespace, bar: tqdm) -> Table:
    """Seconds, bytes kept for backward beyond the frozen model, and peak bytes of a training step of each method."""
    device, dtype = options.device, options.dtype
    base = shape.model(device, dtype)
    x = torch.randn(rows, length, shape.hidden, device=device, dtype=dtype)
    variants = {name: MAKERS[name](base, x) for name in names}
    seconds = interleaved({name: v.step for name, v in variants.items()}, options.repeats, device)
    frozen_kept = kept_bytes(variants["frozen"].forward, variants["frozen"].model)
    table = {}
    for name, v in variants.items():
        table[name] = {
            "seconds": seconds[name],
            "over_frozen": seconds[name] / seconds["frozen"],
            "kept_beyond_frozen": kept_bytes(v.forward, v.model) - frozen_kept,
            "peak_bytes": peak_bytes(v.step, v.model, device),
        }
        bar.update()
    return table


def least_seconds(shape: Shape, tokens: int, frozen: float, options: argparse.Namespace) -> float:
    """The frozen step and, at the rate of a large product, the rotations' own: 6·N·d·b for y, dx and dR together.

    No implementation of the method by products of torch is faster, so a target below this cannot be met.
    """
    A, B = (torch.randn(1024, 1024, device=options.device, dtype=options.dtype) for _ in range(2))
    rate = 2 * 1024**3 / interleaved({"product": lambda: A @ B}, 15, options.device)["product"]
    widths = shape.layers * (6 * shape.hidden + shape.inner)  # of the rotated inputs: q, k, v, o, gate, up; down
    return frozen + 6 * tokens * widths * BLOCK / rate


def build_times(options: argparse.Namespace) -> dict[str, float]:
    """Seconds to build all rotations of SmolLM2-135M (4680 blocks of 32), forward and backward."""
    from peft.tuners.oft.layer import OFTRotationModule

    rows = [18] * 6 + [48]
    counts = rows * 30
    length = packed_length(BLOCK)
    packed = (torch.randn(sum(counts), length) * 0.01).to(options.device).requires_grad_()
    modules = [
        OFTRotationModule(n, length, BLOCK, n * BLOCK, use_cayley_neumann=True, num_cayley_neumann_terms=5).to(
            options.device
        )
        for n in counts
    ]
    for module in modules:
        torch.nn.init.normal_(module.weight, std=0.01)

    def ours() -> None:
        packed.grad = None
        rotation_from(packed).backward(torch.ones(packed.shape[0], BLOCK, BLOCK, device=options.device))

    def theirs() -> None:
        for module in modules:
            module.weight.grad = None
            R = module._cayley_batch(module.weight, BLOCK, True, 5)
            R.backward(torch.ones_like(R))

    parts: dict[str, object] = {"batched (ours)": ours, "per module (PEFT)": theirs}
    return interleaved(parts, options.repeats, options.device)


def lycoris_times(options: argparse.Namespace) -> dict[str, float]:
    """Seconds of one 576→1536 layer forward and backward: LyCORIS' diag-oft makes a weight, ours rotates the input."""
    from lycoris.functional import diag_oft

    torch.manual_seed(0)
    x = torch.randn(512, 576, device=options.device)
    W = torch.randn(1536, 576, device=options.device) / 24
    blocks = torch.zeros(48, BLOCK, BLOCK, device=options.device).normal_(std=0.01).requires_grad_()
    packed = torch.zeros(18, packed_length(BLOCK), device=options.device).normal_(std=0.01).requires_grad_()

    def theirs() -> None:
        y = torch.nn.functional.linear(x, W + diag_oft.diff_weight(W, blocks, None))
        y.backward(torch.ones_like(y))

    def ours() -> None:
        y = torch.nn.functional.linear(rotate(x, rotation_from(packed)), W)
        y.backward(torch.ones_like(y))

    return interleaved(
        {"rotated input (ours)": ours, "diag-oft weight (LyCORIS)": theirs}, options.repeats, options.device
    )


def quantised(options: argparse.Namespace, bar: tqdm) -> Table:
    """A training step over NF4 layers: QOFT (ours) and QLoRA (PEFT)."""

    def base() -> torch.nn.Module:
        model = SMOLLM2.model(options.device, torch.float32)
        for path, module in list(model.named_modules()):
            if isinstance(module, torch.nn.Linear):
                model.set_submodule(path, linear_4bit(module.weight))
        return model.requires_grad_(False)

    x = torch.randn(4, 128, SMOLLM2.hidden, device=options.device)
    config = peft.LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules="all-linear")
    variants = {
        "frozen NF4": Variant(base(), x),
        "QOFT (ours)": adapted(base(), x),
        "QLoRA (PEFT)": with_peft(base(), x, config),
    }
    seconds = interleaved({name: v.step for name, v in variants.items()}, options.repeats, options.device)
    bar.update()
    return {name: {"seconds": s, "over_frozen": s / seconds["frozen NF4"]} for name, s in seconds.items()}


def kernels(options: argparse.Namespace) -> dict[str, float]:
    """On a GPU: the rotation's share of the copy bandwidth at d=4096, N=8192, and the build of an 8B model's blocks."""
    x = torch.randn(8192, 4096, device=options.device, dtype=torch.bfloat16)
    R = torch.randn(128, BLOCK, BLOCK, device=options.device, dtype=torch.bfloat16) / BLOCK**0.5
    y = torch.empty_like(x)
    blocks = 32 * (3 * 128 + 128 + 2 * 128 + 448)
    packed = torch.randn(blocks, packed_length(BLOCK), device=options.device) * 0.01
    seconds = interleaved(
        {
            "copy": lambda: y.copy_(x),
            "rotate": lambda: rotate(x, R),
            "rotate three": lambda: rotate_many(x, [R, R, R]),
            "build": lambda: rotation_from(packed, dtype=torch.bfloat16),
        },
        max(options.repeats, 50),
        options.device,
        warmup=10,
    )
    return {
        "rotate_share_of_copy_bandwidth": seconds["copy"] / seconds["rotate"],
        "rotate_three_share_of_copy_bandwidth": 2 * seconds["copy"] / seconds["rotate three"],
        "build_8b_milliseconds": 1e3 * seconds["build"],
    }
