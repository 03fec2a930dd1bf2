"""Adapters read from and written to folders, whatever the format; the formats themselves are in formats/."""

from __future__ import annotations

from pathlib import Path

from .errors import OFTError, quoted
from .formats import native, peft
from .formats.adapter import Adapter
from .formats.files import read_json, write_files
from .formats.lycoris import OUTPUT_SIDE, LycorisAdapter, is_lycoris, read_lycoris
from .formats.native import native_files, read_native
from .formats.peft import peft_files, read_peft
from .formats.tensors import TensorFile
from .formats.v1 import is_v1, read_v1

__all__ = ["FORMATS", "Adapter", "open_adapter", "read_adapter", "write_adapter"]

FORMATS = ("peft", "native")
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def read_adapter(directory: str | Path) -> Adapter:
    """The adapter in a folder, in any of the formats of formats/__init__.py but LyCORIS's.

    Every size is checked before it is allocated, nothing is unpickled or imported, and the block sizes are those
    of the tensors whatever the settings say.

    Raises:
        OFTError: the folder does not hold an adapter that can be injected; one sentence says why.
    """
    adapter = open_adapter(directory)
    if isinstance(adapter, LycorisAdapter):
        raise OFTError(f"{directory} {OUTPUT_SIDE}")
    return adapter


def open_adapter(directory: str | Path) -> Adapter | LycorisAdapter:
    """As `read_adapter`, and LyCORIS files too, which are a folder's only .safetensors file or named themselves.

    Raises:
        OFTError: neither.
    """
    folder, path = _locate(Path(directory))
    if not (folder / native.CONFIG).exists() and not (folder / peft.CONFIG).exists():
        file = TensorFile(path)
        if is_lycoris(file):
            return read_lycoris(file)
        raise OFTError(f"{folder} has neither {peft.CONFIG} nor {native.CONFIG}, so it is not an adapter's folder")
    if (folder / native.CONFIG).exists() and (folder / peft.CONFIG).exists():
        raise OFTError(f"{folder} has both {peft.CONFIG} and {native.CONFIG}: remove the one that is not meant")
    if (folder / native.CONFIG).exists():
        return read_native(folder, read_json(folder / native.CONFIG), TensorFile(path).read_all())
    mapping = read_json(folder / peft.CONFIG)
    if mapping.get("peft_type") != "OFT":
        raise OFTError(f"{folder} holds an adapter of type {quoted(mapping.get('peft_type'))}, not OFT")
    tensors = TensorFile(path).read_all()
    return (read_v1 if is_v1(tensors) else read_peft)(folder, mapping, tensors)


def write_adapter(adapter: Adapter, directory: str | Path, format: str = "peft") -> None:
    """Writes an adapter's folder: `peft` for PEFT >= 0.18, or `native`, which loses nothing.

    Parameters are written bit for bit, but for `cayley` (the sign of Q turns, exactly) and
    `cayley_neumann_polished` (written as the exact form of its R), which PEFT lacks. Files appear whole or not at
    all, and those from before stay until the new ones are on the disk.

    Raises:
        OFTError: the format cannot express the adapter, a value is not finite, or the disk is full.
    """
    folder = Path(directory)
    if format not in FORMATS:
        raise OFTError(f"format must be one of {', '.join(FORMATS)}, not {format!r}")
    if not adapter.rotations:
        raise OFTError("an adapter without any rotation is not written")
    files, other = (peft_files, native.CONFIG) if format == "peft" else (native_files, peft.CONFIG)
    if (folder / other).exists():
        raise OFTError(f"{folder} already holds an adapter in another format ({other}): write to another folder")
    write_files(folder, files(adapter))


def _locate(given: Path) -> tuple[Path, Path]:
    """The folder and its file of tensors."""
    if given.is_file():
        if given.suffix != ".safetensors":
            raise OFTError(f"{given} is neither a folder nor a .safetensors file{_pickle_advice([given])}")
        return given.parent, given
    if not given.is_dir():
        raise OFTError(f"{given} does not exist: give the folder of an adapter")
    if (given / peft.TENSORS).exists():
        return given, given / peft.TENSORS
    found = sorted(given.glob("*.safetensors"))
    if len(found) == 1:
        return given, found[0]
    if found:
        raise OFTError(f"{given} has several .safetensors files, none of them {peft.TENSORS}: name one")
    pickles = sorted(path for pattern in PICKLES for path in given.glob(pattern))
    raise OFTError(f"{given} has no {peft.TENSORS}{_pickle_advice(pickles)}")


def _pickle_advice(paths: list[Path]) -> str:
    pickles = [path for path in paths if path.suffix in {pattern[1:] for pattern in PICKLES}]
    if not pickles:
        return ""
    return (
        f"; {pickles[0].name} is a pickle, which can run code when it is opened: if you trust it, load the adapter "
        "with PEFT and save it again with save_pretrained(..., safe_serialization=True)"
    )
