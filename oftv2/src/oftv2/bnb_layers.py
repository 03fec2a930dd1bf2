"""The 4-bit and 8-bit linear layers of bitsandbytes: reading their weights and making new ones of the same format.

What has to be known of them:

- `Params4bit` carries a `quant_state` with everything the bytes need: block size, code book, the maximum of each
  block, and with double quantisation (`compress_statistics`) a second state for those maxima.
- On a CPU with AVX512-BF16 the first forward in evaluation mode without gradient rearranges the bytes in place for a
  fast product. `bitsandbytes.functional.dequantize_4bit` then gives a wrong weight without a word, and products
  no longer pass a gradient to their input, in training mode neither. `dequantise_4bit` reads that arrangement too, and
  `keep_trainable` undoes it and prevents it.
- `Linear8bitLt` moves its codes from the weight to `layer.state` at the first forward.
"""

from __future__ import annotations

import copy
from types import ModuleType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .errors import OFTError


def bitsandbytes() -> ModuleType:
    """The package, imported at the first call.

    Raises:
        OFTError: it is not installed.
    """
    try:
        import bitsandbytes as package
    except ImportError as error:
        raise OFTError("NF4, FP4 and int8 layers need the package bitsandbytes, which is not installed") from error
    return package


def is_4bit(layer: nn.Module) -> bool:
    return _is_bitsandbytes(layer, "Linear4bit")


def is_8bit(layer: nn.Module) -> bool:
    return _is_bitsandbytes(layer, "Linear8bitLt")


def dequantise_4bit(layer: Any, dtype: torch.dtype = torch.float32) -> Float[Tensor, "out inp"]:
    """The weight that a `Linear4bit` stands for, whichever way its bytes lie. The layer is not changed."""
    state = _state(layer)
    if state is None:
        return layer.weight.detach().to(dtype)
    if _is_rearranged(state):
        codes, absmax = _codes_of_rearranged(layer.weight.data, state)
        blocks = state.code.float()[codes.long()].view(absmax.numel(), -1)
        return (blocks * absmax.unsqueeze(1)).view(state.shape).to(dtype)
    # The dtype in the state is what dequantising rounds to: the values themselves are float32.
    state = copy.copy(state)
    state.dtype = torch.float32
    return bitsandbytes().functional.dequantize_4bit(layer.weight.data.view(-1, 1), state).to(dtype)


def linear_4bit(
    weight: Float[Tensor, "out inp"],
    bias: nn.Parameter | None = None,
    *,
    quant_type: str = "nf4",
    block_size: int = 64,
    double_quant: bool = True,
    compute_dtype: torch.dtype | None = None,
    weight_dtype: torch.dtype | None = None,
    quant_storage: torch.dtype = torch.uint8,
) -> Any:
    """A `bitsandbytes.nn.Linear4bit` over this weight, on the weight's device; the defaults are QLoRA's NF4.

    Args:
        compute_dtype: of the products; None leaves it to bitsandbytes, which takes the first input's.
        weight_dtype: what its own dequantising rounds to; None for the weight's.

    Raises:
        OFTError: bitsandbytes is missing or refuses a setting.
    """
    package = bitsandbytes()
    try:
        data, state = package.functional.quantize_4bit(
            weight.detach().float().contiguous(),
            blocksize=block_size,
            compress_statistics=double_quant,
            quant_type=quant_type,
            quant_storage=quant_storage,
        )
    except ValueError as error:
        raise OFTError(f"bitsandbytes cannot quantise a weight of shape {tuple(weight.shape)}: {error}") from error
    state.dtype = weight_dtype or weight.dtype
    layer = package.nn.Linear4bit(
        weight.shape[1],
        weight.shape[0],
        bias=False,
        compute_dtype=compute_dtype,
        compress_statistics=double_quant,
        quant_type=quant_type,
        quant_storage=quant_storage,
        device="meta",
    )
    layer.weight = package.nn.Params4bit(
        data,
        requires_grad=False,
        quant_state=state,
        blocksize=block_size,
        compress_statistics=double_quant,
        quant_type=quant_type,
        quant_storage=quant_storage,
        module=layer,
        bnb_quantized=True,
    )
    layer.quant_state = state
    layer.bias = bias
    return layer


def quantise_like_4bit(layer: Any, weight: Float[Tensor, "out inp"]) -> Any:
    """A new `Linear4bit` of the same type, block size, double quantisation and compute dtype; the bias is shared."""
    state = _state(layer)
    if state is None:
        raise OFTError(
            "a Linear4bit that was never moved to a device holds no 4-bit weight yet: call .to(device) first"
        )
    rearranged = _is_rearranged(state)
    new = linear_4bit(
        weight.to(layer.weight.device),
        layer.bias,
        quant_type=state.quant_type,
        block_size=state.blocksize,
        double_quant=state.original_nested if rearranged else state.nested,
        compute_dtype=layer.compute_dtype,
        weight_dtype=state.original_dtype if rearranged else state.dtype,
        quant_storage=layer.weight.quant_storage,
    )
    new.compute_type_is_set = layer.compute_type_is_set
    new.support_avx512bf16_for_cpu = layer.support_avx512bf16_for_cpu
    return new.train(layer.training)


def dequantise_8bit(layer: Any, dtype: torch.dtype = torch.float32) -> Float[Tensor, "out inp"]:
    """The weight that a `Linear8bitLt` stands for: codes times the row's maximum over 127."""
    weight = layer.weight
    if weight.dtype != torch.int8:
        return weight.detach().to(dtype)
    maxima = weight.SCB if weight.SCB is not None else layer.state.SCB
    if maxima is None:
        raise OFTError("a Linear8bitLt has lost the row maxima (SCB) of its int8 weight, so it cannot be read")
    return (weight.data.float() * (maxima.to(weight.device).float() / 127).unsqueeze(1)).to(dtype)


def quantise_like_8bit(layer: Any, weight: Float[Tensor, "out inp"]) -> Any:
    """A new `Linear8bitLt` with the same outlier threshold, its int8 weight made of `weight`; the bias is shared."""
    package = bitsandbytes()
    new = package.nn.Linear8bitLt(
        weight.shape[1],
        weight.shape[0],
        bias=False,
        has_fp16_weights=layer.state.has_fp16_weights,
        threshold=layer.state.threshold,
        device="meta",
    )
    if layer.state.has_fp16_weights:
        weight = weight.to(layer.weight.dtype)
    new.weight = package.nn.Int8Params(
        weight.detach().cpu().contiguous(),
        requires_grad=layer.weight.requires_grad,
        has_fp16_weights=layer.state.has_fp16_weights,
    ).to(layer.weight.device)
    new.bias = layer.bias
    return new.train(layer.training)


def keep_trainable(model: nn.Module) -> int:
    """Keep the CPU rearrangement away from every 4-bit layer of the model, and undo it where it has happened.

    Without it, one evaluation before or between training steps ends all gradients that pass through these layers.
    Evaluation on such a CPU is slower for it. A layer that was already rearranged keeps the bfloat16 block maxima
    that it then had, without double quantisation.

    Returns:
        How many layers had been rearranged.
    """
    undone = 0
    layer: Any
    for layer in model.modules():
        if not is_4bit(layer):
            continue
        layer.support_avx512bf16_for_cpu = False
        state = _state(layer)
        if state is None or not _is_rearranged(state):
            continue
        codes, absmax = _codes_of_rearranged(layer.weight.data, state)
        data = (codes[0::2] << 4 | codes[1::2]).view(state.original_qshape)
        layer.weight.data = data.view(getattr(state, "original_storage_type", torch.uint8))
        state.absmax, state.nested, state.offset, state.state2 = absmax, False, None, None
        state.dtype = state.original_dtype
        state.packing_format_for_cpu = False
        undone += 1
    return undone


def _is_bitsandbytes(layer: nn.Module, name: str) -> bool:
    """By name, so that asking does not import the package."""
    return any(c.__name__ == name and c.__module__.startswith("bitsandbytes") for c in type(layer).__mro__)


def _state(layer: Any) -> Any:
    """FSDP and some conversions lose the parameter's copy; the layer keeps one."""
    state = getattr(layer.weight, "quant_state", None)
    return state if state is not None else layer.quant_state


def _is_rearranged(state: Any) -> bool:
    return getattr(state, "packing_format_for_cpu", False)


def _codes_of_rearranged(data: Tensor, state: Any) -> tuple[Tensor, Tensor]:
    """Codes `(out·in,)` uint8 and block maxima `(out·in/blocksize,)` float32 in the order of the weight's entries.

    The arrangement: 32 rows at a time, column pair by column pair, the first 32 of those 64 codes in the low half of
    32 bytes and the others in the high half; maxima transposed, in bfloat16.
    """
    out, inp = state.shape
    bytes_ = data.view(torch.uint8).reshape(-1, 32)
    codes = torch.cat((bytes_ & 15, bytes_ >> 4), dim=1)
    codes = codes.view(out // 32, inp // 2, 32, 2).transpose(1, 2).reshape(-1)
    return codes, state.absmax.T.reshape(-1).float()
