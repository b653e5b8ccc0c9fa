"""Feast's feature store on given servers, for processes that know their addresses."""

from feast import FeatureStore, FeatureView, RepoConfig
from feast.errors import FeatureViewNotFoundException
from feast.infra.registry.sql import FeastRegistrySchemaError, SqlRegistryConfig
from pydantic import SecretStr
from sqlalchemy.exc import OperationalError

from feature_repo import names
from services.core.addresses import Addresses
from services.core.errors import DependencyDown, NotFound, NotReady
from services.features.offline.store import PortraitOfflineStoreConfig
from services.features.online.store import PortraitOnlineStoreConfig
from services.features.store_addresses import postgres_fields, redis_client_url, registry_url

KEY_VERSION = 3
"""Feast's serialisation of entity keys; the same number stands in feature_store.yaml."""


def repo_config(addresses: Addresses, *, create_registry: bool = False) -> RepoConfig:
    """What feature_store.yaml says, with these servers. `create_registry` makes the registry's tables if need be."""
    return RepoConfig(
        project=names.PROJECT,
        provider="local",
        entity_key_serialization_version=KEY_VERSION,
        registry=SqlRegistryConfig(
            path=registry_url(addresses),
            cache_ttl_seconds=0,  # never expires by itself: an expiry would stall a request
            schema_mode="auto" if create_registry else "verify",
            sqlalchemy_config_kwargs={"pool_pre_ping": True, "pool_size": 1},
        ),
        online_store=PortraitOnlineStoreConfig(url=SecretStr(redis_client_url(addresses))),
        offline_store=PortraitOfflineStoreConfig(
            **postgres_fields(addresses), sqlalchemy_url=SecretStr(addresses.sqlalchemy_url)
        ),
    )


def open_store(addresses: Addresses) -> FeatureStore:
    """The feature store, its registry read once.

    Raises:
        NotReady: nothing has been applied to this database yet.
        DependencyDown: PostgreSQL does not answer.
    """
    try:
        store = FeatureStore(config=repo_config(addresses))
        if not store.list_feature_views(allow_cache=True):
            raise NotReady("The feature store has no views yet: run `portrait features apply`")
    except FeastRegistrySchemaError as error:
        raise NotReady("The feature store has no registry yet: run `portrait features apply`") from error
    except OperationalError as error:
        raise DependencyDown("PostgreSQL does not answer: see `portrait doctor`") from error
    return store


def feature_view(store: FeatureStore, name: str) -> FeatureView:
    """A view of the registry as it was when the store was opened or refreshed.

    Raises:
        NotFound: there is no view of this name.
    """
    try:
        return store.registry.get_feature_view(name, store.project, allow_cache=True)
    except FeatureViewNotFoundException as error:
        raise NotFound(f"There is no feature view {name}: see `portrait features check`") from error
