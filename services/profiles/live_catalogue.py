"""The catalogue and the reference statistics as the tail holds them: in memory, and known to be of which snapshot."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, Engine, text

from services.core.columns import ITEM_ID
from services.core.logging import get_logger
from services.db.profiles import category_coverage, read_item_vectors, read_profile_items
from services.db.session import transaction
from services.db.tail_log import BEGINNING, Glance, Snapshot
from services.db.user_states import current_snapshot
from services.profiles.catalogue import Catalogue, build_catalogue
from services.profiles.reading import whole_catalogue
from services.profiles.reference import ReferenceStatistics
from services.profiles.reference_store import load_reference

log = get_logger("profiles")

MOST_ITEMS = 200_000
"""Items up to which all of them are held: 300 MB of vectors of 384 numbers."""

REST = 10
"""A catalogue is read again at most every `REST` times as long as reading it took."""


@dataclass(frozen=True)
class CatalogueView:
    """The catalogue as `snapshot` shows it; None where the shop is too large to hold, and each tick reads its items."""

    catalogue: Catalogue | None
    snapshot: str
    reference: ReferenceStatistics
    rows: Mapping[str, int] = field(default_factory=dict)

    def of(self, connection: Connection, events: pa.Table, held: pa.Array) -> Catalogue:
        """The items that these events are on or that are `held`: what an update costs depends on these alone."""
        on = pc.drop_null(events.column(ITEM_ID)).combine_chunks()
        ids = pa.concat_arrays([held.cast(pa.string()), on.cast(pa.string())]).unique().to_pylist()
        if self.catalogue is not None:
            return _part(self.catalogue, sorted(self.rows[item] for item in ids if item in self.rows))
        items, vectors = read_profile_items(connection, ids), read_item_vectors(connection, ids)
        return build_catalogue(items, vectors, self.reference.category_coverage or category_coverage(connection))


class LiveCatalogue:
    """Read once, and again by a thread of its own when it has changed: a tick never waits for it."""

    def __init__(self, engine: Engine, *, most_items: int = MOST_ITEMS, rest: float = REST) -> None:
        self._engine, self._most_items, self._rest = engine, most_items, rest
        self._view = CatalogueView(None, BEGINNING, ReferenceStatistics.defaults())
        self._reading: threading.Thread | None = None
        self._not_before = 0.0

    @property
    def snapshot(self) -> str:
        """As of which snapshot the catalogue was read last."""
        return self._view.snapshot

    def load(self) -> None:
        """Read the catalogue now, in this thread."""
        started = time.monotonic()
        with transaction(self._engine) as connection:
            # One snapshot for all that is read: what it shows is in this catalogue, all else is not.
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            snapshot = current_snapshot(connection)
            reference = load_reference(connection)
            count = connection.execute(text("SELECT count(*) FROM items")).scalar_one()
            catalogue = whole_catalogue(connection, reference) if count <= self._most_items else None
        ids = [] if catalogue is None else catalogue.item_ids.to_pylist()
        self._view = CatalogueView(catalogue, snapshot, reference, {item: row for row, item in enumerate(ids)})
        self._not_before = time.monotonic() + self._rest * (time.monotonic() - started)

    def view(self, connection: Connection, seen: Glance) -> CatalogueView:
        """The newest view there is. Asks for another if the catalogue has changed; a new reference counts at once."""
        if self._view.reference.version != seen.reference_version:
            self._view = _with_reference(self._view, load_reference(connection))
        if seen.catalogue_changed and self._view.catalogue is None:
            self._view = replace(self._view, snapshot=seen.snapshot)  # what a tick reads itself is as of the tick
        elif seen.catalogue_changed:
            self._read_aside()
        return self._view

    def no_older_than(self, snapshot: str) -> bool:
        """Whether the catalogue is as of this snapshot or later: portraits must not go back behind it."""
        if self._view.snapshot == BEGINNING:
            return False
        if self._view.catalogue is None:
            return True
        return Snapshot.parse(self._view.snapshot).no_older_than(Snapshot.parse(snapshot))

    def wait(self) -> None:
        """Wait until the thread that reads, if there is one, has ended."""
        if self._reading is not None:
            self._reading.join()

    def _read_aside(self) -> None:
        if time.monotonic() < self._not_before or (self._reading is not None and self._reading.is_alive()):
            return
        self._reading = threading.Thread(target=self._load_logged, name="live-catalogue", daemon=True)
        self._reading.start()

    def _load_logged(self) -> None:
        try:
            self.load()
        except Exception as error:  # the tail goes on with the catalogue it has, and asks again
            self._not_before = time.monotonic() + 1.0
            log.warning("catalogue-not-read", error=str(error))


def _with_reference(view: CatalogueView, reference: ReferenceStatistics) -> CatalogueView:
    """The view under another reference, whose category coverage counts."""
    catalogue = view.catalogue
    if catalogue is not None and reference.category_coverage:
        names = catalogue.category_names.to_pylist()
        coverage = np.array([reference.category_coverage.get(name, 0.0) for name in names], np.float64)
        catalogue = replace(catalogue, category_coverage=coverage)
    return replace(view, catalogue=catalogue, reference=reference)


def _part(catalogue: Catalogue, rows: list[int]) -> Catalogue:
    """Some items of a catalogue, among all its categories and brands."""
    return replace(
        catalogue,
        item_ids=catalogue.item_ids.take(pa.array(rows, pa.int64())),
        vectors=catalogue.vectors[rows],
        has_vector=catalogue.has_vector[rows],
        price=catalogue.price[rows],
        brand=catalogue.brand[rows],
        categories=catalogue.categories[rows],
    )
