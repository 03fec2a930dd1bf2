"""`python -m benchmarks`: POET beside its peers, as ratios from one run."""
