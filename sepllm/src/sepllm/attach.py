"""How a policy meets a model of transformers: hooks on the decoder, an attention function, no patched file.

Attention modules hand keys and values to the cache, but no token ids. A forward pre-hook on the decoder sees ids, 2-D
mask and cache; it asks for the lives of the tokens, puts the position ids of the policy in place, and replaces the mask
by a `SepMask` that carries the lives to the attention function `sepllm` (for eager attention by an additive mask).
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .attention import SepMask
from .cache import SepCache, look_up, separators_for
from .errors import SepLLMError
from .mask import Lives, additive, lives_of, visible
from .policy import AnyPolicy, Policy

_attached: weakref.WeakKeyDictionary[Any, Handle] = weakref.WeakKeyDictionary()


def decoder_of(model: Any) -> Any:
    """The module that receives input ids and holds the layers."""
    decoder = model.get_decoder() if hasattr(model, "get_decoder") else model.base_model
    return model.base_model if decoder is None else decoder


def shape_of(model: Any) -> tuple[int, int]:
    """(layers, key/value heads) of a model that a policy can serve.

    Raises:
        SepLLMError: encoder–decoder, sliding-window, linear or otherwise special layers, or shared keys.
    """
    name, config = type(model).__name__, model.config
    if getattr(config, "is_encoder_decoder", False):
        raise SepLLMError(f"{name} is an encoder–decoder, and SepLLM is defined for decoders only")
    config = config.get_text_config(decoder=True)
    types = getattr(config, "layer_types", None) or ()
    wrong = next((kind for kind in types if kind != "full_attention"), None)
    if wrong is None and not types and getattr(config, "sliding_window", None):
        wrong = "sliding_attention" if getattr(config, "use_sliding_window", True) else None
    if wrong is None and getattr(config, "num_kv_shared_layers", None):
        wrong = "shared_key_value"
    if wrong is None and getattr(config, "attention_chunk_size", None) and not types:
        wrong = "chunked_attention"
    if wrong is not None:
        raise SepLLMError(
            f"{name} has layers of type {wrong}, whose window would cut off the initial tokens and separators that "
            "SepLLM keeps: use a model with full attention in every layer"
        )
    heads = getattr(config, "num_key_value_heads", None) or getattr(config, "num_attention_heads", None)
    if heads is None or getattr(config, "num_hidden_layers", None) is None:
        raise SepLLMError(f"{name} is not a decoder with attention layers that transformers' caches serve")
    return config.num_hidden_layers, heads


class Handle:
    """Hooks on one decoder; `remove()` (or leaving it as a context) takes away every trace."""

    def __init__(self, model: Any):
        decoder = decoder_of(model)
        self.decoder = weakref.ref(decoder)
        self.masked: tuple[Policy, Any, list[Any], Any] | None = None
        self.warned = self.kept = False
        self.before: list[Tensor] = []
        self.implementation = decoder.config._attn_implementation
        if self.implementation == "sdpa":
            decoder.config._attn_implementation = "sepllm"  # the same for every forward without a policy
        self.hooks = [
            decoder.register_forward_pre_hook(self._enter, with_kwargs=True),
            decoder.register_forward_hook(self._leave),
        ]

    def remove(self) -> None:
        for hook in self.hooks:
            hook.remove()
        self.hooks = []
        decoder = self.decoder()
        if decoder is not None:
            if decoder.config._attn_implementation == "sepllm":
                decoder.config._attn_implementation = self.implementation
            _attached.pop(decoder, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *error: object) -> None:
        self.remove()

    def _enter(self, decoder: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self.before = []
        separator = kwargs.pop("separator_mask", None)
        cache = kwargs.get("past_key_values")
        ours = isinstance(cache, SepCache)
        if not ours and self.masked is None:
            return None
        ids = args[0] if args else kwargs.get("input_ids")
        embeds = kwargs.get("inputs_embeds")
        if ids is None and separator is None:
            raise SepLLMError(
                "a forward with inputs_embeds does not tell which tokens are separators: pass separator_mask, "
                "Bool[batch, length], beside it"
            )
        shape, device = (ids.shape, ids.device) if ids is not None else (embeds.shape[:2], embeds.device)
        mask = kwargs.get("attention_mask")
        if ours:
            lives, positions = self._cached(decoder, cache, ids, embeds, mask, separator, shape, device, kwargs)
            kwargs = self._last_piece(kwargs, positions.shape[1])
            args = (args[0][:, -positions.shape[1] :], *args[1:]) if args else args
            kwargs["position_ids"] = positions
            self._warn_beyond(decoder, cache)
        else:
            lives = self._whole(ids, mask, separator, shape, device, kwargs)
        kwargs["attention_mask"] = self._form(decoder, lives)
        return args, kwargs

    def _cached(self, decoder, cache, ids, embeds, mask, separator, shape, device, kwargs):  # type: ignore[no-untyped-def]
        """Lives and positions of this forward, after feeding the pieces that do not fit into it."""
        if cache._decoder() is not decoder:
            raise SepLLMError(
                "this SepCache was made for another model: make a new SepCache(model, policy, separators)"
            )
        valid = valid_of(mask, shape, device, cache.get_seq_length())
        if separator is not None:
            separator = separator.to(device=device, dtype=torch.bool)
        q, done = shape[1], 0
        states: list[Tensor] = []
        room = cache.room()
        while room is not None and q - done > room:
            piece = slice(done, done + room)
            inner: dict[str, Any] = {"past_key_values": cache, "use_cache": True}
            if ids is not None:
                inner["input_ids"] = ids[:, piece]
            else:
                inner["inputs_embeds"] = embeds[:, piece]
            if separator is not None:
                inner["separator_mask"] = separator[:, piece]
            states.append(decoder(**inner, attention_mask=valid[:, piece].long()).last_hidden_state)
            done, room = done + room, cache.room()
        self.before = states
        rest = slice(done, q)
        return cache.observe(
            None if ids is None else ids[:, rest], valid[:, rest], None if separator is None else separator[:, rest]
        )

    @staticmethod
    def _last_piece(kwargs: dict[str, Any], length: int) -> dict[str, Any]:
        for name in ("input_ids", "inputs_embeds", "cache_position"):
            value = kwargs.get(name)
            if isinstance(value, Tensor):
                kwargs[name] = value[-length:] if name == "cache_position" else value[:, -length:]
        return kwargs

    def _leave(self, decoder: Any, args: Any, output: Any) -> Any:
        if self.before:
            before, self.before = self.before, []
            output.last_hidden_state = torch.cat([*before, output.last_hidden_state], 1)
        return output

    def _whole(self, ids, mask, separator, shape, device, kwargs) -> list[Lives]:  # type: ignore[no-untyped-def]
        assert self.masked is not None
        policy, lut, windows, edit = self.masked
        valid = valid_of(mask, shape, device, 0, any_padding=True)
        separator = look_up(lut.to(device), ids) if separator is None else separator.to(device, torch.bool)
        first = None
        positions = kwargs.get("position_ids")
        if positions is not None and positions.ndim == 2 and mask is None:
            first = (positions == 0).expand(shape)  # packed documents, as transformers marks them
            first = first if bool(first[:, 1:].any()) else None
        if first is None and positions is None:
            kwargs["position_ids"] = (valid.long().cumsum(-1) - 1).clamp(min=0)
        made = {n: lives_of(policy, separator, n, valid, first) for n in dict.fromkeys(windows)}
        for lives in made.values():
            lives.edit = edit
        return [made[n] for n in windows]

    def _form(self, decoder: Any, lives: list[Lives]) -> Tensor:
        implementation = decoder.config._attn_implementation
        if implementation == "sepllm":
            return SepMask.carrying(lives, next(decoder.parameters()).device)
        if implementation == "eager":
            if any(one is not lives[0] for one in lives) or lives[0].turn is not None:
                raise SepLLMError(
                    "eager attention takes one mask for all layers, which this policy does not have: load the model "
                    "with attn_implementation='sdpa'"
                )
            kv = lives[0].end.ndim == 3
            mask = visible(lives[0])
            if kv:
                config = decoder.config.get_text_config(decoder=True)
                mask = mask.repeat_interleave(config.num_attention_heads // mask.shape[1], 1)
            return additive(mask, next(decoder.parameters()).dtype)
        raise SepLLMError(
            f"attention implementation {implementation!r} cannot show SepLLM's mask: load the model with "
            "attn_implementation='sdpa' (or 'eager')"
        )

    def _warn_beyond(self, decoder: Any, cache: Any) -> None:
        if self.warned or not isinstance(cache.policy, Policy):
            return
        trained = getattr(decoder.config.get_text_config(decoder=True), "max_position_embeddings", None)
        if trained is not None and cache.get_seq_length() > trained:
            self.warned = True
            warnings.warn(
                f"text position {cache.get_seq_length()} is beyond the {trained} that this model was trained for: "
                "StreamingPolicy counts positions inside the cache",
                stacklevel=4,
            )


def valid_of(mask: Any, shape: Any, device: torch.device, seen: int, any_padding: bool = False) -> Tensor:
    """Bool[B, q]: which of the new tokens are real, from the 2-D mask of this forward or of all tokens so far.

    Raises:
        SepLLMError: a mask of another shape, or padding after real tokens (training allows it).
    """
    batch, q = shape
    if mask is None:
        return torch.ones((batch, q), dtype=torch.bool, device=device)
    if not isinstance(mask, Tensor) or mask.ndim != 2 or mask.shape[0] != batch or mask.shape[1] not in (q, seen + q):
        given = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise SepLLMError(
            f"attention_mask must have shape ({batch}, {seen + q}) or ({batch}, {q}), not {given}: SepLLM makes the "
            "mask of attention itself"
        )
    mask = mask.to(device=device, dtype=torch.bool)
    if q > 1 and not any_padding:
        if bool((mask[:, :-1] & ~mask[:, 1:]).any()):
            raise SepLLMError(
                "attention_mask has padding after real tokens: for generation pad on the left "
                "(tokenizer.padding_side='left')"
            )
        if not bool(mask[:, -1].all()):
            # not refused: the first piece of a prompt in pieces may be padding throughout in its shorter rows
            row = int((~mask[:, -1]).nonzero()[0])
            warnings.warn(f"row {row} has only padding so far: what is generated for it means nothing", stacklevel=4)
    return mask[:, -q:]


def attach(model: Any) -> Handle:
    """Let `model` serve policies; a second call returns the first handle.

    Raises:
        SepLLMError: the model is not a plain decoder (see shape_of), or its attention cannot show the mask.
    """
    shape_of(model)
    decoder = decoder_of(model)
    if decoder not in _attached:
        implementation = decoder.config._attn_implementation
        if implementation not in ("sdpa", "eager"):
            raise SepLLMError(
                f"attention implementation {implementation!r} cannot show SepLLM's mask: load the model with "
                "attn_implementation='sdpa' (or 'eager')"
            )
        _attached[decoder] = Handle(model)
    return _attached[decoder]


@contextmanager
def masked(model: Any, policy: AnyPolicy, separators: Any = None, edit: Any = None) -> Iterator[Any]:
    """Within it, forwards without a cache run under the policy's mask: training and log-likelihoods.

    Backward belongs inside too where activations are recomputed (gradient checkpointing).

    Args:
        separators: a SeparatorSet or a tokenizer; None for policies that need none.
        edit: see Lives.edit.

    Raises:
        SepLLMError: a streaming policy, which is no mask, or see attach.
    """
    if not isinstance(policy, Policy):
        raise SepLLMError(f"{type(policy).__name__} counts positions inside a cache and is no mask: use SepCache")
    num_layers, num_heads = shape_of(model)
    found = separators_for(policy, separators, model)
    windows = policy.windows(num_layers, num_heads)
    known = decoder_of(model) in _attached
    handle = attach(model)
    before = handle.masked
    handle.masked = (policy, found.lut(size=model.get_input_embeddings().num_embeddings), windows, edit)
    try:
        yield model
    finally:
        handle.masked = before
        if not known and not handle.kept:
            handle.remove()
