"""Orthogonal matrices as the papers use them: packed skew blocks, Cayley maps, block-diagonal rotation.

Each call takes `backend="auto" | "torch" | "triton"` where there is a kernel for it.
"""

from .cayley import cayley, exponential, inverse_cayley
from .measure import angle_bound, orthogonality_error, spectral_angle
from .neumann import cayley_neumann, nearest_rotation, neumann_coefficients, newton_schulz
from .polynomial import skew_polynomial
from .rotate import block_rotate_weight, rotate, rotate_many
from .skew import block_size_of, pack_skew, packed_length, unpack_skew

__all__ = [
    "angle_bound",
    "block_rotate_weight",
    "block_size_of",
    "cayley",
    "cayley_neumann",
    "exponential",
    "inverse_cayley",
    "nearest_rotation",
    "neumann_coefficients",
    "newton_schulz",
    "orthogonality_error",
    "pack_skew",
    "packed_length",
    "rotate",
    "rotate_many",
    "skew_polynomial",
    "spectral_angle",
    "unpack_skew",
]
