"""Reads portraits from the online store: one round trip a call."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from feast import FeatureStore, FeatureView
from feast.infra.provider import get_provider
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from feast.protos.feast.types.Value_pb2 import Value

from feature_repo import names
from services.core.addresses import Addresses
from services.core.errors import DependencyDown
from services.core.valkey import FAILED
from services.features.freshness import PRESENT, FeatureStatus, status_of
from services.features.online.connection import feature_view, open_store
from services.features.portrait import Portrait, unpack

Row = tuple[datetime | None, dict[str, Value] | None]


@dataclass(frozen=True)
class StoredPortrait:
    """What the store has of a user: the portrait, unless there is none or it has expired, and which of these it is.

    `packed`: the portrait's bytes as they are stored.
    """

    portrait: Portrait | None
    status: FeatureStatus
    packed: bytes | None = None


def entity_key(join_key: str, entity_id: str) -> EntityKey:
    """Feast's key of one entity."""
    return EntityKey(join_keys=[join_key], entity_values=[Value(string_val=entity_id)])


class OnlineReader:
    """Reads of one process. Views are looked up in the registry once; see `refresh`."""

    def __init__(self, addresses: Addresses, store: FeatureStore | None = None) -> None:
        self._store = open_store(addresses) if store is None else store
        self._config = self._store.config
        self._provider = get_provider(self._config)
        self._look_up_views()

    def refresh(self) -> None:
        """Read the registry again, after a `feast apply`."""
        self._store.refresh_registry()
        self._look_up_views()

    def portrait(self, user_id: str) -> Portrait | None:
        """The user's portrait; None is a cold start: nothing is stored, or what is has expired."""
        return self.stored(user_id).portrait

    def portraits(self, user_ids: Sequence[str]) -> list[Portrait | None]:
        """As `portrait`, for several users in one round trip. Raises as `stored` does."""
        rows = self._read(self._serving, names.USER_ID, user_ids, [names.PACKED])
        now = time.time()
        return [_stored(row, self._serving, now).portrait for row in rows]

    def stored(self, user_id: str) -> StoredPortrait:
        """The user's portrait and its status.

        Raises:
            DependencyDown: the online store does not answer.
            CorruptArtefact: a stored portrait cannot be decoded.
        """
        row = self._read(self._serving, names.USER_ID, [user_id], [names.PACKED])[0]
        return _stored(row, self._serving, time.time())

    def values(self, view_name: str, entity_ids: Sequence[str]) -> list[dict[str, Any] | None]:
        """The features of a view as Python values by name; None where missing or expired."""
        view = feature_view(self._store, view_name)
        rows = self._read(view, view.join_keys[0], entity_ids, [field.name for field in view.features])
        now = time.time()
        return [
            {name: _python(value) for name, value in row[1].items()}
            if row[1] is not None and _status(row, view, now).status == PRESENT
            else None
            for row in rows
        ]

    def online_views(self) -> list[str]:
        """Names of the views that are kept online."""
        return sorted(view.name for view in self._store.list_feature_views(allow_cache=True) if view.online)

    def expired(self, view_name: str, timestamp: datetime, now: datetime) -> bool:
        """Whether values as of `timestamp` are older than the view's TTL at `now`."""
        ttl = feature_view(self._store, view_name).ttl
        return bool(ttl) and now - timestamp > ttl

    def feature_status(self, user_id: str) -> dict[str, FeatureStatus]:
        """By name the state of each view of users that is kept online, in one round trip.

        Raises:
            DependencyDown: the online store does not answer.
        """
        views = self._user_views
        key = entity_key(names.USER_ID, user_id)
        try:
            times = self._provider.online_store.read_times(self._config, [view.name for view in views], key)
        except FAILED as error:
            raise _down() from error
        now = time.time()
        return {view.name: status_of(at, _ttl_s(view), now) for view, at in zip(views, times, strict=True)}

    def _look_up_views(self) -> None:
        self._serving = feature_view(self._store, names.USER_SERVING)
        found = self._store.list_feature_views(allow_cache=True)
        of_users = [view for view in found if view.online and view.join_keys == [names.USER_ID]]
        self._user_views = sorted(of_users, key=lambda view: view.name)

    def _read(self, view: FeatureView, join_key: str, entity_ids: Sequence[str], features: list[str]) -> list[Row]:
        if not entity_ids:
            return []
        keys = [entity_key(join_key, entity_id) for entity_id in entity_ids]
        try:
            return self._provider.online_read(self._config, view, keys, features)
        except FAILED as error:
            raise _down() from error


def _down() -> DependencyDown:
    return DependencyDown("The online store (Valkey) does not answer: see `portrait doctor`")


def _ttl_s(view: FeatureView) -> float:
    return view.ttl.total_seconds() if view.ttl else 0.0


def _status(row: Row, view: FeatureView, now: float) -> FeatureStatus:
    timestamp, values = row
    if timestamp is None or values is None or timestamp.year <= 1970:  # Feast reads "never written" as the epoch
        return status_of(None, 0.0, now)
    # Feast returns naive times in UTC from some stores and aware ones from others
    seconds = (timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)).timestamp()
    return status_of(seconds, _ttl_s(view), now)


def _stored(row: Row, view: FeatureView, now: float) -> StoredPortrait:
    status, values = _status(row, view, now), row[1]
    if values is None or status.status != PRESENT:
        return StoredPortrait(None, status)
    packed = values[names.PACKED]
    if packed.WhichOneof("val") != "bytes_val":
        return StoredPortrait(None, status_of(None, 0.0, now))
    return StoredPortrait(unpack(packed.bytes_val), status, packed.bytes_val)


def _python(value: Value) -> Any:
    kind = value.WhichOneof("val")
    if kind is None:
        return None
    found = getattr(value, kind)
    return list(found.val) if kind.endswith("_list_val") else found
