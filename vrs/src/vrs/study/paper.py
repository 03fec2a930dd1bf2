"""Numbers of the paper, for the columns that stand beside ours.

Tables 1 and 2 of "Flipping Against All Odds: Reducing LLM Coin Flip Bias via Verbalized Rejection Sampling",
arXiv 2506.09998 v1: STVD over 101 values of p with 100 draws each, lower is better. The means are as printed; from the
four entries they come out the same to rounding, except Llama's for VRS, printed 6.20 and computed 6.155.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CITATION = "arXiv 2506.09998 v1, Tables 1 and 2"
COLUMNS = ("P1", "P0", "P10", "P01", "mean")
GRID = tuple(i / 100 for i in range(101))
DRAWS = 100
PROPOSALS = 15_200  # expected for 100 accepted at each of the 101 values, with Q = Bern(0.5)
LLAMA = "Llama-3.1-70B-Instruct"

Row = tuple[float, float, float, float, float]

TABLE_1: Mapping[str, Mapping[str, Row]] = MappingProxyType(
    {
        LLAMA: {"direct": (21.80, 17.95, 12.10, 11.08, 15.73), "vrs": (5.91, 7.63, 5.52, 5.56, 6.20)},
        "GPT-4.1-nano": {"direct": (17.87, 30.23, 16.63, 19.24, 21.00), "vrs": (12.96, 13.06, 9.50, 8.46, 11.00)},
        "DeepSeek-V3": {"direct": (17.76, 19.39, 20.78, 23.26, 20.30), "vrs": (5.34, 9.06, 5.29, 6.94, 6.66)},
        "Qwen2.5-72B-Instruct": {"direct": (20.73, 18.72, 19.00, 22.64, 20.27), "vrs": (5.93, 6.35, 4.49, 5.12, 5.47)},
    }
)

TABLE_2: Mapping[str, Row] = MappingProxyType(
    {
        "direct": TABLE_1[LLAMA]["direct"],
        "vrs": TABLE_1[LLAMA]["vrs"],
        "vrs_simple": (15.83, 6.55, 13.97, 11.05, 11.85),
        "vrs_simple_m": (11.43, 29.08, 13.45, 19.52, 18.37),
        "vrs_m": (4.97, 11.74, 5.91, 7.03, 7.41),
    }
)


def reduction(model: str, column: str = "mean") -> float:
    """By what share VRS lowers a model's STVD against direct sampling."""
    row, at = TABLE_1[model], COLUMNS.index(column)
    return 1 - row["vrs"][at] / row["direct"][at]
