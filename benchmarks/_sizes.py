"""How large a benchmark is run: in full, in short (`portrait bench NAME --short`), or as the environment says."""

import os

SHORT = "PORTRAIT_BENCH_SHORT"


def size(name: str, full: float, short: float) -> float:
    """`PORTRAIT_BENCH_<name>` where it is set; else `short` in a short run, `full` otherwise."""
    given = os.environ.get(f"PORTRAIT_BENCH_{name}")
    if given is not None:
        return float(given)
    return short if os.environ.get(SHORT) else full
