"""LyCORIS and kohya diag-oft files: recognised, measured, and merged into weights, but not injected.

They rotate the *outputs* of a layer, block k of the rows of W:

    Q = B - Bᵀ      R = (I + Q)(I - Q)⁻¹      W_merged[k] = R_kᵀ · W[k],  times `rescale` for each row

An input-side adapter `W · Rᵀ` cannot express that. `alpha` in the file is the constraint: ‖Q‖_F of a whole
module, over all its blocks, is kept within alpha·out, where alpha is above 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shared.orthogonal import block_rotate_weight, cayley, pack_skew

from ..errors import OFTError, quoted
from .tensors import TensorFile

BLOCKS, RESCALE, ALPHA = ".oft_blocks", ".rescale", ".alpha"
PREFIX = "lycoris_"

OUTPUT_SIDE = (
    "is a LyCORIS or kohya diag-oft file, which rotates the outputs of a layer where OFTv2 rotates its inputs, so it "
    "cannot be injected; merge-into (or lycoris_merged_weight) puts it into the weights"
)


@dataclass
class LycorisAdapter:
    """The tensors of a diag-oft file, by LyCORIS's module names (`lycoris_model_layers_0_...`)."""

    blocks: dict[str, Tensor] = field(default_factory=dict)  # (r, b, b)
    rescale: dict[str, Tensor] = field(default_factory=dict)  # (out, 1, ...)
    alpha: dict[str, float] = field(default_factory=dict)

    def packed(self, name: str) -> Float[Tensor, "r n"]:
        """Packed Q of one module under `cayley`, the constraint applied."""
        blocks = self.blocks[name]
        return lycoris_packed(blocks, self.alpha.get(name, 0.0) * blocks.shape[0] * blocks.shape[1])


def is_lycoris(file: TensorFile) -> bool:
    """Whether the names in this file are those of diag-oft."""
    return any(name.endswith((BLOCKS, ".oft_diag")) for name in file)


def read_lycoris(file: TensorFile) -> LycorisAdapter:
    """The tensors of a diag-oft file.

    Raises:
        OFTError: it is of another kind (BOFT, the oldest diag-oft), or shapes do not fit.
    """
    adapter = LycorisAdapter()
    if any(name.endswith(".oft_diag") for name in file):
        raise OFTError(
            f"{file.path} is of LyCORIS before 2.0 (oft_diag), which is not read: merge it with that version"
        )
    for name, tensor in file.read_all().items():
        where = f"{file.path}: tensor {quoted(name)}"
        module, _, kind = name.rpartition(".")
        if not tensor.is_floating_point():
            raise OFTError(f"{where} must be floating-point, not {tensor.dtype}")
        if kind == BLOCKS[1:]:
            if tensor.ndim == 4:
                raise OFTError(f"{where} holds butterfly factors: BOFT is another method")
            if tensor.ndim != 3 or tensor.shape[0] < 1 or tensor.shape[1] != tensor.shape[2] or tensor.shape[1] < 2:
                raise OFTError(f"{where} must be (r, b, b) with b of at least 2, not {tuple(tensor.shape)}")
            adapter.blocks[module] = tensor.float()
        elif kind == RESCALE[1:]:
            adapter.rescale[module] = tensor.float()
        elif kind == ALPHA[1:]:
            if tensor.numel() != 1:
                raise OFTError(f"{where} must be one number, not of shape {tuple(tensor.shape)}")
            adapter.alpha[module] = float(tensor)
        else:
            raise OFTError(f"{where} is none of oft_blocks, rescale and alpha")
    for module in (*adapter.rescale, *adapter.alpha):
        if module not in adapter.blocks:
            raise OFTError(f"{file.path}: {quoted(module)} has no oft_blocks")
    for module, scale in adapter.rescale.items():
        out = adapter.blocks[module].shape[0] * adapter.blocks[module].shape[1]
        if scale.numel() != out or scale.shape[0] != out:
            raise OFTError(f"{file.path}: rescale of {quoted(module)} must hold {out} factors, not {scale.numel()}")
    return adapter


def lycoris_packed(blocks: Float[Tensor, "r b b"], constraint: float = 0.0) -> Float[Tensor, "r n"]:
    """Packed Q of free blocks, its norm over all of them within `constraint` where that is above 0."""
    Q = blocks - blocks.mT
    if constraint > 0:
        norm = float(Q.norm()) + 1e-8
        if norm > constraint:
            Q = Q * (constraint / norm)
    return pack_skew(Q)


def lycoris_merged_weight(
    W: Float[Tensor, "out ..."],
    blocks: Float[Tensor, "r b b"],
    rescale: Float[Tensor, "out ..."] | None = None,
    alpha: float = 0.0,
) -> Float[Tensor, "out ..."]:
    """The weight that LyCORIS (4.1.3) computes at strength 1 from a diag-oft file, in W's dtype.

    Args:
        W: weight of a linear or convolutional layer, outputs first.
        blocks: the file's `oft_blocks`, r·b = out.
        rescale: its `rescale`, one factor an output.
        alpha: its `alpha`, the constraint over the number of outputs.

    Raises:
        OFTError: the blocks do not fit the weight.
    """
    out = W.shape[0]
    if blocks.ndim != 3 or blocks.shape[0] * blocks.shape[1] != out or blocks.shape[1] != blocks.shape[2]:
        raise OFTError(f"blocks of shape {tuple(blocks.shape)} do not rotate the {out} outputs of this weight")
    R = cayley(lycoris_packed(blocks.float(), alpha * out))
    # diag-oft multiplies by R_kᵀ from the left.
    merged = block_rotate_weight(W.flatten(1).float(), R.mT, side="output")
    if rescale is not None:
        merged = merged * rescale.reshape(out, 1)
    return merged.reshape(W.shape).to(W.dtype)


@torch.no_grad()
def merge_lycoris(model: nn.Module, adapter: LycorisAdapter) -> int:
    """Replaces the weights of a plain model by their merged ones; the number of modules.

    Modules are found by LyCORIS's own naming: `lycoris_` and the path with its dots replaced.

    Raises:
        OFTError: a module of the file is not in the model, or does not fit; nothing has been changed then.
    """
    modules = {PREFIX + path.replace(".", "_"): module for path, module in model.named_modules() if path}
    missing = sorted(set(adapter.blocks) - set(modules))
    if missing:
        raise OFTError(f"the model has no module for {', '.join(quoted(m) for m in missing[:10])}")
    merged = {}
    for name, blocks in adapter.blocks.items():
        weight = getattr(modules[name], "weight", None)
        if not isinstance(weight, Tensor) or weight.ndim < 2 or not weight.is_floating_point():
            raise OFTError(f"{quoted(name)} has no plain floating-point weight to merge into")
        scale = adapter.rescale.get(name)
        try:
            merged[name] = lycoris_merged_weight(weight, blocks, scale, adapter.alpha.get(name, 0.0))
        except OFTError as error:
            raise OFTError(f"{quoted(name)}: {error}") from None
    for name, value in merged.items():
        modules[name].weight.copy_(value)  # type: ignore[union-attr,operator,arg-type]
    return len(merged)
