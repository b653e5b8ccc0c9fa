"""Feast's Redis online store, connected by URL: Unix socket, TLS, user names, any password and clusters work."""

from collections.abc import Sequence
from typing import Any, Literal

from feast import RepoConfig
from feast.infra.online_stores.redis import RedisOnlineStore, RedisOnlineStoreConfig
from feast.infra.supported_async_methods import SupportedAsyncMethods
from feast.protos.feast.types.EntityKey_pb2 import EntityKey
from pydantic import Field, SecretStr

from services.core.valkey import AsyncClient, Client, connect, connect_async
from services.features.online import derived
from services.features.readable_views import VIEWS
from services.features.store_addresses import redis_client_url, register_plugin, settings_addresses

CONNECT_TIMEOUT_S = 2.0
READ_TIMEOUT_S = 5.0

register_plugin()  # Feast imports this module before it opens the registry


def _settings_url() -> SecretStr:
    return SecretStr(redis_client_url(settings_addresses()))


class PortraitOnlineStoreConfig(RedisOnlineStoreConfig):
    """`url` is redis://, rediss:// or unix://, or that of a cluster (`services.core.valkey`); that of the settings when
    not given."""

    type: Literal["services.features.online.store.PortraitOnlineStore"] = (
        "services.features.online.store.PortraitOnlineStore"
    )
    url: SecretStr = Field(default_factory=_settings_url)


class PortraitOnlineStore(RedisOnlineStore):
    """The same keys and values as Feast's own store, but for the readable views of users: they are read out of the
    packed portrait, and stored only where there is none as new."""

    @property
    def async_supported(self) -> SupportedAsyncMethods:
        return SupportedAsyncMethods(read=False, write=True)  # Feast then reads in a thread, by the methods below

    def _read_hash_fields(self, config: RepoConfig, commands: list[tuple[bytes, list[Any]]]) -> list[list[Any]]:
        asked = [derived.is_derived(fields) for _, fields in commands]
        if not any(asked):
            return super()._read_hash_fields(config, commands)
        widened = [
            (key, [*fields, *derived.SOURCE]) if some else (key, fields)
            for (key, fields), some in zip(commands, asked, strict=True)
        ]
        rows = super()._read_hash_fields(config, widened)
        return [
            derived.completed(fields, row) if some else row
            for (_, fields), row, some in zip(commands, rows, asked, strict=True)
        ]

    def _get_client(self, online_store_config: PortraitOnlineStoreConfig) -> Client:
        if self._client is None:
            self._client = connect(
                online_store_config.url.get_secret_value(),
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                socket_timeout=READ_TIMEOUT_S,
            )
        return self._client

    async def _get_client_async(self, online_store_config: PortraitOnlineStoreConfig) -> AsyncClient:
        if self._client_async is None:
            self._client_async = connect_async(
                online_store_config.url.get_secret_value(),
                socket_connect_timeout=CONNECT_TIMEOUT_S,
                socket_timeout=READ_TIMEOUT_S,
            )
        return self._client_async

    def read_times(self, config: RepoConfig, views: Sequence[str], entity_key: EntityKey) -> list[float | None]:
        """When the entity's values of each view are from (epoch seconds), None where there are none: one round trip."""
        key = self._generate_redis_keys_for_entities(config, [entity_key])[0]
        asked = [derived.PACKED_AT, *(f"_ts:{view}" for view in views)]
        found: list[Any] = self._get_client(config.online_store).hmget(key, asked)
        packed, *times = (derived.seconds(value) for value in found)
        return [
            packed if view in VIEWS and (time or 0.0) <= (packed or 0.0) else time
            for view, time in zip(views, times, strict=True)
        ]

    def portrait_times(self, config: RepoConfig, entity_keys: Sequence[EntityKey]) -> list[float | None]:
        """When each user's packed portrait is from (epoch seconds), None without one: one round trip."""
        keys = self._generate_redis_keys_for_entities(config, list(entity_keys))
        commands: list[tuple[bytes, list[Any]]] = [(key, [derived.PACKED_AT]) for key in keys]
        return [derived.seconds(row[0]) for row in super()._read_hash_fields(config, commands)]

    def delete_entities(self, config: RepoConfig, entity_keys: Sequence[EntityKey]) -> int:
        """Delete all features of the entities, of every view. Returns how many of them had any."""
        if not entity_keys:
            return 0
        keys: list[Any] = self._generate_redis_keys_for_entities(config, list(entity_keys))
        return int(self._get_client(config.online_store).unlink(*keys))
