"""Running checks: a store that survives kills, scheduling, many machines."""
