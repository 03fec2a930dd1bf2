"""Safetensors files, checked number by number before anything is allocated.

    8 bytes            N, little endian
    N bytes            JSON: {"name": {"dtype": "F32", "shape": [18, 496], "data_offsets": [0, 35712]}, ...}
    the rest           the tensors, one after another, without a gap

A file that this package wrote also carries a SHA-256 of its names, shapes and bytes under `__metadata__`, so
that a damaged one is found out. Files without that sum (PEFT's) are read all the same.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors.torch import save
from torch import Tensor

from ..errors import OFTError, quoted
from .files import parse_json

MAX_HEADER = 16 * 2**20  # bytes; 36 000 tensors of a mixture-of-experts adapter need 6 MB
MAX_NAME = 1000
MAX_DIMENSIONS = 8
CHECKSUM = "sha256"

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_NAME_OF = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Entry:
    """Where one tensor lies."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int  # bytes from the end of the header
    end: int


class TensorFile:
    """The checked header of a safetensors file, from which tensors are read by name.

    Raises:
        OFTError: the header is not one, or does not fit the file's size.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            # A named pipe or a device would block or never end.
            if not path.is_file():
                raise OFTError(f"{path} is not a regular file")
            with path.open("rb") as f:
                size = os.fstat(f.fileno()).st_size
                header = self._header(f, size)
        except OSError as error:
            raise OFTError(f"{path} cannot be read: {error.strerror or error}") from None
        self._start = 8 + len(header)
        self.metadata, self.entries = self._parse(header, size - self._start)

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def read_all(self) -> dict[str, Tensor]:
        """Every tensor, on the CPU.

        Raises:
            OFTError: a NaN or an infinity, named; or the bytes are not those that were written.
        """
        try:
            with self.path.open("rb") as f:
                tensors = {name: self._read(f, name, entry) for name, entry in self.entries.items()}
        except OSError as error:
            raise OFTError(f"{self.path} cannot be read: {error.strerror or error}") from None
        expected = self.metadata.get(CHECKSUM)
        if expected is not None and checksum(tensors) != expected:
            raise OFTError(
                f"{self.path} does not have the checksum that it was written with: it is damaged, or another program "
                "changed its tensors and kept its metadata"
            )
        for name, tensor in tensors.items():
            check_finite(f"{self.path}: tensor {quoted(name)}", tensor)
        return tensors

    def _header(self, f: BinaryIO, size: int) -> bytes:
        start = f.read(8)
        if len(start) < 8:
            raise OFTError(f"{self.path} has {size} bytes and cannot be a safetensors file")
        length = int.from_bytes(start, "little")
        if not 2 <= length <= min(size - 8, MAX_HEADER):
            raise OFTError(
                f"{self.path} announces a header of {length} bytes, which does not fit its size of {size} bytes and "
                f"the limit of {MAX_HEADER}: it is cut short or not a safetensors file"
            )
        header = f.read(length)
        if len(header) < length:
            raise OFTError(f"{self.path} ends inside its header")
        return header

    def _parse(self, header: bytes, data_length: int) -> tuple[dict[str, str], dict[str, Entry]]:
        mapping = parse_json(header, f"the header of {self.path}")
        metadata = mapping.pop("__metadata__", {})
        if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
            raise OFTError(f"__metadata__ in the header of {self.path} must map names to text")
        entries = {name: self._entry(name, value) for name, value in mapping.items()}
        position = 0
        for name, entry in sorted(entries.items(), key=lambda item: (item[1].begin, item[1].end)):
            if entry.begin != position:
                relation = "overlaps the one before it" if entry.begin < position else "leaves a gap before it"
                raise OFTError(f"{self.path}: tensor {quoted(name)} {relation}")
            position = entry.end
        if position != data_length:
            raise OFTError(
                f"{self.path} holds {data_length} bytes of tensors where its header announces {position}: it is cut "
                "short or has something appended"
            )
        return metadata, entries

    def _entry(self, name: str, value: Any) -> Entry:
        where = f"{self.path}: tensor {quoted(name)}"
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise OFTError(f"{where} has a name that is empty, longer than {MAX_NAME} characters or not printable")
        if not isinstance(value, dict) or set(value) != {"dtype", "shape", "data_offsets"}:
            raise OFTError(f"{where} must be described by dtype, shape and data_offsets")
        dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
        if not isinstance(dtype, str) or dtype not in DTYPES:
            raise OFTError(f"{where} has the dtype {quoted(dtype)}, not one of {', '.join(DTYPES)}")
        if not _naturals(shape) or len(shape) > MAX_DIMENSIONS:
            raise OFTError(f"{where} has the shape {quoted(shape)}, not up to {MAX_DIMENSIONS} whole numbers")
        if not _naturals(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
            raise OFTError(f"{where} has the offsets {quoted(offsets)}, not two whole numbers in order")
        needed = math.prod(shape) * DTYPES[dtype].itemsize
        if needed != offsets[1] - offsets[0]:
            raise OFTError(
                f"{where} of shape {quoted(shape)} and dtype {dtype} takes {quoted(needed)} bytes, but its offsets "
                f"span {quoted(offsets[1] - offsets[0])}"
            )
        return Entry(DTYPES[dtype], tuple(shape), offsets[0], offsets[1])

    def _read(self, f: BinaryIO, name: str, entry: Entry) -> Tensor:
        if entry.begin == entry.end:
            return torch.empty(entry.shape, dtype=entry.dtype)
        f.seek(self._start + entry.begin)
        # Its size was checked against the file's, so a small file cannot ask for a large buffer.
        buffer = bytearray(entry.end - entry.begin)
        if f.readinto(buffer) != len(buffer):  # type: ignore[attr-defined]
            raise OFTError(f"{self.path} ends inside tensor {quoted(name)}")
        if entry.dtype == torch.bool and any(byte > 1 for byte in set(buffer)):
            raise OFTError(f"{self.path}: tensor {quoted(name)} is of dtype BOOL and holds bytes other than 0 and 1")
        return torch.frombuffer(buffer, dtype=entry.dtype).view(entry.shape)


def serialise(tensors: dict[str, Tensor]) -> bytes:
    """A safetensors file of these tensors, with its checksum.

    Raises:
        OFTError: a NaN or an infinity, named; a dtype that the format lacks.
    """
    # Parameters may be views of one flat buffer, which the format must not share.
    own = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    for name, tensor in own.items():
        if tensor.dtype not in _NAME_OF:
            raise OFTError(f"tensor {quoted(name)} has the dtype {tensor.dtype}, which is not written")
        check_finite(f"tensor {quoted(name)}", tensor)
    return save(own, metadata={"format": "pt", CHECKSUM: checksum(own)})


def checksum(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names, dtypes, shapes and bytes, whatever their order in the file."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, _NAME_OF[tensor.dtype], list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def check_finite(where: str, tensor: Tensor) -> None:
    """
    Raises:
        OFTError: the tensor holds a NaN or an infinity.
    """
    if not tensor.is_floating_point():
        return
    finite = torch.isfinite(tensor.float() if tensor.element_size() == 1 else tensor)
    if not bool(finite.all()):
        raise OFTError(f"{where} holds {int((~finite).sum())} values that are NaN or infinite")


def _naturals(value: Any) -> bool:
    return isinstance(value, list) and all(type(v) is int and 0 <= v < 2**63 for v in value)
