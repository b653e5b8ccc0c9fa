"""`portrait profiles`: recompute portraits on the workers, and look at one."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import typer

from services.cli.output import console, print_json
from services.core.errors import InvalidInput, NotFound


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="User portraits: recompute them, look at one.", no_args_is_help=True)
    group.command()(recompute)
    group.command()(show)
    group.command()(importance)
    app.add_typer(group, name="profiles")


def recompute(
    users: Annotated[list[str] | None, typer.Argument(help="User ids; all users when none is given.")] = None,
    since: Annotated[
        str | None, typer.Option(help="Only users touched since this time, e.g. 2026-11-01T00:00:00+00:00.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Recompute portraits on the workers and put them online."""
    from services.cli.work import run_and_watch  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.addresses import resolve_addresses  # noqa: PLC0415 - as above
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.core.types import JobKind  # noqa: PLC0415 - as above

    parameters: dict[str, Any] = {"user_ids": sorted(set(users))} if users else {}
    if since is not None:
        parameters["since"] = _moment(since).isoformat()
    result = run_and_watch(resolve_addresses(get_settings()), JobKind.PROFILES, parameters)
    if json:
        print_json(result)
        return
    steps = ", ".join(f"{step} {took:.1f}" for step, took in result["steps"].items() if step != "total")
    shared = f" by {result['processes']} processes" if result["processes"] > 1 else ""
    console().print(
        f"{result['users']:,} portraits from {result['events']:,} events in {result['seconds']:.1f} s{shared} ({steps})"
    )
    if result["erased"]:
        console().print(f"{result['erased']:,} portraits erased: the users refused personalisation or are gone")


def show(
    user: Annotated[str, typer.Argument(help="The user's id.")],
    json: Annotated[
        bool, typer.Option("--json", help="Print the portrait as GET /v1/users/{id}/profile has it.")
    ] = False,
) -> None:
    """Show a user's portrait as it stands in the feature tables."""
    from services.core.addresses import resolve_addresses  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.core.clock import utc_now  # noqa: PLC0415 - as above
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.db.profiles import item_titles, newest_packed  # noqa: PLC0415 - as above
    from services.db.session import make_engine, transaction  # noqa: PLC0415 - as above
    from services.features.portrait import unpack  # noqa: PLC0415 - as above

    engine = make_engine(resolve_addresses(get_settings()).sqlalchemy_url, pool_size=1)
    try:
        with transaction(engine) as connection:
            packed = newest_packed(connection, user)
            if packed is None:
                raise NotFound(
                    f"No portrait of {user!r}: the user has no events yet, refused personalisation, or "
                    "`portrait profiles recompute` has not run since"
                )
            portrait = unpack(packed)
            ids = {i.item_id for i in portrait.interests} | {r.item_id for r in portrait.recent_items}
            ids |= {item_id for item_id, _ in portrait.neighbour_items}
            titles = item_titles(connection, ids)
    finally:
        engine.dispose()
    now = utc_now().timestamp()
    if json:
        print_json(portrait.readable(now))
        return
    from services.cli.portrait_page import print_portrait  # noqa: PLC0415 - as above

    print_portrait(console(), portrait, titles, now)


def importance(
    resamples: Annotated[int, typer.Option(min=0, help="Draws of users behind the intervals.")] = 100,
    json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False,
) -> None:
    """What an event of each type says about taste, fitted to the stored events, with 95% intervals."""
    import polars as pl  # noqa: PLC0415 - loaded when needed: --help stays quick

    from services.cli.output import print_table  # noqa: PLC0415 - as above
    from services.core import columns  # noqa: PLC0415 - as above
    from services.core.addresses import resolve_addresses  # noqa: PLC0415 - as above
    from services.core.settings import get_settings  # noqa: PLC0415 - as above
    from services.db.session import make_engine, transaction  # noqa: PLC0415 - as above
    from services.profiles.importance_fit import importance_intervals  # noqa: PLC0415 - as above
    from services.profiles.reference import PRIOR_IMPORTANCE  # noqa: PLC0415 - as above
    from services.profiles.reference_store import load_reference  # noqa: PLC0415 - as above
    from services.profiles.shop_data import stored_data  # noqa: PLC0415 - as above

    engine = make_engine(resolve_addresses(get_settings()).sqlalchemy_url, pool_size=1)
    try:
        data = stored_data(engine)
        with transaction(engine) as connection:
            serving = load_reference(connection).importance
    finally:
        engine.dispose()
    log = pl.from_arrow(data.events).filter(pl.col(columns.ITEM_ID).is_not_null())
    found = importance_intervals(log, pl.from_arrow(data.items), PRIOR_IMPORTANCE, resamples=resamples)
    if json:
        print_json({kind: {**asdict(each), "serving": serving.get(kind, 0.0)} for kind, each in found.items()})
        return
    rows = []
    for kind, each in sorted(found.items(), key=lambda pair: -pair[1].value):
        interval = f"{each.low:+.3f} to {each.high:+.3f}"
        rows.append((kind, f"{each.prior:+.2f}", f"{each.value:+.3f}", interval, f"{serving.get(kind, 0.0):+.3f}"))
    print_table(("event", "prior", "fitted", "95% interval", "serving"), rows)


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(f"--since {text!r} is no time: write it as 2026-11-01T00:00:00+00:00") from error
    if moment.tzinfo is None:
        raise InvalidInput(f"--since {text!r} has no offset: add +00:00 for UTC")
    return moment
