"""Attention under lives: the function `sepllm` that transformers calls, and the sparse form on a CPU.

Long queries run in chunks of 128. A chunk is given only the keys that are alive for one of its queries: the initial
tokens and separators before it, gathered, and its window:

    keys      a a a . . s . . s . . s . . w w w w w w w | chunk |      . dead keys are not read
    queries                                              | chunk |

On real text every block of 128 keys holds a separator, so a block mask over the raw order skips nothing; gathering
does. The columns and small masks of all chunks are made once a forward and shared by all layers of a window. On a GPU
the same idea is one FlexAttention call (flex.py), and one new token over ragged rows is a Triton kernel (kernels/).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as sdpa
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from .errors import SepLLMError
from .mask import Lives, visible
from .rope import turn

CHUNK = 128  # queries a chunk: of 64, 128, 256 and 512 the fastest on a CPU
DENSE_BELOW = 192  # queries for which one dense mask is cheaper than chunks


class SepMask(torch.Tensor):
    """What travels where models expect a 4-D mask: a tensor [1, 1, 1, 1] that carries the lives of each layer."""

    lives: list[Lives]

    @staticmethod
    def carrying(lives: list[Lives], device: torch.device) -> SepMask:
        mask = torch.zeros((1, 1, 1, 1), dtype=torch.bool, device=device).as_subclass(SepMask)
        mask.lives = lives
        return mask

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(out, SepMask) and "lives" not in vars(out):  # moved to another device, sliced, made contiguous
            source = next((a for a in args if isinstance(a, SepMask) and "lives" in vars(a)), None)
            if source is not None:
                out.lives = source.lives
        return out


class Piece(NamedTuple):
    """A chunk of one row: queries [begin, finish), the columns of the keys that they see, and the small mask."""

    row: int
    begin: int
    finish: int
    columns: Tensor  # Int64[k]
    seen: Tensor  # Bool[1 or H, 1, finish − begin, k]


def sepllm_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' signature: query [B, Hq, Q, D], key and value [B, H, K, D]; returns [B, Q, Hq, D].

    Without a SepMask (a forward of a model that has a handle but no policy) it is transformers' own `sdpa`.
    """
    if not isinstance(attention_mask, SepMask):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
    if kwargs.get("softcap") is not None or kwargs.get("s_aux") is not None:
        raise SepLLMError("this model's attention has soft-capped or sink logits, which only attn 'eager' computes")
    lives = attention_mask.lives[module.layer_idx]  # type: ignore[index]
    if lives.query.device != query.device:
        lives = lives.to(query.device)
    if lives.edit is not None:
        key, value, lives = lives.edit(key, value, lives)
    out = attend(query, key, value, lives, scaling, dropout)
    return out.transpose(1, 2).contiguous(), None


def attend(
    query: Tensor, key: Tensor, value: Tensor, lives: Lives, scale: float | None = None, dropout: float = 0.0
) -> Tensor:
    """softmax(QKᵀ · scale, over the keys alive at each query) V (paper eq. 2): [B, Hq, Q, D]."""
    batch, heads, q, d = query.shape
    kv = key.shape[1]
    if lives.turn is not None and not lives.settled:
        return turned(query, key, value, lives, scale)
    packed = query.reshape(batch, kv, heads // kv * q, d)  # query heads of one key head become further rows
    if q == 1:
        if lives.settled:
            return sdpa(packed, key, value, scale=scale).reshape(query.shape)
        if query.is_cuda:
            from .kernels import decode

            if decode.available(query, lives):
                return decode.decode(query, key, value, lives, scale)
        return sdpa(packed, key, value, attn_mask=row_mask(lives), scale=scale).reshape(query.shape)
    if plain(lives):
        return sdpa(query, key, value, is_causal=True, scale=scale, dropout_p=dropout, enable_gqa=kv != heads)
    if q < DENSE_BELOW:
        seen = dense_mask(lives).repeat(1, 1, heads // kv, 1)
        out = sdpa(packed, key, value, attn_mask=seen, scale=scale, dropout_p=dropout)
        return out.reshape(query.shape)
    if query.is_cuda and key.shape[2] == q and lives.end.ndim == 2:
        from .flex import gathered_flex

        return gathered_flex(query, key, value, lives, scale)
    return gathered(query, key, value, lives, scale, dropout)


def row_mask(lives: Lives) -> Tensor:
    """Bool[B, 1 or H, 1, K] for one query a row, made once for all layers."""
    if "row_mask" not in vars(lives):
        end = lives.end if lives.end.ndim == 3 else lives.end[:, None]
        seen = (lives.start[:, None] <= lives.query[:, None]) & (lives.query[:, None] < end)
        # a row that has seen nothing but padding sees everything rather than nothing
        vars(lives)["row_mask"] = (seen | ~seen.any(-1, keepdim=True))[:, :, None]
    return vars(lives)["row_mask"]


def dense_mask(lives: Lives) -> Tensor:
    if "dense" not in vars(lives):
        vars(lives)["dense"] = visible(lives)
    return vars(lives)["dense"]


def plain(lives: Lives) -> bool:
    """Whether this is causal attention of a sequence to itself, without padding or dead keys."""
    if "plain" not in vars(lives):
        whole = lives.start.shape == lives.query.shape and lives.end.ndim == 2
        vars(lives)["plain"] = whole and bool(((lives.end > lives.query[:, -1:]) & lives.real).all())
    return vars(lives)["plain"]


def pieces(lives: Lives) -> list[Piece]:
    """The chunks of all rows, made once for all layers."""
    if "pieces" in vars(lives):
        return vars(lives)["pieces"]
    made = []
    ends = lives.end if lives.end.ndim == 3 else lives.end[:, None]
    for row in range(lives.query.shape[0]):
        start, end, query, real = lives.start[row], ends[row], lives.query[row], lives.real[row]
        latest = end.amax(0)
        for begin in range(0, len(query), CHUNK):
            finish = min(begin + CHUNK, len(query))
            asked, used = query[begin:finish], real[begin:finish]
            if not bool(used.any()):
                continue  # padding throughout: its output stays zero
            low, high = asked[used].min(), asked[used].max()
            columns = ((start <= high) & (latest > low)).nonzero().flatten()
            seen = (start[columns] <= asked[:, None]) & (asked[:, None] < end[:, columns][:, None])
            made.append(Piece(row, begin, finish, columns, (seen | ~used[:, None])[:, None]))
    vars(lives)["pieces"] = made
    return made


def gathered(
    query: Tensor, key: Tensor, value: Tensor, lives: Lives, scale: float | None = None, dropout: float = 0.0
) -> Tensor:
    """`attend` by chunks with gathered keys; differentiable. Queries that are padding get zeros."""
    heads, kv = query.shape[1], key.shape[1]
    rows: list[list[Tensor]] = [[] for _ in query]
    done = [0] * len(query)
    for row, begin, finish, columns, seen in pieces(lives):
        if begin > done[row]:
            rows[row].append(query.new_zeros(heads, begin - done[row], value.shape[-1]))
        asked = query[row, :, begin:finish].unflatten(0, (kv, heads // kv))
        k, v = (x[row].index_select(1, columns)[:, None].expand(-1, heads // kv, -1, -1) for x in (key, value))
        out = sdpa(asked, k, v, attn_mask=seen, scale=scale, dropout_p=dropout)
        rows[row].append(out.flatten(0, 1))
        done[row] = finish
    tail = query.shape[2]
    for row, end in enumerate(done):
        if end < tail:
            rows[row].append(query.new_zeros(heads, tail - end, value.shape[-1]))
    return torch.stack([torch.cat(parts, 1) for parts in rows])


def turned(query: Tensor, key: Tensor, value: Tensor, lives: Lives, scale: float | None) -> Tensor:
    """Attention where the first keys are met by a query turned to another position (SinkPolicy).

    The scores s_j = q'·k_j of the few sinks are computed apart and enter one softmax as further dimensions: the query
    is [q, s_0 … s_a], sink j is [0, e_j], every other key [k, 0]. In half precision each score takes two dimensions,
    its rounded value and the rest.
    """
    assert lives.turn is not None and lives.frequencies is not None
    batch, heads, q, d = query.shape
    kv, sinks = key.shape[1], min(lives.sinks, key.shape[2])
    packed = query.reshape(batch, kv, heads // kv * q, d)
    other = turn(query, lives.turn, lives.frequencies).reshape(packed.shape)
    scores = other.float() @ key[:, :, :sinks].transpose(2, 3).float() if query.dtype != torch.float64 else None
    scores = other @ key[:, :, :sinks].transpose(2, 3) if scores is None else scores
    rounded = scores.to(query.dtype)
    parts = [packed, rounded] if scores.dtype == query.dtype else [packed, rounded, (scores - rounded).to(query.dtype)]
    unit = torch.eye(sinks, key.shape[2], dtype=key.dtype, device=key.device).T.expand(batch, kv, -1, -1)
    keys = [torch.cat([torch.zeros_like(key[:, :, :sinks]), key[:, :, sinks:]], 2), *[unit] * (len(parts) - 1)]
    fill = -sum(x.shape[-1] for x in parts) % 8  # what fused kernels want
    asked, known = (torch.nn.functional.pad(torch.cat(x, -1), (0, fill)) for x in (parts, keys))
    seen = dense_mask(lives) if q > 1 else row_mask(lives)
    padded = torch.nn.functional.pad(value, (0, known.shape[-1] - value.shape[-1]))
    scale = d**-0.5 if scale is None else scale
    out = sdpa(asked, known, padded, attn_mask=seen.repeat(1, 1, heads // kv, 1), scale=scale)
    return out[..., : value.shape[-1]].reshape(query.shape)


AttentionInterface.register("sepllm", sepllm_attention)
AttentionMaskInterface.register("sepllm", ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
