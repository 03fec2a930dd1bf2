"""The models that can answer: one module a kind, imported when it is asked for."""
