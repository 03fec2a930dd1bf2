"""Ours beside the others."""
