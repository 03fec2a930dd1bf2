"""Verbalized rejection sampling (arXiv 2506.09998): draws from described distributions by a language model."""

from .calibration import CalibrationCurve, calibration
from .certify import certify
from .coin import Coin
from .continuous import Continuous, Discretised
from .errors import VRSError
from .metrics import stvd, stvd_floor
from .samplers import VRS, AdaptiveQ, Direct, Factory, Inversion, VRSHybrid, sampler
from .targets import Bernoulli, Binomial, Categorical, Geometric, Poisson, Words

__all__ = [
    "VRS",
    "AdaptiveQ",
    "Bernoulli",
    "Binomial",
    "CalibrationCurve",
    "Categorical",
    "Coin",
    "Continuous",
    "Direct",
    "Discretised",
    "Factory",
    "Geometric",
    "Inversion",
    "Poisson",
    "VRSError",
    "VRSHybrid",
    "Words",
    "calibration",
    "certify",
    "sampler",
    "stvd",
    "stvd_floor",
]
