"""SGP-MNIST made at home: handwritten digits traced to cubic outlines, and answers read without a judge.

The digits are those of scikit-learn (UCI optical digits, 8 × 8 pixels of real handwriting). The published programs are
traced outlines too, one black path with a viewBox cropped to the glyph; only their source picture is finer.
"""

from __future__ import annotations

import random
import re
from functools import cache

import numpy as np

from .records import Item

WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
QUESTIONS = (
    "Which digit from 0 to 9 does the picture show?",
    "Identify the digit between 0 and 9 that is drawn here.",
    "What single digit (0-9) can be seen in the image?",
    "Look at the rendered image: which of the digits 0 to 9 is it?",
)


@cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images, data.target


def trace(image: np.ndarray, decimals: int = 0) -> str:
    """The program of a grey picture (h, w) in 0 … 1: its half-tone contours as closed cubic curves.

    Marching squares on a smooth enlargement; every fourth point is kept and the curves run through them
    (Catmull-Rom tangents).
    """
    from contourpy import contour_generator
    from scipy.ndimage import gaussian_filter, zoom

    large = gaussian_filter(zoom(np.pad(image, 1), 4, order=3), 0.8)
    lines = contour_generator(z=large).lines(0.5 * float(large.max()))
    rings: list[np.ndarray] = [np.asarray(line)[:-1:4] * 8 for line in lines if len(line) > 12]
    points = np.concatenate(rings)
    low, high = points.min(axis=0) - 12, points.max(axis=0) + 12
    data = " ".join(_smooth(ring, decimals) for ring in rings)
    box = " ".join(f"{v:g}" for v in np.round([*low, *(high - low)], 1))
    head = f'<svg baseProfile="full" version="1.1" viewBox="{box}" xmlns="http://www.w3.org/2000/svg">'
    return f'{head}\n<path d="{data}" fill="black" fill-rule="evenodd" stroke="none" />\n</svg>'


def _smooth(ring: np.ndarray, decimals: int) -> str:
    before, after = np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0)
    tangent = (after - before) / 6
    parts = ["M " + _pair(ring[0], decimals)]
    for i in range(len(ring)):
        j = (i + 1) % len(ring)
        corners = (ring[i] + tangent[i], ring[j] - tangent[j], ring[j])
        parts.append("C " + " ".join(_pair(p, decimals) for p in corners))
    return " ".join(parts) + " Z"


def _pair(p: np.ndarray, decimals: int) -> str:
    return f"{p[0]:.{decimals}f},{p[1]:.{decimals}f}"


def digit_items(count: int, seed: int, offset: int = 0) -> list[Item]:
    """`count` digits, as evenly as they divide, from a seeded order; `offset` skips that many of each."""
    images, targets = _digits()
    rng = random.Random(f"digits/{seed}")
    items = []
    for i in range(count):
        digit = i % 10
        places = np.flatnonzero(targets == digit).tolist()
        random.Random(f"order/{seed}/{digit}").shuffle(places)
        place = places[(offset + i // 10) % len(places)]
        program = trace(images[place] / 16)
        name = f"digit-{place}"
        items.append(Item(name, name, program, rng.choice(QUESTIONS), (), str(digit), "MNIST", kind="mnist"))
    return items


def read_digit(reply: str) -> str | None:
    """The digit that a reply answers with: on its last answer line, else its only digit; number words count.

    None where there is none, or several that differ.
    """
    lines = re.findall(r"(?im)^\W*answer\W*[:=]\s*(.+)$", reply.replace("*", ""))
    for text in ([lines[-1]] if lines else []) + [reply]:
        text = re.sub(r"\\boxed\{(.*?)\}", r"\1", text)
        found = re.findall(r"(?<![\d.,–-])\d(?!\d|[.,]\d|\s*[–-]\s*\d)", text)
        found += [str(WORDS.index(w)) for w in re.findall(rf"(?i)\b({'|'.join(WORDS)})\b", text.lower())]
        if len(set(found)) == 1:
            return found[0]
        if found and text is not reply:
            return None
    return None
