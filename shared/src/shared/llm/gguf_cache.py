"""A GGUF file as a folder that transformers opens at once, converted once and kept in the user's cache.

transformers dequantises a GGUF file in Python, vocabulary and all, at every start: half a minute for a model of
135M parameters. The folder written here (float32 safetensors and the tokenizer) opens in a fraction of a second
and holds the same numbers bit for bit.

    <cache>/gguf/<SHA-256 of the file>-transformers-<version>/        a complete conversion
    <cache>/gguf/<SHA-256 of the file>-transformers-<version>.lock    held while one process converts
    <cache>/gguf/<SHA-256 of the file>-transformers-<version>.part-*  a conversion under way, or killed
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from filelock import FileLock

from .errors import ModelError

logger = logging.getLogger(__name__)

MANIFEST = "conversion.json"  # written last; names every file with its size
SPARE_BYTES = 64 << 20  # room for tokenizer and config beside the weights

Converter = Callable[[Path, Path], None]


def cache_root() -> Path:
    """$TENFOLD_CACHE, else `tenfold` in $XDG_CACHE_HOME, else `~/.cache/tenfold`."""
    if own := os.environ.get("TENFOLD_CACHE"):
        return Path(own).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "tenfold"


def converted_folder(gguf: Path, convert: Converter | None = None) -> Path:
    """The folder with this GGUF file's weights (float32) and tokenizer, converting it if there is none yet.

    Processes that ask at the same time wait for one conversion. A folder that is incomplete (a file missing or of
    another size than written) is converted again. A killed conversion leaves only a `.part-*` folder, which the next
    one removes.

    Args:
        gguf: the file.
        convert: writes weights and tokenizer of the file (first argument) into an existing empty folder (second).

    Raises:
        ModelError: the file cannot be read or is not GGUF, or the cache cannot be written (no space, no right).
    """
    folder = cache_root() / "gguf" / f"{_sha256(gguf)}-transformers-{version('transformers')}"
    if is_complete(folder):
        return folder
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):
            if not is_complete(folder):
                _write_folder(gguf, folder, convert or convert_gguf)
    except OSError as error:
        raise _cannot_write(folder.parent, error) from error
    return folder


def is_complete(folder: Path) -> bool:
    """Whether every file that the conversion wrote is there in its full length."""
    try:
        sizes = json.loads((folder / MANIFEST).read_text())["sizes"]
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return False


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Dequantises a GGUF file into `folder` with transformers.

    Raises:
        ModelError: accelerate is missing (transformers wants it here), the architecture is unknown to
            transformers, or the disk is too full.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    where = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**where)
        model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32)
    except (ImportError, ValueError, KeyError, NotImplementedError) as error:
        raise ModelError(f"transformers cannot read {gguf}: {_first_line(error)}") from error
    forget_gguf(model)
    needed = sum(p.numel() * p.element_size() for p in model.parameters()) + SPARE_BYTES
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ModelError(
            f"converting {gguf.name} needs {needed / 2**20:.0f} MiB in {folder.parent}, which has {free / 2**20:.0f} "
            "MiB free: set TENFOLD_CACHE to a folder on another disk"
        )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def forget_gguf(model: Any) -> None:
    """Takes the marks of a quantised model off one whose weights were dequantised on reading.

    With them the Trainer refuses to train it and `save_pretrained` refuses to write it.
    """
    model.is_quantized = False
    model.hf_quantizer = None
    model.__dict__.pop("quantization_method", None)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


def _write_folder(gguf: Path, folder: Path, convert: Converter) -> None:
    # The lock is held, so every part-folder of this name belongs to a process that is gone.
    for stale in folder.parent.glob(f"{folder.name}.part-*"):
        shutil.rmtree(stale, ignore_errors=True)
    part = Path(tempfile.mkdtemp(prefix=f"{folder.name}.part-", dir=folder.parent))
    try:
        logger.info("converting %s into %s, once", gguf.name, folder)
        try:
            convert(gguf, part)
        except OSError:
            raise
        except Exception as error:
            # safetensors reports a full disk by an exception of its own
            if "No space left" in str(error) or "code: 28" in str(error):
                raise OSError(28, "No space left on device") from error
            raise
        files = [path for path in part.rglob("*") if path.is_file()]
        manifest = {"source": gguf.name, "sizes": {str(p.relative_to(part)): p.stat().st_size for p in files}}
        (part / MANIFEST).write_text(json.dumps(manifest, indent=1))
        for path in (*files, part / MANIFEST, part):
            _fsync(path)
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
        _fsync(folder.parent)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelError(f"{path} is not a GGUF file: it does not begin with the letters GGUF")
            file.seek(0)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"cannot read {path}: {error.strerror}") from error


def _cannot_write(where: Path, error: OSError) -> ModelError:
    return ModelError(
        f"cannot keep a converted model in {where} ({error.strerror or error}): "
        "set TENFOLD_CACHE to a folder that is writable and has room"
    )


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n")[0].rstrip(".")
