"""Networks that training fits and serving runs: torch modules, and the same forward passes in NumPy."""
