"""Whether Ray's own processes live: without them requests may go on being answered, but nothing is started again."""

import psutil

HEAD = ("gcs_server", "raylet")
"""Ray's processes that this one starts and that Ray itself never starts again."""


def head_processes() -> list[psutil.Process]:
    """The processes of `HEAD` that this process started."""
    return [child for child in psutil.Process().children() if _name(child) in HEAD]


def ended(processes: list[psutil.Process]) -> list[str]:
    """Names of those that have ended since."""
    return [_name(process) or "unknown" for process in processes if not _lives(process)]


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""
