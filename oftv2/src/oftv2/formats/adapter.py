"""An adapter in memory, independent of the file that it came from."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from ..config import OFTConfig


@dataclass
class Adapter:
    """Settings and tensors of one adapter.

    Paths are those inside the base model, without any prefix. Parameters of a module that is also rotated keep
    the `.base_layer.` that both PEFT's wrappers and ours put into their path.

    `base_weights` are not trained: beside a rotated embedding, and after the vocabulary was resized, PEFT stores
    the embedding matrix of the base itself.
    """

    config: OFTConfig
    packed: dict[str, Tensor] = field(default_factory=dict)  # module path -> (r or 1, b(b-1)/2), float32
    embeddings: dict[str, Tensor] = field(default_factory=dict)  # the same, for embeddings whose output is rotated
    rescale: dict[str, Tensor] = field(default_factory=dict)  # module path -> (out,), float32
    saved: dict[str, Tensor] = field(default_factory=dict)  # parameter path -> tensor (modules_to_save, biases)
    base_weights: dict[str, Tensor] = field(default_factory=dict)  # weights of the base that PEFT stores alongside
    source: str = "native"  # peft, peft-0.17, peft-v1 or native
    notes: list[str] = field(default_factory=list)  # what a reader of the file should know, a sentence each

    @property
    def rotations(self) -> dict[str, Tensor]:
        """Packed parameters of every rotated module, embeddings included."""
        return {**self.packed, **self.embeddings}

    @property
    def parameter_count(self) -> int:
        """Numbers that the adapter trains: packed, rescale, and whole modules."""
        groups = (self.packed, self.embeddings, self.rescale, self.saved)
        return sum(t.numel() for group in groups for t in group.values())
