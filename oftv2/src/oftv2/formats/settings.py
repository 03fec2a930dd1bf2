"""Types of the fields in a configuration file, checked before any of them is used."""

from __future__ import annotations

from typing import Any

from ..errors import OFTError, quoted

MAX_PATTERN = 1000  # characters of a module name or regular expression

_KINDS = {
    "flag": ("true or false", lambda v: isinstance(v, bool)),
    "whole": ("a whole number", lambda v: type(v) is int and abs(v) < 2**31),
    "number": ("a number", lambda v: type(v) in (int, float)),
    "text": ("text", lambda v: isinstance(v, str)),
    "texts": ("a list of text", lambda v: isinstance(v, list) and all(isinstance(t, str) for t in v)),
    "wholes": ("a list of whole numbers", lambda v: isinstance(v, list) and all(type(t) is int for t in v)),
}

_COMMON = {
    "block_share": "flag",
    "coft": "flag",
    "eps": "number",
    "fan_in_fan_out": "flag",
    "bias": "text",
    "target_modules": "text texts",
    "exclude_modules": "text texts",
    "modules_to_save": "texts",
    "layers_to_transform": "whole wholes",
    "layers_pattern": "text texts",
    "task_type": "text",
}
PEFT_FIELDS = _COMMON | {
    "peft_type": "text",
    "peft_version": "text",
    "r": "whole",
    "oft_block_size": "whole",
    "module_dropout": "number",
    "use_cayley_neumann": "flag",
    "num_cayley_neumann_terms": "whole",
    "base_model_name_or_path": "text",
}
NATIVE_FIELDS = _COMMON | {
    "block_size": "whole",
    "num_blocks": "whole",
    "parameterization": "text",
    "terms": "whole",
    "block_dropout": "number",
    "rescale": "flag",
    "rotation_dtype": "text",
    "base_model": "text",
}


def checked(mapping: dict[str, Any], fields: dict[str, str], where: str) -> dict[str, Any]:
    """The entries of `mapping` that are set (not null), their types those of `fields`; unknown names are kept.

    Raises:
        OFTError: a wrong type, or a pattern too long to be matched safely.
    """
    known = {name: value for name, value in mapping.items() if value is not None}
    for name, value in known.items():
        kinds = fields.get(name, "").split()
        if kinds and not any(_KINDS[kind][1](value) for kind in kinds):
            allowed = " or ".join(_KINDS[kind][0] for kind in kinds)
            raise OFTError(f"{where}: {name} must be {allowed}, not {quoted(value)}")
    for name in ("target_modules", "exclude_modules", "layers_pattern", "modules_to_save"):
        value = known.get(name, [])
        longest = max((len(v) for v in ([value] if isinstance(value, str) else value)), default=0)
        if longest > MAX_PATTERN:
            raise OFTError(f"{where}: {name} holds a pattern of {longest} characters, more than {MAX_PATTERN}")
    # PEFT allows a list here; one name is all that decoder models need.
    pattern = known.get("layers_pattern")
    if isinstance(pattern, list):
        if len(pattern) != 1:
            raise OFTError(f"{where}: layers_pattern must be one name, not {quoted(pattern)}")
        known["layers_pattern"] = pattern[0]
    return known
