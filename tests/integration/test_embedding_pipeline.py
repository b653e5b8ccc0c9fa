"""The embedding job: every stale item gets its vectors, and the device does not wait for the database."""

import threading
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from sqlalchemy import Engine, text

from services.core.addresses import Addresses
from services.db.session import make_engine, transaction
from services.encoders.fusion import FusionConfig
from services.workers import embedding
from services.workers.embedding import embed_items

ITEMS, CHUNK, DIMENSION = 25, 10, 8
SOON_S = 20.0


class Words:
    """A text encoder that counts what it is asked, and can look around while it encodes."""

    version, dimension = "words-1", DIMENSION

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.meanwhile = lambda: None

    def encode(self, texts: list[str]) -> np.ndarray:
        self.asked.append(list(texts))
        self.meanwhile()
        vectors = np.array([[len(one) + 1, *range(DIMENSION - 1)] for one in texts], np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


class Encoders:
    """Items have titles alone."""

    def __init__(self) -> None:
        self.text = Words()
        self.image = SimpleNamespace(version="pictures-1", dimension=DIMENSION)
        self.video, self.media = SimpleNamespace(version="films-1"), None
        self.fusion = FusionConfig(dimension=DIMENSION, text_version="words-1", image_version="pictures-1")
        self.space = self.fusion.version


@pytest.fixture
def engine(database: Addresses, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    monkeypatch.setattr(embedding, "CHUNK", CHUNK)
    made = make_engine(database.sqlalchemy_url, pool_size=4)
    with transaction(made) as connection:
        connection.execute(text("TRUNCATE items, item_embeddings, item_vectors"))
        connection.execute(
            text(
                "INSERT INTO items (item_id, title, updated_at) "
                "SELECT 'item-' || lpad(n::text, 2, '0'), repeat('lamp ', n), now() - interval '1 hour' "
                "FROM generate_series(1, :items) AS n"
            ),
            {"items": ITEMS},
        )
    yield made
    made.dispose()


def stored(engine: Engine) -> int:
    with transaction(engine) as connection:
        return connection.execute(text("SELECT count(*) FROM item_vectors")).scalar_one()


def test_every_item_is_encoded_once_in_chunks_and_told_of(engine: Engine):
    encoders, shares = Encoders(), []
    report = embed_items(engine, encoders, shares.append).as_dict()
    assert (report["items"], report["changed"], report["encoded"]["text"]) == (ITEMS, ITEMS, ITEMS)
    assert [len(texts) for texts in encoders.text.asked] == [10, 10, 5]
    assert shares == [0.4, 0.8, 1.0]
    assert stored(engine) == ITEMS
    again = embed_items(engine, encoders, shares.append).as_dict()
    assert (again["items"], len(encoders.text.asked)) == (0, 3)


def test_the_next_chunk_is_read_and_the_last_one_written_while_one_is_encoded(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
):
    encoders, reads, writes = Encoders(), threading.Semaphore(0), threading.Semaphore(0)
    read, write = embedding._read, embedding._write

    def reading(*given: object) -> object:
        found = read(*given)
        reads.release()
        return found

    def writing(*given: object) -> object:
        done = write(*given)
        writes.release()
        return done

    def meanwhile() -> None:
        first = len(encoders.text.asked) == 1
        for _ in range(2 if first else 1):  # this chunk's and the next one's
            assert reads.acquire(timeout=SOON_S), "the next chunk is not read"
        assert first or writes.acquire(timeout=SOON_S), "the last chunk is not written"

    encoders.text.meanwhile = meanwhile
    monkeypatch.setattr(embedding, "_read", reading)
    monkeypatch.setattr(embedding, "_write", writing)
    assert embed_items(engine, encoders, lambda _: None).items == ITEMS


def test_a_chunk_that_cannot_be_written_ends_the_job(engine: Engine, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(embedding, "write_vectors", full)
    with pytest.raises(OSError, match="no space left"):
        embed_items(engine, Encoders(), lambda _: None)
    monkeypatch.undo()
    assert embed_items(engine, Encoders(), lambda _: None).as_dict()["cached"]["text"] >= CHUNK
    assert stored(engine) == ITEMS
