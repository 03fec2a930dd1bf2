"""All metrics under one name; each has a file of its own."""

from ..theory import tv
from .dependence import Dependence, dependence
from .divergences import chi_squared, hellinger, js, kl, kl_from_counts
from .floor import Floor, expected_stvd, mean_deviation, stvd_floor
from .goodness import g_test, g_test_counts, holm
from .intervals import INTERVALS, clopper_pearson, wilson
from .monotone import monotonicity
from .ordered import Distance, cramer_von_mises, kolmogorov_smirnov
from .sequential import ConfidenceSequence, confidence_band, log_wealth
from .stvd import bias, mean_tv, stvd, unbiased_squared, worst_tv

__all__ = [
    "INTERVALS",
    "ConfidenceSequence",
    "Dependence",
    "Distance",
    "Floor",
    "bias",
    "chi_squared",
    "clopper_pearson",
    "confidence_band",
    "cramer_von_mises",
    "dependence",
    "expected_stvd",
    "g_test",
    "g_test_counts",
    "hellinger",
    "holm",
    "js",
    "kl",
    "kl_from_counts",
    "kolmogorov_smirnov",
    "log_wealth",
    "mean_deviation",
    "mean_tv",
    "monotonicity",
    "stvd",
    "stvd_floor",
    "tv",
    "unbiased_squared",
    "wilson",
    "worst_tv",
]
