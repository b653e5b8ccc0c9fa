"""From a file's columns to ours: what was mapped, what has our names already, and what is missing."""

from collections.abc import Mapping, Sequence

import polars as pl

from services.core.columns import EVENT_COLUMNS, ITEM_COLUMNS
from services.core.errors import ImportFailed, InvalidInput
from services.ingest.importers.base import ROW, ImportOptions, Kind

ATTRIBUTE = "attributes."
REQUIRED = {Kind.EVENTS: ("user_id", "timestamp", "type"), Kind.ITEMS: ("item_id", "title")}


def parse_mapping(pairs: Sequence[str]) -> dict[str, str]:
    """From ["user_id=reviewer,item_id=1", "rating=stars"]. Raises InvalidInput."""
    mapping: dict[str, str] = {}
    for pair in (part for text in pairs for part in _split(text)):
        ours, equals, theirs = pair.partition("=")
        known = ours in EVENT_COLUMNS or ours in ITEM_COLUMNS or ours.startswith(ATTRIBUTE)
        if not equals or not theirs or not known:
            names = ", ".join(dict.fromkeys([*EVENT_COLUMNS, *ITEM_COLUMNS]))
            raise InvalidInput(f"--map {pair}: write OURS=THEIRS, where OURS is one of {names} or attributes.NAME")
        mapping[ours] = theirs
    return mapping


def _split(text: str) -> list[str]:
    """At commas, but only where another pair follows: a column's name may hold a comma."""
    parts: list[str] = []
    for piece in text.split(","):
        if "=" in piece or not parts:
            parts.append(piece)
        else:
            parts[-1] += "," + piece
    return parts


def resolve(kind: Kind, columns: Sequence[str], options: ImportOptions, file: object) -> dict[str, str]:
    """Our column to the file's for everything that the file has.

    Raises:
        ImportFailed: a mapped column does not exist, or a required one is neither there nor mapped.
    """
    ours = EVENT_COLUMNS if kind is Kind.EVENTS else ITEM_COLUMNS
    lowered = {column.strip().lower(): column for column in reversed(columns)}
    found = {name: lowered[name] for name in ours if name in lowered}
    for name, theirs in options.mapping.items():
        found[name] = _existing(theirs, columns, name, file)
    missing = [name for name in REQUIRED[kind] if name not in found]
    if kind is Kind.EVENTS and options.event_type is not None:
        missing = [name for name in missing if name != "type"]
    if missing:
        raise ImportFailed(_lacks(missing, columns, file))
    return found


def mapped(frame: pl.DataFrame, found: Mapping[str, str], options: ImportOptions, kind: Kind) -> pl.DataFrame:
    """The frame's columns under our names, with `ROW`; `attributes.*` become one JSON object."""
    plain = [pl.col(theirs).alias(ours) for ours, theirs in found.items() if not ours.startswith(ATTRIBUTE)]
    result = frame.select(ROW, *plain)
    attributes = {ours.removeprefix(ATTRIBUTE): theirs for ours, theirs in found.items() if ours.startswith(ATTRIBUTE)}
    if attributes:
        fields = [pl.col(theirs).alias(name) for name, theirs in attributes.items()]
        encoded = frame.select(pl.struct(fields).struct.json_encode().alias("attributes")).to_series()
        result = result.with_columns(encoded)
    if kind is Kind.EVENTS and "type" not in found:
        result = result.with_columns(pl.lit(options.event_type).alias("type"))
    return result


def _existing(theirs: str, columns: Sequence[str], ours: str, file: object) -> str:
    if theirs in columns:
        return theirs
    if theirs.isdigit() and int(theirs) < len(columns):
        return columns[int(theirs)]
    raise ImportFailed(
        f"{file}: --map {ours}={theirs} names no column of the file: it has {_listed(columns)} "
        "(or give a position, counted from 0)"
    )


def _lacks(missing: Sequence[str], columns: Sequence[str], file: object) -> str:
    example = f"--map {missing[0]}=THEIRS"
    kinds = " (or --type for one type in all rows)" if "type" in missing else ""
    return (
        f"{file}: row 1, the header, has no column {', '.join(missing)}: it has {_listed(columns)}; "
        f"name the column with {example}{kinds}, or use --no-header and positions if there is no header"
    )


def _listed(columns: Sequence[str]) -> str:
    text = ", ".join(columns)
    return text if len(text) <= 300 else text[:300] + "…"
