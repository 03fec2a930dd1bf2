"""Ways to have n draws of a described distribution, one file each."""

from __future__ import annotations

from ..errors import VRSError
from .adaptive_q import AdaptiveQ
from .base import Exact, Plan, Sampler
from .direct import Constrained, Direct, DirectCheck
from .ensemble import Ensemble
from .factory import Factory
from .inversion import Inversion
from .logit_exact import LogitExact
from .proposals import Dyadic, Fair, Fixed
from .sequence import Sequence
from .ssot import SSoT
from .tool import Tool
from .verbalized import Verbalized
from .vrs import VRS, VRSM
from .vrs_hybrid import VRSHybrid
from .vrs_self import VRSSelf
from .vrs_simple import VRSSimple, VRSSimpleM

SAMPLERS: dict[str, type[Sampler]] = {
    kind.name: kind
    for kind in (
        Direct,
        DirectCheck,
        VRS,
        VRSM,
        VRSSimple,
        VRSSimpleM,
        VRSSelf,
        VRSHybrid,
        AdaptiveQ,
        Factory,
        Inversion,
        SSoT,
        Verbalized,
        Ensemble,
        Sequence,
        Constrained,
        LogitExact,
        Tool,
    )
}

__all__ = [
    "SAMPLERS",
    "VRS",
    "VRSM",
    "AdaptiveQ",
    "Constrained",
    "Direct",
    "DirectCheck",
    "Dyadic",
    "Ensemble",
    "Exact",
    "Factory",
    "Fair",
    "Fixed",
    "Inversion",
    "LogitExact",
    "Plan",
    "SSoT",
    "Sampler",
    "Sequence",
    "Tool",
    "VRSHybrid",
    "VRSSelf",
    "VRSSimple",
    "VRSSimpleM",
    "Verbalized",
    "sampler",
]


def sampler(name: str) -> type[Sampler]:
    """The sampler of that name.

    Raises:
        VRSError: there is none.
    """
    try:
        return SAMPLERS[name]
    except KeyError:
        raise VRSError(f"sampler must be one of {', '.join(SAMPLERS)}, not {name!r}") from None
