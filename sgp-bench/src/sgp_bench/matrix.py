"""Affine maps of the plane as SVG writes them: (a, b, c, d, e, f) maps (x, y) to (ax + cy + e, bx + dy + f)."""

from __future__ import annotations

import math

Matrix = tuple[float, float, float, float, float, float]
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def multiply(first: Matrix, second: Matrix) -> Matrix:
    """first · second: `second` is applied first."""
    a, b, c, d, e, f = first
    p, q, r, s, t, u = second
    return (a * p + c * q, b * p + d * q, a * r + c * s, b * r + d * s, a * t + c * u + e, b * t + d * u + f)


def inverse(m: Matrix) -> Matrix:
    """Raises ZeroDivisionError for a map that is not invertible."""
    a, b, c, d, e, f = m
    det = a * d - b * c
    return (d / det, -b / det, -c / det, a / det, (c * f - d * e) / det, (b * e - a * f) / det)


def translation(x: float, y: float) -> Matrix:
    return (1.0, 0.0, 0.0, 1.0, x, y)


def rotation(degrees: float, x: float = 0.0, y: float = 0.0) -> Matrix:
    """About (x, y); positive turns clockwise on the screen, where y points down. Quarter turns are exact."""
    quarter = degrees / 90
    if quarter == int(quarter):
        cos, sin = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[int(quarter) % 4]
    else:
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (cos, sin, -sin, cos, x - cos * x + sin * y, y - sin * x - cos * y)


def apply(m: Matrix, x: float, y: float) -> tuple[float, float]:
    return m[0] * x + m[2] * y + m[4], m[1] * x + m[3] * y + m[5]


def is_similarity(m: Matrix) -> bool:
    """Turns, mirrors, scales alike in all directions and moves, and does nothing else."""
    a, b, c, d, *_ = m
    size = a * a + b * b
    return size > 1e-18 and abs(a * c + b * d) <= 1e-9 * size and abs(c * c + d * d - size) <= 1e-9 * size


def angle(m: Matrix) -> float:
    """Degrees by which a similarity turns the x axis."""
    return math.degrees(math.atan2(m[1], m[0]))
