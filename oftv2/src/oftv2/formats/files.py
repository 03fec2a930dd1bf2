"""JSON from elsewhere, and files that are whole or absent."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

from ..errors import OFTError, quoted, sentence

MAX_JSON = 2**20  # bytes of a configuration file


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a small file.

    Raises:
        OFTError: no such file, too large, not JSON, or not an object.
    """
    try:
        if not path.is_file():
            raise OFTError(f"{path} is not a regular file")
        with path.open("rb") as f:
            text = f.read(MAX_JSON + 1)
    except OSError as error:
        raise OFTError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(text) > MAX_JSON:
        raise OFTError(f"{path} is larger than the {MAX_JSON} bytes that a configuration may have")
    return parse_json(text, str(path))


def parse_json(text: bytes, where: str) -> dict[str, Any]:
    """A JSON object without repeated names, NaN or infinities.

    Raises:
        OFTError: it is not one.
    """
    try:
        value = json.loads(text.decode(), object_pairs_hook=_object, parse_constant=_refuse_constant)
    except RecursionError:
        raise OFTError(f"{where} is nested too deeply") from None
    except ValueError as error:
        raise OFTError(f"{where} is not JSON: {sentence(error, 200)}") from None
    if not isinstance(value, dict):
        raise OFTError(f"{where} must be a JSON object, not {quoted(value)}")
    return value


def write_files(directory: Path, files: dict[str, bytes]) -> None:
    """Puts files into a directory, each either as it was or wholly new at every moment.

    All are written beside their names and reach the disk before the first takes its name.

    Raises:
        OFTError: the disk is full, or the directory cannot be written; the files from before are untouched.
    """
    temporaries: dict[Path, Path] = {}
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            temporary = directory / f".{name}.{os.getpid()}.tmp"
            temporaries[temporary] = directory / name
            with temporary.open("wb") as f:
                f.write(content)
                f.flush()
                os.fsync(f.fileno())
        for temporary, final in temporaries.items():
            temporary.replace(final)
        sync(directory)
    except OSError as error:
        why = "the disk is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else error.strerror or str(error)
        raise OFTError(f"{directory} cannot be written: {why}; files that were there before are unchanged") from None
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {quoted(next(n for n in names if names.count(n) > 1))} occurs twice")
    return value


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")
