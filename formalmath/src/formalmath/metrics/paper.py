"""The paper's tables as counts: shares printed in the paper turned into whole problems, with intervals and tests.

Counts are recovered by rounding share · n; where the printed share has two decimals and n ≤ 5,560 this is unambiguous.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .intervals import two_proportions, wilson

ALL, LITE, LITE_HALF_WIDTH = 5560, 425, 4.7
FULL_SET = {  # README and Fig. 2a, pass@32 (single pass) or 1×32×100 (search), per cent
    "Kimina-Prover-7B": 16.46,
    "STP": 13.87,
    "Goedel-Prover": 13.53,
    "BFS-Prover": 11.13,
    "DeepSeek-V1.5-RL": 10.18,
    "DeepSeek-V1.5-SFT": 8.97,
    "InternLM-Prover": 1.16,
}
TABLE_3 = {  # Lite, single pass, pass@K
    32: {"STP": 48.59, "V1.5-SFT": 40.40, "V1.5-RL": 47.98, "Goedel": 46.70},
    128: {"STP": 50.35, "V1.5-SFT": 42.11, "V1.5-RL": 48.75, "Goedel": 48.02},
    512: {"STP": 51.45, "V1.5-SFT": 44.17, "V1.5-RL": 49.27, "Goedel": 48.68},
    1024: {"STP": 52.03, "V1.5-SFT": 45.08, "V1.5-RL": 49.68, "Goedel": 49.04},
    2048: {"STP": 52.60, "V1.5-SFT": 46.12, "V1.5-RL": 50.08, "Goedel": 49.20},
    3200: {"STP": 53.17, "V1.5-SFT": 46.82, "V1.5-RL": 50.35, "Goedel": 49.41},
}
TABLE_3_SEARCH = {  # N × 32 × 100
    1: {"BFS(RL)": 4.91, "BFS(InternLM)": 7.87, "BFS-Prover": 27.10},
    4: {"BFS(RL)": 10.29, "BFS(InternLM)": 15.79, "BFS-Prover": 34.04},
    8: {"BFS(RL)": 12.16, "BFS(InternLM)": 20.02, "BFS-Prover": 37.56},
    16: {"BFS(RL)": 14.96, "BFS(InternLM)": 22.74, "BFS-Prover": 41.75},
    32: {"BFS(RL)": 17.41, "BFS(InternLM)": 25.65, "BFS-Prover": 45.88},
}
COT_3200 = {"SFT": {"cot": 50.6, "nl_cot": 49.2, "vanilla": 47.0}, "RL": {"cot": 51.7, "nl_cot": 51.2, "vanilla": 49.8}}
PERPLEXITY = {"cot": 1.93, "nl_cot": 5.07, "vanilla": 8.27}  # SFT, Fig. 6b
TABLE_4 = {  # error patterns, per cent
    "redundant hypotheses": (18, 34, 27, 24, 36),
    "incomplete or placeholder steps": (77, 62, 86, 44, 93),
    "inadequate handling of inequalities": (8, 13, 20, 1, 20),
    "improper automation tactics": (62, 65, 78, 74, 43),
}
TABLE_4_PROVERS = ("SFT", "RL", "Goedel", "STP", "Kimina")
RETENTION = {
    "NL problems": 100.0,
    "compiles": 92.4,
    "semantic vote": 31.7,
    "negation not proved": 30.1,
    "accepted by humans": 21.7,
}
SOURCES = {  # Table 6: problems, kept
    "Omni-math": (4430, 1210),
    "Numina-Olympiad": (11800, 2409),
    "AIME-Math": (934, 371),
    "BlueMO": (3024, 1099),
    "U-Math": (1100, 358),
    "HardMath": (1466, 67),
    "DEMIMATH": (2830, 46),
}


@dataclass(frozen=True)
class Share:
    """A printed share as a count with Wilson's interval, in per cent."""

    name: str
    percent: float
    count: int
    n: int
    low: float
    high: float


def share(name: str, percent: float, n: int) -> Share:
    count = round(percent * n / 100)
    low, high = wilson(count, n)
    return Share(name, percent, count, n, 100 * low, 100 * high)


def full_set() -> list[Share]:
    return [share(name, p, ALL) for name, p in FULL_SET.items()]


def lite() -> list[Share]:
    return [share(f"{name}, K={k}", p, LITE) for k, row in TABLE_3.items() for name, p in row.items()]


def tests() -> list[dict[str, Any]]:
    """z of neighbours in the ranking, as if their problems were independent (the pairs were not published)."""
    pairs = (("Kimina-Prover-7B", "STP"), ("DeepSeek-V1.5-RL", "DeepSeek-V1.5-SFT"), ("STP", "Goedel-Prover"))
    rows = []
    for a, b in pairs:
        x, y = share(a, FULL_SET[a], ALL), share(b, FULL_SET[b], ALL)
        z = two_proportions(x.count, ALL, y.count, ALL)
        rows.append({"first": a, "second": b, "z": z, "told apart": abs(z) > 1.96})
    return rows


def ensemble() -> dict[str, float]:
    """Four provers at 4 × 3200 samples solve 54.11 %, STP alone 53.17 %: problems, not the printed 0.84 points."""
    together, alone = round(54.11 * LITE / 100), round(53.17 * LITE / 100)
    return {"ensemble": together, "STP": alone, "difference": 100 * (together - alone) / LITE, "printed": 0.84}


def gain_of_budget() -> list[dict[str, Any]]:
    """What a hundred times the budget buys on Lite, in points and problems."""
    return [
        {
            "prover": name,
            "pass@32": TABLE_3[32][name],
            "pass@3200": TABLE_3[3200][name],
            "points": TABLE_3[3200][name] - TABLE_3[32][name],
            "problems": (TABLE_3[3200][name] - TABLE_3[32][name]) * LITE / 100,
        }
        for name in TABLE_3[32]
    ]


def consistency() -> dict[str, Any]:
    """Table 6's sums against Figure 2b's last stage."""
    total, kept = (sum(v[i] for v in SOURCES.values()) for i in (0, 1))
    return {
        "problems": total,
        "kept": kept,
        "share": 100 * kept / total,
        "printed": RETENTION["accepted by humans"],
        "human": 100 * RETENTION["accepted by humans"] / RETENTION["negation not proved"],
    }
