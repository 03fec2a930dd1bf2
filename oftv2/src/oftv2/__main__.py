"""Command line: `python -m oftv2 inspect|convert|merge-adapters|merge-into|accelerate-check`.

What goes wrong is one sentence on stderr and exit code 2; Ctrl-C exits with 130.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .errors import OFTError, sentence

if TYPE_CHECKING:
    from torch import Tensor, nn


class Parser(argparse.ArgumentParser):
    """argparse prints the usage before its message; here a message is one sentence."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {sentence(message)}; see {self.prog} --help\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand; the exit code."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our output left; nothing of Python's own shutdown may complain about that either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 2
    except (ValueError, OSError, MemoryError, ImportError) as error:
        print(f"oftv2 {options.command}: {sentence(error)}", file=sys.stderr)
        return 2
    return 0


def _parser() -> Parser:
    parser = Parser(prog="oftv2", description="Orthogonal adapters: look at them, convert, combine and merge them.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)

    inspect = commands.add_parser("inspect", help="print format, parameterization, sizes, largest angle and error")
    inspect.add_argument("adapter", nargs="+", metavar="DIR", help="adapter folder, or a LyCORIS .safetensors file")
    inspect.set_defaults(run=_inspect)

    convert = commands.add_parser("convert", help="rewrite an adapter in another format")
    convert.add_argument("adapter", metavar="DIR")
    convert.add_argument("out", metavar="OUT")
    convert.add_argument("--to", choices=("peft", "native"), default="peft", help="format to write (default: peft)")
    convert.set_defaults(run=_convert)

    combine = commands.add_parser("merge-adapters", help="combine adapters of one base model into one adapter")
    combine.add_argument("adapter", nargs="+", metavar="DIR")
    combine.add_argument("--out", required=True, metavar="OUT")
    combine.add_argument(
        "--method",
        choices=("orthomerge", "mean", "compose"),
        default="orthomerge",
        help="OrthoMerge, the plain mean of Q, or the product of the rotations in the order given",
    )
    combine.add_argument("--to", choices=("peft", "native"), default="peft", help="format to write (default: peft)")
    combine.set_defaults(run=_merge_adapters)

    merge = commands.add_parser("merge-into", help="merge an adapter into its base model and save the model")
    merge.add_argument("model", metavar="MODEL", help="folder, hub id, .gguf file or smollm2-135m-instruct")
    merge.add_argument("adapter", metavar="ADAPTER")
    merge.add_argument("out", metavar="OUT")
    merge.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="of the weights")
    merge.add_argument("--untie", action="store_true", help="give a tied embedding a weight of its own")
    merge.set_defaults(run=_merge_into)

    check = commands.add_parser("accelerate-check", help="open an adapter with PEFT, accelerate it, and compare")
    check.add_argument("model", metavar="MODEL")
    check.add_argument("adapter", metavar="ADAPTER", help="folder in PEFT's format")
    check.add_argument("--tokens", type=int, default=128, help="length of the random sequences (default: 128)")
    check.add_argument("--batch", type=int, default=4, help="number of them (default: 4)")
    check.add_argument("--repeats", type=int, default=5, help="timed forwards of each (default: 5)")
    check.set_defaults(run=_accelerate_check)
    return parser


def _inspect(options: argparse.Namespace) -> None:
    from .formats.summary import summarise
    from .io import open_adapter

    for i, path in enumerate(options.adapter):
        lines = summarise(open_adapter(path), path).lines()
        print("\n".join(([""] if i else []) + [str(path), *(f"  {line}" for line in lines)]), flush=True)


def _convert(options: argparse.Namespace) -> None:
    from .compose import convert

    _print_notes(convert(options.adapter, options.out, options.to).notes)
    print(f"wrote {options.out}")


def _merge_adapters(options: argparse.Namespace) -> None:
    from .compose import merge_adapters

    _print_notes(merge_adapters(options.adapter, options.out, options.method, options.to).notes)
    print(f"wrote {options.out}")


def _merge_into(options: argparse.Namespace) -> None:
    from .formats.lycoris import LycorisAdapter, merge_lycoris
    from .io import open_adapter

    out = Path(options.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OFTError(f"{out} exists and is not an empty folder")
    adapter = open_adapter(options.adapter)  # before the model, which takes longer
    from shared.llm import load_causal_lm

    model, tokenizer = load_causal_lm(options.model, dtype=options.dtype)
    if isinstance(adapter, LycorisAdapter):
        count = merge_lycoris(model, adapter)
    else:
        from .inject import inject

        handle = inject(model, adapter.config, blocks=_blocks_in(model, adapter.rotations))
        handle.load_state(adapter)
        count = len(handle.merge(keep_base=False, untie=options.untie).modules)
        model = handle.unload()
        _print_notes(adapter.notes)
    with _without_progress_bars():
        model.save_pretrained(out)
        tokenizer.save_pretrained(out)
    print(f"merged {count} modules and wrote {out}")


def _accelerate_check(options: argparse.Namespace) -> None:
    from .io import read_adapter

    for name in ("tokens", "batch", "repeats"):
        if getattr(options, name) < 1:
            raise OFTError(f"--{name} must be at least 1, not {getattr(options, name)}")
    adapter = read_adapter(options.adapter)
    if adapter.source != "peft":
        raise OFTError(f"{options.adapter} is of format {adapter.source}, and PEFT opens its own of 0.18 or later only")
    import torch

    from shared.llm import load_causal_lm

    from .accelerate_peft import accelerate

    model, _ = load_causal_lm(options.model)
    model.load_adapter(str(options.adapter))  # through PEFT
    model.eval()
    vocabulary = model.get_input_embeddings().weight.shape[0]
    ids = torch.randint(vocabulary, (options.batch, options.tokens), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected, plain = _timed(model, ids, options.repeats)
        report = accelerate(model)
        actual, fast = _timed(model, ids, options.repeats)
    difference = float((actual - expected).abs().max() / expected.abs().max())
    kinds = ", ".join(f"{count} {kind}" for kind, count in report.layers.items())
    print(f"layers                {kinds}")
    print(f"logits                largest difference {difference:.2e} of the largest logit")
    print(f"forward, seconds      PEFT {plain:.3f}, accelerated {fast:.3f}, ratio {fast / plain:.2f}")
    if difference > 1e-4:
        raise OFTError(f"the accelerated logits differ from PEFT's by {difference:.2e}, more than 1e-4")


def _blocks_in(model: nn.Module, rotations: dict[str, Tensor]) -> dict[str, tuple[int, int]]:
    """(r, b) of each module that the adapter rotates; one stored block repeats over the layer's width."""
    from shared.orthogonal import block_size_of

    from .layers import width_of

    blocks = {}
    for path, packed in rotations.items():
        try:
            width = width_of(model.get_submodule(path))
        except AttributeError:
            raise OFTError(f"the adapter rotates {path}, which the model does not have") from None
        b = block_size_of(packed.shape[1])
        blocks[path] = (width // b if packed.shape[0] == 1 else packed.shape[0], b)
    return blocks


def _timed(model: nn.Module, ids: Tensor, repeats: int) -> tuple[Tensor, float]:
    """Logits, and the median time of a forward after one that warms up."""
    import statistics
    import time

    logits = model(ids).logits
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        model(ids)
        times.append(time.perf_counter() - start)
    return logits, statistics.median(times)


def _print_notes(notes: Sequence[str]) -> None:
    for note in notes:
        print(f"note: {note}")


@contextlib.contextmanager
def _without_progress_bars() -> Iterator[None]:
    from transformers.utils import logging

    logging.disable_progress_bar()
    yield


if __name__ == "__main__":
    sys.exit(main())
