"""Facts read off a rendered picture alone: which colours, how many separate patches, which outlines.

They check the answers of procedural scenes a second time, without looking at program or scene, and they are all that
is known of a user's own drawings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from .colours import CLEAR, GROUND, NAMED, distances

LEAST = 0.0006  # of the picture: a smaller patch is edge blur
_NAMES = (*NAMED, *GROUND)


@dataclass(frozen=True, slots=True)
class Patch:
    """A connected area of one colour: pixels, box (left, top, right, bottom), share of its box and of its hull."""

    colour: str
    pixels: int
    box: tuple[int, int, int, int]
    fills_box: float
    fills_hull: float
    mask: Bool[np.ndarray, "h w"]  # within its box

    @property
    def width(self) -> int:
        return self.box[2] - self.box[0]

    @property
    def height(self) -> int:
        return self.box[3] - self.box[1]

    @property
    def centre(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


def named(image: Image.Image) -> UInt8[np.ndarray, "h w"]:
    """The index of each pixel's colour name; 255 where two names are about as near, as on blurred edges."""
    rgb = np.asarray(image.convert("RGB")).astype(np.int32)
    packed = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    values, back = np.unique(packed, return_inverse=True)
    flat = np.stack([values >> 16, values >> 8 & 255, values & 255], axis=1)
    d = distances(flat)
    names = d.argmin(axis=1).astype(np.uint8)
    d.sort(axis=1)
    names[d[:, 1] - d[:, 0] < CLEAR / 2] = 255
    return names[back.reshape(packed.shape)]


def colours(image: Image.Image, least: float = 0.002) -> dict[str, float]:
    """The share of each named colour, of those that cover at least so much; white included."""
    names = named(image)
    shares = {name: float((names == i).mean()) for i, name in enumerate(_NAMES)}
    return {name: share for name, share in shares.items() if share >= least}


def background(image: Image.Image) -> str | None:
    """The colour of the picture's rim, where at least nine tenths of it have one."""
    names = named(image)
    rim = np.concatenate([names[0], names[-1], names[:, 0], names[:, -1]])
    best = np.bincount(rim[rim != 255], minlength=len(_NAMES)).argmax() if (rim != 255).any() else None
    return _NAMES[best] if best is not None and (rim == best).mean() >= 0.9 else None


def patches(image: Image.Image, colour: str | None = None) -> list[Patch]:
    """Connected areas of a colour, or of all; what is smaller than an edge's blur is left out."""
    from scipy.ndimage import binary_erosion, find_objects, label

    names = named(image)
    found = []
    for index, name in enumerate(_NAMES):
        if colour not in (None, name):
            continue
        labels, _ = label(names == index)
        for number, place in enumerate(find_objects(labels), 1):
            mask = labels[place] == number
            # what the blur between two others looks like is a pixel or two wide
            if mask.sum() < LEAST * names.size or not binary_erosion(mask).sum() >= LEAST / 3 * names.size:
                continue
            rows, columns = place
            box = (columns.start, rows.start, columns.stop, rows.stop)
            area = int(mask.sum())
            found.append(Patch(name, area, box, area / mask.size, area / max(_hull_area(mask), area), mask))
    return found


def _hull_area(mask: Bool[np.ndarray, "h w"]) -> float:
    from scipy.spatial import ConvexHull

    ys, xs = np.nonzero(mask)
    corners = np.concatenate([np.stack([xs + dx, ys + dy], 1) for dx in (0, 1) for dy in (0, 1)])
    return float(ConvexHull(corners).volume)


def kind(patch: Patch) -> str:
    """The kind of an upright shape, of those in shapes.py, from how it fills its box and its hull."""
    box, hull, aspect = patch.fills_box, patch.fills_hull, patch.width / patch.height
    if hull < 0.64:
        return "star"
    if hull < 0.83:
        return "cross"
    if box > 0.94:
        return "square" if 0.85 < aspect < 1.18 else "rectangle"
    if box < 0.6:
        return "triangle"
    if aspect > 1.3:
        return "ellipse"
    # hearts are cleft at the top; a pentagon fills 0.69 of its box and a circle 0.79
    if _cleft(patch):
        return "heart"
    return "pentagon" if box < 0.74 else "circle"


def _cleft(patch: Patch) -> bool:
    """Whether the top row has a gap in its middle."""
    row = patch.mask[max(0, round(0.06 * patch.height))]
    filled = np.flatnonzero(row)
    return len(filled) > 0 and not row[filled[0] : filled[-1] + 1].all()
