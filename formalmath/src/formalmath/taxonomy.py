"""Levels and major domains of the paper's Figures 3 and 8, from the records' raw `source` and `domain`.

High school domains are chains `Mathematics -> A -> B;`, up to three of them: the second node of the first counts.
Undergraduate domains are words, one of them with the ligature ﬀ, so text is put into NFKC first.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable
from typing import Any

UNDERGRADUATE_SOURCES = frozenset(("u-math", "hardmath", "DEMIMATH"))
UNDERGRADUATE = {
    "algebra": "Algebra",
    "precalculus_review": "Precalculus",
    "integral_calc": "Integral",
    "integral": "Integral",
    "multivariable_calculus": "Multivariable",
    "differential_calc": "Differentiation",
    "Differentiation": "Differentiation",
    "Infinite Series": "Sequences Series",
}
# Figure 8, in per cent; the printed figure has Other and Discrete Mathematics of the high school half swapped
FIGURE_8 = {
    "high school": {
        "Algebra": 59.3,
        "Applied Mathematics": 12.8,
        "Number Theory": 12.5,
        "Other": 7.0,
        "Discrete Mathematics": 8.4,
    },
    "undergraduate": {
        "Algebra": 33.3,
        "Precalculus": 24.2,
        "Integral": 18.2,
        "Multivariable": 9.1,
        "Differentiation": 6.1,
        "Sequences Series": 4.5,
        "Other": 4.5,
    },
}
MAJOR = ("Algebra", "Applied Mathematics", "Number Theory", "Discrete Mathematics")


def level_of(source: str) -> str:
    """high school, undergraduate, or generated."""
    if source == "mini":
        return "generated"
    return "undergraduate" if source in UNDERGRADUATE_SOURCES else "high school"


def domain_of(raw: str, source: str) -> str:
    """The major domain."""
    raw = unicodedata.normalize("NFKC", raw).strip()
    if level_of(source) == "undergraduate":
        return UNDERGRADUATE.get(raw, "Other")
    chain = [part.strip() for part in raw.split(";")[0].split("->")]
    return chain[1] if len(chain) > 1 else chain[0] or "Other"


def shares(problems: Iterable[Any]) -> dict[str, dict[str, tuple[int, float]]]:
    """Level -> domain -> (count, per cent), the small high-school domains together as Other."""
    counts: dict[str, Counter[str]] = {}
    for p in problems:
        domain = p.domain if p.level != "high school" or p.domain in MAJOR else "Other"
        counts.setdefault(p.level, Counter())[domain] += 1
    return {
        level: {d: (c, 100 * c / sum(found.values())) for d, c in found.most_common()}
        for level, found in counts.items()
    }


def figure_8(problems: Iterable[Any]) -> dict[str, Any]:
    """Our shares beside the printed ones, and which two printed labels fit when they change places."""
    found = shares(problems)
    rows, swapped = [], []
    for level, printed in FIGURE_8.items():
        for domain, value in printed.items():
            count, share = found.get(level, {}).get(domain, (0, 0.0))
            rows.append({"level": level, "domain": domain, "count": count, "share": share, "printed": value})
            if round(share, 1) != value:
                other = next((d for d, v in printed.items() if d != domain and v == round(share, 1)), None)
                if other and {domain, other} not in swapped:
                    swapped.append({domain, other})
    return {"rows": rows, "swapped": [sorted(pair) for pair in swapped]}
