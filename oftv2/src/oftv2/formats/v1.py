"""Adapters of PEFT 0.14 and 0.15 (OFTv1): free b×b matrices `oft_r` and an output scale `oft_s`.

    S = (data - dataᵀ)/2      R = (I - S)(I + S)⁻¹      W_merged = (W · Rᵀ) ⊙ s

so packed = upper(S) under `cayley_peft_exact`, and s becomes the rescale vector. PEFT 0.13 and earlier use the
same name `oft_r` without `oft_s`, for a rotation of the outputs; such files are recognised and refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared.orthogonal import pack_skew

from ..errors import OFTError, quoted
from .adapter import Adapter
from .keys import PREFIX, fit_config, sort_tensors
from .peft import peft_config

MATRIX, SCALE = ".oft_r", ".oft_s"


def is_v1(tensors: dict[str, Tensor]) -> bool:
    """Whether these tensors have the names of PEFT <= 0.15."""
    return any(name.endswith(MATRIX) for name in tensors)


def read_v1(directory: Path, mapping: dict[str, Any], tensors: dict[str, Tensor]) -> Adapter:
    """The adapter in a folder whose settings and tensors have been read.

    Raises:
        OFTError: a file of PEFT <= 0.13, or shapes that do not fit.
    """
    matrices = {n.removeprefix(PREFIX).removesuffix(MATRIX): t for n, t in tensors.items() if n.endswith(MATRIX)}
    scales = {n.removeprefix(PREFIX).removesuffix(SCALE): t for n, t in tensors.items() if n.endswith(SCALE)}
    if not scales:
        raise OFTError(
            f"{directory} was written by PEFT 0.13 or earlier, whose OFT rotates the outputs of a layer and not its "
            "inputs: merge it into its base model with that version of PEFT"
        )
    if set(scales) != set(matrices):
        odd = sorted(set(scales) ^ set(matrices))[0]
        raise OFTError(f"{directory}: {quoted(odd)} has only one of oft_r and oft_s, and both are needed")
    stored_blocks = mapping.get("r") or None
    # PEFT <= 0.15 takes 8 blocks a layer where neither number is given.
    config = peft_config(directory, {"r": 8, **mapping} if not mapping.get("oft_block_size") else mapping)
    adapter = Adapter(config.with_(parameterization="cayley_peft_exact"), source="peft-v1")
    for path, data in matrices.items():
        where = f"{directory}: {quoted(path)}"
        scale = scales[path]
        if data.ndim != 3 or data.shape[0] < 1 or data.shape[1] != data.shape[2] or data.shape[1] < 2:
            raise OFTError(f"{where}: oft_r must be (r, b, b) with b of at least 2, not {tuple(data.shape)}")
        if scale.ndim != 2 or scale.shape[1] != 1 or not (scale.is_floating_point() and data.is_floating_point()):
            raise OFTError(f"{where}: oft_s must be floating-point (out, 1), not {tuple(scale.shape)}")
        data, scale = data.float(), scale.float()
        if config.coft:
            data = _project(data, config.eps, scale.shape[0], stored_blocks, config.block_share, where)
        adapter.packed[path] = pack_skew(0.5 * (data - data.mT)).contiguous()
        adapter.rescale[path] = scale[:, 0].contiguous()
    rest = {n: t for n, t in tensors.items() if not n.endswith((MATRIX, SCALE))}
    sort_tensors(adapter, rest, str(directory))
    if all(bool((s == 1).all()) for s in adapter.rescale.values()):
        adapter.rescale = {}
        adapter.notes.append("all its output scales are 1 and are left out, so that it can be written for today's PEFT")
    if config.coft:
        adapter.notes.append(
            "its COFT radius depends on the width of each layer, as in no later version: the projection was applied "
            "once, and is off from here on"
        )
    config = adapter.config.with_(rescale=bool(adapter.rescale), coft=False)
    adapter.config = fit_config(config, adapter.packed, adapter.notes)
    return adapter


def _project(data: Tensor, eps: float, width_out: int, r: int | None, shared: bool, where: str) -> Tensor:
    """PEFT <= 0.15's projection, which it applies before every use: radius eps·⌈out/r⌉²/√(stored blocks)."""
    if not shared:
        r = data.shape[0]
    if r is None:
        raise OFTError(f"{where}: a shared block under COFT needs the number of blocks (r) in its settings")
    radius = eps * (-(-width_out // r)) ** 2 / data.shape[0] ** 0.5
    norm = data.flatten(1).norm(dim=1).view(-1, 1, 1)
    return torch.where(norm <= radius, data, data * (radius / norm))
