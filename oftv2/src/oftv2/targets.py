"""Which modules of a model an adapter goes to, by the rules that PEFT's users know.

A list names modules by suffix (`q_proj` also finds `model.layers.0.self_attn.q_proj`); one string is a regular
expression for the whole path; `all-linear` is every linear layer but the output head. A pattern may come from
somebody else's file, so its length and its matching time are bounded.
"""

from __future__ import annotations

import difflib
import itertools

import regex
from torch import nn

from .config import OFTConfig
from .errors import OFTError
from .layers import OFTLayer, is_linear, width_of

MAX_PATTERN = 1000
PATTERN_SECONDS = 1.0
Names = str | tuple[str, ...]


def find_targets(model: nn.Module, config: OFTConfig) -> dict[str, nn.Module]:
    """Modules to wrap, by path, in the order of the model. Modules that are wrapped already count as what they wrap.

    Raises:
        OFTError: nothing matches (the nearest names are listed), or a match is of a kind that cannot be rotated.
    """
    modules = _candidates(model)
    head = output_head(model)
    found = {}
    for path, module in modules.items():
        if config.target_modules == "all-linear":
            chosen = is_linear(module) and module is not head
        else:
            chosen = matches(path, config.target_modules)
        if not chosen or not _layer_is_chosen(path, config):
            continue
        if config.exclude_modules is not None and matches(path, config.exclude_modules):
            continue
        found[path] = module
    if not found:
        raise OFTError(_nothing_found(modules, config))
    for path, module in found.items():
        try:
            width_of(module)
        except OFTError as error:
            raise OFTError(f"{path}: {error}") from None
    return found


def output_head(model: nn.Module) -> nn.Module | None:
    get = getattr(model, "get_output_embeddings", None)
    head = get() if get is not None else None
    return head.base_layer if isinstance(head, OFTLayer) else head


def matches(path: str, names: Names) -> bool:
    """Whether a module path is named by a list of suffixes or by one regular expression."""
    if not isinstance(names, str):
        return any(path == name or path.endswith(f".{name}") for name in names)
    if len(names) > MAX_PATTERN:
        raise OFTError(f"the pattern for module names is {len(names)} characters long; at most {MAX_PATTERN} are read")
    try:
        return regex.fullmatch(names, path, timeout=PATTERN_SECONDS) is not None
    except regex.error as error:
        raise OFTError(f"the pattern for module names {names[:80]!r} is no regular expression: {error}") from None
    except TimeoutError:
        raise OFTError(
            f"the pattern for module names {names[:80]!r} took over {PATTERN_SECONDS:g} s on {path!r}: simplify it"
        ) from None


def _candidates(model: nn.Module) -> dict[str, nn.Module]:
    modules = {}
    inside: set[str] = set()
    for path, module in model.named_modules():
        if not path or any(path.startswith(prefix) for prefix in inside):
            continue
        if isinstance(module, OFTLayer):
            modules[path] = module.base_layer
            inside.add(f"{path}.")
        else:
            modules[path] = module
    return modules


def _layer_is_chosen(path: str, config: OFTConfig) -> bool:
    if config.layers_to_transform is None:
        return True
    pattern = config.layers_pattern
    parts = path.split(".")
    for before, index in itertools.pairwise(parts):
        if index.isdigit() and (pattern is None or before == pattern):
            return int(index) in config.layers_to_transform
    return False


def _nothing_found(modules: dict[str, nn.Module], config: OFTConfig) -> str:
    wanted = config.target_modules if isinstance(config.target_modules, str) else ", ".join(config.target_modules)
    leaves = sorted({path.rpartition(".")[2] for path, module in modules.items() if _is_rotatable(module)})
    key = wanted if isinstance(config.target_modules, str) else config.target_modules[0]
    near = difflib.get_close_matches(key, leaves, n=10, cutoff=0.0)
    return f"no module of the model is named by target_modules={wanted!r}; the nearest names are {', '.join(near)}"


def _is_rotatable(module: nn.Module) -> bool:
    try:
        width_of(module)
    except OFTError:
        return False
    return True
