"""The tailored streaming design (paper §3.3, Fig. 4): four blocks in one store, positions counted inside it.

    slots     0 … a−1   …             …               … size − 1          at most c
    blocks    Initial   Separator     Past window     Local window
              ≤ a       ≤ s                           ≤ w

A token enters Local; the oldest of Local's w passes to Past. At size c the store is compressed: Past's separators join
Separator, which keeps its newest s, and the rest of Past is dropped. Slots are in the order of the text, so the index
of a slot is the position of its token, and the next token's position is the size.

Two facts make it cheap. A key whose slot changes needs one rotation by the difference (rope.py), once a compression,
where the authors' codes and StreamingLLM rotate the whole cache at every step and layer. And as nothing is evicted
between two compressions, a piece of up to c − size tokens with a causal mask is exactly token-by-token streaming, which
`stream` uses: its forwards are of about P = c − a − s − w tokens.

Rows of a batch compress each at its own time; padding takes no slot.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .cache import Slots, Step
from .errors import SepLLMError
from .mask import Lives
from .policy import FOREVER, INITIAL, SEPARATOR, StreamingPolicy, WindowPolicy

if TYPE_CHECKING:
    from .cache import SepCache


class Blocks(Slots):
    """The slots of StreamingPolicy, the same for all layers. `sizes`: tokens held by each row."""

    def __init__(self, policy: StreamingPolicy, frequencies: Tensor):
        self.blocks = policy
        super().__init__(WindowPolicy(a=policy.a, n=policy.c), policy.c)
        self.frequencies = frequencies
        # the size at which a row is compressed before it takes another token
        self.full = policy.c + {"paper": 0, "streaming_code": 1, "sepcache_code": -1}[policy.compress_at]
        # SepCache compresses with the new token already in the local window
        self.local = policy.w - (policy.compress_at == "sepcache_code")

    def reset(self) -> None:
        super().reset()
        self.sizes: list[int] = []
        self.attended: tuple[int, int] = (0, 0)  # sum of attended sizes and number of tokens

    def begin(self, batch: int, device: torch.device) -> None:
        super().begin(batch, device)
        if not self.sizes:
            self.sizes = [0] * batch
            self.positions = torch.full((batch, self.full), FOREVER, device=device)
            self.kinds = torch.zeros((batch, self.full), dtype=torch.int8, device=device)

    def room(self) -> int:
        """What fits before the next compression, in the row where that is least."""
        if not self.sizes:
            return self.full
        return min(self.full - (self._after(row) if size >= self.full else size) for row, size in enumerate(self.sizes))

    def _survivors(self, row: int) -> Tensor:
        """Slots of a row that stay in a compression, in order."""
        size, policy = self.sizes[row], self.blocks
        initial = min(policy.a, size)
        separators = (self.kinds[row, initial : size - self.local] == SEPARATOR).nonzero().flatten() + initial
        index = torch.arange(size, device=self.kinds.device)
        return torch.cat([index[:initial], separators[-policy.s :], index[size - self.local :]])

    def _after(self, row: int) -> int:
        return len(self._survivors(row))

    def _compress(self) -> tuple[Tensor, Tensor | None] | None:
        """Compress the rows that are full. Returns (columns, moves) for the layers, or None."""
        if max(self.sizes) < self.full:
            return None
        kept = [self._survivors(r) if s >= self.full else torch.arange(s) for r, s in enumerate(self.sizes)]
        self.sizes = [len(k) for k in kept]
        m = max(self.sizes)
        device = self.positions.device
        columns = torch.stack([torch.nn.functional.pad(k.to(device), (0, m - len(k))) for k in kept])
        index = torch.arange(m, device=device)
        held = index < torch.tensor(self.sizes, device=device)[:, None]
        positions = torch.where(held, self.positions.gather(1, columns), FOREVER)
        kinds = self.kinds.gather(1, columns)
        self.positions.fill_(FOREVER)[:, :m] = positions
        self.kinds[:, :m] = kinds
        self.evicted = True
        return columns, None if self.blocks.positions == "text" else torch.where(held, index - columns, 0)

    def observe(self, separator: Tensor, valid: Tensor) -> tuple[Lives, Tensor]:
        batch, q = valid.shape
        before = self._compress()
        text = self.text_positions(valid)
        a = self.blocks.a
        kinds = torch.where(text < a, INITIAL, torch.where(separator, SEPARATOR, 0)).to(torch.int8)
        self.count, self.seen = self.count + valid.sum(-1), self.seen + q
        size = torch.tensor(self.sizes, device=valid.device)
        place = size[:, None] + valid.long().cumsum(-1) - 1  # the slot, which is the position in the cache
        rows, tokens = valid.nonzero(as_tuple=True)
        slots = place[rows, tokens]
        self.positions[rows, slots], self.kinds[rows, slots] = text[rows, tokens], kinds[rows, tokens]
        whole = len(rows) == batch * q
        even = len(set(self.sizes)) == 1 and whole
        slot = self.sizes[0] if even else (rows, tokens, slots)
        new = [q] * batch if whole else valid.sum(-1).tolist()
        self.sizes = [s + n for s, n in zip(self.sizes, new, strict=True)]
        used = max(self.sizes)
        if used > self.full:
            raise SepLLMError(f"{q} tokens do not fit into the streaming cache: its room was {self.full - used + q}")
        self.used = used
        self.step = Step(used, self.full, before=before, slot=slot)
        held = self.positions[:, :used] < FOREVER
        start = torch.where(held, torch.arange(used, device=valid.device), FOREVER)
        query = torch.where(valid, place, -1)
        settled = q == 1 and bool(held.all())
        lives = Lives(query, valid, start, torch.where(held, FOREVER, 0), settled)
        self.kept += float(torch.where(valid, place + 1, 0).sum())
        self.passed += float(torch.where(valid, text + 1, 0).sum())
        self.attended = (self.attended[0] + int(torch.where(valid, place + 1, 0).sum()), self.attended[1] + len(rows))
        position_ids = text if self.blocks.positions == "text" else place
        return lives, position_ids.clamp(min=0)

    def mean_size(self) -> float:
        """Mean number of keys that a token attended to, its own included; the paper's eq. 4 is policy.mean_size()."""
        total, tokens = self.attended
        return total / tokens if tokens else 0.0

    def record(self) -> None:
        raise SepLLMError("assisted decoding takes tokens back, which StreamingPolicy cannot: use SepPolicy")

    def crop(self, tokens: int) -> None:
        if tokens:
            raise SepLLMError("StreamingPolicy cannot take tokens back, for their keys may have moved: use SepPolicy")

    def rows(self, index: Tensor) -> None:
        super().rows(index)
        self.sizes = [self.sizes[i] for i in index.tolist()]

    def scalars(self) -> dict[str, Any]:
        return {**super().scalars(), "sizes": self.sizes, "attended": self.attended}


@torch.inference_mode()
def stream(model: Any, ids: Tensor, cache: SepCache, chunk: int = 512) -> Iterator[Tensor]:
    """Teacher-forced negative log-likelihoods, piece by piece, equal to feeding one token at a time.

    Args:
        ids: Int64[T], one text. Its first token is scored only if the cache has seen tokens before: call again with
            the next part to go on.
        chunk: longest piece where the cache takes any number.

    Yields:
        Float32[piece] of −log p(token | what the cache shows), in nats, for the tokens whose predecessor is known.
    """
    last = cache.last_logits
    done = 0
    while done < len(ids):
        piece = ids[done : done + min(cache.room() or chunk, chunk)]
        logits = model(piece[None], past_key_values=cache, use_cache=True).logits[0].float()
        before = logits[:-1] if last is None else torch.cat([last[None], logits[:-1]])
        target = piece[1:] if last is None else piece
        if not bool(torch.isfinite(logits[-1]).all()):
            raise SepLLMError(f"logits are not finite after {cache.get_seq_length()} tokens under {cache.policy}")
        last = cache.last_logits = logits[-1].clone()
        done += len(piece)
        yield torch.nn.functional.cross_entropy(before, target, reduction="none")
