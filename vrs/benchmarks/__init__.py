"""Side by side with other libraries, printed as ratios."""
