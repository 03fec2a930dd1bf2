"""FormalMATH (arXiv 2505.02735): statement pipeline, Lean 4 evaluation harness, auditor of formal benchmarks.

st = parse_statement(text)                      imports, preamble, declarations, target
negate(st), vacuity(st), lint(st)               the disprover's files, and suspicions
refute(st, budget, seed)                        an exact counterexample, without Lean
extract_proof(completion, st, policy)           a proof that may be checked, or why not
pass_at_k(n, c, ks), wilson(k, n), mcnemar(a, b)
verify(problems, samples, shard, policy, store) every sample's verdict, with its authority
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "errors": ("FormalMathError", "StatementError"),
    "problems": ("Problem", "load"),
    "lean.statement": ("Statement", "parse_statement", "normalise"),
    "lean.negation": ("negate", "vacuity"),
    "lean.lint": ("lint", "Finding"),
    "lean.goal": ("Goal", "parse_goal"),
    "lean.assemble": ("extract_proof", "assemble", "Proof"),
    "lean.policy": ("load_policy", "Policy", "Refusal"),
    "lean.verdict": ("CheckRequest", "CheckResult", "Limits", "judge"),
    "fragment.refute": ("refute", "Refutation", "Survived", "OutsideFragment"),
    "pipeline.judge": ("judge_equivalence", "Vote"),
    "metrics.passk": ("pass_at_k", "pass_curve", "PassCurve", "poststratify"),
    "metrics.intervals": ("wilson", "bootstrap"),
    "metrics.paired": ("mcnemar", "paired_difference", "holm"),
    "run.schedule": ("verify", "Sample", "Results", "Local"),
    "run.store": ("Store",),
    "audit": ("audit",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
