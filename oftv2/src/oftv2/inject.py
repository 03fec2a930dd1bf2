"""Put orthogonal adapters into a model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from torch import nn

from shared.orthogonal import block_size_of

from .config import OFTConfig
from .errors import OFTError
from .handle import AdapterHandle
from .io import read_adapter
from .layers import OFTLayer, width_of, wrap
from .quant import is_quantised, keep_trainable
from .targets import find_targets


def inject(
    model: nn.Module,
    config: OFTConfig | None = None,
    name: str = "default",
    *,
    build: str = "graph",
    fuse: bool = True,
    recompute_inputs: bool = False,
    blocks: Mapping[str, tuple[int, int]] | None = None,
) -> AdapterHandle:
    """Freeze `model` and give it an adapter, which starts as the identity: outputs do not change, bit for bit.

    (In 16 bits a layer with a bias may round differently where the base passed it a slice that is not contiguous: the
    rotated input is contiguous.)

    Calling it again with another name adds a second adapter; the newest is the active one.

    Args:
        model: any torch module. Linear layers (plain or quantised), Conv1D, embeddings and convolutions can be targets.
        config: what to adapt and how; `OFTConfig()` where omitted.
        name: of the adapter.
        build: when rotations are built, see bank.py.
        fuse: let SwiGLU blocks hand their product over rotated, keeping less for backward.
        recompute_inputs: keep no rotated layer's input; norm and SwiGLU outputs are made again in backward.
        blocks: module path -> (r, b), to wrap exactly these modules (how a saved adapter is put back).

    Raises:
        OFTError: nothing matches, a target cannot be rotated, the name is taken or not usable.
    """
    config = config or OFTConfig()
    handle = AdapterHandle.of(model)
    if not name or "." in name:
        raise OFTError(f"an adapter's name must be non-empty and without dots, not {name!r}")
    if handle is not None and name in handle.names:
        raise OFTError(f"the model already has an adapter named {name!r}")
    if handle is not None and handle.merged:
        raise OFTError("adapters are merged: call unmerge() before adding another")
    targets = find_targets(model, config) if blocks is None else _exactly(model, blocks)
    saved = _modules_to_save(model, config)
    sizes = {path: _blocks_of(path, module, config) for path, module in targets.items()} if blocks is None else blocks
    # Nothing is changed before everything has been checked.
    for path, (r, b) in sizes.items():
        width = width_of(targets[path])
        if r * b != width:
            raise OFTError(
                f"{path}: {r} blocks of size {b} rotate vectors of width {r * b}, but the layer's is {width}"
            )
    if blocks is None:
        _tell_adjusted(config, sizes)
    if handle is None:
        model.requires_grad_(False)
        if keep_trainable(model) or any(is_quantised(module) for module in targets.values()):
            # transformers' Trainer accepts a quantised base only where adapters are known to be attached.
            model.__dict__["_hf_peft_config_loaded"] = True
        handle = AdapterHandle(model, build=build, fuse=fuse, recompute_inputs=recompute_inputs)
    layers = {}
    for path in sizes:
        layer = model.get_submodule(path)
        if not isinstance(layer, OFTLayer):
            layer = wrap(layer, path)
            model.set_submodule(path, layer)
        layer.add_adapter(name, config, sizes[path])
        layers[path] = layer
    handle.register(name, config, layers, saved)
    return handle


def load_adapter(model: nn.Module, directory: str | Path, name: str = "default", **options) -> AdapterHandle:
    """Put a saved adapter into a model: PEFT's folders of any age, or our own.

    Exactly the modules that the file has rotations for are wrapped; the file's patterns are not evaluated.

    Args:
        model: the base, with or without other adapters.
        directory: the adapter's folder.
        name: that it gets in this model.
        options: as for `inject` (`build`, `fuse`, `recompute_inputs`).

    Raises:
        OFTError: the folder cannot be read or does not fit the model; the model is left as it was.
    """
    adapter = read_adapter(directory)
    blocks = {}
    for path, packed in {**adapter.packed, **adapter.embeddings}.items():
        b = block_size_of(packed.shape[-1])
        width = width_of(_exactly(model, {path: (0, b)})[path])
        if width % b or packed.shape[0] not in (1, width // b):
            raise OFTError(
                f"{path}: {packed.shape[0]} blocks of size {b} rotate vectors of width {packed.shape[0] * b}, "
                f"but the layer's is {width}"
            )
        if adapter.config.block_share and packed.shape[0] != 1:
            raise OFTError(f"{path}: one shared block is expected, the file has {packed.shape[0]}")
        blocks[path] = (width // b, b)
    existed = AdapterHandle.of(model) is not None
    handle = inject(model, adapter.config, name, blocks=blocks, **options)
    try:
        handle.load_state(adapter, name)
    except OFTError:
        handle.remove(name)
        if not existed:
            handle.unload()
        raise
    return handle


def _exactly(model: nn.Module, blocks: Mapping[str, tuple[int, int]]) -> dict[str, nn.Module]:
    targets = {}
    for path in blocks:
        try:
            module = model.get_submodule(path)
        except AttributeError:
            raise OFTError(f"the adapter has parameters for {path}, which the model does not have") from None
        module = module.base_layer if isinstance(module, OFTLayer) else module
        try:
            width_of(module)
        except OFTError as error:
            raise OFTError(f"{path}: {error}") from None
        targets[path] = module
    return targets


def _blocks_of(path: str, module: nn.Module, config: OFTConfig) -> tuple[int, int]:
    try:
        return config.blocks_of(width_of(module))
    except ValueError as error:
        raise OFTError(f"{path}: {error}") from None


def _modules_to_save(model: nn.Module, config: OFTConfig) -> list[str]:
    """Paths of the modules that are trained whole."""
    paths = []
    for wanted in config.modules_to_save or ():
        found = [p for p, _ in model.named_modules() if p == wanted or p.endswith(f".{wanted}")]
        if not found:
            raise OFTError(f"modules_to_save names {wanted!r}, which the model does not have")
        paths += found
    return paths


def _tell_adjusted(config: OFTConfig, sizes: Mapping[str, tuple[int, int]]) -> None:
    wanted, which = (config.block_size, 1) if config.block_size is not None else (config.num_blocks, 0)
    adjusted = {path: size[which] for path, size in sizes.items() if size[which] != wanted}
    if adjusted:
        names = ", ".join(f"{path} ({value})" for path, value in adjusted.items())
        setting = "block_size" if which else "num_blocks"
        warnings.warn(
            f"{setting}={wanted} does not divide the width of every layer; the nearest divisor is taken in {names}",
            stacklevel=3,
        )
