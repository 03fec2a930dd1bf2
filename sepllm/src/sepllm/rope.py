"""Moving a rotated key to another position: R(p′) k = R(p′ − p) · R(p) k.

Keys reach the cache already rotated (RoPE, arXiv 2104.09864). As rotations add, a key that changes its place needs one
rotation by the difference, whatever scaling the model applied before (YaRN's attention factor is in the key already and
is not applied again). Half-split pairs (x_j, x_{j + d/2}), on the first d of the head's dimensions.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor

from .errors import SepLLMError

MOVABLE = ("default", "linear", "llama3", "yarn")  # kinds whose frequencies do not depend on the length of the text


def turn(x: Tensor, delta: Tensor, frequencies: Tensor) -> Tensor:
    """x rotated by `delta` positions.

    Args:
        x: [B, H, T, D].
        delta: Int64[B, T] or [T], positions to move by; may be negative.
        frequencies: [d/2], inverse frequencies of the model, d ≤ D.

    Angles are formed in float32, or in float64 where x is float64.
    """
    kind = torch.float64 if x.dtype == torch.float64 else torch.float32
    angle = delta.to(kind)[..., None] * frequencies.to(x.device, kind)
    angle = angle[None, None] if angle.ndim == 2 else angle[:, None]
    cos, sin = angle.cos(), angle.sin()
    half = frequencies.numel()
    first, second, rest = x[..., :half].to(kind), x[..., half : 2 * half].to(kind), x[..., 2 * half :]
    turned = torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(x.dtype)
    return torch.cat([turned, rest], -1) if rest.shape[-1] else turned


def frequencies_of(decoder: Any) -> Tensor:
    """Inverse frequencies [d/2] of a decoder whose keys can be moved.

    Raises:
        SepLLMError: no RoPE, frequencies that depend on the length, or pairs that are not half-split (which is found
            by comparing `turn` with the model's own rotation on random numbers).
    """
    name = type(decoder).__name__
    embedding = getattr(decoder, "rotary_emb", None)
    frequencies = getattr(embedding, "inv_freq", None)
    if frequencies is None:
        raise SepLLMError(f"positions inside the cache need rotary embeddings, and {name} has none: use SepPolicy")
    kind = getattr(embedding, "rope_type", "default")
    if kind not in MOVABLE:
        raise SepLLMError(
            f"keys of rope type {kind!r} cannot be moved, for its frequencies depend on the length of the text "
            f"(allowed are {', '.join(MOVABLE)}): use SepPolicy"
        )
    own = getattr(sys.modules[type(decoder).__module__], "apply_rotary_pos_emb", None)
    if own is None or not _agrees(own, embedding, frequencies):
        raise SepLLMError(f"{name} does not rotate half-split pairs, so its keys cannot be moved: use SepPolicy")
    return frequencies.detach()


def _agrees(own: Any, embedding: Any, frequencies: Tensor) -> bool:
    x = torch.linspace(-1, 1, 3 * 2 * frequencies.numel(), device=frequencies.device).view(1, 1, 3, -1)
    near, far = (torch.tensor([[p, p + 1, p + 2]], device=x.device) for p in (3, 14))
    try:
        first = own(x, x, *embedding(x, near))[1]
        second = own(x, x, *embedding(x, far))[1]
    except (TypeError, ValueError, RuntimeError):
        return False
    return torch.allclose(turn(first, far - near, frequencies), second, atol=1e-4 * float(second.abs().max()))
