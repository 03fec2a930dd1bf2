"""Which implementation serves a call: the torch reference or the Triton kernels."""

from __future__ import annotations

import importlib.util

from torch import Tensor

KERNEL_BLOCK_SIZES = frozenset({2, 4, 8, 16, 32, 64})
BACKENDS = ("auto", "torch", "triton")
TRITON_IS_INSTALLED = importlib.util.find_spec("triton") is not None


def use_triton(backend: str, x: Tensor, block_size: int) -> bool:
    """Whether the Triton kernel serves this tensor.

    `auto` takes it on a CUDA device for the block sizes it has; larger blocks are matrix products that
    `torch.bmm` already does at full speed. float64 stays with torch, whose products keep all its digits.

    Raises:
        ValueError: `backend` is unknown, or `triton` was asked for where it cannot serve.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, not {backend!r}")
    if backend == "torch":
        return False
    fits = block_size in KERNEL_BLOCK_SIZES
    if backend == "triton":
        if not TRITON_IS_INSTALLED:
            raise ValueError("backend='triton' needs the package triton, which is not installed")
        if not fits:
            raise ValueError(f"the Triton kernels serve block sizes {sorted(KERNEL_BLOCK_SIZES)}, not {block_size}")
        return True
    return x.is_cuda and fits and x.element_size() <= 4 and TRITON_IS_INSTALLED
