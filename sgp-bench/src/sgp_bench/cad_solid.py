"""Solids of CAD programs by manifold booleans, and drawings of them from four fixed cameras."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image, ImageDraw

from .cad import CadProgram, Extrude, extrudes
from .errors import CadError
from .sketch import strokes

# direction from which each camera looks, and which way is up on its picture
CAMERAS = {"front": (0, -1, 0), "right": (1, 0, 0), "top": (0, 0, 1), "oblique": (1, -1.3, 0.9)}


def solid(program: CadProgram, per_turn: int = 128) -> Any:
    """The watertight trimesh.Trimesh that a 3D program builds.

    Raises:
        CadError: a profile that crosses itself, or an operation that leaves nothing.
    """
    import trimesh

    body = None
    for number, e in enumerate(extrudes(program), 1):
        tool = prism(e, per_turn, number)
        if body is None:
            body = tool
            continue
        if e.operation == "Cut":
            body = trimesh.boolean.difference([body, tool], engine="manifold")
        elif e.operation == "Intersect":
            body = trimesh.boolean.intersection([body, tool], engine="manifold")
        else:
            body = trimesh.boolean.union([body, tool], engine="manifold")
        if body.is_empty:
            raise CadError(f"after extrusion {number} nothing is left")
    return body


def prism(e: Extrude, per_turn: int, number: int = 1) -> Any:
    import trimesh
    from shapely import Polygon

    outline = Polygon(e.loops[0].points(per_turn), [h.points(per_turn) for h in e.loops[1:]])
    if not outline.is_valid:
        raise CadError(f"extrusion {number}: the profile crosses itself, or a hole reaches beyond its outline")
    mesh = trimesh.creation.extrude_polygon(outline, e.high - e.low)
    origin, x, y = (np.array(v, dtype=float) for v in e.axes)
    normal = np.cross(x, y)
    place = np.eye(4)
    place[:3, :4] = np.stack([x, y, normal, origin + e.low * normal], axis=1)
    mesh.apply_transform(place)
    return mesh


def holes(mesh: Any) -> int:
    """Through holes of a body in one piece: its genus, from V - E + F = 2 - 2g."""
    return round(1 - mesh.euler_number / 2)


def views(mesh: Any, size: int = 160) -> Image.Image:
    """Front, right, top and oblique view side by side in a 2 × 2 sheet."""
    sheet = Image.new("RGB", (2 * size, 2 * size), "white")
    for i, direction in enumerate(CAMERAS.values()):
        sheet.paste(view(mesh, direction, size), (i % 2 * size, i // 2 * size))
    return sheet


def view(mesh: Any, direction: Sequence[float], size: int) -> Image.Image:
    """Orthographic, flat shaded, by a z-buffer over the triangles' pixels."""
    toward = np.array(direction, dtype=float)
    toward /= np.linalg.norm(toward)
    up = np.array([0.0, 0.0, 1.0]) if abs(toward[2]) < 0.99 else np.array([0.0, 1.0, 0.0])
    right = np.cross(up, toward)
    right /= np.linalg.norm(right)
    up = np.cross(toward, right)
    centre = mesh.bounds.mean(axis=0)
    scale = 0.9 * size / np.linalg.norm(mesh.extents)
    at = (mesh.vertices - centre) @ np.stack([right, -up, toward], axis=1) * [scale, scale, 1.0] + [
        size / 2,
        size / 2,
        0,
    ]
    light = np.array([0.3, -0.5, 0.8]) / np.linalg.norm([0.3, -0.5, 0.8])
    shade = 0.45 + 0.5 * np.clip(mesh.face_normals @ light, 0, 1)
    picture = np.ones((size, size, 3))
    depth = np.full((size, size), -np.inf)
    facing = mesh.face_normals @ toward > 1e-9
    for face, bright in zip(mesh.faces[facing], shade[facing], strict=True):
        _fill(picture, depth, at[face], bright * np.array([0.55, 0.7, 0.95]))
    image = Image.fromarray((picture * 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    _edges(draw, mesh, at, depth)
    return image


def _fill(picture: np.ndarray, depth: np.ndarray, corners: Float[np.ndarray, "3 3"], colour: np.ndarray) -> None:
    size = len(depth)
    low = np.maximum(np.floor(corners[:, :2].min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(corners[:, :2].max(axis=0)).astype(int) + 1, size)
    if (low >= high).any():
        return
    x, y = np.meshgrid(np.arange(low[0], high[0]) + 0.5, np.arange(low[1], high[1]) + 0.5)
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = corners
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if abs(area) < 1e-12:
        return
    u = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
    v = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
    z = az + u * (bz - az) + v * (cz - az)
    part = (slice(low[1], high[1]), slice(low[0], high[0]))
    inside = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1 + 1e-9) & (z > depth[part])
    depth[part][inside] = z[inside]
    picture[part][inside] = colour


def _edges(draw: ImageDraw.ImageDraw, mesh: Any, at: np.ndarray, depth: np.ndarray) -> None:
    """Creases of more than 30 degrees whose middle is not hidden."""
    size = len(depth)
    sharp = mesh.face_adjacency_angles > math.radians(30)
    for a, b in mesh.face_adjacency_edges[sharp]:
        x, y, z = (at[a] + at[b]) / 2
        column, row = min(size - 1, max(0, int(x))), min(size - 1, max(0, int(y)))
        near = depth[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
        if z >= near.min() - 0.02 * (1 + abs(z)):
            draw.line([tuple(at[a][:2]), tuple(at[b][:2])], fill=(20, 30, 60))


def draw_sketch(program: CadProgram, size: int = 256) -> Image.Image:
    """A 2D program's drawn entities in black on white; construction geometry is left out."""
    lines = strokes(program)
    points = np.array([p for line in lines for p in line])
    low, high = points.min(axis=0), points.max(axis=0)
    scale = 0.85 * size / max(float((high - low).max()), 1e-9)
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    for line in lines:
        at = (np.array(line) - (low + high) / 2) * [scale, -scale] + size / 2
        draw.line([tuple(p) for p in at], fill="black", width=2)
    return image


def picture(program: CadProgram) -> Image.Image:
    return draw_sketch(program) if program.dialect == "sketchgraphs" else views(solid(program))
