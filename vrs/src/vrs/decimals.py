"""Probabilities as decimals, so that a prompt says 0.3 and never 0.30000000000000004."""

from __future__ import annotations

import math
from decimal import Decimal, InvalidOperation
from fractions import Fraction

import numpy as np

from .errors import VRSError

Number = int | float | str | Decimal | Fraction

PLACES = 12  # decimals to which a float is read: 0.1 + 0.2 is 0.3


def probability(name: str, value: Number) -> Decimal:
    """`value` as a decimal in [0, 1].

    Raises:
        VRSError: not a number in [0, 1].
    """
    exact = to_decimal(name, value)
    if not 0 <= exact <= 1:
        raise VRSError(f"{name} must be in [0, 1], not {value}")
    return exact


def to_decimal(name: str, value: Number) -> Decimal:
    """A finite number as a decimal: texts and Decimals as they are, floats and fractions to 12 decimals."""
    try:
        if isinstance(value, bool):
            raise TypeError
        if isinstance(value, np.integer):
            exact = Decimal(int(value))
        elif isinstance(value, str | Decimal | int):
            exact = Decimal(value)
        elif isinstance(value, Fraction):
            exact = round(Decimal(value.numerator) / Decimal(value.denominator), PLACES)
        else:
            exact = round(Decimal(repr(float(value))), PLACES) if math.isfinite(value) else Decimal("nan")
    except (InvalidOperation, TypeError, ValueError):
        raise VRSError(f"{name} must be a number, not {value!r}") from None
    if not exact.is_finite():
        raise VRSError(f"{name} must be a finite number, not {value}")
    if abs(exact) < 10 and exact != round(exact, PLACES):
        raise VRSError(f"{name} has more than {PLACES} decimals: {value}")
    return exact


def decimal_text(value: Decimal) -> str:
    """A probability as Python prints a float: 0.0, 0.25, 0.3, 1.0; never a power of ten."""
    text = format(value.normalize(), "f")
    return text if "." in text else text + ".0"


def percent_text(value: Decimal) -> str:
    """A probability as a percentage without needless zeros: 30%, 12.5%."""
    return format((value * 100).normalize(), "f") + "%"
