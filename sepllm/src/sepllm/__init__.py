"""SepLLM (arXiv 2412.12094): attend to initial tokens, separators and a window; keep only those in the cache."""

from .attach import Handle, attach, masked
from .cache import SepCache
from .errors import SepLLMError
from .mask import attention_ratio, sep_mask
from .policy import (
    FixedIntervalPolicy,
    FullPolicy,
    RandomPolicy,
    SepPolicy,
    SinkPolicy,
    StreamingPolicy,
    WindowPolicy,
    make_policy,
)
from .separators import SeparatorSet
from .stream import stream

__all__ = [
    "FixedIntervalPolicy",
    "FullPolicy",
    "Handle",
    "RandomPolicy",
    "SepCache",
    "SepLLMError",
    "SepPolicy",
    "SeparatorSet",
    "SinkPolicy",
    "StreamingPolicy",
    "WindowPolicy",
    "attach",
    "attention_ratio",
    "make_policy",
    "masked",
    "sep_mask",
    "stream",
]
