"""A server that ends in the midst of a command is one sentence, a defect a traceback."""

import psycopg
import pytest
from sqlalchemy.exc import OperationalError

from services.cli import main

GONE = OperationalError("SELECT 1", {}, psycopg.errors.AdminShutdown("terminating connection"))


def failing(error: Exception):
    def app() -> None:
        raise error

    return lambda: app


@pytest.mark.parametrize("error", [GONE, psycopg.OperationalError("server closed the connection")])
def test_a_database_that_ends_is_one_sentence(error, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setattr(main, "build_app", failing(error))
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert "PostgreSQL" in told.err and "Traceback" not in told.err


def test_a_defect_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(main, "build_app", failing(KeyError("defect")))
    with pytest.raises(KeyError):
        main.main()
