"""Exact arithmetic with Lean's meaning, for statements over ℕ ℤ ℚ ℝ: a refuter and a proof checker without Lean.

What comes from here has the authority `fragment` and is never a Lean verdict. Outside the fragment everything raises
`Unsupported`; inside, what cannot be decided exactly raises `Unsure` or is None. Neither is ever a verdict.
"""
