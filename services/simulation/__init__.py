"""The simulated shop: a deterministic stand-in for real data, with hidden tastes to evaluate against."""
