"""The paper's experiments as one run: collect with a model, score without one, report."""
