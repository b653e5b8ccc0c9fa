"""Where things lie."""

from pathlib import Path

from services.core.paths import SOCKET_PATH_LIMIT, socket_folder


def test_socket_paths_are_short_enough_for_every_system() -> None:
    assert socket_folder(Path("/home/me/postgres"), "s") == Path("/home/me/postgres")
    long = Path("/" + "x" * 120)
    assert len(str(socket_folder(long, ".s.PGSQL.5432") / ".s.PGSQL.5432")) <= SOCKET_PATH_LIMIT
    assert socket_folder(long, "s") == socket_folder(long, "s") != socket_folder(Path("/" + "y" * 120), "s")
