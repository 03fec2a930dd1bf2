"""The settings of an orthogonal adapter, which check themselves, and their translation to and from PEFT's."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, fields, replace
from typing import Any

from .rotation import PARAMETERIZATIONS, check_terms

BIAS = ("none", "all", "oft_only")


@dataclass(frozen=True)
class OFTConfig:
    """How a model is adapted. Exactly one of `block_size` and `num_blocks` is set.

    Raises:
        ValueError: a field has a value that is not allowed; the sentence names field, value and range.
    """

    block_size: int | None = 32  # b, the size of each rotation
    num_blocks: int | None = None  # r, the number of rotations a layer; b then follows from the layer's width
    block_share: bool = False  # one rotation a layer, used at all r positions
    parameterization: str = "cayley_neumann"  # see rotation.py
    terms: int = 5  # of cayley_neumann, counted as PEFT counts num_cayley_neumann_terms
    coft: bool = False  # keep ‖Q‖_F of each block within eps/√r (constrained OFT)
    eps: float = 6e-5  # that radius; the OFT paper's value all but freezes blocks of 32
    block_dropout: float = 0.0  # share of blocks replaced by I in a training forward (multiplicative dropout)
    rescale: bool = False  # a trainable factor for each output (the magnitude vector of OFTv1)
    target_modules: str | tuple[str, ...] = "all-linear"  # suffixes, one regular expression, or "all-linear"
    exclude_modules: str | tuple[str, ...] | None = None  # suffixes or one regular expression
    layers_to_transform: tuple[int, ...] | None = None  # indices of decoder layers; None for all
    layers_pattern: str | None = None  # name of the list that those indices count in
    modules_to_save: tuple[str, ...] | None = None  # further modules to train and save whole
    bias: str = "none"  # none, all or oft_only: which biases train
    fan_in_fan_out: bool = False  # weights stored (in, out), as GPT-2's Conv1D; found by itself for that class
    rotation_dtype: str = "auto"  # dtype in which R is applied; auto is the activation's
    base_model: str | None = None  # name or path of the base, kept for the reader of the adapter
    task_type: str | None = None  # PEFT's label, kept

    def __post_init__(self) -> None:
        for name in ("target_modules", "exclude_modules", "layers_to_transform", "modules_to_save"):
            value = getattr(self, name)
            if isinstance(value, (list, set)):
                object.__setattr__(self, name, tuple(sorted(value) if isinstance(value, set) else value))
            elif isinstance(value, int):
                object.__setattr__(self, name, (value,))
        b, r = self.block_size or None, self.num_blocks or None
        object.__setattr__(self, "block_size", b)
        object.__setattr__(self, "num_blocks", r)
        if (b is None) == (r is None):
            raise ValueError(
                f"exactly one of block_size and num_blocks must be set, not block_size={b} and num_blocks={r}"
            )
        if b is not None and not (isinstance(b, int) and b >= 2):
            raise ValueError(f"block_size must be a whole number of at least 2, not {b!r}")
        if r is not None and not (isinstance(r, int) and r >= 1):
            raise ValueError(f"num_blocks must be a whole number of at least 1, not {r!r}")
        if self.parameterization not in PARAMETERIZATIONS:
            raise ValueError(
                f"parameterization must be one of {', '.join(PARAMETERIZATIONS)}, not {self.parameterization!r}"
            )
        check_terms(self.terms)
        if not (isinstance(self.eps, (int, float)) and math.isfinite(self.eps) and self.eps > 0):
            raise ValueError(f"eps must be a finite number above 0, not {self.eps!r}")
        if not (isinstance(self.block_dropout, (int, float)) and 0 <= self.block_dropout < 1):
            raise ValueError(f"block_dropout must lie in [0, 1), not {self.block_dropout!r}")
        if self.bias not in BIAS:
            raise ValueError(f"bias must be one of {', '.join(BIAS)}, not {self.bias!r}")
        if self.rotation_dtype not in ("auto", "float32", "bfloat16", "float16"):
            raise ValueError(
                f"rotation_dtype must be one of auto, float32, bfloat16, float16, not {self.rotation_dtype!r}"
            )
        if not self.target_modules:
            raise ValueError("target_modules is empty: give module names, a regular expression, or 'all-linear'")

    def blocks_of(self, width: int) -> tuple[int, int]:
        """(r, b) for a layer of this input width: the setting, or the nearest divisor where it does not divide.

        PEFT rounds in the same way (ties to the lower divisor), so adapters stay interchangeable.

        Raises:
            ValueError: the width has no divisor that makes blocks of at least 2.
        """
        if self.block_size is not None:
            b = nearest_divisor(width, self.block_size)
            r = width // b
        else:
            r = nearest_divisor(width, self.num_blocks or 1)
            b = width // r
        if b < 2:
            raise ValueError(f"a layer of width {width} cannot be cut into blocks of at least 2 ({r} blocks of {b})")
        return r, b

    @classmethod
    def from_peft(cls, mapping: dict[str, Any]) -> OFTConfig:
        """Settings from PEFT's `adapter_config.json`.

        Files without `peft_version`, or with one below 0.18, come from PEFT 0.16 or 0.17, whose series doubles
        its last term too.

        Raises:
            ValueError: another adapter type, or a value that is not allowed.
        """
        kind = mapping.get("peft_type", "OFT")
        if kind != "OFT":
            raise ValueError(f"this adapter is of type {kind}, not OFT")
        neumann = mapping.get("use_cayley_neumann", True)
        if not neumann:
            parameterization = "cayley_peft_exact"
        elif _is_before_018(mapping.get("peft_version")):
            parameterization = "cayley_neumann_017"
        else:
            parameterization = "cayley_neumann"
        return cls(
            block_size=mapping.get("oft_block_size") or None,
            num_blocks=mapping.get("r") or None,
            block_share=bool(mapping.get("block_share", False)),
            parameterization=parameterization,
            terms=mapping.get("num_cayley_neumann_terms", 5),
            coft=bool(mapping.get("coft", False)),
            eps=mapping.get("eps", 6e-5),
            block_dropout=mapping.get("module_dropout", 0.0),
            target_modules=mapping.get("target_modules") or "all-linear",
            exclude_modules=mapping.get("exclude_modules"),
            layers_to_transform=mapping.get("layers_to_transform"),
            layers_pattern=mapping.get("layers_pattern"),
            modules_to_save=mapping.get("modules_to_save"),
            bias=mapping.get("bias", "none"),
            fan_in_fan_out=bool(mapping.get("fan_in_fan_out", False)),
            base_model=mapping.get("base_model_name_or_path"),
            task_type=mapping.get("task_type"),
        )

    def to_peft(self) -> dict[str, Any]:
        """PEFT's `adapter_config.json` for these settings (semantics of PEFT >= 0.18).

        `cayley` and `cayley_neumann_polished` become PEFT's exact form; their parameters must be converted
        with them, which `io.write_adapter` does.

        Raises:
            ValueError: PEFT cannot express these settings (a rescale vector, the series of 0.16 and 0.17).
        """
        if self.rescale:
            raise ValueError("PEFT's format has no place for a rescale vector: save in the native format, or merge")
        if self.parameterization == "cayley_neumann_017":
            raise ValueError(
                "the series of PEFT 0.16 and 0.17 cannot be written for today's PEFT, which would read another "
                "rotation from it: save in the native format, or merge"
            )
        listed = lambda value: list(value) if isinstance(value, tuple) else value  # noqa: E731
        return {
            "peft_type": "OFT",
            "peft_version": "0.21.2",
            "auto_mapping": None,
            "base_model_name_or_path": self.base_model,
            "revision": None,
            "task_type": self.task_type,
            "inference_mode": True,
            "r": self.num_blocks or 0,
            "oft_block_size": self.block_size or 0,
            "module_dropout": self.block_dropout,
            "target_modules": listed(self.target_modules),
            "exclude_modules": listed(self.exclude_modules),
            "fan_in_fan_out": self.fan_in_fan_out,
            "bias": self.bias,
            "init_weights": True,
            "layers_to_transform": listed(self.layers_to_transform),
            "layers_pattern": self.layers_pattern,
            "modules_to_save": listed(self.modules_to_save),
            "coft": self.coft,
            "eps": self.eps,
            "block_share": self.block_share,
            "use_cayley_neumann": self.parameterization == "cayley_neumann",
            "num_cayley_neumann_terms": self.terms,
        }

    @classmethod
    def from_mapping(cls, mapping: dict[str, Any]) -> OFTConfig:
        """Settings from a plain mapping with this class's own field names.

        Raises:
            ValueError: an unknown field, or a value that is not allowed.
        """
        known = {f.name for f in fields(cls)}
        unknown = sorted(set(mapping) - known)
        if unknown:
            raise ValueError(f"unknown setting {', '.join(unknown)}: an OFTConfig has {', '.join(sorted(known))}")
        return cls(**mapping)

    def to_mapping(self) -> dict[str, Any]:
        """The fields as JSON can hold them."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}

    def with_(self, **changes: Any) -> OFTConfig:
        return replace(self, **changes)


def _is_before_018(version: str | None) -> bool:
    """Whether a PEFT version (`0.17.1`, `0.18.2.dev0@UNKNOWN`) has the older Neumann series; None is older still."""
    if version is None:
        return True
    numbers = re.match(r"(\d{1,6})\.(\d{1,6})", version)
    if numbers is None:
        raise ValueError(f"peft_version must begin with two numbers, such as 0.18.0, not {version[:80]!r}")
    return (int(numbers[1]), int(numbers[2])) < (0, 18)


def nearest_divisor(width: int, wanted: int) -> int:
    """The divisor of `width` nearest to `wanted`, the lower one of two equally near."""
    if wanted >= width:
        return width
    lower = next(d for d in range(wanted, 0, -1) if width % d == 0)
    higher = next(d for d in range(wanted, width + 1) if width % d == 0)
    return lower if wanted - lower <= higher - wanted else higher
