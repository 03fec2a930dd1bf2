"""The statement pipeline: autoformalise, compile, judge, disprove, review (paper Figure 2)."""
