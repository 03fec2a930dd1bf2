"""One rotation of one layer: its packed parameters, how R is made of them, and the R that is current."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .rotation import project_to_ball, rotation_from

if TYPE_CHECKING:
    from .bank import RotationBank
    from .groups import SharedInput


@dataclass(eq=False)
class RotationSlot:
    """An adapter's rotation in one layer, `r` blocks of size `b` over a width of `r·b`."""

    packed: Callable[[], Tensor]  # (r or 1, b(b-1)/2); a call, because loading may replace the parameter
    width: int
    block_size: int
    parameterization: str
    terms: int
    apply_dtype: torch.dtype | None = None  # dtype of R; None for that of the packed parameters
    alpha: float = 1.0  # strength: R is built from alpha·Q
    dropout: float = 0.0  # share of the blocks that a training forward replaces by I
    training: Callable[[], bool] = lambda: False
    project_eps: float | None = None  # COFT radius to enforce before each build (how PEFT does it)
    bank: RotationBank | None = None
    group: SharedInput | None = field(default=None, repr=False)  # layers that read the same input
    R: Tensor | None = field(default=None, repr=False)  # set by the bank

    @property
    def num_blocks(self) -> int:
        return self.width // self.block_size

    @property
    def drops(self) -> bool:
        """Whether a forward now would replace blocks by I."""
        return self.dropout > 0 and int(self.dropout * self.num_blocks) > 0 and self.num_blocks > 1 and self.training()

    @property
    def key(self) -> tuple:
        """Slots of equal key can be built in one batch."""
        packed = self.packed()
        return (
            self.block_size,
            self.parameterization,
            self.terms,
            self.apply_dtype,
            packed.dtype,
            packed.device,
        )

    def scaled(self) -> Tensor:
        """alpha·Q, packed."""
        packed = self.packed()
        return packed if self.alpha == 1.0 else packed * self.alpha

    def project(self) -> None:
        """COFT: pull the parameters back onto their ball, in place."""
        if self.project_eps is not None:
            packed = self.packed()
            with torch.no_grad():
                packed.copy_(project_to_ball(packed, self.project_eps))

    def build(self) -> Tensor:
        """R by itself, `(r or 1, b, b)`, outside the bank."""
        R = rotation_from(self.scaled(), self.parameterization, self.terms, self.apply_dtype or self.packed().dtype)
        return self.drop(R)

    def drop(self, R: Tensor) -> Tensor:
        """Multiplicative dropout (BOFT paper §4): int(p·r) randomly chosen blocks become I while training.

        A layer of one block is left alone. The choice comes from torch's generator.
        """
        if not self.drops:
            return R
        chosen = torch.randperm(self.num_blocks)[: int(self.dropout * self.num_blocks)]
        mask = torch.zeros(self.num_blocks, 1, 1, dtype=R.dtype)
        mask[chosen] = 1
        mask = mask.to(R.device)
        eye = torch.eye(self.block_size, dtype=R.dtype, device=R.device)
        return R + mask * (eye - R)

    def rotation(self) -> Tensor:
        """The R to use now: the bank's where it is current, else one built here."""
        if self.bank is not None:
            R = self.bank.current(self)
            if R is not None:
                return R
        return self.build()
