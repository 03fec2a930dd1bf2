"""Lean 4 from outside: reading statements, assembling files, judging answers, and the backends that give them."""
