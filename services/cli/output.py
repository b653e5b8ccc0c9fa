"""How commands speak: tables and messages for people, one JSON document for programs."""

import sys
from collections.abc import Iterable, Sequence
from functools import cache

import orjson
import typer
from rich.console import Console
from rich.table import Table

PIPED_WIDTH = 160


@cache
def console() -> Console:
    """Standard output for people. Piped output gets a fixed, generous width: tables must not fold in files."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)


@cache
def error_console() -> Console:
    """Standard error: messages, and progress that must not mix with a command's output."""
    return Console(stderr=True, highlight=False)


def print_json(document: object) -> None:
    """Print one JSON document (indented when a person looks on). Dates, UUIDs, NumPy and dataclasses are allowed."""
    options = orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    if sys.stdout.isatty():
        options |= orjson.OPT_INDENT_2
    typer.echo(orjson.dumps(document, default=str, option=options).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> None:
    """Print a table; numbers are aligned to the right, None is a dash, the last column folds."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column != columns[-1])
    kept = [list(row) for row in rows]
    for index, column in enumerate(table.columns):
        if kept and all(isinstance(row[index], int | float) for row in kept):
            column.justify = "right"
    for row in kept:
        table.add_row(*(_cell(value) for value in row))
    console().print(table)


def fail(message: str, cure: str | None = None) -> None:
    """Print an error message on standard error (the caller decides the exit code)."""
    error_console().print(f"[bold red]error[/] {_plain(message)}", soft_wrap=True)
    if cure:
        error_console().print(f"      {_plain(cure)}", soft_wrap=True)


def human_bytes(count: float) -> str:
    """1536 → `1.5 KiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit in ("B", "MiB") else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def human_seconds(seconds: float) -> str:
    """75 → `1m 15s`, 0.61 → `0.6s`, 200000 → `2d 7h`."""
    if seconds < 60:
        return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86_400)
    if hours == 0:
        return f"{minutes}m {int(seconds % 60)}s"
    return f"{hours}h {minutes % 60}m" if days == 0 else f"{days}d {hours % 24}h"


def _cell(value: object) -> str:
    if value is None:
        return "–"
    return f"{value:,.3f}" if isinstance(value, float) else _plain(str(value))


def _plain(text: str) -> str:
    """Text with rich's markup characters escaped."""
    return text.replace("[", r"\[")
