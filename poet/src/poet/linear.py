"""A linear layer whose weight is a fixed matrix between two trained rotations (POET §3).

                 b_out×b_out blocks            frozen              b_in×b_in blocks
    y  =  Ψᵀ Diag(G_out) Ψ     ·     W  (m×n)     ·     Ψ'ᵀ Diag(G_in) Ψ'  x   (+ bias)

W changes only by merging. Q (packed skew-symmetric blocks, G = I at Q = 0) and the bias are trained. The bias is added
behind the rotations and takes no part in a merge.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from shared.orthogonal import angle_bound, packed_length
from shared.orthogonal.indexed import rotate_columns, rotate_rows

from .config import PoetConfig
from .distributed import is_sharded, local, put, whole
from .errors import PoetError
from .initialization import initial_weight
from .parameterization import Parameterization
from .plans import Observer, choose, equivalent_linear
from .primitives import Blocks, covered, draw_index, seeded, side_blocks
from .quantized import Int8Weight

DTYPES = (torch.float32, torch.float64, torch.bfloat16)


@dataclass(frozen=True)
class MergeStats:
    """What one merge of one layer did."""

    layer: str
    interval: int  # the interval that ended
    advanced: bool  # False for an early merge by the trust region, after which the interval goes on
    jump: float  # ‖W_before − W_after‖_F / ‖W‖_F of the effective weight
    theta: float  # ‖Q‖_F/√2 of the largest block, an upper bound of ‖Q‖₂


class PoetLinear(nn.Module):
    """`nn.Linear` trained by POET; `weight` is W, `Q` the packed rotations, one tensor (blocks, b(b-1)/2) a block size.

    In each tensor of Q the blocks of the output side come first, as in the official checkpoints.
    """

    index_out: Tensor
    index_in: Tensor
    interval: Tensor

    def __init__(
        self,
        linear: nn.Linear,
        config: PoetConfig,
        name: str = "",
    ):
        """
        Args:
            linear: gives shape, dtype, device, bias, and with `init="keep"` the weight.
            name: of the layer in its model; patterns and initial weights depend on it.

        Raises:
            PoetError: a dtype other than float32, bfloat16 and float64, or blocks that do not fit the shape.
        """
        super().__init__()
        dtype, device = linear.weight.dtype, linear.weight.device
        if dtype not in DTYPES:
            raise PoetError(f"{name or 'a layer'} is in {dtype}: POET trains float32 or bfloat16 weights")
        self.config, self.name = config, name
        self.out_features, self.in_features = linear.weight.shape
        self.parameterization = Parameterization.of(config)
        where = f"{name or 'the layer'} ({self.out_features}×{self.in_features})"
        self.blocks: tuple[Blocks, Blocks] = (
            side_blocks(config, 0, self.out_features, where),
            side_blocks(config, 1, self.in_features, where),
        )
        self._lay_out_rows()
        kind = torch.float64 if dtype == torch.float64 else torch.float32
        self.Q = nn.ParameterList(
            nn.Parameter(torch.zeros(rows, packed_length(b), dtype=kind, device=device))
            for b, rows in self.sizes.items()
        )
        self.bias = linear.bias
        for side, at in (("out", 0), ("in", 1)):
            empty = torch.empty(covered(self.blocks[at]), dtype=torch.int64, device=device)
            self.register_buffer(f"index_{side}", empty)
        self.register_buffer("interval", torch.zeros((), dtype=torch.int64, device=device))
        self.master: Tensor | None = None
        self.keeps_built = True
        self.observers: list[Observer] = []
        self.group: Any = None  # of batched.py
        self._built: tuple[Any, list[Tensor], Tensor] | None = None
        self._first_weight(linear.weight)
        self.draw_pattern()

    def _lay_out_rows(self) -> None:
        """Which rows of which tensor of Q belong to which run of blocks."""
        sizes = list(dict.fromkeys(b for side in self.blocks for b, _ in side))
        self.sizes = {b: sum(n for side in self.blocks for size, n in side if size == b) for b in sizes}
        self.rows: list[tuple[list[tuple[int, tuple[int, int]]], list[tuple[int, tuple[int, int]]]]] = []
        for b in sizes:
            at, found = 0, ([], [])  # type: tuple[int, tuple[list, list]]
            for side in (0, 1):
                for run, (size, count) in enumerate(self.blocks[side]):
                    if size == b:
                        found[side].append((run, (at, at + count)))
                        at += count
            self.rows.append(found)

    def _first_weight(self, given: Tensor) -> None:
        dtype, device = given.dtype, given.device
        self.weight: nn.Parameter | None = None
        self.int8: Int8Weight | None = None
        if device.type == "meta" or (self.config.init == "keep" and self.config.gain == 1):
            W = given.detach()
        else:
            try:
                W = initial_weight(self.config.init, given, self.config.gain, seeded(self.config.seed, self.name, "W0"))
            except PoetError as error:
                raise PoetError(f"{self.name or 'the layer'}: {error}") from error
            W = W.to(device, dtype)
        if self.config.base == "int8":
            self.int8 = Int8Weight(W, self.config.group)
        else:
            self.weight = nn.Parameter(W.clone(), requires_grad=False)
        if self.config.master == "fp32_host" and device.type != "meta":
            self.master = W.float().cpu().clone()

    # -- patterns

    def draw_pattern(self) -> None:
        """The index of this interval, on both sides."""
        if self.interval.device.type == "meta":
            return
        for side, buffer, d in ((0, self.index_out, self.out_features), (1, self.index_in, self.in_features)):
            buffer.copy_(self._drawn(side, d))

    def _drawn(self, side: int, d: int) -> Tensor:
        return draw_index(self.config.seed, self.name, side, int(self.interval), d, covered(self.blocks[side]))

    def check_pattern(self) -> None:
        """
        Raises:
            PoetError: the stored pattern is not the one that this configuration draws.
        """
        for side, buffer, d in ((0, self.index_out, self.out_features), (1, self.index_in, self.in_features)):
            if not torch.equal(buffer.cpu(), self._drawn(side, d)):
                raise PoetError(
                    f"{self.name} was saved with another pattern in interval {int(self.interval)} than seed "
                    f"{self.config.seed} draws: load it with the configuration that it was trained with"
                )

    def index_runs(self, side: int) -> list[tuple[int, Tensor]]:
        """(block size, index) of each run of equal blocks."""
        index = self.index_in if side else self.index_out
        lengths = [size * count for size, count in self.blocks[side]]
        return [(size, part) for (size, _), part in zip(self.blocks[side], index.split(lengths), strict=True)]

    def runs(self, side: int, G: list[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        for blocks, (_, index) in zip(G, self.index_runs(side), strict=True):
            yield blocks, index

    def split(self, rotations: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Blocks of the tensors of Q as runs of the two sides."""
        sides: tuple[dict[int, Tensor], dict[int, Tensor]] = ({}, {})
        for G, rows in zip(rotations, self.rows, strict=True):
            for side in (0, 1):
                for run, (start, stop) in rows[side]:
                    sides[side][run] = G[start:stop]
        return tuple([side[run] for run in sorted(side)] for side in sides)  # type: ignore[return-value]

    # -- values

    def base(self) -> Float[Tensor, "m n"]:
        """W, without the rotations of the running interval."""
        if self.int8 is not None:
            return self.int8.read()
        assert self.weight is not None
        return self.weight

    def stored(self) -> list[Tensor]:
        """The tensors that hold W."""
        return [self.weight] if self.weight is not None else list(self.int8.buffers())  # type: ignore[union-attr]

    @torch.no_grad()
    def rotations(self) -> tuple[list[Tensor], list[Tensor]]:
        """(G_out, G_in): for each side its runs of blocks, (count, b, b)."""
        return self.split([self.parameterization.blocks(whole(Q)) for Q in self.Q])

    def turned(self, W: Tensor, rotations: list[Tensor]) -> Tensor:
        """R W P."""
        G_out, G_in = self.split(rotations)
        for G, index in self.runs(0, G_out):
            W = rotate_rows(W, G, index)
        for G, index in self.runs(1, G_in):
            W = rotate_columns(W, G, index)
        return W

    def built(self) -> tuple[list[Tensor], Tensor]:
        """(blocks of each tensor of Q, R W P), computed once for each value of Q."""
        if self._built is not None and self._built[0] == self._state():
            return self._built[1], self._built[2]
        if self.group is not None:
            self.group.refresh()
            assert self._built is not None
            return self._built[1], self._built[2]
        with torch.no_grad():
            rotations = [self.parameterization.blocks(Q) for Q in self.Q]
            W = self.turned(self.base(), rotations)
        if self.keeps_built:
            self.keep_built(rotations, W)
        return rotations, W

    def keep_built(self, rotations: list[Tensor], W: Tensor) -> None:
        """Keep what belongs to the present Q and W."""
        self._built = (self._state(), rotations, W)

    def _state(self) -> tuple:
        return tuple((id(t), t._version, t.device) for t in (*self.Q, *self.stored()))

    def invalidate(self) -> None:
        """Forget what was built: for whoever writes into Q or W behind autograd's back."""
        self._built = None

    @torch.no_grad()
    def weight_effective(self) -> Float[Tensor, "m n"]:
        """R W P, the weight that the layer applies now."""
        if any(is_sharded(t) for t in (*self.Q, *self.stored())):
            return self.turned(whole(self.base()), [self.parameterization.blocks(whole(Q)) for Q in self.Q])
        return self.built()[1].clone()

    @torch.compiler.disable  # its own functions and what it keeps between steps are not a compiler's business
    def forward(self, x: Float[Tensor, "*batch n"]) -> Float[Tensor, "*batch m"]:
        keeps = self.keeps_built and self.int8 is None
        if keeps and not torch.is_grad_enabled():
            return F.linear(x, self.built()[1], self.bias)
        if self.group is not None:
            return F.linear(x, self.group.leaf(self), self.bias)
        tokens = x.numel() // self.in_features
        b = max(self.sizes)
        return equivalent_linear(
            self, x, choose(self.config.plan, tokens, self.out_features, self.in_features, b, keeps)
        )

    # -- merging

    @torch.no_grad()
    def merge(self, advance: bool = True) -> MergeStats:
        """W ← R W P, Q ← 0, and with `advance` the next interval's pattern. The optimizer's state of Q is not touched:
        `merge.merge_layers` does both.

        Raises:
            PoetError: a value is not finite, or a rotation was trained out of reach.
        """
        Q = [whole(q) for q in self.Q]
        theta = max(float(angle_bound(q.float()).max()) for q in Q)
        if not theta < float("inf"):
            raise PoetError(f"{self.name} has a rotation that is not finite: go back to the last checkpoint")
        stored = whole(self.base())
        before = self.turned(stored.float(), [self.parameterization.blocks(q) for q in Q])
        X = [self.parameterization.merged(q, self.config.merge) for q in Q]
        source = stored if self.master is None else self.master.to(stored.device)
        # Double precision where it costs little; a merge is one step in T_m.
        work = torch.float64 if stored.device.type == "cpu" else torch.float32
        after = self.turned(source.to(work), [x.to(work) for x in X])
        jump = float((after - before).norm() / before.norm())
        stats = MergeStats(self.name, int(self.interval), advance, jump, theta)
        self.write(after)
        for q in self.Q:
            local(q).zero_()
        for observer in self.observers:
            observer(self, *self.split(X))
        if advance:
            self.interval += 1
            self.draw_pattern()
        self.invalidate()
        return stats

    def write(self, W: Tensor) -> None:
        """Store a new W (and its master)."""
        if self.master is not None:
            self.master.copy_(W)
        if self.int8 is not None:
            noise = seeded(self.config.seed, self.name, "rounding", int(self.interval))
            self.int8.write(W, noise if self.config.rounding == "stochastic" else None)
        else:
            assert self.weight is not None
            put(self.weight, W.to(self.weight.dtype))

    def extra_repr(self) -> str:
        sides = " and ".join("+".join(f"{n}×{b}" for b, n in side) or "fixed" for side in self.blocks)
        return f"{self.in_features}, {self.out_features}, bias={self.bias is not None}, blocks out and in: {sides}"


def poet_layers(model: nn.Module) -> list[PoetLinear]:
    """All POET layers of a model, in its order."""
    return [m for m in model.modules() if isinstance(m, PoetLinear)]
