"""Merged models as plain Hugging Face folders, and checkpoints of the official code."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .checkpoint import explained_disk
from .distributed import whole
from .effective import effective_weight, is_lora
from .errors import PoetError
from .linear import PoetLinear, poet_layers


def merged_state(model: nn.Module) -> dict[str, Tensor]:
    """The state dict of the same model with plain linear layers that hold the effective weights of POET layers or
    PEFT's LoRA; on the CPU. Sharded tensors are gathered, so under FSDP every process calls it."""
    layers: dict[str, Any] = {n: m for n, m in model.named_modules() if isinstance(m, PoetLinear) or is_lora(m)}
    inside = tuple(f"{name}." for name in layers)
    state = {k: whole(v).detach().cpu() for k, v in model.state_dict().items() if not k.startswith(inside)}
    for name, layer in layers.items():
        weight = effective_weight(layer)
        assert weight is not None
        state[f"{name}.weight"] = weight.detach().cpu()
        bias = layer.bias if isinstance(layer, PoetLinear) else layer.get_base_layer().bias
        if bias is not None:
            state[f"{name}.bias"] = whole(bias).detach().cpu()
    return state


def save_merged(model: Any, directory: str | Path, tokenizer: Any = None, *, writes: bool = True) -> Path:
    """Write a folder that `AutoModelForCausalLM.from_pretrained` opens without this package. The model in memory stays
    as it is, rotations of the running interval included. The folder is whole or not there.

    Args:
        model: a transformers model, wrapped or plain.
        writes: False in the processes of a distributed run that only help to gather.

    Raises:
        PoetError: the disk is full or not writable.
    """
    directory = Path(directory)
    state = merged_state(model)
    if not writes:
        return directory
    with explained_disk(directory):
        directory.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{directory.name}.part-", dir=directory.parent))
        try:
            _plain_shell(model).save_pretrained(part, state_dict=state)
            if tokenizer is not None:
                tokenizer.save_pretrained(part)
            part.chmod(0o755)
            if directory.exists():
                shutil.rmtree(directory)
            part.rename(directory)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return directory


def _plain_shell(model: Any) -> Any:
    """The same architecture without POET layers or memory, whose names and ties `save_pretrained` writes down."""
    with torch.device("meta"):
        shell = type(model)(model.config).to(model.dtype)
    if model.config.tie_word_embeddings:
        shell.tie_weights()
    return shell


def load_official(state: Mapping[str, Tensor], model: nn.Module) -> list[str]:
    """Load POET layers of the official code's state dict (`oft_R`, `weight`, `perm_in`, `perm_out`, ...) into the POET
    layers of a model, rotations included, as merged weights; other tensors by their names. Returns the layers' names.

    The official forward is `x[..., perm_in_inv]`, blocks `x_j G_in[j]`, `@ weightᵀ`, blocks `y_j G_out[j]`,
    `[..., perm_out]`, with G = I + 2Q + 2Q² + 2Q³ + Q⁴ (its CPU path ends in 2Q⁴; checkpoints come from GPUs).

    Raises:
        PoetError: a layer is missing or has another shape.
    """
    layers = {layer.name: layer for layer in poet_layers(model)}
    found = [key.removesuffix(".oft_R") for key in state if key.endswith(".oft_R")]
    own = tuple(f"{name}." for name in layers)
    missing = sorted(set(layers) - set(found)) or sorted(set(found) - set(layers))
    if missing:
        raise PoetError(f"the official checkpoint and the model differ in the POET layer {missing[0]}")
    weights = {name: official_weight({k: state[f"{name}.{k}"] for k in _keys(state, name)}) for name in found}
    for name, W in weights.items():
        if W.shape != (layers[name].out_features, layers[name].in_features):
            raise PoetError(f"{name} is {tuple(W.shape)} in the official checkpoint, and another size in the model")
    rest = {k: v for k, v in state.items() if not k.startswith(own)}
    unfit = model.load_state_dict(rest, strict=False)
    lost = [k for k in unfit.missing_keys if not k.startswith(own)] + unfit.unexpected_keys
    if lost:
        raise PoetError(f"the official checkpoint and the model differ in {lost[0]}")
    with torch.no_grad():
        for name, W in weights.items():
            layer = layers[name]
            layer.write(W)
            for q in layer.Q:
                q.zero_()
            if layer.bias is not None and f"{name}.bias" in state:
                # The official layer adds its bias before the output rotation, which is a bias that is rotated along.
                layer.bias.copy_(official_bias(state, name))
            layer.invalidate()
    return found


def official_weight(layer: Mapping[str, Tensor]) -> Tensor:
    """The (m, n) weight that an official layer applies, the transpose of
    `(Diag(G_in)·weightᵀ·Diag(G_out))[perm_in][:, perm_out]`."""
    W = _official_base(layer)
    G_out, G_in = _official_blocks(layer, W.shape[0])
    inner = torch.block_diag(*G_in) @ W.double().T @ torch.block_diag(*G_out)
    return inner[layer["perm_in"].long()][:, layer["perm_out"].long()].T.contiguous()


def official_bias(state: Mapping[str, Tensor], name: str) -> Tensor:
    layer = {k: state[f"{name}.{k}"] for k in _keys(state, name)}
    G_out, _ = _official_blocks(layer, layer["bias"].shape[0])
    return (layer["bias"].double() @ torch.block_diag(*G_out))[layer["perm_out"].long()]


def _keys(state: Mapping[str, Tensor], name: str) -> list[str]:
    return [k.removeprefix(f"{name}.") for k in state if k.startswith(f"{name}.")]


def _official_base(layer: Mapping[str, Tensor]) -> Tensor:
    W = layer["weight"]
    if W.dtype != torch.uint8:
        return W
    scales = layer["weight_scales"].double().flatten()[:, None]
    zeros = layer["weight_zeros"].double().flatten()[:, None]
    return ((W.reshape(len(scales), -1).double() - zeros) * scales).view(W.shape)


def _official_blocks(layer: Mapping[str, Tensor], m: int) -> tuple[Tensor, Tensor]:
    from shared.orthogonal import block_size_of, cayley_neumann

    G = cayley_neumann(layer["oft_R"].double(), terms=3)
    r_out = m // block_size_of(layer["oft_R"].shape[-1])
    return G[:r_out], G[r_out:]
