"""The theory's tables for the report: named acceptors, random errors, floors, and the order of completion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..acceptors import ACCEPTORS, SIMPLE_ACCEPTORS, acceptance_curve, acceptor_curve, ideal
from ..metrics import expected_stvd, stvd, stvd_floor
from ..simulate import completion_order_bias, random_error_table
from ..targets import HALF, Bernoulli
from ..theory import SURE, tv, vrs_distribution
from . import paper
from .writing import markdown

MEASURED = {"omits_m": "vrs", "vrs_simple_omits_m": "vrs_simple"}  # acceptor -> row of the paper's Table 2


def simulated_theory(replicates: int) -> dict[str, Any]:
    grid = np.linspace(0, 1, 101)
    acceptors = {}
    for name in (*ACCEPTORS, *SIMPLE_ACCEPTORS):
        curve = acceptor_curve(name, grid)
        error = np.abs(curve - grid)
        acceptors[name] = {
            "stvd": round(stvd(curve, grid), 12),
            "expected": expected_stvd(curve, grid, 100),
            "acceptance": float(acceptance_curve(name, grid)[:, 2].mean()) if name in ACCEPTORS else None,
            "worst": float(error.max()),
            "worst_at": float(grid[error.argmax()]),
            "paper": paper.TABLE_2[MEASURED[name]][-1] if name in MEASURED else None,
        }
    completion, index = completion_order_bias()
    return {
        "replicates": replicates,
        "acceptors": acceptors,
        "errors": [{"c": c, **row} for c, row in random_error_table(replicates=replicates).items()],
        "stuck": stuck_coin(),
        "floors": {n: stvd_floor(grid, n).mean for n in (10, 20, 50, 100, 200, 400, 1000)},
        "completion_order": completion,
        "index_order": index,
    }


def stuck_coin(levels: int = 101) -> dict[str, float]:
    """STVD of direct sampling and of the hybrid with a coin that shows ½ whatever it is asked: what of the hybrid's
    gain is code's and the outside generator's."""
    grid = np.linspace(0, 1, levels)
    hybrid = 0.0
    for p in grid.tolist():
        P = Bernoulli(p)
        hybrid += tv(P, vrs_distribution(P, HALF, np.where(ideal(P, HALF) < SURE, 0.5, 1.0)))
    return {"direct": float(np.abs(grid - 0.5).sum()), "hybrid": hybrid}


def theory_text(simulated: Mapping[str, Any]) -> str:
    acceptors = [
        {
            "acceptor": name.replace("_", " "),
            "STVD exact": v["stvd"],
            "STVD on 100 draws": v["expected"],
            "mean acceptance": v["acceptance"],
            "paper, Llama": v["paper"],
        }
        for name, v in simulated["acceptors"].items()
    ]
    names = {
        "c": "errors e ~ U(−c, c), c",
        "direct": "direct",
        "vrs": "VRS, A = 1 known",
        "vrs_both": "VRS, both wrong",
        "vrs_common": "VRS, common error",
    }
    errors = [{title: row[name] for name, title in names.items()} for row in simulated["errors"]]
    floors = [{str(n): value for n, value in simulated["floors"].items()}]
    return "\n\n".join(
        [
            "What a model would show that made one mistake and no other (Q = ½, 101 levels):",
            markdown(acceptors),
            (
                "The paper observes that Llama computes P/Q and leaves out M. That a true coin with this one mistake "
                "predicts the STVD of both methods, without a free parameter, is our observation, not the paper's: "
                "most of what is left in Llama's error would be the missing M and the noise of 100 draws."
            ),
            "STVD where every decision errs at random:",
            markdown(errors),
            "STVD of a perfect coin, by draws a level:",
            markdown(floors),
            (
                "Taking the first accepted replies as they arrive, where replies about a 0 take three times as long, "
                f"gives p̃ = {simulated['completion_order']:.2f} for a fair coin; in index order, as here, "
                f"{simulated['index_order']:.3f}."
            ),
        ]
    )
