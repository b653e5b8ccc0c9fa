"""Completes what Feast reads of a user with what the packed portrait says, where that is as new as what is stored."""

from collections.abc import Sequence

from feast.infra.online_stores.helpers import _mmh3
from feast.protos.feast.types.Value_pb2 import Value
from google.protobuf.timestamp_pb2 import Timestamp

from feature_repo import names
from services.features.portrait import Portrait, unpack
from services.features.readable_views import VIEWS, view_values

Field = str | bytes

PACKED = _mmh3(f"{names.USER_SERVING}:{names.PACKED}")
"""Feast's field of the packed portrait in a user's hash."""
PACKED_AT = f"_ts:{names.USER_SERVING}"
SOURCE: tuple[Field, ...] = (PACKED, PACKED_AT)
VIEW_OF_TIME = {f"_ts:{view}": view for view in VIEWS}
FEATURE_OF_FIELD: dict[Field, tuple[str, str]] = {
    _mmh3(f"{view}:{name}"): (view, name)
    for view in VIEWS
    for name in view_values(Portrait("", 0, None, 0, 0, ""), view)
}
KINDS = {
    "lifecycle": "string_val",
    "event_count": "int32_val",
    "newest_event": "unix_timestamp_val",
    **dict.fromkeys(("interests", "recent_items", "categories", "brands"), "string_val"),
}
"""Feast's type of each feature that is no float."""


def is_derived(fields: Sequence[Field]) -> bool:
    """Whether a read of these fields asks for a view that a portrait says."""
    return any(field in VIEW_OF_TIME for field in fields if isinstance(field, str))


def completed(fields: Sequence[Field], stored: Sequence[bytes | None]) -> list[bytes | None]:
    """The values of `fields`, of a row that was read with `SOURCE` behind them."""
    *values, packed, packed_at = stored
    at = seconds(packed_at)
    if packed is None or at is None:
        return values
    portrait = unpack(Value.FromString(packed).bytes_val)
    times = {VIEW_OF_TIME[f]: v for f, v in zip(fields, values, strict=True) if f in VIEW_OF_TIME}
    said = {view: view_values(portrait, view) for view, time in times.items() if (seconds(time) or float("-inf")) <= at}
    for place, field in enumerate(fields):
        if field in VIEW_OF_TIME:
            values[place] = packed_at if VIEW_OF_TIME[field] in said else values[place]
        elif field in FEATURE_OF_FIELD:
            view, name = FEATURE_OF_FIELD[field]
            if view in said:
                values[place] = _encoded(name, said[view][name])
    return values


def seconds(stored: bytes | None) -> float | None:
    """Feast's stored time as epoch seconds; the epoch itself means never written."""
    if not stored:
        return None
    moment = Timestamp.FromString(stored)
    return (moment.seconds + moment.nanos / 1e9) or None


def _encoded(name: str, value: object) -> bytes:
    if value is None:
        return b""
    kind = KINDS.get(name, "float_val")
    return Value(**{kind: int(value) if kind == "unix_timestamp_val" else value}).SerializeToString()
