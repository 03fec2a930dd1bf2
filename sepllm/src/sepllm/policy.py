"""What stays visible. One definition serves mask and cache.

Paper §3.2, with positions p counted over valid tokens, a initial tokens, a window of n (the query included) and the
set S of separators: query i sees key j iff

    M[i,j] = valid_j ∧ p_j ≤ p_i ∧ ( p_j < a  ∨  x_j ∈ S  ∨  p_i − p_j < n ).

For a fixed key this is an interval of query positions, its *life*:

    M[i,j] = start_j ≤ p_i < end_j,   start_j = p_j,   end_j = ∞ if p_j < a or x_j ∈ S, else p_j + n.

Everything else here is a statement on lives: a slot of the cache is free once its end has come; a cap of s separators
ends a separator when the s-th after it leaves the window; packed documents end all lives at their last token; layers
and heads differ in n. Keys that are padding, and empty slots, have a life of no length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from .errors import SepLLMError, one_of, whole

FOREVER = 1 << 60  # a life without end, and a window without limit
PLAIN, INITIAL, SEPARATOR = 0, 1, 2  # kinds of tokens
Windows = list[int | tuple[int, ...]]  # for each layer one window, or one for each key/value head


@dataclass(frozen=True)
class Policy:
    """Base of all policies. `a`: initial tokens; `n`: window, the query included.

    `layers` gives a window for each layer (None: full attention there), or one of the paper's names: "H" first layer
    full, "H/T" first and last, "H/M/T" first, middle and last (the authors' layers 0, 5 and 11 of 12). `heads` gives
    windows for the key/value heads of every layer (None: full); WindowPolicy with them is the paper's naive heads
    (Table 9).
    """

    a: int = 3
    n: int = 256
    layers: Sequence[int | None] | str | None = None
    heads: Sequence[int | None] | None = None
    needs_separators: ClassVar[bool] = False
    sep_cap: ClassVar[int | None] = None

    def __post_init__(self) -> None:
        whole("policy.a", self.a, 0)
        whole("policy.n", self.n, 1)
        for name in ("layers", "heads"):
            given = getattr(self, name)
            if isinstance(given, str) or given is None:
                continue
            for window in given:
                if window is not None:
                    whole(f"policy.{name}", window, 1)
            object.__setattr__(self, name, tuple(given))
        if isinstance(self.layers, str):
            one_of("policy.layers", self.layers, ("H", "H/T", "H/M/T"))
        if isinstance(self.heads, str):
            raise SepLLMError(f"policy.heads must be a list of windows, not {self.heads!r}")
        if self.layers is not None and self.heads is not None:
            raise SepLLMError("policy.layers and policy.heads cannot both be set: give windows by layer or by head")

    def windows(self, num_layers: int, num_heads: int) -> Windows:
        """The window of each layer: one number, or a tuple with one for each key/value head."""
        full = lambda n: FOREVER if n is None else n  # noqa: E731
        if self.heads is not None:
            if len(self.heads) != num_heads:
                raise SepLLMError(
                    f"policy.heads has {len(self.heads)} windows and the model {num_heads} key/value heads"
                )
            return [tuple(full(n) for n in self.heads)] * num_layers
        if isinstance(self.layers, str):
            last, middle = num_layers - 1, (num_layers - 1) // 2
            whole_layers = {"H": {0}, "H/T": {0, last}, "H/M/T": {0, middle, last}}[self.layers]
            return [FOREVER if i in whole_layers else self.n for i in range(num_layers)]
        if self.layers is not None:
            if len(self.layers) != num_layers:
                raise SepLLMError(f"policy.layers has {len(self.layers)} windows and the model {num_layers} layers")
            return [full(n) for n in self.layers]
        return [self.n] * num_layers

    def kinds(self, separator: Tensor, positions: Tensor) -> Tensor:
        """Int8[B, T]: PLAIN, INITIAL or SEPARATOR (any kept token between initial ones and window).

        Args:
            separator: Bool[B, T], whether each token is in S.
            positions: Int64[B, T], counted over valid tokens.
        """
        kind = torch.where(self.between(separator, positions), SEPARATOR, PLAIN)
        return torch.where(positions < self.a, INITIAL, kind).to(torch.int8)

    def between(self, separator: Tensor, positions: Tensor) -> Tensor:
        """Bool[B, T]: the tokens kept after they have left the window."""
        raise NotImplementedError


@dataclass(frozen=True)
class SepPolicy(Policy):
    """The fundamental design (paper §3.2). `sep_cap`: keep only the newest so many separators; None keeps all."""

    sep_cap: int | None = None  # type: ignore[misc]
    needs_separators: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sep_cap is not None:
            whole("policy.sep_cap", self.sep_cap, 1)

    def between(self, separator: Tensor, positions: Tensor) -> Tensor:
        return separator


@dataclass(frozen=True)
class FullPolicy(Policy):
    """Everything is kept: full attention, through the same code."""

    def windows(self, num_layers: int, num_heads: int) -> Windows:
        return [FOREVER] * num_layers

    def between(self, separator: Tensor, positions: Tensor) -> Tensor:
        return torch.zeros_like(separator)


@dataclass(frozen=True)
class WindowPolicy(Policy):
    """Initial tokens and window only: StreamingLLM's choice of tokens with unshifted positions."""

    def between(self, separator: Tensor, positions: Tensor) -> Tensor:
        return torch.zeros_like(separator)


@dataclass(frozen=True)
class FixedIntervalPolicy(Policy):
    """FixLLM (paper Table 17): every `delta`-th token in place of the separators."""

    delta: int = 5

    def __post_init__(self) -> None:
        super().__post_init__()
        whole("policy.delta", self.delta, 1)

    def between(self, separator: Tensor, positions: Tensor) -> Tensor:
        return positions % self.delta == 0


@dataclass(frozen=True)
class RandomPolicy(Policy):
    """A control: each token is kept with probability `rho`, decided once by its position and the seed."""

    rho: float = 0.13
    seed: int = 0
    period: ClassVar[int] = 1 << 16  # positions after which the coin tosses repeat

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.rho, (int, float)) or not 0 <= self.rho <= 1:
            raise SepLLMError(f"policy.rho must lie in [0, 1], not {self.rho!r}")

    def between(self, separator: Tensor, positions: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(self.seed)
        tosses = torch.rand(self.period, generator=generator) < self.rho
        return tosses.to(positions.device)[positions.clamp(min=0) % self.period]


@dataclass(frozen=True)
class StreamingPolicy:
    """The tailored streaming design (paper §3.3): a cache of four blocks with positions counted inside it.

    Initial ≤ a, Separator ≤ s, Past window, Local window ≤ w, together at most c. See stream.py.

    `compress_at` chooses the moment of compression: `paper` (attend over at most c keys, then compress at c),
    `streaming_code` (attend over at most c + 1, as the authors' streaming manager) or `sepcache_code` (compress before
    attention as soon as the size would be c, as SepCache on the hub). `positions="text"` keeps positions of the text,
    the paper's ablation without shift (Table 8).
    """

    a: int = 4
    s: int = 64
    w: int = 256
    c: int = 800
    positions: str = "cache"
    compress_at: str = "paper"
    needs_separators: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, least in (("a", 0), ("s", 1), ("w", 1), ("c", 2)):
            whole(f"policy.{name}", getattr(self, name), least)
        if self.a + self.s + self.w >= self.c:
            raise SepLLMError(
                f"a + s + w must be less than the capacity c, and {self.a} + {self.s} + {self.w} = "
                f"{self.a + self.s + self.w} is not less than {self.c}"
            )
        one_of("policy.positions", self.positions, ("cache", "text"))
        one_of("policy.compress_at", self.compress_at, ("paper", "streaming_code", "sepcache_code"))

    @property
    def period(self) -> int:
        """P, steps between two compressions once the separator block is full."""
        return self.c - self.a - self.s - self.w

    def mean_size(self) -> float:
        """(w + c + a + s) / 2, the paper's eq. 4: what its tables print as r.KV."""
        return (self.w + self.c + self.a + self.s) / 2


@dataclass(frozen=True)
class SinkPolicy:
    """StreamingLLM: `a` initial tokens and the newest c − a, positions counted inside the cache.

    The distance of a query to a window token is that of the text, to sink j it is (size of the cache) − 1 − j. Keys of
    the window are never rotated again; the sinks are met by a second, turned query (attention.py).
    """

    a: int = 4
    c: int = 800
    needs_separators: ClassVar[bool] = False

    def __post_init__(self) -> None:
        whole("policy.a", self.a, 1)
        whole("policy.c", self.c, self.a + 1)


AnyPolicy = Policy | StreamingPolicy | SinkPolicy


def ends(
    kinds: Tensor, positions: Tensor, n: int | tuple[int, ...], sep_cap: int | None = None, valid: Tensor | None = None
) -> Tensor:
    """Where each key's life ends: Int64[B, T], or [B, H, T] for windows by head.

    Args:
        kinds: Int8[B, T].
        positions: Int64[B, T], in any order within a row.
        n: the window, or one for each key/value head.
        sep_cap: s; a separator then ends when the s-th separator after it leaves the window.
        valid: Bool[B, T]; others get no life.
    """
    window = torch.as_tensor(n, device=positions.device)
    reach = positions if window.ndim == 0 else positions[:, None]
    kind = kinds if window.ndim == 0 else kinds[:, None]
    out = reach + (window if window.ndim == 0 else window[:, None]).clamp(max=FOREVER >> 1)
    kept = torch.full_like(positions, FOREVER)
    if sep_cap is not None:
        kept = torch.where(kinds == SEPARATOR, nth_after(kinds == SEPARATOR, positions, sep_cap), kept)
    if window.ndim and sep_cap is not None:
        raise SepLLMError("policy.sep_cap and policy.heads cannot be used together")
    if sep_cap is not None:
        kept = torch.where(kept < FOREVER, kept + window, kept)
    out = torch.where(kind > PLAIN, torch.maximum(out, kept if window.ndim == 0 else kept[:, None]), out)
    if valid is not None:
        out = torch.where(valid if window.ndim == 0 else valid[:, None], out, 0)
    return out


def nth_after(separator: Tensor, positions: Tensor, s: int) -> Tensor:
    """Position of the s-th separator after each one, FOREVER where there is none yet. Int64[B, T]."""
    where = torch.where(separator, positions, FOREVER)
    ordered, order = where.sort(dim=-1)
    later = torch.full_like(ordered, FOREVER)
    if s < ordered.shape[-1]:
        later[:, :-s] = ordered[:, s:]
    return torch.empty_like(later).scatter_(-1, order, later)


def positions_of(valid: Tensor, before: Tensor | int = 0) -> Tensor:
    """p_t = (valid tokens at or before t) − 1, given the number `before` this piece. Int64[B, T]."""
    return valid.long().cumsum(-1) - 1 + (before[:, None] if isinstance(before, Tensor) else before)


def make_policy(settings: dict[str, Any]) -> AnyPolicy:
    """A policy from plain settings: `name` and the fields of its class."""
    kinds: dict[str, Any] = {
        "full": FullPolicy,
        "sep": SepPolicy,
        "window": WindowPolicy,
        "fixed": FixedIntervalPolicy,
        "random": RandomPolicy,
        "streaming": StreamingPolicy,
        "sink": SinkPolicy,
    }
    fields = {k: v for k, v in settings.items() if k != "name"}
    one_of("policy.name", settings.get("name"), tuple(kinds))
    kind = kinds[settings["name"]]
    unknown = sorted(set(fields) - set(kind.__dataclass_fields__))
    if unknown:
        raise SepLLMError(f"policy {settings['name']} has no setting {unknown[0]!r}: it has "
                          f"{', '.join(kind.__dataclass_fields__)}")  # fmt: skip
    return kind(**fields)
