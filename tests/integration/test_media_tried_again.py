"""Pictures that failed for a passing reason are asked for again each night, the others never."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Connection, text

from services.core.addresses import Addresses
from services.core.types import JobKind
from services.db.embeddings import EmbeddingRow, forget_failures, write_embeddings
from services.db.session import make_engine, transaction
from services.encoders.media_types import MediaReason
from services.workers.due import PASSING_REASONS, is_due
from services.workers.schedule import BEAT_SCHEDULE

(NIGHTLY,) = (
    entry["args"][1] for entry in BEAT_SCHEDULE.values() if entry.get("args", ())[:1] == (JobKind.EMBEDDINGS.value,)
    and entry["args"][1]
)  # fmt: skip


@pytest.fixture
def connection(database: Addresses) -> Iterator[Connection]:
    engine = make_engine(database.sqlalchemy_url)
    with transaction(engine) as connection:
        connection.execute(text("TRUNCATE items, item_embeddings"))
        connection.execute(text("INSERT INTO items (item_id, title) VALUES ('lamp', 'Lamp')"))
        yield connection
    engine.dispose()


def failed(connection: Connection, reason: MediaReason) -> None:
    write_embeddings(connection, "image", "e1", [EmbeddingRow("lamp", b"h" * 16, None, reason)])


def due(connection: Connection) -> bool:
    return is_due(connection, JobKind.EMBEDDINGS, NIGHTLY, None)


@pytest.mark.parametrize("reason", PASSING_REASONS)
def test_a_picture_that_may_be_there_by_now_is_due_until_it_is_forgotten(connection: Connection, reason: MediaReason):
    assert not due(connection)
    failed(connection, reason)
    assert due(connection)
    forget_failures(connection, PASSING_REASONS)
    assert not due(connection)


def test_a_picture_that_is_none_is_not_tried_again(connection: Connection):
    failed(connection, MediaReason.NOT_AN_IMAGE)
    assert not due(connection)
