"""Timestamps to UTC: epoch seconds to nanoseconds, RFC 3339, dates and times without a zone."""

import polars as pl

UTC_MICROS = pl.Datetime("us", "UTC")

MICROS_PER = ((1e11, 1_000_000.0), (1e14, 1_000.0), (1e17, 1.0))
"""Below each bound an epoch number is in seconds, milliseconds, microseconds; above all, nanoseconds."""

DIGITS = r"^[+-]?\d+(\.\d+)?$"
COMPACT_DATE = r"^(19|20)\d{6}$"
OFFSET = r"(?i)(?:z|[+-]\d{2}:?\d{2})$"


def parse_time(column: str, dtype: pl.DataType, zone: str = "UTC") -> pl.Expr:
    """The column as `UTC_MICROS`, null where it cannot be read. `zone` is that of times that name none."""
    value = pl.col(column)
    if dtype == UTC_MICROS:
        return value
    if isinstance(dtype, pl.Datetime):
        aware = (
            value if dtype.time_zone else value.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
        )
        return aware.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if dtype == pl.Date:
        return _in_zone(value.cast(pl.Datetime("us")), zone)
    if dtype.is_numeric():
        return from_epoch(value)
    return _from_text(value.cast(pl.String).str.strip_chars(), zone).alias(column)


def from_epoch(number: pl.Expr) -> pl.Expr:
    """Seconds, milliseconds, microseconds or nanoseconds since 1970, told apart by their size."""
    value = number.cast(pl.Float64)
    exact = number.cast(pl.Int64, strict=False)
    result = pl.when(value.is_finite() & (value.abs() < 9e18)).then(exact // 1_000)
    scaled = result
    for bound, factor in reversed(MICROS_PER):
        whole = exact * int(factor) if factor > 1 else exact
        fraction = ((value - exact.cast(pl.Float64)) * factor).round().cast(pl.Int64, strict=False)
        scaled = pl.when(value.abs() < bound).then(whole + fraction).otherwise(scaled)
    return scaled.cast(UTC_MICROS)


def _from_text(text: pl.Expr, zone: str) -> pl.Expr:
    numeric = text.str.contains(DIGITS) & ~text.str.contains(COMPACT_DATE)
    number = from_epoch(pl.when(numeric).then(text).cast(pl.Float64, strict=False))
    iso = text.str.replace(r"^(\d{4}-\d{2}-\d{2})[ t]", "${1}T").str.replace(r"(?i)z$", "+00:00")
    has_offset = iso.str.contains(OFFSET)
    options = {"strict": False, "time_unit": "us"}
    aware = pl.when(has_offset).then(iso).str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%#z", **options)
    naive = pl.when(~has_offset & ~numeric).then(iso)
    formats = ("%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M")
    dates = ("%Y-%m-%d", "%Y%m%d", "%Y/%m/%d", "%m %d, %Y", "%b %d, %Y", "%B %d, %Y")
    times = [naive.str.to_datetime(form, **options) for form in formats]
    days = [naive.str.to_date(form, strict=False).cast(pl.Datetime("us")) for form in dates]
    return pl.coalesce(number, aware.dt.convert_time_zone("UTC"), _in_zone(pl.coalesce(times + days), zone))


def _in_zone(value: pl.Expr, zone: str) -> pl.Expr:
    aware = value.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return aware.dt.convert_time_zone("UTC")
