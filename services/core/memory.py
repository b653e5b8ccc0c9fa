"""Peak memory of one piece of work, not of the process's life."""

import resource
from pathlib import Path

_CLEAR = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def reset_peak() -> None:
    """Start a new peak where the system can (Linux); elsewhere the process's own peak is reported."""
    try:
        _CLEAR.write_text("5")
    except OSError:
        return


def peak_mib() -> float:
    """Peak resident memory since `reset_peak`, in MiB."""
    try:
        for line in _STATUS.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
