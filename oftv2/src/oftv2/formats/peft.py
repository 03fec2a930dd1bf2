"""PEFT's format, 0.16 and later: packed parameters, bit for bit in both directions.

`peft_version` is in the settings since PEFT 0.18. Where it is absent or older, the Neumann series means
`I + 2Q + ... + 2Q^(terms-1)`; PEFT itself opens such a file with a warning and computes another rotation.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from ..config import OFTConfig
from ..errors import OFTError, sentence
from .adapter import Adapter
from .exact import to_peft_exact
from .keys import fit_config, sort_tensors, tensors_of
from .settings import PEFT_FIELDS, checked
from .tensors import serialise

CONFIG, TENSORS = "adapter_config.json", "adapter_model.safetensors"


def read_peft(directory: Path, mapping: dict[str, Any], tensors: dict[str, Tensor]) -> Adapter:
    """The adapter in a folder whose settings and tensors have been read.

    Raises:
        OFTError: settings or tensors are not those of an OFT adapter.
    """
    config = peft_config(directory, mapping)
    adapter = Adapter(config, source="peft")
    version = mapping.get("peft_version")
    if config.parameterization == "cayley_neumann_017":
        adapter.source = "peft-0.17"
        written = "without peft_version, so by PEFT 0.16 or 0.17" if version is None else f"by PEFT {version}"
        adapter.notes.append(
            f"written {written}: opened with that version's series, whose last term is doubled; PEFT >= 0.18 would "
            "compute another rotation from it"
        )
    elif version is None:
        adapter.source = "peft-0.17"
        adapter.notes.append("written without peft_version; the exact form is the same in every version")
    sort_tensors(adapter, tensors, str(directory / TENSORS))
    if adapter.rescale:
        raise OFTError(f"{directory / TENSORS} holds oft_rescale vectors, which PEFT's format does not have")
    adapter.config = fit_config(config, adapter.rotations, adapter.notes)
    return adapter


def peft_config(directory: Path, mapping: dict[str, Any]) -> OFTConfig:
    """The settings in `adapter_config.json`. Names of classes in it (auto_mapping) are not looked at.

    Raises:
        OFTError: another adapter type, a wrong type, a value that is not allowed.
    """
    where = str(directory / CONFIG)
    try:
        return OFTConfig.from_peft(checked(mapping, PEFT_FIELDS, where))
    except OFTError:
        raise
    except ValueError as error:
        raise OFTError(f"{where}: {sentence(error)}") from None


def peft_files(adapter: Adapter) -> dict[str, bytes]:
    """The two files that PEFT >= 0.18 opens.

    `cayley` is PEFT's exact form with the sign of Q turned; the polished series, which PEFT lacks, is written as
    the exact form of the rotation that it computes.

    Raises:
        OFTError: PEFT cannot express the adapter.
    """
    try:
        mapping = adapter.config.with_(rescale=adapter.config.rescale or bool(adapter.rescale)).to_peft()
    except ValueError as error:
        raise OFTError(sentence(error)) from None
    name = adapter.config.parameterization
    if name != "cayley_neumann":
        terms = adapter.config.terms
        adapter = Adapter(
            adapter.config,
            packed={path: to_peft_exact(t, name, terms, path) for path, t in adapter.packed.items()},
            embeddings={path: to_peft_exact(t, name, terms, path) for path, t in adapter.embeddings.items()},
            saved=adapter.saved,
            base_weights=adapter.base_weights,
        )
    settings = json.dumps(mapping, indent=2, sort_keys=True).encode()
    return {TENSORS: serialise(tensors_of(adapter)), CONFIG: settings}
