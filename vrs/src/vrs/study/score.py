"""A curve in numbers: its distance from the diagonal, what of it is noise, and what a draw cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..calibration import CalibrationCurve
from ..metrics import (
    bias,
    clopper_pearson,
    expected_stvd,
    g_test,
    hellinger,
    holm,
    kl_from_counts,
    mean_tv,
    monotonicity,
    stvd,
    stvd_floor,
    unbiased_squared,
    wilson,
    worst_tv,
)
from .run import Found

Curves = Mapping[str, Mapping[str, Any]]
SETTING = ("sampler", "question", "relabel", "cot", "grid", "draws")


def scored(curve: CalibrationCurve, draws: int = 100) -> dict[str, Any]:
    """Plain JSON values. An exact curve also gets the STVD that it shows on `draws` draws a level."""
    p, p_hat = np.asarray(curve.p), np.asarray(curve.p_hat)
    whole = ~np.isnan(p_hat)
    found: dict[str, Any] = {**curve.summary(), "levels": len(p), "levels_without_draws": int((~whole).sum())}
    if not whole.any():
        return found
    p, p_hat = p[whole], p_hat[whole]
    worst, at = worst_tv(p_hat, p)
    found |= {
        "stvd": stvd(p_hat, p),
        "mean_tv": mean_tv(p_hat, p),
        "worst_tv": worst,
        "worst_at": at,
        "bias": bias(p_hat, p).tolist(),
        "mean_hellinger": float(np.mean([hellinger(*pair) for pair in zip(both(p_hat), both(p), strict=True)])),
        "monotonicity": monotonicity(p_hat),
    }
    if curve.n is None:
        floor = stvd_floor(p, draws)
        found |= {"expected_stvd": expected_stvd(p_hat, p, draws), "floor": floor.mean, "floor_sd": floor.sd}
        return found
    n = np.array([len(s.values) for s in curve.samples])[whole]
    ones = np.rint(p_hat * n)
    floor = stvd_floor(p, n)
    found |= {
        "floor": floor.mean,
        "floor_sd": floor.sd,
        "floor_99": floor.quantiles[0.995],
        "z": floor.z(found["stvd"]),
        "p_value": floor.p_value(found["stvd"]),
        "unbiased_squared": unbiased_squared(p_hat, p, n) if (n > 1).all() else None,
        "mean_kl": float(
            np.mean([kl_from_counts(*pair) for pair in zip(both(p_hat) * n[:, None], both(p), strict=True)])
        ),
        "rejected_levels": int((holm(g_test(ones, n, p)) < 0.05).sum()),
        "wilson": _pairs(wilson(ones, n)),
        "clopper_pearson": _pairs(clopper_pearson(ones, n)),
        "stvd_sd": spread(p_hat, p, n),
    }
    return found


def spread(p_hat: np.ndarray, p: np.ndarray, n: np.ndarray, replicates: int = 2000) -> float:
    """Standard deviation of a sampled STVD, by drawing again from the shares that were found."""
    rng = np.random.default_rng(2506_09998)
    again = rng.binomial(n, p_hat, (replicates, len(p))) / n
    return float(np.abs(again - p).sum(axis=1).std())


def both(p: np.ndarray) -> np.ndarray:
    """Bernoulli distributions as (P(0), P(1)), (grid, 2)."""
    return np.stack([1 - p, p], axis=1)


def scored_all(found: Found) -> Curves:
    """Every curve of a study by label, with its setting."""
    curves = {}
    for label, m in found.curves.items():
        setting = {name: getattr(m.settings, name) for name in SETTING} | {"phrasing": m.phrasing}
        curves[label] = {"setting": setting, **scored(m.curve)}
    return curves


def pick(curves: Curves, sampler: str, **wanted: Any) -> dict[str, Mapping[str, Any]]:
    """Curves of a sampler by label, those whose setting has the wanted values (one, or one of several)."""
    chosen = {}
    for label, c in curves.items():
        setting = c["setting"]
        fits = (setting[k] in v if isinstance(v, tuple) else setting[k] == v for k, v in wanted.items())
        if setting["sampler"] == sampler and c.get("mean_tv") is not None and all(fits):
            chosen[label] = c
    return chosen


def pairs(curves: Curves, first: str, second: str, **wanted: Any) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Curves of two samplers that differ in nothing else, both usable."""
    seconds = {_rest(c): c for c in pick(curves, second, **wanted).values() if usable(c)}
    firsts = [c for c in pick(curves, first, **wanted).values() if usable(c)]
    return [(c, seconds[_rest(c)]) for c in firsts if _rest(c) in seconds]


def usable(c: Mapping[str, Any]) -> bool:
    """Whether a curve has draws at every level, of a model that answers in the form asked for."""
    return not c["levels_without_draws"] and (c.get("parse_rate") is None or c["parse_rate"] > 0.5)


def reads_p(c: Mapping[str, Any]) -> bool:
    """Whether a curve rises with p at all: half of the way from 0 to 1 at least."""
    return usable(c) and c["p_hat"][-1] - c["p_hat"][0] > 0.5


def worded(c: Mapping[str, Any]) -> str:
    """How the questions of a curve were put, in words."""
    s = c["setting"]
    words = [s["question"].replace("_", " "), s["phrasing"], None if s["relabel"] == "off" else s["relabel"]]
    return ", ".join(str(w) for w in [*words, None if s["cot"] == "auto" else f"{s['cot']} words"] if w)


def _rest(c: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(v for k, v in c["setting"].items() if k != "sampler")


def _pairs(band: tuple[np.ndarray, np.ndarray]) -> list[list[float]]:
    low, high = band
    return np.stack([low, high], axis=1).tolist()
