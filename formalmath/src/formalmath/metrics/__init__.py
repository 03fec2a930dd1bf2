"""Numbers about provers: pass@K, intervals, paired tests, perplexity, error patterns."""
