"""`portrait plan`: what a shop of any size needs, from measured curves."""

from typing import Annotated

import typer

from services.cli.output import console, human_bytes, print_json, print_table

REQUESTS_PER_EVENT = 0.2


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(plan)


def plan(
    users: Annotated[int, typer.Option(min=1, help="Users with a portrait.")],
    items: Annotated[int, typer.Option(min=1, help="Items in the catalogue.")],
    events_per_day: Annotated[int, typer.Option(min=0, help="Events a day.")],
    requests_per_day: Annotated[
        int | None, typer.Option(min=0, help="Recommendations and searches a day; a fifth of the events when unset.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Say what memory, cores, shards and storage a shop of this size needs, and what is full first."""
    from services.cli.growth import Shop  # noqa: PLC0415 - loaded when needed: --help stays quick
    from services.cli.growth import plan as made  # noqa: PLC0415 - as above

    asked = round(events_per_day * REQUESTS_PER_EVENT) if requests_per_day is None else requests_per_day
    found = made(Shop(users, items, events_per_day, asked))
    if json:
        print_json(found.as_dict())
        return
    rows = [
        (
            part.name,
            round(part.cores, 2),
            part.units,
            human_bytes(part.memory),
            human_bytes(part.storage) if part.storage else None,
            human_bytes(part.monthly) if part.monthly else None,
            f"{part.filled:.1%} of {part.limit}",
        )
        for part in found.parts
    ]
    columns = ("part", "cores", "units", "memory", "storage", "each month", "one unit is filled to")
    peaks = f"{found.peak_events_per_s:,.0f} events/s and {found.peak_requests_per_s:,.0f} requests/s at the peak"
    print_table(columns, rows, title=f"{users:,} users, {items:,} items, {events_per_day:,} events a day: {peaks}")
    console().print(f"First full: {found.first.name} ({found.first.limit}). docs/scaling.md says what each rests on.")
