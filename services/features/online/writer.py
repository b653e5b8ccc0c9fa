"""Writes features to the online store in bulk. A row never replaces a newer one of its entity."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from feast import FeatureStore, FeatureView
from feast.infra.provider import get_provider
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value
from feast.type_map import python_values_to_proto_values
from redis.exceptions import OutOfMemoryError

from feature_repo import names
from services.core.addresses import Addresses
from services.core.errors import DependencyDown, InvalidInput
from services.core.valkey import FAILED
from services.features.online.connection import feature_view, open_store
from services.features.online.reader import entity_key
from services.features.portrait import Portrait, pack
from services.features.readable_views import VIEWS

BATCH_ROWS = 2_000
"""Rows a round trip."""

FLOATS, TEXTS, BLOBS = "FLOAT", "STRING", "BYTES"

Row = tuple[EntityKey, dict[str, Value], datetime, datetime | None]

PackedRow = tuple[str, datetime, bytes]


class OnlineWriter:
    """Writes of one process."""

    def __init__(self, addresses: Addresses, store: FeatureStore | None = None) -> None:
        self._store = open_store(addresses) if store is None else store
        self._config = self._store.config
        self._provider = get_provider(self._config)
        self._serving: FeatureView | None = None

    def write_portraits(self, portraits: Sequence[Portrait]) -> None:
        """Write packed portraits, each as of its own `as_of`. Of the same or an earlier time: nothing changes.

        Raises:
            DependencyDown: the online store does not answer.
        """
        self.write_packed([(p.user_id, datetime.fromtimestamp(p.as_of, UTC), pack(p)) for p in portraits])

    def write_packed(self, rows: Sequence[PackedRow]) -> None:
        """As `write_portraits`, of portraits that are packed already: (user id, as of, packed form).

        Raises:
            DependencyDown: the online store does not answer.
        """
        if self._serving is None:  # looking it up parses it anew each time, which takes longer than to write a few rows
            self._serving = feature_view(self._store, names.USER_SERVING)
        view = self._serving
        for start in range(0, len(rows), BATCH_ROWS):
            protos: list[Row] = [
                (entity_key(names.USER_ID, user_id), {names.PACKED: Value(bytes_val=packed)}, as_of, None)
                for user_id, as_of, packed in rows[start : start + BATCH_ROWS]
            ]
            self._write(view, protos)

    def write_view(self, view_name: str, table: pa.Table | pa.RecordBatch) -> int:
        """Write rows of any view that is kept online. Returns how many.

        `table` has the view's join key, `event_timestamp` and its features (all but the key and time may be absent:
        absent features keep their stored values). A user's readable view is not written where there is a packed
        portrait as new: it is read out of that.

        Raises:
            InvalidInput: the view is not kept online, or the table lacks the key or the time.
            DependencyDown: the online store does not answer.
        """
        view = feature_view(self._store, view_name)
        if not view.online:
            raise InvalidInput(f"The view {view_name} is not kept online: set online=True in its definition")
        missing = {view.join_keys[0], names.EVENT_TIMESTAMP} - set(table.schema.names)
        if missing:
            raise InvalidInput(f"Rows of {view_name} lack the columns {', '.join(sorted(missing))}")
        for start in range(0, table.num_rows, BATCH_ROWS):
            part = table.slice(start, BATCH_ROWS)
            self._write(view, _rows(view, self._beyond_portraits(view, part) if view_name in VIEWS else part))
        return table.num_rows

    def delete_portraits(self, user_ids: Sequence[str]) -> None:
        """Delete everything the online store holds of these users, of every view."""
        self.delete_entities(names.USER_ID, user_ids)

    def delete_entities(self, join_key: str, entity_ids: Sequence[str]) -> int:
        """Delete all online features of some entities. Returns how many of them had any."""
        keys = [entity_key(join_key, entity_id) for entity_id in entity_ids]
        try:
            return self._provider.online_store.delete_entities(self._config, keys)
        except FAILED as error:
            raise _down(error) from error

    def online_views(self) -> list[str]:
        """Names of the views that are kept online, as applied by now, the packed portrait first."""
        self._store.refresh_registry()
        found = [view.name for view in self._store.list_feature_views(allow_cache=True) if view.online]
        return sorted(found, key=lambda name: (name != names.USER_SERVING, name))  # others are read out of it

    def refresh(self) -> None:
        """Read the registry again, after a `feast apply`."""
        self._store.refresh_registry()
        self._serving = None

    def _beyond_portraits(self, view: FeatureView, table: pa.Table | pa.RecordBatch) -> pa.Table | pa.RecordBatch:
        """The rows that are newer than their users' packed portraits: hardly any, so look before they are converted."""
        keys = [entity_key(view.join_keys[0], entity_id) for entity_id in table[view.join_keys[0]].to_pylist()]
        try:
            portraits = self._provider.online_store.portrait_times(self._config, keys)
        except FAILED as error:
            raise _down(error) from error
        times = table[names.EVENT_TIMESTAMP].cast(pa.timestamp("us", tz="UTC")).to_pylist()
        newer = [at is None or time.timestamp() > at for time, at in zip(times, portraits, strict=True)]
        return table.filter(pa.array(newer, pa.bool_()))

    def _write(self, view: FeatureView, rows: list[Row]) -> None:
        if not rows:
            return
        try:
            self._provider.online_write_batch(self._config, view, rows, None)
        except FAILED as error:
            raise _down(error) from error


def _down(error: Exception) -> DependencyDown:
    if isinstance(error, OutOfMemoryError):
        return DependencyDown("The online store (Valkey) is out of memory: raise its maxmemory, or add shards")
    return DependencyDown("The online store (Valkey) does not answer: see `portrait doctor`")


def _rows(view: FeatureView, table: pa.Table | pa.RecordBatch) -> list[Row]:
    """Feast's rows, converted column by column."""
    fields = [field for field in view.features if field.name in table.schema.names]
    columns = [_protos(table[field.name].to_pylist(), field.dtype.to_value_type()) for field in fields]
    feature_names = [field.name for field in fields]
    keys = [entity_key(view.join_keys[0], entity_id) for entity_id in table[view.join_keys[0]].to_pylist()]
    times = table[names.EVENT_TIMESTAMP].cast(pa.timestamp("us", tz="UTC")).to_pylist()
    values = zip(*columns, strict=True) if columns else ((),) * len(keys)
    return [
        (key, dict(zip(feature_names, row, strict=True)), time, None)
        for key, row, time in zip(keys, values, times, strict=True)
    ]


def _protos(values: list[Any], value_type: Any) -> list[Value]:
    """Feast's values of a column; the common types without its per-value checks."""
    if value_type.name == FLOATS:
        return [Value() if value is None else Value(float_val=value) for value in values]
    if value_type.name == TEXTS:
        return [Value() if value is None else Value(string_val=value) for value in values]
    if value_type.name == BLOBS:
        return [Value() if value is None else Value(bytes_val=value) for value in values]
    return python_values_to_proto_values(values, value_type)
