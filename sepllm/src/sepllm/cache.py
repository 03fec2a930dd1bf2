"""The cache form: a transformers Cache that stores what a policy keeps, equal to the mask token for token.

Layers with the same window share one `Slots`: which token lies in which slot. A new token overwrites a slot whose life
has ended (attention does not care about the order of keys), so generation neither copies nor concatenates:

    slot      0   1   2   3   4   5   6   7        a = 2, n = 3, separators , .
    holds     A   B   ,   D   E   F   .            F is newest; D, E, F are the window of F
    after G   A   B   ,   G   E   F   .            D has left the window of G: its slot is reused
    after H   A   B   ,   G   H   F   .            E has left; a separator would have stayed and H gone to slot 7

The free slot is found by comparing lives, not by a ring index: it costs a few operations on C numbers once a step (not
once a layer), and stays right under beams, crops and rows of different length.
"""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from .errors import SepLLMError, one_of, whole
from .mask import Lives, visible_keys
from .policy import FOREVER, INITIAL, AnyPolicy, SinkPolicy, StreamingPolicy, WindowPolicy, ends
from .rope import turn
from .separators import SeparatorSet

SPARE = 64  # slots added when an unbounded store grows, beside an eighth of it
REBASE = 1 << 14  # text positions after which SinkPolicy counts anew, so that float32 angles stay exact


@dataclass
class Step:
    """What every layer of a group does with the keys and values of one forward.

    before: (columns Int64[B, m], moves Int64[B, m] or None): the store is first reduced to these and turned.
    used: slots that are read, counted after `before` and including tokens written in place.
    slot: where the new tokens go in place: a first slot for all rows, or (rows, tokens, slots) index tensors.
    take: Int64[B, m], columns of [store | new] that are stored afterwards; None with `slot`.
    """

    used: int
    capacity: int
    before: tuple[Tensor, Tensor | None] | None = None
    slot: int | tuple[Tensor, Tensor, Tensor] | None = None
    take: Tensor | None = None


def visible_row(lives: Lives) -> Tensor:
    """Bool[B, K]: what the one query of each row sees."""
    return (lives.start <= lives.query) & (lives.query < lives.end)


def pick(x: Tensor, columns: Tensor) -> Tensor:
    """x[B, H, K, D] at Int64[B, m] columns of each row: [B, H, m, D]."""
    if x.shape[0] == 1:
        return x.index_select(2, columns[0])
    return x.gather(2, columns[:, None, :, None].expand(-1, x.shape[1], -1, x.shape[3]))


class SepLayer(CacheLayerMixin):
    """Keys and values of one layer, [B, H, C, D] each; C slots, of which the group says what they hold."""

    is_sliding = False
    is_compileable = False
    keys: Any  # Tensor, None before the first forward
    values: Any

    def __init__(self, slots: Slots):
        super().__init__()
        self.slots = slots

    @property
    def is_croppable(self) -> bool:  # type: ignore[override]
        return True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        self.dtype, self.device = key_states.dtype, key_states.device
        self.keys, self.values = (x.new_zeros(*x.shape[:2], 0, x.shape[3]) for x in (key_states, value_states))
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        step = self.slots.step
        if step is None:
            raise SepLLMError(
                "this SepCache was given to a forward that it did not see: the model's handle was removed, or the "
                "cache was made for another model; make a new SepCache(model, policy, separators)"
            )
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        if key_states.dtype != self.dtype or key_states.device != self.device or len(key_states) != len(self.keys):
            raise SepLLMError(
                f"this SepCache holds {len(self.keys)} rows of {self.dtype} on {self.device} and was given "
                f"{len(key_states)} rows of {key_states.dtype} on {key_states.device}: make a new one"
            )
        if step.before is not None:
            self._reduce(*step.before)
        if step.slot is not None:
            self._grow(step.capacity)
            for store, new in ((self.keys, key_states), (self.values, value_states)):
                if isinstance(step.slot, int):
                    store[:, :, step.slot : step.slot + new.shape[2]] = new
                else:
                    rows, tokens, slots = step.slot
                    store[rows, :, slots] = new[rows, :, tokens]
            return self.keys[:, :, : step.used], self.values[:, :, : step.used]
        if step.used:
            key_states = torch.cat([self.keys[:, :, : step.used], key_states], 2)
            value_states = torch.cat([self.values[:, :, : step.used], value_states], 2)
        assert step.take is not None
        self.keys, self.values = (self._filled(x, step) for x in (key_states, value_states))
        return key_states, value_states

    def _filled(self, x: Tensor, step: Step) -> Tensor:
        assert step.take is not None
        store = x.new_zeros(*x.shape[:2], step.capacity, x.shape[3])
        store[:, :, : step.take.shape[1]] = pick(x, step.take)
        return store

    def _reduce(self, columns: Tensor, moves: Tensor | None) -> None:
        if self.keys.is_cuda:
            from .kernels.compact import compact

            self.keys, self.values = compact(self.keys, self.values, columns, moves, self.slots.frequencies)
            return
        m = columns.shape[1]
        keys, values = pick(self.keys, columns), pick(self.values, columns)
        frequencies: Any = self.slots.frequencies
        self.keys[:, :, :m] = keys if moves is None else turn(keys, moves, frequencies)
        self.values[:, :, :m] = values

    def _grow(self, capacity: int) -> None:
        more = capacity - self.keys.shape[2]
        if more > 0:
            self.keys, self.values = (torch.nn.functional.pad(x, (0, 0, 0, more)) for x in (self.keys, self.values))

    def keep(self, columns: Tensor, capacity: int) -> None:
        """Reduce the store to these columns (Int64[B, m]) outside a forward."""
        if self.is_initialized:
            step = Step(0, capacity, take=columns)
            self.keys, self.values = self._filled(self.keys, step), self._filled(self.values, step)

    def rows(self, index: Tensor) -> None:
        if self.is_initialized:
            self.keys, self.values = (x.index_select(0, index.to(x.device)) for x in (self.keys, self.values))

    def get_mask_sizes(self, query_length: Any) -> tuple[int, int]:
        length = query_length if isinstance(query_length, int) else query_length.shape[0]  # 5.2: a tensor of positions
        return self.slots.used + length, 0

    def get_seq_length(self) -> int:
        return self.slots.seen

    def get_max_length(self) -> int:
        return -1

    get_max_cache_shape = get_max_length  # its name in older releases, such as 5.2

    def reset(self) -> None:
        self.keys = self.values = None
        self.is_initialized = False


class Slots:
    """Which tokens the layers of one window hold: positions (FOREVER: empty) and kinds, Int64 and Int8 [B, C]."""

    def __init__(self, policy: Any, n: int | tuple[int, ...], slack: int = 0, prefill: str = "sep"):
        self.policy, self.n, self.slack, self.prefill = policy, n, slack, prefill
        widest = max(n) if isinstance(n, tuple) else n
        bounded = widest < FOREVER and (policy.sep_cap is not None or isinstance(policy, WindowPolicy))
        self.limit = policy.a + widest + slack + (policy.sep_cap or 0) if bounded else None
        self.recording = False
        self.frequencies: Tensor | None = None
        self.reset()

    def reset(self) -> None:
        self.positions = torch.full((0, 0), FOREVER)
        self.kinds = torch.zeros((0, 0), dtype=torch.int8)
        self.count = torch.zeros(0, dtype=torch.long)  # valid tokens seen, by row
        self.used = self.seen = 0
        self.evicted = False
        self.overfull = False  # after a dense prefill, until the first generated token
        self.step: Step | None = None
        self.kept, self.passed = 0.0, 0.0  # visible keys and seen tokens, summed over generated tokens

    def room(self) -> int | None:
        """How many tokens may come in one forward; None for any number."""
        return None

    def begin(self, batch: int, device: torch.device) -> None:
        if self.positions.shape[0] == batch and self.positions.device == device:
            return
        if self.seen:
            raise SepLLMError(
                f"this SepCache holds {self.positions.shape[0]} rows on {self.positions.device} and was given {batch} "
                f"on {device}: make a new one"
            )
        self.positions = torch.full((batch, 0), FOREVER, device=device)
        self.kinds = torch.zeros((batch, 0), dtype=torch.int8, device=device)
        self.count = torch.zeros(batch, dtype=torch.long, device=device)

    def text_positions(self, valid: Tensor) -> Tensor:
        """Int64[B, q]: position of each new token among the valid ones of its row."""
        return valid.long().cumsum(-1) - 1 + self.count[:, None]

    def observe(self, separator: Tensor, valid: Tensor) -> tuple[Lives, Tensor]:
        """Take note of new tokens; decide where they go and what they see.

        Args:
            separator, valid: Bool[B, q].

        Returns:
            (lives, position_ids Int64[B, q] for the model's rotary embedding).
        """
        query = self.text_positions(valid)
        kinds = self.policy.kinds(separator, query)
        self.count, self.seen = self.count + valid.sum(-1), self.seen + valid.shape[1]
        start = torch.where(valid, query, FOREVER)
        if valid.shape[1] == 1 and self.used and not self.recording and not self.overfull:
            lives = self._in_place(query, valid, start, kinds)
        else:
            lives = self._appended(query, valid, start, kinds)
        return lives, query.clamp(min=0)

    def _ends(self, positions: Tensor, kinds: Tensor) -> Tensor:
        return ends(kinds, positions, self.n, self.policy.sep_cap, positions < FOREVER)

    def _in_place(self, query: Tensor, valid: Tensor, start: Tensor, kinds: Tensor) -> Lives:
        end = self._ends(self.positions, self.kinds)
        last = end.amax(1) if end.ndim == 3 else end
        free = (self.positions == FOREVER) | (last + self.slack <= query)
        slot = free.byte().argmax(-1)
        if not bool(free.any(-1).all()):
            slot = torch.where(free.any(-1), slot, self.positions.shape[1])
            self._widen(self.positions.shape[1] + 1)
        rows = torch.arange(len(slot), device=slot.device)
        highest = int(slot.max())
        self.evicted |= bool((self.positions[rows, slot] < FOREVER).any())
        self.positions[rows, slot], self.kinds[rows, slot] = start[:, 0], kinds[:, 0]
        self.used = max(self.used, highest + 1)
        place = highest if len(slot) == 1 else (rows, torch.zeros_like(rows), slot)
        self.step = Step(self.used, self.positions.shape[1], slot=place)
        lives = self._lives(query, valid, self.positions[:, : self.used], self.kinds[:, : self.used])
        by_head = lives.end.ndim == 3
        seen = (lives.start <= query) & (query < lives.end.transpose(0, 1)) if by_head else visible_row(lives)
        lives.settled = not by_head and bool(seen.all())
        self.kept += float(seen.float().mean(0).sum() if by_head else seen.sum())
        self.passed += float(torch.where(valid, query + 1, 0).sum())
        return lives

    def _appended(self, query: Tensor, valid: Tensor, start: Tensor, kinds: Tensor) -> Lives:
        used = self.used
        positions = torch.cat([self.positions[:, :used], start], 1)
        kinds = torch.cat([self.kinds[:, :used], kinds], 1)
        self.overfull = self.prefill == "dense" and valid.shape[1] > 1
        take, capacity = self._retain(positions, kinds)
        self.step = Step(used, capacity, take=take)
        lives = self._lives(query, valid, positions, kinds)
        if self.overfull:
            lives.end = torch.where(lives.start < FOREVER, FOREVER, 0)
        if used:
            self.kept += float(visible_keys(lives).sum())
            self.passed += float(torch.where(valid, query + 1, 0).sum())
        return lives

    def _lives(self, query: Tensor, valid: Tensor, positions: Tensor, kinds: Tensor) -> Lives:
        window = self.n if isinstance(self.n, int) else FOREVER
        return Lives(query, valid, positions, self._ends(positions, kinds), window=window)

    def _retain(self, positions: Tensor, kinds: Tensor) -> tuple[Tensor, int]:
        """Columns to store after this forward, in order of position, and the capacity of the store."""
        end = self._ends(positions, kinds)
        end = end.amax(1) if end.ndim == 3 else end
        alive = positions < FOREVER
        stay = alive if self.recording or self.overfull else alive & (end + self.slack > self.count[:, None])
        self.evicted |= bool((alive & ~stay).any())
        m = int(stay.sum(-1).max())
        # by position: after slots were reused, columns are in no order, and initial tokens belong to the front
        order = torch.where(stay, positions, FOREVER).argsort(dim=-1, stable=True)[:, :m]
        self.positions = torch.where(stay.gather(1, order), positions.gather(1, order), FOREVER)
        self.kinds = kinds.gather(1, order)
        self.used = m
        self._widen(m)
        return order, self.positions.shape[1]

    def _widen(self, needed: int) -> None:
        """Make room in the tables for `needed` slots: the bound where there is one, else more at once."""
        if needed <= self.positions.shape[1] and self.positions.shape[1]:
            return
        if self.limit is not None and needed <= self.limit:
            capacity = self.limit
        else:
            capacity = needed + SPARE + needed // 8
        more = capacity - self.positions.shape[1]
        self.positions = torch.nn.functional.pad(self.positions, (0, more), value=FOREVER)
        self.kinds = torch.nn.functional.pad(self.kinds, (0, more))

    def crop(self, tokens: int) -> tuple[Tensor, int] | None:
        """Forget the last `tokens`, then evict. Returns (columns, capacity) for the layers, or None."""
        if not self.used:
            return None
        if tokens and not self.recording and self.evicted and tokens > self.slack:
            raise SepLLMError(
                f"cannot crop {tokens} tokens from a SepCache that has evicted older ones: call "
                f"activate_past_recording() before the forwards to be undone, or make it with rollback={tokens}"
            )
        self.count = (self.count - tokens).clamp(min=0)
        self.seen -= tokens
        recording, self.recording = self.recording, False
        positions = torch.where(self.positions < self.count[:, None], self.positions, FOREVER)
        columns, capacity = self._retain(positions, self.kinds)
        self.recording = recording
        return columns, capacity

    def record(self) -> None:
        self.recording = True

    def rows(self, index: Tensor) -> None:
        self.positions, self.kinds, self.count = (x[index] for x in (self.positions, self.kinds, self.count))

    def tensors(self) -> dict[str, Tensor]:
        return {"positions": self.positions, "kinds": self.kinds, "count": self.count}

    def scalars(self) -> dict[str, Any]:
        names = ("used", "seen", "evicted", "overfull", "kept", "passed")
        return {name: getattr(self, name) for name in names}

    def restore(self, tensors: dict[str, Tensor], scalars: dict[str, Any]) -> None:
        self.positions, self.kinds, self.count = (tensors[k].clone() for k in ("positions", "kinds", "count"))
        for name, value in scalars.items():
            setattr(self, name, value)


class SinkSlots(Slots):
    """Slots of SinkPolicy: a window of c − a with text positions, and initial keys met by a turned query."""

    def __init__(self, policy: SinkPolicy, frequencies: Tensor):
        super().__init__(WindowPolicy(a=policy.a, n=policy.c - policy.a), policy.c - policy.a)
        self.capacity, self.limit = policy.c, policy.c
        self.frequencies = frequencies

    def reset(self) -> None:
        super().reset()
        self.base = 0

    def room(self) -> int:
        return self.capacity if self.seen < self.policy.a else max(self.capacity - self.policy.a, 1)

    def observe(self, separator: Tensor, valid: Tensor) -> tuple[Lives, Tensor]:
        before = None
        if self.seen - self.base > REBASE and int(self.count.min()) > self.policy.a:
            shift = int(self.count.min()) - self.base
            held = (self.positions < FOREVER) & (self.kinds != INITIAL)
            columns = torch.arange(self.positions.shape[1], device=valid.device).expand_as(held)
            before = (columns, torch.where(held, -shift, 0))
            self.base += shift
        lives, positions = super().observe(separator, valid)
        assert self.step is not None
        self.step.before = before
        text = lives.query
        lives.turn = text.clamp(max=self.capacity - 1) - (text - self.base)
        lives.sinks, lives.frequencies = self.policy.a, self.frequencies
        lives.settled = False if bool((lives.turn != 0).any()) else lives.settled
        return lives, torch.where(positions < self.policy.a, positions, positions - self.base)

    def scalars(self) -> dict[str, Any]:
        return {**super().scalars(), "base": self.base}


class SepCache(Cache):
    """A cache for `model.generate(..., past_key_values=SepCache(model, policy, tokenizer))`.

    Args:
        model: a decoder of transformers 5; its forward is observed from now on (attach.py), no file is patched.
        policy: any policy of policy.py.
        separators: a SeparatorSet, or a tokenizer (rule `paper`); None for policies that need none.
        prefill: `sep` shows a prompt what the mask shows (equal to token-by-token), `dense` lets prompts attend fully
            and evicts from the first generated token on, as the authors' SepCache does.
        prefill_chunk: longest forward; longer inputs are fed in pieces, so memory stays O(kept + piece).
        rollback: tokens that `crop` can take back without recording (older transformers, such as 5.2, does not record).

    Raises:
        SepLLMError: a model that is not a plain decoder, or whose keys cannot be moved where the policy moves them.
    """

    def __init__(
        self,
        model: Any,
        policy: AnyPolicy,
        separators: SeparatorSet | Any | None = None,
        *,
        prefill: str = "sep",
        prefill_chunk: int | None = None,
        rollback: int = 0,
    ):
        from .attach import attach, decoder_of, shape_of
        from .rope import frequencies_of
        from .stream import Blocks

        one_of("prefill", prefill, ("sep", "dense"))
        whole("rollback", rollback, 0)
        if prefill_chunk is not None:
            whole("prefill_chunk", prefill_chunk, 1)
        self.policy = policy
        self.separators = separators_for(policy, separators, model)
        self.prefill_chunk = prefill_chunk
        num_layers, num_heads = shape_of(model)
        decoder = decoder_of(model)
        self._decoder = weakref.ref(decoder)
        windows: Sequence[Any] = [None] * num_layers
        if isinstance(policy, (StreamingPolicy, SinkPolicy)):
            if prefill == "dense" or rollback:
                raise SepLLMError("prefill='dense' and rollback are for SepPolicy and its like, not for streaming")
            frequencies = frequencies_of(decoder)
            made = Blocks(policy, frequencies) if isinstance(policy, StreamingPolicy) else None
            self.groups: dict[Any, Slots] = {None: made or SinkSlots(policy, frequencies)}  # type: ignore[arg-type,dict-item]
        else:
            windows = policy.windows(num_layers, num_heads)
            self.groups = {n: Slots(policy, n, rollback, prefill) for n in dict.fromkeys(windows)}
        self.last_logits: Tensor | None = None  # of the newest token, kept by `stream`
        self._luts: dict[torch.device, Tensor] = {}
        self._vocabulary = model.get_input_embeddings().num_embeddings
        super().__init__(layers=[SepLayer(self.groups[n]) for n in windows])
        self.handle = attach(model)
        self.handle.kept = True  # the end of a `masked` block leaves it in place

    # -- what the hook calls

    def observe(self, ids: Tensor | None, valid: Tensor, separator: Tensor | None = None) -> tuple[list[Lives], Tensor]:
        """Take note of the tokens of a forward that begins. Returns lives by layer, and position_ids."""
        if separator is None:
            assert ids is not None
            separator = self.is_separator(ids)
        found: dict[int, tuple[Lives, Tensor]] = {}
        for slots in self.groups.values():
            slots.begin(valid.shape[0], valid.device)
            found[id(slots)] = slots.observe(separator, valid)
        positions = next(iter(found.values()))[1]
        return [found[id(layer.slots)][0] for layer in self.layers], positions

    def is_separator(self, ids: Tensor) -> Tensor:
        """Bool, of the shape of `ids`."""
        if ids.device not in self._luts:
            self._luts[ids.device] = self.separators.lut(ids.device, self._vocabulary)
        return look_up(self._luts[ids.device], ids)

    def room(self) -> int | None:
        """Tokens that fit into the next forward; None for any number."""
        rooms = [r for r in (self.prefill_chunk, *(s.room() for s in self.groups.values())) if r is not None]
        return min(rooms) if rooms else None

    # -- what transformers calls

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens seen, padding included; not tokens stored."""
        return self.layers[0].slots.seen

    def crop(self, tokens_to_remove: int) -> None:
        """Forget the last −`tokens_to_remove` tokens; a positive number is the length to keep (transformers 5.2)."""
        seen = self.get_seq_length()
        tokens = seen - tokens_to_remove if tokens_to_remove > 0 else -tokens_to_remove
        if not 0 <= tokens <= seen:
            raise SepLLMError(f"cannot crop {tokens} of {seen} tokens")
        made = {id(slots): slots.crop(tokens) for slots in self.groups.values()}
        for layer in self.layers:
            columns = made[id(layer.slots)]
            if columns is not None:
                layer.keep(*columns)

    def activate_past_recording(self) -> None:
        """Evict nothing until the next `crop`, as assisted decoding asks for."""
        for slots in self.groups.values():
            slots.record()

    def _rows(self, index: Tensor) -> None:
        for slots in self.groups.values():
            slots.rows(index.to(slots.positions.device))
        for layer in self.layers:
            layer.rows(index)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        self._rows(beam_idx)

    def batch_repeat_interleave(self, repeats: int) -> None:
        batch = self.layers[0].slots.positions.shape[0]
        self._rows(torch.arange(batch).repeat_interleave(repeats))

    def batch_select_indices(self, indices: Tensor) -> None:
        self._rows(indices)

    def reset(self) -> None:
        self.last_logits = None
        for slots in self.groups.values():
            slots.reset()
        super().reset()

    # -- measures

    def kv_bytes(self) -> int:
        """Bytes of the stored key and value tensors."""
        filled: list[Any] = [layer for layer in self.layers if layer.is_initialized]
        return sum(x.nbytes for layer in filled for x in (layer.keys, layer.values))

    def kept_tokens(self) -> list[int]:
        """Tokens held by each layer, summed over rows."""
        return [int((layer.slots.positions < FOREVER).sum()) for layer in self.layers]

    def kept_ratio(self) -> float:
        """r.KV: visible keys over seen tokens, summed over layers, rows and every token after the first forward."""
        kept = sum(layer.slots.kept for layer in self.layers)
        passed = sum(layer.slots.passed for layer in self.layers)
        return kept / passed if passed else 1.0

    # -- saving

    def save(self, path: str | Path) -> None:
        """Write everything to one safetensors file; whole or not at all."""
        from safetensors.torch import save_file

        tensors: dict[str, Tensor] = {}
        if self.last_logits is not None:
            tensors["last_logits"] = self.last_logits
        for i, layer in enumerate(self.layers):
            if isinstance(layer, SepLayer) and layer.is_initialized:
                tensors |= {f"layers.{i}.keys": layer.keys, f"layers.{i}.values": layer.values}
        for i, slots in enumerate(self.groups.values()):
            tensors |= {f"groups.{i}.{name}": x for name, x in slots.tensors().items()}
        about = {
            "format": "sepllm-cache-1",
            "policy": repr(self.policy),
            "separators": self.separators.digest(),
            "groups": json.dumps([slots.scalars() for slots in self.groups.values()]),
        }
        path = Path(path)
        part = path.with_name(f"{path.name}.part-{os.getpid()}")
        save_file({k: x.detach().contiguous().clone() for k, x in tensors.items()}, part, metadata=about)
        part.replace(path)

    def load(self, path: str | Path) -> SepCache:
        """Take up what `save` wrote, from a cache made with the same policy and separators.

        Raises:
            SepLLMError: not such a file, a truncated one, or one of another policy, tokenizer or model.
        """
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "pt") as file:
                about = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise SepLLMError(f"{path} is not a saved SepCache ({' '.join(str(error).split())[:120]})") from error
        if about.get("format") != "sepllm-cache-1":
            raise SepLLMError(f"{path} is not a saved SepCache: it has no mark of one")
        for name, mine in (("policy", repr(self.policy)), ("separators", self.separators.digest())):
            if about.get(name) != mine:
                raise SepLLMError(f"{path} was saved with {name} {about.get(name)}, and this cache has {mine}")
        try:
            scalars = json.loads(about["groups"])
            for i, slots in enumerate(self.groups.values()):
                found = {k.removeprefix(f"groups.{i}."): x for k, x in tensors.items() if k.startswith(f"groups.{i}.")}
                slots.restore(found, {k: scalars[i][k] for k in slots.scalars()})
            for i, layer in enumerate(self.layers):
                keys, values = tensors[f"layers.{i}.keys"].clone(), tensors[f"layers.{i}.values"].clone()
                layer.lazy_initialization(keys, values)
                layer.keys, layer.values = keys, values
            self.last_logits = tensors.get("last_logits")
        except (KeyError, IndexError, ValueError, TypeError) as error:
            self.reset()
            raise SepLLMError(f"{path} does not fit this cache: {error!r} is missing or wrong in it") from error
        return self

    def describe(self) -> dict[str, Any]:
        """What a report says of a cache: policy, separators, sizes."""
        return {
            "policy": type(self.policy).__name__,
            **asdict(self.policy),
            "separators": len(self.separators.ids),
            "kv_bytes": self.kv_bytes(),
            "kept_ratio": self.kept_ratio(),
        }


def look_up(lut: Tensor, ids: Tensor) -> Tensor:
    """lut[ids], with ids checked where that costs no wait for the device at each generated token."""
    if ids.shape[-1] > 1 or ids.device.type == "cpu":
        low, high = ids.aminmax()
        if int(low) < 0 or int(high) >= len(lut):
            raise SepLLMError(f"token ids must lie in [0, {len(lut)}), and {int(low)} to {int(high)} were given")
    return lut[ids]


def separators_for(policy: AnyPolicy, given: Any, model: Any) -> SeparatorSet:
    """The separators to use: those given, or found for a tokenizer.

    Raises:
        SepLLMError: the policy needs separators and none were given.
    """
    if isinstance(given, SeparatorSet):
        return given
    vocabulary = model.get_input_embeddings().num_embeddings
    if given is not None and policy.needs_separators:
        return SeparatorSet.from_tokenizer(given)
    if policy.needs_separators:
        raise SepLLMError(
            f"{type(policy).__name__} needs separators: give a tokenizer or a SeparatorSet as third argument"
        )
    return SeparatorSet.nothing(vocabulary)
