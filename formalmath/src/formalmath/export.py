"""Verdicts in the log formats of inspect-ai and lm-evaluation-harness, with their authority in the metadata."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import FormalMathError


def read_rows(folder: Path) -> list[dict[str, Any]]:
    """All verdicts of a run's folder; the last one of each sample counts.

    Raises:
        FormalMathError: there is none.
    """
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for path in sorted(folder.glob("segment-*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            found[row["problem"], row["sample"]] = row
    if not found:
        raise FormalMathError(f"{folder} holds no verdicts (segment-*.jsonl)")
    return list(found.values())


def export(folder: Path, to: str, out: Path) -> int:
    """Writes the log; returns the number of samples."""
    rows = read_rows(folder)
    out.parent.mkdir(parents=True, exist_ok=True)
    if to == "lm_eval":
        out.write_text("".join(json.dumps(lm_eval_sample(i, r), ensure_ascii=False) + "\n" for i, r in enumerate(rows)))
    elif to == "inspect":
        out.write_text(json.dumps(inspect_log(rows), indent=1, ensure_ascii=False) + "\n")
    else:
        raise FormalMathError(f"export goes to inspect or lm_eval, not {to!r}")
    return len(rows)


def lm_eval_sample(place: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """A line of `samples_*.jsonl`."""
    value = float(row["verdict"] == "proved")
    return {
        "doc_id": place,
        "doc": {"problem": row["problem"], "sample": row["sample"]},
        "target": "proved",
        "arguments": [],
        "resps": [[row["verdict"]]],
        "filtered_resps": [row["verdict"]],
        "proved": value,
        "metrics": ["proved"],
        "authority": row["authority"],
        "fingerprint": row["fingerprint"],
    }


def inspect_log(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """An EvalLog of version 2: a sample for each verdict, `C`/`I` for proved or not, `N` where there is no verdict."""
    problems = list(dict.fromkeys(r["problem"] for r in rows))
    marks = {"proved": "C", "infra": "N", "unknown": "N", "unsupported": "N"}
    samples = [
        {
            "id": r["problem"],
            "epoch": r["sample"] + 1,
            "input": r["problem"],
            "target": "proved",
            "messages": [],
            "output": {"model": "formalmath", "choices": []},
            "metadata": {"authority": r["authority"], "fingerprint": r["fingerprint"]},
            "scores": {
                "verdict": {
                    "value": marks.get(r["verdict"], "I"),
                    "answer": r["verdict"],
                    "explanation": r.get("reason", ""),
                }
            },
        }
        for r in rows
    ]
    accuracy = sum(r["verdict"] == "proved" for r in rows) / len(rows)
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime())
    return {
        "version": 2,
        "status": "success",
        "eval": {
            "created": stamp,
            "task": "formalmath",
            "task_version": 0,
            "task_attribs": {},
            "task_args": {},
            "model": "formalmath/verdicts",
            "model_generate_config": {},
            "model_args": {},
            "dataset": {"name": "formalmath", "samples": len(problems), "sample_ids": problems},
            "config": {"epochs": max(r["sample"] for r in rows) + 1},
            "packages": {},
            "run_id": rows[0]["fingerprint"],
            "task_id": rows[0]["fingerprint"],
        },
        "plan": {"name": "plan", "steps": [], "config": {}},
        "results": {
            "total_samples": len(rows),
            "completed_samples": len(rows),
            "scores": [
                {
                    "name": "verdict",
                    "scorer": "verdict",
                    "params": {},
                    "metrics": {"accuracy": {"name": "accuracy", "value": accuracy, "params": {}}},
                }
            ],
        },
        "stats": {"started_at": stamp, "completed_at": stamp, "model_usage": {}},
        "samples": samples,
    }
