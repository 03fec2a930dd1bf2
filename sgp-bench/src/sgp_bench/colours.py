"""Ten colour names and the cells of CIELAB that they stand for, so that a Color question has one right answer."""

from __future__ import annotations

import random

import numpy as np
from jaxtyping import Float

NAMED = {
    "red": "#e0201b",
    "orange": "#ff8c00",
    "yellow": "#ffe119",
    "green": "#1f8a2d",
    "blue": "#1f4fd8",
    "purple": "#8e24aa",
    "pink": "#ff8fc0",
    "brown": "#7a4a21",
    "gray": "#8c8c8c",
    "black": "#101010",
}
NAMES = tuple(NAMED)
GROUND = {"white": "#ffffff"}
CLEAR = 15.0  # ΔE by which every other name must be further away


def lab(rgb: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """CIELAB (D65) of sRGB values in 0 … 255."""
    c = np.asarray(rgb, dtype=np.float64) / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    xyz = linear @ np.array(to_xyz).T / [0.95047, 1.0, 1.08883]
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def rgb_of(text: str) -> tuple[int, int, int]:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


_ALL = {**NAMED, **GROUND}
# what the keywords of CSS look like, where that is far from the middle of the name's cell
_KEYWORDS = {
    "red": "#ff0000", "yellow": "#ffff00", "green": "#008000", "blue": "#0000ff", "purple": "#800080",
    "pink": "#ffc0cb", "brown": "#a52a2a", "gray": "#808080", "black": "#000000", "orange": "#ffa500",
}  # fmt: skip
_CENTRES = lab(np.array([rgb_of(v) for v in _ALL.values()]))
_OTHERS = lab(np.array([rgb_of(_KEYWORDS.get(name, v)) for name, v in _ALL.items()]))


def distances(rgb: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n names"]:
    """ΔE (CIE76) to every name, white last."""
    at = lab(rgb)[..., None, :]
    return np.minimum(np.linalg.norm(at - _CENTRES, axis=-1), np.linalg.norm(at - _OTHERS, axis=-1))


def name_of(rgb: tuple[int, int, int]) -> str | None:
    """The name of a colour; None where two names are about as near."""
    d = distances(np.array(rgb))
    order = np.argsort(d)
    return tuple(_ALL)[order[0]] if d[order[1]] - d[order[0]] >= CLEAR else None


def shade(name: str, rng: random.Random, spread: int = 18) -> str:
    """A hexadecimal colour that everybody would call `name`."""
    base = rgb_of(NAMED[name])
    for _ in range(100):
        rgb = tuple(min(255, max(0, c + rng.randint(-spread, spread))) for c in base)
        if name_of(rgb) == name:  # type: ignore[arg-type]
            return "#{:02x}{:02x}{:02x}".format(*rgb)
    return NAMED[name]
