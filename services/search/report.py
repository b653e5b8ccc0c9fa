"""What people search for and what disappoints them, with proposals for a person to judge."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from services.db.query_statistics import (
    QueryRow,
    frequent_queries,
    neighbour_queries,
    queries_without_results,
    reformulations,
    search_totals,
    seldom_clicked_queries,
)

Corrector = Callable[[str], str | None]
"""From a query to its spelling correction, None where there is none."""


@dataclass(frozen=True)
class ReportConfig:
    """`most` queries a list and `proposals` each; a seldom clicked query was asked `least` times and clicked after
    fewer than `share` of them; what is asked within `within_s` seconds after a query counts as another attempt."""

    most: int = 20
    proposals: int = 3
    least: int = 10
    share: float = 0.1
    within_s: float = 300.0


@dataclass(frozen=True)
class Proposal:
    """`kind`: spelling, reformulation (people asked `text` next and clicked), synonym (`word` for `text`, from such a
    reformulation), neighbour (people take the same items after `text`). `support`: users, or a likeness of 0–1."""

    kind: str
    text: str
    support: float
    word: str | None = None


@dataclass(frozen=True)
class Disappointment:
    """A query that finds nothing, or whose results are seldom clicked."""

    query: QueryRow
    proposals: list[Proposal] = field(default_factory=list)


@dataclass(frozen=True)
class SearchReport:
    """`totals` over all queries; each list has the queries asked most of late first."""

    totals: dict[str, int]
    frequent: list[QueryRow]
    without_results: list[Disappointment]
    seldom_clicked: list[Disappointment]

    def as_dict(self) -> dict[str, Any]:
        """The report as JSON."""
        return asdict(self)


def search_report(
    connection: Connection, now: datetime, config: ReportConfig | None = None, correct: Corrector | None = None
) -> SearchReport:
    """The report as of `now`. `correct`: the shop's spelling correction."""
    config = config or ReportConfig()
    empty = queries_without_results(connection, now, config.most)
    seldom = seldom_clicked_queries(connection, now, config.most, least=config.least, share=config.share)
    proposals = _proposals(connection, [*empty, *seldom], config, correct)
    return SearchReport(
        totals=search_totals(connection),
        frequent=frequent_queries(connection, now, config.most),
        without_results=[Disappointment(row, proposals[row.query]) for row in empty],
        seldom_clicked=[Disappointment(row, proposals[row.query]) for row in seldom],
    )


def _proposals(
    connection: Connection, rows: list[QueryRow], config: ReportConfig, correct: Corrector | None
) -> dict[str, list[Proposal]]:
    names = sorted({row.query for row in rows})
    found: dict[str, list[Proposal]] = {name: [] for name in names}
    for row in rows:
        corrected = None if correct is None else correct(row.example)
        if corrected is not None and not found[row.query]:
            found[row.query].append(Proposal("spelling", corrected, 1.0))
    for query, following, users in reformulations(connection, names, within_s=config.within_s, most=config.proposals):
        found[query].append(Proposal("reformulation", following, float(users)))
        pair = replaced_word(query, following)
        if pair is not None:
            found[query].append(Proposal("synonym", pair[1], float(users), word=pair[0]))
    for query, other, likeness in neighbour_queries(connection, names, most=config.proposals):
        found[query].append(Proposal("neighbour", other, round(float(likeness), 4)))
    return found


def replaced_word(before: str, after: str) -> tuple[str, str] | None:
    """The word of `before` that was exchanged and the one in its place, where the queries differ in nothing else."""
    one, other = before.split(), after.split()
    if len(one) != len(other):
        return None
    differing = [pair for pair in zip(one, other, strict=True) if pair[0] != pair[1]]
    return differing[0] if len(differing) == 1 else None
