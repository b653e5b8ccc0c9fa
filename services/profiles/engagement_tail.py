"""Item engagement from the new events alone: one tick adds what came in and takes out what left a window.

`item_states` holds, for each item, the sums over exactly the events that `item_tail.snapshot` shows, as of its `as_of`.
A tick is one transaction: it adds the events that have become visible since (or whose time has come), takes out those
that left a window meanwhile, sums items anew whose events were deleted or changed, reads all features out of the sums,
writes those that changed, in one batch online and as history, and says how far it came. Whatever fails, nothing or all
of it holds. Any number of processes may tick: one does at a time, the others are told that it is `busy`.
"""

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from time import perf_counter

import numpy as np
import polars as pl
import psycopg
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError

from feature_repo import names
from services.core import columns
from services.core.errors import DependencyDown
from services.core.logging import get_logger
from services.core.types import WINDOWS
from services.db.engagement import latest_engagement, record_engagement
from services.db.failures import unavailable
from services.db.item_log import Step, entering_events, events_of_items, leaving_events, new_users, users_of_items
from services.db.item_states import (
    ItemProgress,
    delete_item_states,
    load_item_states,
    lock_item_tail,
    read_progress,
    read_served_exposure,
    release_items,
    served_mark,
    write_item_states,
    write_progress,
)
from services.db.pending_items import ItemReason, enqueue_items, forget_items, take_items
from services.db.session import raw, transaction
from services.db.tail_log import BEGINNING
from services.profiles.engagement import EngagementSums
from services.profiles.engagement_features import aligned, feature_table
from services.profiles.engagement_publish import changed_items
from services.profiles.engagement_report import FeatureWriter, TickReport
from services.profiles.engagement_state import ItemStates, Rows
from services.profiles.engagement_sums import (
    ENGAGEMENT_WINDOWS,
    NEWEST,
    EngagementConfig,
    basis_of,
    positive_types,
    with_users,
)
from services.profiles.reference_store import load_reference

log = get_logger("tail")

LENGTHS = {name: timedelta(seconds=WINDOWS[name]) for name in ENGAGEMENT_WINDOWS}
ITEMS_A_TICK = 2_000
"""Items summed anew in one tick, and items published again; the rest waits for the next."""

IDLE = timedelta(seconds=10)
"""A tick that finds nothing says how far it came only this often."""

OWNED_S = 15.0
"""For how long after its last tick an owner is left alone: longer than `IDLE`, or idleness would cost it its place."""

RESOLUTION = timedelta(microseconds=1)


class _Busy(Exception):
    """Another process is at it: what was begun is taken back."""


@dataclass
class _Cache:
    """All states in memory, valid as long as `ticks` is what the database says."""

    states: ItemStates
    ticks: int
    served: str = ""
    exposure: pl.DataFrame | None = None
    shop_at: datetime | None = None


class EngagementTail:
    """The updates of one process. A tick may take long after an import or new weights: give it a thread of its own.

    `writer` None: features go to their table alone, and come online with the next materialisation. `owner` None: a
    guest, who ticks now and then and leaves the place to its owner. `online_rows`: so many changed items a tick go
    online at once (all: None), the rest in later ticks. `shop_rest`: how long items wait to be written on which nothing
    happened, but which moved by what happened elsewhere in the shop.
    """

    def __init__(
        self,
        engine: Engine,
        writer: FeatureWriter | None,
        config: EngagementConfig | None = None,
        owner: str | None = None,
        online_rows: int | None = None,
        shop_rest: timedelta = timedelta(0),
    ) -> None:
        self._engine = engine.execution_options(isolation_level="REPEATABLE READ")
        self._writer, self._config = writer, config or EngagementConfig()
        self._owner, self._online_rows, self._shop_rest = owner, online_rows, shop_rest
        self._cache: _Cache | None = None
        self._running: psycopg.Connection | None = None

    def tick(self, now: datetime, *, wait_s: float = 0.0, if_free: bool = False) -> TickReport:
        """Bring all items up to the events that are committed by now.

        `wait_s`: how long to wait for another process that is at it. `if_free`: leave it to another owner who ticked
        lately; each that takes over has to load all states. Time does not run backwards: under a clock that was set
        back, windows stand still until it catches up, and new events are counted all the same.

        Raises:
            DependencyDown, NotReady: Postgres does not answer, or cannot store. Nothing changed.
        """
        started = perf_counter()
        try:
            with transaction(self._engine) as connection:
                self._running = raw(connection)
                if not lock_item_tail(connection, wait_s=wait_s):
                    raise _Busy
                progress = read_progress(connection)
                if if_free and progress.owned_by_another(self._owner, OWNED_S):
                    raise _Busy
                report = _Tick(self, connection, progress, now).run()
        except _Busy:
            return TickReport(busy=True)
        except BaseException as error:
            self._cache = None  # it may be ahead of what was committed
            failure = unavailable(error)
            if failure is None:
                raise
            raise failure from error
        finally:
            self._running = None
        return TickReport(**{**asdict(report), "seconds": round(perf_counter() - started, 4)})

    def interrupt(self) -> None:
        """From another thread: break off the statement that runs, if one does. Its tick fails and changes nothing."""
        running = self._running
        if running is None:
            return
        try:
            running.cancel_safe(timeout=0.5)
        except psycopg.Error as error:
            log.info("engagement-not-interrupted", error=str(error))

    def release(self) -> None:
        """Leave the place to another at once, as the owner ends."""
        if self._owner is None:
            return
        try:
            with transaction(self._engine) as connection:
                if not lock_item_tail(connection, wait_s=0.2):
                    return
                release_items(connection, self._owner)
        except (DependencyDown, OperationalError) as error:
            log.info("engagement-not-released", error=str(error))  # the place is free after a while


class _Tick:
    """One update, within its transaction."""

    def __init__(self, tail: EngagementTail, connection: Connection, progress: ItemProgress, now: datetime) -> None:
        self._tail, self._connection, self._config = tail, connection, tail._config
        self._progress = progress
        self._reference = load_reference(connection)
        self._basis = basis_of(self._reference, self._config)
        before = self._progress.as_of
        self._as_of = now if before is None else max(now, before + RESOLUTION)

    def run(self) -> TickReport:
        cache = self._tail._cache
        anew = self._progress.basis != self._basis
        if cache is None or cache.ticks != self._progress.ticks:
            cache = self._tail._cache = self._load()
        if anew:
            delete_item_states(self._connection)
            forget_items(self._connection, ItemReason.REBUILD)
            cache.states.empty_all()
        step = Step(BEGINNING if anew else self._progress.snapshot, None if anew else self._progress.as_of, self._as_of)
        wanted = take_items(self._connection, ItemReason.REBUILD, ITEMS_A_TICK)
        again = take_items(self._connection, ItemReason.PUBLISH, ITEMS_A_TICK)
        sums, entered, left = self._difference(step)
        served_changed = self._refresh_served(cache)
        if not (entered or left or wanted or again or served_changed or anew) and self._idle(step):
            return TickReport(as_of=step.before, items=len(cache.states))
        touched = self._apply(cache.states, sums, wanted)
        published, online = self._publish(cache, touched, again)
        cache.ticks = write_progress(self._connection, self._as_of, self._basis, self._tail._owner)
        return TickReport(False, self._as_of, entered, left, len(wanted), published, online, len(cache.states))

    def _load(self) -> _Cache:
        states = ItemStates(self._config)
        states.put(load_item_states(self._connection))
        published = latest_engagement(self._connection)
        states.remember_published(published)
        return _Cache(states, self._progress.ticks)

    def _idle(self, step: Step) -> bool:
        return step.before is not None and self._as_of - step.before < IDLE

    def _difference(self, step: Step) -> tuple[pl.DataFrame, int, int]:
        """The sums to be added, and how many events came in and left."""
        sums = EngagementSums(self._as_of, self._reference, self._config)
        for batch in entering_events(self._connection, step):
            if batch.num_rows:
                sums.add(batch, users=False)
        entered = sums.rows
        for batch in leaving_events(self._connection, step, LENGTHS):
            if batch.num_rows:
                sums.take_out(batch)
        left = sums.rows - entered
        if not sums.rows:
            return sums.merge(), 0, 0
        users = new_users(self._connection, step, positive_types(self._reference), entered) if entered else None
        return with_users(sums.merge(), users), entered, left

    def _apply(self, states: ItemStates, sums: pl.DataFrame, wanted: list[str]) -> Rows:
        """Update the states, in memory and as stored; returns the rows of the items that changed."""
        anew = pl.Series(columns.ITEM_ID, wanted, pl.String)
        summed = self._sum_items(wanted)
        arriving = sums.filter(pl.col(NEWEST).is_not_null())[columns.ITEM_ID]
        states.ensure(pl.concat([arriving, summed[columns.ITEM_ID]]))  # rows do not move from here on
        added = states.add(sums.filter(~pl.col(columns.ITEM_ID).is_in(anew.implode())))
        put = states.put(summed)
        gone = anew.filter(~anew.is_in(summed[columns.ITEM_ID].implode()))
        emptied = states.empty(gone)
        delete_item_states(self._connection, gone.to_list())
        write_item_states(self._connection, states.stored(np.concatenate([added, put])))
        return np.concatenate([added, put, emptied])

    def _sum_items(self, item_ids: list[str]) -> pl.DataFrame:
        sums = EngagementSums(self._as_of, self._reference, self._config)
        if not item_ids:
            return sums.merge()
        for batch in events_of_items(self._connection, item_ids, self._as_of):
            if batch.num_rows:
                sums.add(batch, users=False)
        users = users_of_items(self._connection, item_ids, self._as_of, positive_types(self._reference))
        return with_users(sums.merge(), users)

    def _refresh_served(self, cache: _Cache) -> bool:
        mark = served_mark(self._connection)
        if mark == cache.served:
            return False
        cache.served, cache.exposure = mark, read_served_exposure(self._connection)
        return True

    def _publish(self, cache: _Cache, touched: Rows, again: list[str]) -> tuple[int, bool]:
        """Write what changed and what was asked for `again`: as history, and online. Returns how many rows, and
        whether they are online."""
        states = cache.states
        exposure = None if cache.exposure is None else aligned(states.item_ids, cache.exposure)
        features = states.features(exposure)
        marks: NDArray[np.bool_] = np.zeros(len(states), np.bool_)
        marks[touched] = True
        rows = changed_items(features, states.published, states.known, marks, self._shop_is_due(cache))
        record_engagement(self._connection, self._table(states, features, rows), self._as_of)
        states.published[:, rows], states.known[rows] = features[:, rows], True
        wished = pl.Series(columns.ITEM_ID, again, pl.String)
        asked = states.rows_of(wished.filter(wished.is_in(states.item_ids.implode())))
        if self._tail._writer is None:
            return len(rows), True
        some = len(rows) if self._tail._online_rows is None else self._tail._online_rows
        later = np.setdiff1d(rows[some:], asked)
        enqueue_items(self._connection, states.item_ids.gather(later).to_list(), ItemReason.PUBLISH)
        return len(rows), self._write_online(self._tail._writer, states, np.union1d(rows[:some], asked))

    def _shop_is_due(self, cache: _Cache) -> bool:
        """Whether items are to be written that moved by what happened elsewhere: in a young shop those are most."""
        due = cache.shop_at is None or self._as_of - cache.shop_at >= self._tail._shop_rest
        if due:
            cache.shop_at = self._as_of
        return due

    def _write_online(self, writer: FeatureWriter, states: ItemStates, rows: Rows) -> bool:
        if not len(rows):
            return True
        try:
            writer.write_view(names.ITEM_ENGAGEMENT, self._table(states, states.published, rows))
        except DependencyDown:
            enqueue_items(self._connection, states.item_ids.gather(rows).to_list(), ItemReason.PUBLISH)
            return False
        return True

    def _table(self, states: ItemStates, features: NDArray[np.float32], rows: Rows) -> pa.Table:
        times = pa.array([self._as_of] * len(rows), pa.timestamp("us", "UTC"))
        return feature_table(states.item_ids.gather(rows), features[:, rows], times)
