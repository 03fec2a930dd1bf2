"""Ours beside others, in one run, as ratios."""
