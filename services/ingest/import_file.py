"""Import one file: read, apply the rules, store; all of it in one transaction, or nothing."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import polars as pl
from sqlalchemy import Connection, Engine

from services.core.clock import utc_now
from services.core.errors import ImportFailed
from services.db.events import delete_users_events, insert_events, lock_imports
from services.db.items import upsert_items
from services.db.session import transaction
from services.ingest.event_rules import EventRules
from services.ingest.event_wire import narrow
from services.ingest.importers.base import CHUNK_ROWS, ROW, Importer, ImportOptions, Kind
from services.ingest.importers.formats import AUTO, choose_importer
from services.ingest.importers.source import Source
from services.ingest.item_rules import ItemRules
from services.ingest.outcome import REJECT_SCHEMA, Outcome, as_original, unreadable_rejects
from services.ingest.prefetch import prefetch
from services.ingest.rejects import RejectsFile
from services.ingest.report import ImportReport
from services.ingest.rules.names import Rule
from services.ingest.rules.robots import RobotDetector


@dataclass(frozen=True)
class Progress:
    """How far an import is. Bytes are as they lie on the disk."""

    bytes_read: int
    bytes_total: int
    rows: int


OnProgress = Callable[[Progress], None]


def import_file(
    engine: Engine,
    path: Path,
    *,
    kind: Kind | str,
    format: str = AUTO,
    options: ImportOptions | None = None,
    rejects: Path | None = None,
    now: datetime | None = None,
    on_progress: OnProgress | None = None,
) -> ImportReport:
    """Import `path` (events or items) and commit. Importing the same file again stores nothing new.

    Raises:
        ImportFailed: the file is damaged, not of its format, or none of its rows is good. Nothing was stored.
        InvalidInput: an option does not make sense.
    """
    kind, options = Kind(kind), options or ImportOptions()
    started = time.perf_counter()
    source = Source(Path(path))
    importer = choose_importer(source, kind, format)
    report = ImportReport(
        str(path), importer.format, kind, bytes=source.size, rejects=str(rejects) if rejects else None
    )
    with RejectsFile(rejects, source.path) as file, transaction(engine) as connection:
        work = _Import(connection, importer, options, report, file, now or utc_now())
        with closing(prefetch(work.parts(source, options))) as parts:
            for part in parts:
                work.take(part)
                if on_progress is not None:
                    on_progress(Progress(source.position, source.size, report.rows))
        work.finish()
        _check_outcome(report, source)
    report.seconds = time.perf_counter() - started
    return report


class _Import:
    """One import under way."""

    def __init__(
        self,
        connection: Connection,
        importer: Importer,
        options: ImportOptions,
        report: ImportReport,
        rejects: RejectsFile,
        now: datetime,
    ) -> None:
        self._connection, self._importer, self._report, self._rejects = connection, importer, report, rejects
        scale = options.rating_scale or importer.rating_scale
        self._rules: EventRules | ItemRules
        if report.kind is Kind.EVENTS:
            self._rules = EventRules(importer.format, now, scale, importer.identity, options.zone)
            lock_imports(connection)
        else:
            self._rules = ItemRules(options.list_separator, options.zone)
        watch = report.kind is Kind.EVENTS and not options.keep_robots
        self._robots = RobotDetector() if watch else None

    def parts(self, source: Source, options: ImportOptions) -> Iterator[tuple[int, Outcome]]:
        """(rows read so far, what the rules made of the next of them). Touches no state: it runs ahead in a thread.

        A failure says how far it came and that nothing was stored.
        """
        rows = 0
        try:
            for chunk in self._importer.read(source, options):
                rows = chunk.rows
                yield rows, Outcome(chunk.frame.clear(), unreadable_rejects(chunk.unreadable))
                for raw in chunk.frame.iter_slices(CHUNK_ROWS):
                    yield rows, self._rules.apply(raw)
        except ImportFailed as error:
            raise ImportFailed(f"{error.detail} ({rows:,} rows were read; nothing was stored)") from error

    def take(self, part: tuple[int, Outcome]) -> None:
        """Store what passed the rules and count the rest."""
        self._report.rows, outcome = part
        self._report.records += outcome.frame.height + outcome.rejects.height
        self._report.rules.update(outcome.changed)
        self._reject(outcome.rejects)
        if outcome.frame.height:
            self._store(outcome)

    def finish(self) -> None:
        """Take back what robots did before they were recognised."""
        if self._robots is None or not self._robots.robots:
            return
        gone = delete_users_events(self._connection, self._robots.robots, this_transaction=True)
        self._report.rules[Rule.ROBOT] += gone
        self._report.robots = len(self._robots.robots)
        counts = self._report.events
        self._report.events = type(counts)(counts.accepted - gone, counts.duplicates, counts.unknown_items)

    def _store(self, outcome: Outcome) -> None:
        frame = outcome.frame
        if self._report.kind is Kind.ITEMS:
            self._report.items += upsert_items(self._connection, frame.drop(ROW))
            return
        if self._robots is not None:
            frame = self._without_robots(frame)
        counts = insert_events(self._connection, narrow(frame))
        self._report.events += counts
        self._report.rules[Rule.DUPLICATE] += counts.duplicates

    def _without_robots(self, frame: pl.DataFrame) -> pl.DataFrame:
        robots = self._robots.observe(frame)
        if not robots.any():
            return frame
        dropped = frame.filter(robots)
        self._reject(
            dropped.select(
                ROW,
                rule=pl.lit(str(Rule.ROBOT)),
                code=pl.lit("robot"),
                message=pl.lit("the user browses as no person does: see docs/importing.md, or use --keep-robots"),
                original=as_original(dropped),
            )
        )
        return frame.filter(~robots)

    def _reject(self, rejects: pl.DataFrame) -> None:
        if rejects.is_empty():
            return
        for rule, count in rejects.group_by("rule").len().iter_rows():
            self._report.rules[Rule(rule)] += count
        if self._report.first_reject is None:
            first = rejects.row(0, named=True)
            self._report.first_reject = f"row {first[ROW]}: {first['message']}"
        self._rejects.write(rejects.select(list(REJECT_SCHEMA)))


def _check_outcome(report: ImportReport, source: Source) -> None:
    if report.records == 0:
        raise ImportFailed(f"{source.path}: the file has no rows: nothing to import")
    if report.stored == 0 and report.events.duplicates == 0 and report.robots == 0:
        raise ImportFailed(
            f"{source.path}: none of its {report.records:,} records could be imported; the first problem: "
            f"{report.first_reject}; check --format and --map (nothing was stored)"
        )
