"""Adapters combined with one another, on disk and in memory, without the base model.

    orthomerge   Q = (c/T) Σ Q_t,  c = Σ‖Q_t‖_F / ‖ΣQ_t‖_F     OrthoMerge (arXiv 2602.05943), for each module
    mean         Q = (1/T) Σ Q_t
    compose      R = R_1 · R_2 · ...                            what several active adapters do: x·R_1·R_2

The sums need one parameterization for all; adapters that differ, or whose series today's PEFT does not have, are
first converted to the exact Cayley form of the rotations that they make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from shared.orthogonal import block_size_of, cayley, pack_skew, unpack_skew

from .errors import OFTError, quoted
from .formats.adapter import Adapter
from .formats.exact import rotations_to_peft_exact, to_peft_exact
from .formats.keys import describes, fit_config
from .io import read_adapter, write_adapter
from .rotation import EXACT, rotation_from

METHODS = ("orthomerge", "mean", "compose")
# Below this share of the summed norms, the direction of ΣQ_t is rounding of 16-bit training and not a direction.
CANCELLED = 1e-3

Packed = Mapping[str, Float[Tensor, "r n"]]


@dataclass
class MergedRotations:
    """Packed parameters after OrthoMerge."""

    packed: dict[str, Tensor]
    strength: dict[str, float]  # c of each module
    cancelled: list[str] = field(default_factory=list)  # modules whose sum is nearly zero; c = 1 there


def orthomerge(adapters: Sequence[Packed]) -> MergedRotations:
    """OrthoMerge of packed parameters under one parameterization (arXiv 2602.05943).

    c is taken over all blocks of a module and gives the merged Q the mean of the norms, which a plain mean
    shrinks. A module that some adapters lack counts there as Q = 0. Blocks of different sizes meet in the larger
    one where the smaller divides it.

    Args:
        adapters: module path -> (r, b(b-1)/2), or (1, ·) where one block is shared.

    Raises:
        OFTError: no adapter is given, or blocks that cannot meet.
    """
    result = MergedRotations({}, {})
    for path, parts in _by_module(adapters).items():
        total, norms = sum(p.double() for p in parts), sum(float(p.double().norm()) for p in parts)
        norm = float(total.norm())  # type: ignore[union-attr]
        strength = 1.0
        if norm > CANCELLED * norms:
            strength = norms / norm
        elif norms > 0:
            result.cancelled.append(path)
        result.strength[path] = strength
        result.packed[path] = (total * (strength / len(adapters))).to(parts[0].dtype)  # type: ignore[operator]
    return result


def mean(adapters: Sequence[Packed]) -> dict[str, Tensor]:
    """The plain mean of packed parameters under one parameterization; arguments and errors as `orthomerge`."""
    return {
        path: torch.stack([p.double() for p in parts]).mean(0).to(parts[0].dtype)
        for path, parts in _by_module(adapters).items()
    }


def composed(adapters: Sequence[Adapter], notes: list[str] | None = None) -> dict[str, Tensor]:
    """Packed parameters, under `cayley_peft_exact`, of `R_1 · R_2 · ...` for each module.

    Raises:
        OFTError: blocks that cannot meet, a series that is far from a rotation, or a product that makes a half turn.
    """
    result, worst = {}, 0.0
    for path, parts in _by_module([a.rotations for a in adapters]).items():
        R = None
        for adapter, packed in zip(adapters, parts, strict=True):
            factor = rotation_from(packed.double(), adapter.config.parameterization, adapter.config.terms)
            R = factor if R is None else R @ factor
        assert R is not None
        exact = rotations_to_peft_exact(R, path)
        worst = max(worst, float((cayley(-exact) - R).flatten(1).norm(dim=1).max()))
        result[path] = exact.to(parts[0].dtype)
    if notes is not None and worst > 1e-9:
        notes.append(
            "the series are not quite orthogonal: each product was replaced by its nearest rotation, with "
            f"‖ΔR‖_F <= {worst:.2g}"
        )
    return result


def merge_adapters(
    paths: Sequence[str | Path], out: str | Path, method: str = "orthomerge", format: str = "peft"
) -> Adapter:
    """Reads adapters, combines them, and writes and returns the result.

    Raises:
        OFTError: fewer than two, an unknown method, or adapters that cannot be combined.
    """
    if method not in METHODS:
        raise OFTError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    if len(paths) < 2:
        raise OFTError(f"merging takes at least two adapters, not {len(paths)}")
    adapters = [read_adapter(path) for path in paths]
    names = [str(path) for path in paths]
    _check_mergeable(adapters, names)
    notes: list[str] = []
    embeddings = {path for adapter in adapters for path in adapter.embeddings}
    config = adapters[0].config
    if method == "compose":
        packed = composed(adapters, notes)
        config = config.with_(parameterization="cayley_peft_exact")
    else:
        adapters = _under_one_parameterization(adapters, notes)
        config = adapters[0].config
        if method == "mean":
            packed = mean([a.rotations for a in adapters])
        else:
            merged = orthomerge([a.rotations for a in adapters])
            packed = merged.packed
            if merged.cancelled:
                notes.append(f"the rotations nearly cancel in {', '.join(merged.cancelled[:10])}: c = 1 there")
    if any(set(a.rotations) != set(packed) for a in adapters):
        config = config.with_(
            target_modules=tuple(sorted(packed)), exclude_modules=None, layers_to_transform=None, layers_pattern=None
        )
        notes.append("the adapters rotate different modules; one that lacks a module counts as the identity there")
    bases = sorted({str(a.config.base_model) for a in adapters if a.config.base_model})
    if len(bases) > 1:
        notes.append(f"the adapters name different base models: {', '.join(bases)}")
    # The sum of two projected blocks need not lie in the ball of either.
    config = config.with_(coft=False, block_share=all(a.config.block_share for a in adapters))
    config = fit_config(config, packed, [])
    if not describes(config, packed):
        raise OFTError("the merged blocks have neither one size nor one number a module, which no setting can describe")
    result = Adapter(
        config,
        packed={p: t for p, t in packed.items() if p not in embeddings},
        embeddings={p: t for p, t in packed.items() if p in embeddings},
        saved=adapters[0].saved,
        base_weights=adapters[0].base_weights,
        source="native",
        notes=notes,
    )
    write_adapter(result, out, format)
    return result


def convert(path: str | Path, out: str | Path, to: str = "peft") -> Adapter:
    """Rewrites an adapter in another format, and returns what was read.

    Raises:
        OFTError: it cannot be read, or the other format cannot express it.
    """
    adapter = read_adapter(path)
    write_adapter(adapter, out, to)
    return adapter


def _check_mergeable(adapters: Sequence[Adapter], names: Sequence[str]) -> None:
    for adapter, name in zip(adapters, names, strict=True):
        if adapter.rescale:
            raise OFTError(
                f"{name} also rescales outputs, which the algebra of rotations does not cover: merge it alone"
            )
    first = adapters[0].saved | adapters[0].base_weights
    for adapter, name in zip(adapters[1:], names[1:], strict=True):
        other = adapter.saved | adapter.base_weights
        for path in sorted(set(first) | set(other)):
            if path not in first or path not in other or not torch.equal(first[path], other[path]):
                raise OFTError(
                    f"{names[0]} and {name} differ in {quoted(path)}, which is stored whole (modules_to_save, bias or "
                    "vocabulary) and is not a rotation to merge"
                )
        kinds = (set(adapters[0].embeddings) & set(adapter.packed)) | (
            set(adapters[0].packed) & set(adapter.embeddings)
        )
        if kinds:
            raise OFTError(f"{quoted(min(kinds))} is an embedding in one of {names[0]} and {name} and not in the other")


def _under_one_parameterization(adapters: Sequence[Adapter], notes: list[str]) -> list[Adapter]:
    kinds = {(a.config.parameterization, 0 if a.config.parameterization in EXACT else a.config.terms) for a in adapters}
    if len(kinds) == 1 and next(iter(kinds))[0] != "cayley_neumann_017":
        return list(adapters)
    named = ", ".join(f"{name}({terms})" if terms else name for name, terms in sorted(kinds))
    notes.append(f"converted to the exact Cayley form from {named}")
    return [_exact(adapter) for adapter in adapters]


def _exact(adapter: Adapter) -> Adapter:
    name, terms = adapter.config.parameterization, adapter.config.terms
    return Adapter(
        adapter.config.with_(parameterization="cayley_peft_exact"),
        packed={path: to_peft_exact(t, name, terms, path) for path, t in adapter.packed.items()},
        embeddings={path: to_peft_exact(t, name, terms, path) for path, t in adapter.embeddings.items()},
        saved=adapter.saved,
        base_weights=adapter.base_weights,
    )


def _by_module(adapters: Sequence[Packed]) -> dict[str, list[Tensor]]:
    """For each module its packed parameters in every adapter, in equal shapes; zeros where an adapter lacks it."""
    if not adapters:
        raise OFTError("no adapter is given")
    paths = dict.fromkeys(path for adapter in adapters for path in adapter)
    result = {}
    for path in paths:
        present = _in_equal_blocks([adapter[path] for adapter in adapters if path in adapter], path)
        following = iter(present)
        result[path] = [next(following) if path in a else torch.zeros_like(present[0]) for a in adapters]
    return result


def _in_equal_blocks(parts: list[Tensor], path: str) -> list[Tensor]:
    if len({p.shape for p in parts}) == 1:
        return parts
    sizes = [(p.shape[0], block_size_of(p.shape[1])) for p in parts]
    width = max(r * b for r, b in sizes)
    largest = max(b for _, b in sizes)
    for r, b in sizes:
        # One stored block narrower than the layer is a shared block, which repeats.
        if (r * b != width and not (r == 1 and width % b == 0)) or largest % b:
            said = ", ".join(f"{r} of size {b}" for r, b in sizes)
            raise OFTError(f"{quoted(path)}: blocks that do not fit together ({said}) cannot be merged")
    repeated = [p.expand(width // b, -1) if r * b != width else p for p, (r, b) in zip(parts, sizes, strict=True)]
    return [_in_blocks_of(p, b, largest) for p, (_, b) in zip(repeated, sizes, strict=True)]


def _in_blocks_of(packed: Tensor, b: int, larger: int) -> Tensor:
    """The same block-diagonal Q, seen in blocks of a multiple of their size."""
    if b == larger:
        return packed
    group = larger // b
    Q = unpack_skew(packed).unflatten(0, (-1, group))  # (R, group, b, b)
    wide = Q.new_zeros(Q.shape[0], group, b, group, b)
    for i in range(group):
        wide[:, i, :, i, :] = Q[:, i]
    return pack_skew(wide.reshape(-1, larger, larger))
