"""`portrait users`: erase what is stored of a user."""

from typing import Annotated

import typer

from services.cli.output import console, print_json, print_table


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Users: erase what is stored of one.", no_args_is_help=True)
    group.callback()(lambda: None)
    group.command()(erase)
    app.add_typer(group, name="users")


def erase(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the rows deleted by table as JSON.")] = False,
) -> None:
    """Erase a user: events, searches, impressions, attributes, portrait. It cannot be undone."""
    from services.core.addresses import resolve_addresses  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.db.session import make_engine, transaction  # noqa: PLC0415 - as above
    from services.db.users import erase_user  # noqa: PLC0415 - as above

    if not yes:
        typer.confirm(f"Erase everything stored of {user!r}?", abort=True, err=True)
    engine = make_engine(resolve_addresses(get_settings()).sqlalchemy_url, pool_size=1)
    try:
        with transaction(engine) as connection:
            rows = erase_user(connection, user)
    finally:
        engine.dispose()
    if json:
        print_json({"user_id": user, "rows": rows})
        return
    found = [(table, f"{count:,}") for table, count in rows.items() if count]
    if not found:
        console().print(f"Nothing is stored of {user!r}")
        return
    print_table(("table", "rows"), found)
    console().print("The portrait leaves the online store with the workers' next tick")
