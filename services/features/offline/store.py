"""Feast's PostgreSQL offline store, read through COPY into Arrow, in batches, with a plan that suits its joins."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal

import pyarrow as pa
from feast import RepoConfig
from feast.data_source import DataSource
from feast.infra.offline_stores.contrib.postgres_offline_store.postgres import (
    PostgreSQLOfflineStore,
    PostgreSQLOfflineStoreConfig,
    PostgreSQLRetrievalJob,
)
from feast.infra.offline_stores.offline_store import RetrievalJob
from pydantic import SecretStr, model_validator
from sqlalchemy import Connection

from services.db.copy import copy_batches
from services.db.session import make_engine, planner_for_point_in_time, transaction
from services.features.store_addresses import postgres_fields, register_plugin, settings_addresses

STATEMENT_TIMEOUT_MS = 1_800_000
"""A join that runs longer than half an hour has a wrong plan or asks for too much."""

register_plugin()  # Feast imports this module before it opens the registry


class PortraitOfflineStoreConfig(PostgreSQLOfflineStoreConfig):
    """The settings' database when `host` is not given. `sqlalchemy_url` is the same database for COPY."""

    type: Literal["services.features.offline.store.PortraitOfflineStore"] = (
        "services.features.offline.store.PortraitOfflineStore"
    )
    sqlalchemy_url: SecretStr

    @model_validator(mode="before")
    @classmethod
    def _from_settings(cls, values: Any) -> Any:
        if not isinstance(values, dict) or "host" in values:
            return values
        addresses = settings_addresses()
        return {**postgres_fields(addresses), "sqlalchemy_url": SecretStr(addresses.sqlalchemy_url), **values}


class PortraitRetrievalJob(PostgreSQLRetrievalJob):
    """A query of the offline store whose rows are streamed."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows in record batches of a few megabytes, at least one, without on-demand features."""
        with self._query_generator() as query, offline_connection(self.config) as connection:
            yield from copy_batches(connection, query)

    def _to_arrow_internal(self, timeout: int | None = None) -> pa.Table:
        return pa.Table.from_batches(list(self.batches()))


class PortraitOfflineStore(PostgreSQLOfflineStore):
    """Feast's PostgreSQL store with the jobs above."""

    @staticmethod
    def pull_latest_from_table_or_query(
        config: RepoConfig,
        data_source: DataSource,
        join_key_columns: list[str],
        feature_name_columns: list[str],
        timestamp_field: str,
        created_timestamp_column: str | None,
        start_date: datetime,
        end_date: datetime,
    ) -> RetrievalJob:
        """The newest row of each entity between two times. DISTINCT ON follows the primary key: nothing is sorted."""
        keys = ", ".join(f'"{name}"' for name in join_key_columns)
        newest = [timestamp_field, *([created_timestamp_column] if created_timestamp_column else [])]
        columns = ", ".join(f'"{name}"' for name in (*join_key_columns, *feature_name_columns, *newest))
        order = ", ".join(f'"{name}" DESC' for name in newest)
        query = f"""
            SELECT DISTINCT ON ({keys}) {columns} FROM {data_source.get_table_query_string()} AS source
            WHERE "{timestamp_field}" BETWEEN '{start_date.isoformat()}'::timestamptz
              AND '{end_date.isoformat()}'::timestamptz
            ORDER BY {keys}, {order}"""
        return PortraitRetrievalJob(query=query, config=config, full_feature_names=False)

    @staticmethod
    def pull_all_from_table_or_query(*args: Any, **kwargs: Any) -> RetrievalJob:
        return _streamed(PostgreSQLOfflineStore.pull_all_from_table_or_query(*args, **kwargs))

    @staticmethod
    def get_historical_features(*args: Any, **kwargs: Any) -> RetrievalJob:
        return _streamed(PostgreSQLOfflineStore.get_historical_features(*args, **kwargs))


def _streamed(job: PostgreSQLRetrievalJob) -> PortraitRetrievalJob:
    return PortraitRetrievalJob(
        query=job._query_generator,
        config=job.config,
        full_feature_names=job.full_feature_names,
        on_demand_feature_views=job.on_demand_feature_views,
        metadata=job.metadata,
    )


@contextmanager
def offline_connection(config: RepoConfig) -> Iterator[Connection]:
    """A connection in a transaction, planned for point-in-time joins."""
    url = config.offline_store.sqlalchemy_url.get_secret_value()
    engine = planner_for_point_in_time(make_engine(url, pool_size=1, statement_timeout_ms=STATEMENT_TIMEOUT_MS))
    try:
        with transaction(engine) as connection:
            yield connection
    finally:
        engine.dispose()
