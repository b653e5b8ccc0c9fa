"""Reads features from the offline store: the latest rows, or as they were at given times."""

import hashlib
import uuid
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import pyarrow as pa
from feast import FeatureService, FeatureStore, FeatureView
from feast.type_map import arrow_to_pg_type
from psycopg import sql

from feature_repo import names
from services.core.addresses import Addresses
from services.core.errors import InvalidInput, NotFound, NotReady
from services.db.checkpoints import get_checkpoint, set_checkpoint
from services.db.copy import copy_in, copy_out
from services.db.session import raw
from services.features.check import ViewSummary
from services.features.offline.store import PortraitOfflineStore, PortraitRetrievalJob, offline_connection
from services.features.online.connection import feature_view, open_store
from services.features.snapshot_tables import SnapshotTables

BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
END = datetime(9999, 1, 1, tzinfo=UTC)
ROW = "entity_row"
CHECKPOINT = "materialized:"


class OfflineReader:
    """Reads of one process through Feast's offline store."""

    def __init__(self, addresses: Addresses, store: FeatureStore | None = None) -> None:
        self._store = open_store(addresses) if store is None else store

    def latest(self, view_name: str, *, since: datetime | None = None) -> pa.Table:
        """The newest row of every entity of a view: key, features, `event_timestamp` and `created` where it has one.

        `since`: only of entities with a row from then on.
        """
        return pa.Table.from_batches(list(self.latest_batches(view_name, since=since)))

    def latest_batches(self, view_name: str, *, since: datetime | None = None) -> Iterator[pa.RecordBatch]:
        """As `latest`, in record batches of a few megabytes."""
        yield from self._latest(view_name, since).batches()

    def entity_count(self, view_name: str, *, since: datetime | None = None) -> int:
        """How many rows `latest` has."""
        query = "SELECT count(DISTINCT {key}) FROM {rows} AS source WHERE {time} >= %s"
        return self._row(view_name, query, since or BEGINNING)[0]

    def view_names(self) -> list[str]:
        """The registry's views over tables."""
        return sorted(view.name for view in self._store.list_feature_views(allow_cache=True))

    def summary(self, view_name: str) -> ViewSummary:
        """Rows, entities and the newest event time of a view.

        Raises:
            NotReady: the view's table or a column of it does not exist.
        """
        query = "SELECT count(*), count(DISTINCT {key}), max({time}) FROM {rows} AS source"
        return ViewSummary(*self._row(view_name, query))

    def sample(self, view_name: str, count: int) -> tuple[list[str], pa.Table]:
        """The ids and newest rows of some entities of a view, the same ones every time."""
        query = """
            SELECT array_agg(id) FROM (
              SELECT {key} AS id FROM {rows} AS source GROUP BY 1 ORDER BY hashtext({key}), 1 LIMIT %s) AS drawn"""
        ids = self._row(view_name, query, count)[0] or []
        view = feature_view(self._store, view_name)
        job = self._latest(view_name, None)
        with offline_connection(self._store.config) as connection, job._query_generator() as latest:
            chosen = f'SELECT * FROM ({latest}) AS newest WHERE "{view.join_keys[0]}" = ANY(%s)'
            rows = copy_out(connection, chosen.replace("%", "%%").replace("ANY(%%s)", "ANY(%s)"), [ids])
        return rows[view.join_keys[0]].to_pylist(), rows

    def _row(self, view_name: str, query: str, *parameters: object) -> tuple[Any, ...]:
        view = feature_view(self._store, view_name)
        source = view.batch_source
        statement = sql.SQL(query).format(
            key=sql.Identifier(view.join_keys[0]),
            rows=sql.SQL(source.get_table_query_string().replace("%", "%%")),
            time=sql.Identifier(source.timestamp_field),
        )
        try:
            with offline_connection(self._store.config) as connection:
                return raw(connection).execute(statement, parameters).fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn) as error:
            raise NotReady(f"The source of {view_name} cannot be read: {error.diag.message_primary}") from error

    def materialized_until(self, view_name: str) -> datetime | None:
        """Up to when `materialize` has brought a view online; None before the first time."""
        with offline_connection(self._store.config) as connection:
            found = get_checkpoint(connection, CHECKPOINT + view_name)
        return None if found is None else datetime.fromisoformat(found["until"])

    def record_materialized(self, view_name: str, until: datetime) -> None:
        """Remember what `materialized_until` returns."""
        with offline_connection(self._store.config) as connection:
            set_checkpoint(connection, CHECKPOINT + view_name, {"until": until.isoformat()})

    def _latest(self, view_name: str, since: datetime | None) -> PortraitRetrievalJob:
        view = feature_view(self._store, view_name)
        source = view.batch_source
        job = PortraitOfflineStore.pull_latest_from_table_or_query(
            config=self._store.config,
            data_source=source,
            join_key_columns=view.join_keys,
            feature_name_columns=[field.name for field in view.features],
            timestamp_field=source.timestamp_field,
            created_timestamp_column=source.created_timestamp_column or None,
            start_date=BEGINNING if since is None else since,
            end_date=END,
        )
        assert isinstance(job, PortraitRetrievalJob)
        return job

    def historical(self, entities: pa.Table, features: str | list[str]) -> pa.Table:
        """Features as they were known at each row's time: a point-in-time join.

        Args:
            entities: the join keys (`user_id`, `item_id`), `event_timestamp` (aware), and what else the caller wants
                kept beside the features; for request features also their inputs.
            features: name of a feature service, or features as `view:feature`.

        Returns:
            The rows of `entities` in their order with columns `<view>__<feature>`, null where a view has no row at or
            before the time and within its TTL.

        Raises:
            NotFound: there is no such service.
            InvalidInput: `entities` lacks a time, or has no rows.
        """
        if names.EVENT_TIMESTAMP not in entities.column_names or not entities.num_rows:
            raise InvalidInput(f"Historical features need rows with a column {names.EVENT_TIMESTAMP}")
        wanted = self._service(features) if isinstance(features, str) else features
        numbered = entities.append_column(ROW, pa.array(range(entities.num_rows), pa.int64()))
        with self._uploaded(numbered) as table, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # pandas on the connection that Feast hands it
            warnings.simplefilter("ignore", RuntimeWarning)  # Feast calls on-demand views experimental
            job = self._store.get_historical_features(
                entity_df=f"SELECT * FROM {table}", features=wanted, full_feature_names=True
            )
            found = job.to_arrow()
        return found.sort_by(ROW).drop_columns([ROW])

    def service_hash(self, name: str) -> str:
        """A digest of what a feature service serves: its views, their features and types.

        Raises:
            NotFound: there is no such service.
        """
        lines = sorted(
            f"{projection.name}:{feature.name}:{feature.dtype}"
            for projection in self._service(name).feature_view_projections
            for feature in projection.features
        )
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    def _service(self, name: str) -> FeatureService:
        services = {service.name: service for service in self._store.list_feature_services()}
        if name not in services:
            raise NotFound(f"There is no feature service {name}; there are {', '.join(sorted(services))}")
        return services[name]

    @contextmanager
    def _uploaded(self, entities: pa.Table) -> Iterator[str]:
        """The rows in a table of their own while the block runs: Feast's join uses several connections."""
        name = f"feast_entities_{uuid.uuid4().hex}"
        columns = sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(field.name), sql.SQL(_pg_type(field.type)))
            for field in entities.schema
        )
        create = sql.SQL("CREATE UNLOGGED TABLE {} ({})").format(sql.Identifier(name), columns)
        with offline_connection(self._store.config) as connection:
            raw(connection).execute(create)
            copy_in(connection, name, entities)
            raw(connection).execute(sql.SQL("ANALYZE {}").format(sql.Identifier(name)))
        try:
            yield name
        finally:
            with offline_connection(self._store.config) as connection:
                raw(connection).execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))

    def snapshot_tables(self, co_engagement: pa.Table | None = None) -> SnapshotTables:
        """What an item snapshot is built from: the latest rows of the item views, and item-to-item pairs.

        `co_engagement`: `item_id`, `neighbour_id`, `score`; none when absent.
        """
        self._store.refresh_registry()  # a view may have been applied since this process began
        empty = pa.table({"item_id": pa.array([], "string"), "neighbour_id": pa.array([], "string"), "score": _NONE})
        return SnapshotTables(
            items=self.latest(names.ITEM_CATALOGUE),
            engagement=self.latest(names.ITEM_ENGAGEMENT),
            vectors=self.latest(names.ITEM_EMBEDDING),
            co_engagement=empty if co_engagement is None else co_engagement,
            extra={name: self.latest(name) for name in self._snapshot_views()},
        )

    def snapshot_sources(self) -> dict[str, str]:
        """By view tagged for the snapshot: SQL for the newest times of its rows, by which a change is noticed."""
        self._store.refresh_registry()
        return {name: self._newest(feature_view(self._store, name)) for name in self._snapshot_views()}

    def _newest(self, view: FeatureView) -> str:
        source = view.batch_source
        times = (source.timestamp_field, source.created_timestamp_column)
        columns = sql.SQL(", ").join(sql.SQL("max({})::text").format(sql.Identifier(name)) for name in times if name)
        rows = sql.SQL(source.get_table_query_string())
        return sql.SQL("SELECT {} FROM {} AS source").format(columns, rows).as_string()

    def _snapshot_views(self) -> list[str]:
        """The views of items whose tag asks for a place in the snapshot."""
        views = self._store.list_feature_views(allow_cache=True)
        return [v.name for v in views if v.tags.get(names.SNAPSHOT_TAG) == "yes" and v.join_keys == [names.ITEM_ID]]


_NONE = pa.array([], pa.float32())


def _pg_type(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return "timestamptz"
    return arrow_to_pg_type(str(kind))
