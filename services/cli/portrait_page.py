"""A portrait printed for people: titles beside ids, bars for affinities, ages instead of times."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from feature_repo.names import BEHAVIOUR_FEATURES, COUNTED, STATISTICS
from services.cli.output import human_seconds
from services.core.types import WINDOWS, Lifecycle
from services.features.portrait import Portrait

BAR = 18
TITLE = 58
RECENT = 10
LISTED = 8

LIFECYCLE_COLOURS = {
    Lifecycle.NEW.value: "cyan",
    Lifecycle.ACTIVE.value: "green",
    Lifecycle.COOLING.value: "yellow",
    Lifecycle.DORMANT.value: "red",
}


def print_portrait(console: Console, portrait: Portrait, titles: Mapping[str, str], now: float) -> None:
    """Print the whole page. `titles` by item id; `now` in epoch seconds."""
    _head(console, portrait, now)
    _interests(console, portrait, titles)
    _affinities(console, portrait)
    _behaviour(console, portrait)
    _recent(console, portrait, titles, now)
    _neighbours(console, portrait, titles)


def bar(share: float, width: int = BAR) -> str:
    """A bar of eighth blocks for a share from 0 to 1."""
    eighths = round(max(0.0, min(share, 1.0)) * width * 8)
    return "█" * (eighths // 8) + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[eighths % 8]


def ago(seconds: float) -> str:
    """`2d 7h ago`; `just now` below a minute."""
    return "just now" if seconds < 60 else f"{human_seconds(seconds)} ago"


def _head(console: Console, portrait: Portrait, now: float) -> None:
    colour = LIFECYCLE_COLOURS.get(portrait.lifecycle, "white")
    newest = "never" if portrait.newest_event is None else ago(now - portrait.newest_event)
    console.print(
        f"[bold]{escape(portrait.user_id)}[/]  [{colour}]{portrait.lifecycle}[/]  "
        f"confidence {portrait.confidence:.2f} {bar(portrait.confidence, 8)}"
    )
    console.print(
        f"[dim]{portrait.event_count:,} events, the newest {newest}; portrait computed {ago(now - portrait.as_of)}; "
        f"{len(portrait.bought):,} items bought, {len(portrait.hidden):,} hidden[/]"
    )


def _interests(console: Console, portrait: Portrait, titles: Mapping[str, str]) -> None:
    if not portrait.interests:
        return
    rows = (
        (
            f"{interest.weight:4.0%} {bar(interest.weight)}",
            f"[bold]{escape(interest.name)}[/]",
            f"like {_title(interest.item_id, titles)}",
        )
        for interest in portrait.interests
    )
    _section(console, "Interests", rows)


def _affinities(console: Console, portrait: Portrait) -> None:
    for title, pairs in (("Categories", portrait.categories), ("Brands", portrait.brands)):
        if pairs:
            _section(console, title, _bars(pairs))
    if portrait.price is not None:
        price = portrait.price
        console.print(f"\n[bold]Price[/]  typically {price.typical:,.2f}, mostly {price.low:,.2f} to {price.high:,.2f}")


def _bars(pairs: Sequence[tuple[str, float]]) -> Iterable[tuple[str, str]]:
    top = pairs[0][1]
    return ((f"{weight:4.0%} {bar(weight / top)}", escape(name)) for name, weight in pairs[:LISTED])


def _behaviour(console: Console, portrait: Portrait) -> None:
    values = dict(zip(BEHAVIOUR_FEATURES, portrait.behaviour_values().tolist(), strict=True))
    done = [name for name in COUNTED if any(values[f"{name}_{window}"] > 0 for window in WINDOWS)]
    if done:
        table = Table(box=None, pad_edge=False, header_style="dim", title="Behaviour", title_style="bold")
        table.title_justify = "left"
        table.add_column("within")
        for window in WINDOWS:
            table.add_column(window, justify="right")
        for name in done:
            label = "dwell (s)" if name == "dwell_ms" else name
            scale = 1000.0 if name == "dwell_ms" else 1.0
            table.add_row(label, *(f"{values[f'{name}_{window}'] / scale:,.0f}" for window in WINDOWS))
        console.print()
        console.print(table)
    means = [f"{name.replace('_', ' ')} {values[name]:.2f}" for name in STATISTICS if not np.isnan(values[name])]
    if means:
        console.print(f"[dim]{', '.join(means)}[/]")


def _recent(console: Console, portrait: Portrait, titles: Mapping[str, str], now: float) -> None:
    rows = (
        (
            ago(now - item.timestamp),
            item.type,
            f"[{'red' if item.weight < 0 else 'green'}]{item.weight:+.2f}[/]",
            _title(item.item_id, titles),
        )
        for item in portrait.recent_items[:RECENT]
    )
    if portrait.recent_items:
        _section(console, f"Recent items ({len(portrait.recent_items)})", rows)


def _neighbours(console: Console, portrait: Portrait, titles: Mapping[str, str]) -> None:
    if not portrait.neighbours:
        return
    alike = ", ".join(f"{escape(user)} {cosine:.2f}" for user, cosine in portrait.neighbours[:3])
    console.print(f"\n[bold]Similar users[/]  {alike} … and what they like:")
    rows = ((f"{score:4.0%}", _title(item_id, titles)) for item_id, score in portrait.neighbour_items[:5])
    _section(console, None, rows)


def _section(console: Console, title: str | None, rows: Iterable[tuple[str, ...]]) -> None:
    table = Table.grid(padding=(0, 2))
    for row in rows:
        table.add_row(*row)
    if title:
        console.print(f"\n[bold]{title}[/]")
    console.print(table)


def _title(item_id: str, titles: Mapping[str, str]) -> str:
    title = titles.get(item_id)
    if title is None:
        return f"[dim]{escape(item_id)} (not in the catalogue)[/]"
    short = title if len(title) <= TITLE else title[: TITLE - 1] + "…"
    return f"{escape(short)} [dim]{escape(item_id)}[/]"
