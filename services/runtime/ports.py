"""Free loopback ports and the lengths of socket paths."""

import hashlib
import socket
import tempfile
from pathlib import Path

LOOPBACK = "127.0.0.1"
SOCKET_PATH_LIMIT = 103
"""Bytes a Unix socket's path may have on every system we run on (Linux allows 107, macOS 103)."""


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether nothing listens on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(preferred: int = 0) -> int:
    """The preferred port when it is free, else any free one."""
    if preferred and is_free(preferred):
        return preferred
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


def socket_folder(wanted: Path, name: str) -> Path:
    """`wanted`, or a short private folder in the system's temporary folder where `wanted/name` would be too long."""
    if len(str(wanted / name).encode()) <= SOCKET_PATH_LIMIT:
        return wanted
    digest = hashlib.sha256(str(wanted).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"portrait-{digest}"
