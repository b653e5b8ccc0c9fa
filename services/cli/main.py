"""`portrait`: the command line. Each sub-command module registers its commands on the one Typer application."""

import importlib
import importlib.util
import os
import sys

import typer
from pydantic import ValidationError

from services.cli.output import fail
from services.core.errors import PortraitError

COMMANDS = (
    "up",
    "status",
    "doctor",
    "demo",
    "imports",
    "embed",
    "profiles",
    "users",
    "features",
    "train",
    "evaluate",
    "models",
    "search",
    "plan",
    "bench",
)
"""Modules of `services.cli`, in the order of the help page. Each has `register(app)` and imports lightly."""

USAGE_ERROR = 2


def build_app() -> typer.Typer:
    """The application with every sub-command module that is installed."""
    app = typer.Typer(
        name="portrait",
        help="Portrait turns what shop visitors do into portraits and serves personal recommendations from them.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for name in COMMANDS:
        module = f"services.cli.{name}"
        if importlib.util.find_spec(module) is not None:
            importlib.import_module(module).register(app)
    return app


def main() -> None:
    """Run the command line. Expected failures become one message and exit code 1; 2 is for wrong usage."""
    try:
        build_app()()
    except PortraitError as error:
        _failed(error.detail)
    except ValidationError as error:
        if error.title != "Settings":
            raise
        for problem in error.errors():
            name = "".join(f"PORTRAIT_{part}".upper() for part in problem["loc"][:1])
            fail(f"{name}: {problem['msg']}" if name else str(problem["msg"]))
        sys.exit(USAGE_ERROR)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        detail = _of_a_server(error)
        if detail is None:
            raise
        _failed(detail)


def _failed(detail: str) -> None:
    if os.environ.get("PORTRAIT_LOG_LEVEL", "").lower() == "debug":
        raise
    fail(detail)
    sys.exit(1)


def _of_a_server(error: Exception) -> str | None:
    """What to say of a database that ended or refused in the middle of a command; None for a defect."""
    if not {type(error).__module__.partition(".")[0]} & {"sqlalchemy", "psycopg"}:
        return None
    from services.db.failures import unavailable  # noqa: PLC0415 - loaded when needed: --help stays quick

    failure = unavailable(error)
    return None if failure is None else failure.detail


if __name__ == "__main__":
    main()
