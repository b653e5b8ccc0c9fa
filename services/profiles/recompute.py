"""Recompute portraits from the event log: all users, those named, or those touched since a time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, Engine

from services.db.profiles import (
    erase_profiles,
    prune_profiles,
    users_touched_since,
    users_with_signals,
    users_without_signals,
    write_profiles,
)
from services.db.session import transaction
from services.db.users import without_consent
from services.features.portrait import Portrait, pack
from services.profiles.assemble import assemble
from services.profiles.catalogue import Catalogue
from services.profiles.chunk import ChunkProfiles, Taste, compute_chunk, compute_taste
from services.profiles.config import ProfileConfig
from services.profiles.events import EventBatch
from services.profiles.neighbours import Neighbourhood, nearest_users, neighbour_items
from services.profiles.pool import PoolSource, computed_pool, stored_pool
from services.profiles.reading import chunked, read_batch, whole_catalogue
from services.profiles.reference import ReferenceStatistics
from services.profiles.reference_store import load_reference
from services.profiles.tables import feature_tables

MICROSECOND = timedelta(microseconds=1)


class PortraitWriter(Protocol):
    """The online store, as far as the recompute needs it (`services.features.online.OnlineWriter`)."""

    def write_portraits(self, portraits: Sequence[Portrait]) -> None: ...

    def delete_portraits(self, user_ids: Sequence[str]) -> None: ...


@dataclass
class RecomputeReport:
    """What a recompute did: `seconds` by step, `erased` portraits of users who refused or are gone."""

    users: int = 0
    events: int = 0
    erased: int = 0
    pruned: int = 0
    reference_version: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The report as a JSON-serialisable object, seconds rounded to milliseconds and with their `total`."""
        seconds = {step: round(value, 3) for step, value in self.seconds.items()}
        return asdict(self) | {"seconds": seconds | {"total": round(sum(self.seconds.values()), 3)}}

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Add the block's time to a step."""
        started = perf_counter()
        try:
            yield
        finally:
            self.seconds[step] = self.seconds.get(step, 0.0) + perf_counter() - started


def recompute_profiles(
    engine: Engine,
    writer: PortraitWriter | None,
    *,
    user_ids: Iterable[str] | None = None,
    since: datetime | None = None,
    as_of: datetime,
    progress: Callable[[float], None] | None = None,
    config: ProfileConfig | None = None,
) -> RecomputeReport:
    """Compute portraits as of `as_of` (timezone-aware) and write them to the feature tables and the online store.

    All users with events when neither is given; those of `user_ids` and those touched since `since` (by arrival)
    otherwise. Later events than `as_of` are left out. Users without events, and those who refused personalisation,
    lose their portraits in both stores. Each chunk of users is one transaction and written online after its commit,
    so an interrupted run leaves whole portraits, and running again with the same `as_of` changes nothing more.

    `writer` may be None: the feature tables alone, as for the past. `progress` is called with the share done.
    """
    run = _Run(engine, writer, as_of, config or ProfileConfig())
    with run.report.timed("plan"), transaction(engine) as connection:
        wanted = _wanted(connection, user_ids, since)
        users = run.plan(connection, wanted)
        source, catalogue = run.sources(connection, users, wanted is not None)
    total, done = max(pc.sum(users.column("events")).as_py() or 0, 1), 0
    for ids, events in chunked(users, run.config):
        run.chunk(ids, source, catalogue)
        done += events
        if progress is not None:
            progress(done / total)
    with run.report.timed("prune"), transaction(engine) as connection:
        run.report.pruned = prune_profiles(connection, as_of - timedelta(seconds=run.config.retention))
    return run.report


def _wanted(connection: Connection, user_ids: Iterable[str] | None, since: datetime | None) -> set[str] | None:
    """The users asked for; None for all."""
    if user_ids is None and since is None:
        return None
    touched = [] if since is None else users_touched_since(connection, since)
    return {*(user_ids or ()), *touched}


class _Run:
    """One recompute: its fixed inputs and its report."""

    def __init__(self, engine: Engine, writer: PortraitWriter | None, as_of: datetime, config: ProfileConfig) -> None:
        self.engine, self.writer, self.as_of, self.config = engine, writer, as_of, config
        self.until = as_of + MICROSECOND  # the readers' `until` is exclusive
        self.reference = ReferenceStatistics.defaults()
        self.report = RecomputeReport()

    def plan(self, connection: Connection, wanted: set[str] | None) -> pa.Table:
        """Erase whom it must, and return `user_id`, `events`, `lot` of the users to compute."""
        self.reference = load_reference(connection)
        self.report.reference_version = self.reference.version
        refused = without_consent(connection, wanted)
        users = users_with_signals(connection, self.until, wanted)
        gone = set(users_without_signals(connection)) if wanted is None else wanted - set(users["user_id"].to_pylist())
        self._erase(connection, sorted(refused | gone))
        return users.filter(pc.invert(pc.is_in(users["user_id"], value_set=pa.array(sorted(refused), pa.string()))))

    def sources(self, connection: Connection, users: pa.Table, partial: bool) -> tuple[PoolSource, Catalogue | None]:
        """Where neighbours come from, and the whole catalogue for a full recompute."""
        if partial:
            return stored_pool(connection, self.reference, self.config, self.until), None
        catalogue = whole_catalogue(connection)
        drawn = users.take(pc.sort_indices(users["lot"])[: self.config.pool_users])
        return computed_pool(self._tastes(connection, drawn, catalogue), catalogue, self.config), catalogue

    def chunk(self, user_ids: list[str], source: PoolSource, whole: Catalogue | None) -> None:
        """Compute and write the portraits of some users."""
        as_of, timed = self.as_of.timestamp(), self.report.timed
        with transaction(self.engine) as connection:
            with timed("read"):
                events, catalogue = read_batch(connection, user_ids, self.until, whole)
            with timed("compute"):
                parts = compute_chunk(events, catalogue, self.reference, as_of, self.config)
            with timed("neighbours"):
                near = self._neighbourhood(connection, events, parts, source, catalogue)
            with timed("assemble"):
                portraits = assemble(events, parts, near, catalogue, as_of, self.config)
                packed = [pack(portrait) for portrait in portraits]
                tables = feature_tables(portraits, packed, parts.behaviour, self.as_of)
            with timed("write"):
                write_profiles(connection, tables, self.as_of)
        if self.writer is not None:
            with timed("online"):
                self.writer.write_portraits(portraits)
        self.report.users += events.users
        self.report.events += events.count

    def _tastes(
        self, connection: Connection, users: pa.Table, catalogue: Catalogue
    ) -> Iterator[tuple[EventBatch, Taste]]:
        for ids, _ in chunked(users, self.config):
            events, _ = read_batch(connection, ids, self.until, catalogue)
            yield events, compute_taste(events, catalogue, self.reference, self.config)

    def _neighbourhood(
        self,
        connection: Connection,
        events: EventBatch,
        parts: ChunkProfiles,
        source: PoolSource,
        catalogue: Catalogue,
    ) -> Neighbourhood:
        taste, pool = parts.taste, source.pool
        near = nearest_users(
            events.user_ids,
            taste.long_term,
            taste.has_vector,
            catalogue.space,
            pool,
            self.config.neighbours_asked,
        )
        likes, item_ids = source.likes(connection, np.unique(near.columns))
        rows = pc.fill_null(pc.index_in(events.item_ids, value_set=item_ids), -1).to_numpy(zero_copy_only=False)
        items = neighbour_items(near, likes, taste.held.user, rows[taste.held.item], self.config)
        return Neighbourhood(near, pool.user_ids, items, item_ids)

    def _erase(self, connection: Connection, user_ids: list[str]) -> None:
        """Online first: were only the tables' rows gone, no later run would know of the portrait left online."""
        if not user_ids:
            return
        if self.writer is not None:
            self.writer.delete_portraits(user_ids)
        self.report.erased = erase_profiles(connection, user_ids)
