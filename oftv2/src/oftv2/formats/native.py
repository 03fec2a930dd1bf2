"""The native format: PEFT's tensor layout beside `oft_config.json`, which can name every setting of this package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from ..config import OFTConfig
from ..errors import OFTError, quoted, sentence
from .adapter import Adapter
from .keys import fit_config, sort_tensors, tensors_of
from .settings import NATIVE_FIELDS, checked
from .tensors import serialise

CONFIG, TENSORS = "oft_config.json", "adapter_model.safetensors"
FORMAT, VERSION = "oftv2", 1


def read_native(directory: Path, mapping: dict[str, Any], tensors: dict[str, Tensor]) -> Adapter:
    """The adapter in a folder whose settings and tensors have been read.

    Raises:
        OFTError: another or a newer format, settings or tensors that do not fit together.
    """
    where = str(directory / CONFIG)
    if mapping.get("format") != FORMAT or type(mapping.get("format_version")) is not int:
        raise OFTError(f"{where} must say format={FORMAT!r} and its format_version")
    if not 1 <= mapping["format_version"] <= VERSION:
        raise OFTError(
            f"{where} has format_version {quoted(mapping['format_version'])}, and this package reads up to {VERSION}"
        )
    settings = mapping.get("config")
    if not isinstance(settings, dict):
        raise OFTError(f"{where} must hold the settings under 'config'")
    try:
        # A block size of null is one that is not set; left out, it would be the default.
        config = OFTConfig.from_mapping({"block_size": None, **checked(settings, NATIVE_FIELDS, where)})
    except OFTError:
        raise
    except ValueError as error:
        raise OFTError(f"{where}: {sentence(error)}") from None
    adapter = Adapter(config, source="native")
    sort_tensors(adapter, tensors, str(directory / TENSORS))
    stray = sorted(set(adapter.rescale) - set(adapter.packed))
    if stray:
        raise OFTError(f"{directory / TENSORS} rescales {quoted(stray[0])}, which it does not rotate")
    adapter.config = fit_config(config, adapter.rotations, adapter.notes)
    return adapter


def native_files(adapter: Adapter) -> dict[str, bytes]:
    """The two files of the native format.

    Raises:
        OFTError: a value is NaN or infinite.
    """
    settings = {"format": FORMAT, "format_version": VERSION, "config": adapter.config.to_mapping()}
    return {TENSORS: serialise(tensors_of(adapter)), CONFIG: json.dumps(settings, indent=2, sort_keys=True).encode()}
