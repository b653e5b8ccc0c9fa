"""Who tails which of the 16 partitions of users: leases with fences, shared out evenly among the live owners.

A lease is a row that its owner renews; one that has expired may be taken by anybody, which raises its `fence`. An owner
locks its rows in the transaction of its work, so that nobody takes a lease in the middle of it; one that was too slow
finds another fence and has to give up what it did.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from services.core.errors import PortraitError
from services.core.live_keys import LONGEST_LEASE_S
from services.db.session import raw

PARTITIONS = 16

EXPIRED = f"(expires_at < clock_timestamp() OR expires_at > clock_timestamp() + {LONGEST_LEASE_S:g} * interval '1 s')"
"""Over, or written before the clock was set back: no lease is for longer."""


class LeaseLost(PortraitError):
    """Another process tails these partitions now: drop the work, it is done there."""

    status, code, title = 409, "lease-lost", "The lease of the tail has passed on"


@dataclass(frozen=True)
class Lease:
    """A partition that this process owns. Events visible in `snapshot` have been seen, and of the changes of the
    catalogue those visible in `catalogue`."""

    partition: int
    fence: int
    snapshot: str
    catalogue: str


def share_out(connection: Connection, owner: str, seconds: float) -> list[Lease]:
    """Say that `owner` lives, renew its leases and adjust them to its fair share, for `seconds` from now (at most
    `LONGEST_LEASE_S`).

    Each call takes what is free or has expired, up to the share, and gives back what exceeds it, so that a process that
    joins gets its part without a restart of the others. Returns the owner's leases, by partition.
    """
    driver = raw(connection)
    with driver.pipeline():
        driver.execute(
            "INSERT INTO tail_owners (owner, expires_at) "
            "VALUES (%(owner)s, clock_timestamp() + %(for)s * interval '1 s') "
            "ON CONFLICT (owner) DO UPDATE SET expires_at = excluded.expires_at",
            {"owner": owner, "for": seconds},
        )
        living = driver.execute(f"SELECT array_agg(owner ORDER BY owner) FROM tail_owners WHERE NOT {EXPIRED}")
        own = driver.execute("SELECT partition FROM tail_partitions WHERE owner = %s ORDER BY 1", (owner,))
    alive, mine = living.fetchone(), own.fetchall()
    share = _share(owner, list(alive[0] or [owner]) if alive else [owner])
    excess = [row[0] for row in mine][share:]
    if excess:
        release(connection, owner, excess)
    with driver.pipeline():
        driver.execute(
            "UPDATE tail_partitions SET owner = %(owner)s, expires_at = clock_timestamp() + %(for)s * interval '1 s', "
            "fence = fence + 1 WHERE partition IN (SELECT partition FROM tail_partitions "
            f"WHERE owner IS NULL OR owner <> %(owner)s AND {EXPIRED} "
            "ORDER BY partition LIMIT %(wanted)s FOR UPDATE SKIP LOCKED)",
            {"owner": owner, "for": seconds, "wanted": max(0, share - len(mine))},
        )
        renewed = driver.execute(
            "UPDATE tail_partitions SET expires_at = clock_timestamp() + %s * interval '1 s' WHERE owner = %s "
            "RETURNING partition, fence, snapshot::text, catalogue::text",
            (seconds, owner),
        )
    return [Lease(*row) for row in sorted(renewed.fetchall())]


def hold(connection: Connection, owner: str, leases: Sequence[Lease]) -> None:
    """Lock the owner's leases until the transaction ends: what is committed then was done by their owner.

    Raises:
        LeaseLost: another process has taken one of them meanwhile.
    """
    holding(connection, owner, leases)()


def holding(connection: Connection, owner: str, leases: Sequence[Lease]) -> Callable[[], None]:
    """Ask as `hold` does; what is returned looks at the answer, which in a pipeline comes with that to other questions,
    and raises."""
    rows = raw(connection).execute(
        "SELECT partition, fence, snapshot::text, catalogue::text FROM tail_partitions "
        "WHERE partition = ANY(%s) AND owner = %s ORDER BY partition FOR UPDATE",
        ([lease.partition for lease in leases], owner),
    )

    def check() -> None:
        if [Lease(*row) for row in rows.fetchall()] != sorted(leases, key=lambda lease: lease.partition):
            raise LeaseLost("Another process tails these partitions now: its work is theirs")

    return check


def advance(
    connection: Connection, leases: Sequence[Lease], *, snapshot: str | None = None, catalogue: str | None = None
) -> None:
    """Store how far the partitions have come; what is None stays."""
    raw(connection).execute(
        "UPDATE tail_partitions SET snapshot = coalesce(%s::pg_snapshot, snapshot), "
        "catalogue = coalesce(%s::pg_snapshot, catalogue) WHERE partition = ANY(%s)",
        (snapshot, catalogue, [lease.partition for lease in leases]),
    )


def release(connection: Connection, owner: str, partitions: Sequence[int] | None = None) -> None:
    """Give partitions back (None: all, as the owner ends), so that others need not wait for the lease to expire."""
    raw(connection).execute(
        "UPDATE tail_partitions SET owner = NULL, expires_at = NULL WHERE owner = %s "
        "AND (%s::int[] IS NULL OR partition = ANY(%s::int[]))",
        (owner, None if partitions is None else list(partitions), None if partitions is None else list(partitions)),
    )
    if partitions is None:
        gone = "DELETE FROM tail_owners WHERE owner = %s OR expires_at < now() - interval '1 day'"
        raw(connection).execute(gone, (owner,))


def _share(owner: str, alive: list[str]) -> int:
    """16 shared out evenly; what is left over goes to the first by name."""
    whole, rest = divmod(PARTITIONS, len(alive))
    return whole + (alive.index(owner) < rest if owner in alive else 0)
