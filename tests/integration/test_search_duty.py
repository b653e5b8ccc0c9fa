"""The search index follows the catalogue, and what people do reaches the query memory."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from services.core.addresses import Addresses
from services.core.errors import DependencyDown
from services.core.paths import HomePaths
from services.core.storage import ObjectStorage
from services.db.searches import AnsweredSearch, insert_searches
from services.db.session import make_engine, transaction
from services.search.index.search_index import SearchIndex, current_index
from services.search.query_memory import QueryMemory
from services.search.suggest.build import current_suggestions
from services.serve.mirror import Mirror
from services.workers.search_due import search_is_due
from services.workers.search_index import bring_index, update_search


@pytest.fixture
def engine(database: Addresses) -> Iterator[Engine]:
    engine = make_engine(database.sqlalchemy_url)
    execute(engine, "TRUNCATE items, searches, query_statistics, query_items, checkpoints, events, event_keys")
    put(engine, lamp="Brass lamp", sofa="Green sofa", rug="Wool rug", desk="Oak desk", vase="Blue vase", bed="Pine bed")
    yield engine
    engine.dispose()


def execute(engine: Engine, statement: str, **values: object) -> None:
    with transaction(engine) as connection:
        connection.execute(text(statement), values)


def put(engine: Engine, **titles: str) -> None:
    for item_id, title in titles.items():
        execute(
            engine,
            "INSERT INTO items (item_id, title) VALUES (:id, :title) "
            "ON CONFLICT (item_id) DO UPDATE SET title = excluded.title, updated_at = now()",
            id=item_id,
            title=title,
        )


def due(engine: Engine, search: Path) -> bool:
    with transaction(engine) as connection:
        return search_is_due(connection, search)


def items_of(search: Path) -> list[str]:
    folder = current_index(search)
    assert folder is not None
    return list(SearchIndex.open(folder).item_ids)


def test_the_index_is_built_updated_and_left_alone(engine: Engine, tmp_path: Path):
    assert due(engine, tmp_path)
    built = bring_index(engine, tmp_path, "english")
    assert (built["how"], built["items"]) == ("built", 6)
    assert items_of(tmp_path) == ["bed", "desk", "lamp", "rug", "sofa", "vase"]
    again = bring_index(engine, tmp_path, "english")
    assert (again["how"], again["version"]) == ("unchanged", built["version"])
    put(engine, lamp="Copper lamp")
    updated = bring_index(engine, tmp_path, "english")
    assert (updated["how"], updated["changed"]) == ("updated", 1)
    assert updated["version"] != built["version"]
    execute(engine, "DELETE FROM items WHERE item_id = 'rug'")
    assert bring_index(engine, tmp_path, "english")["how"] == "updated"
    assert "rug" not in items_of(tmp_path)
    assert bring_index(engine, tmp_path, "none")["how"] == "built"


def test_when_most_of_the_catalogue_changed_it_is_built_anew(engine: Engine, tmp_path: Path):
    bring_index(engine, tmp_path, "english")
    put(engine, lamp="Lamp", sofa="Sofa", rug="Rug")
    assert bring_index(engine, tmp_path, "english")["how"] == "built"


def test_a_damaged_index_is_built_anew(engine: Engine, tmp_path: Path):
    bring_index(engine, tmp_path, "english")
    damaged = current_index(tmp_path)
    assert damaged is not None
    (damaged / "keys.npy").unlink()
    put(engine, lamp="Copper lamp")
    assert bring_index(engine, tmp_path, "english")["how"] == "built"
    assert "lamp" in items_of(tmp_path)


def test_search_is_due_for_the_catalogue_and_for_what_people_do(engine: Engine, tmp_path: Path):
    update_search(engine, HomePaths(tmp_path), "english", lambda share: None)
    assert not due(engine, HomePaths(tmp_path).search)
    put(engine, stool="Bar stool")
    assert due(engine, HomePaths(tmp_path).search)
    update_search(engine, HomePaths(tmp_path), "english", lambda share: None)
    answered = AnsweredSearch("r1", "ada", None, 1_795_000_000.0, "Lamp", "lamp", None, "hybrid", 1)
    with transaction(engine) as connection:
        insert_searches(connection, [answered])
    assert due(engine, HomePaths(tmp_path).search)
    update_search(engine, HomePaths(tmp_path), "english", lambda share: None)
    assert not due(engine, HomePaths(tmp_path).search)


def test_what_was_bought_after_a_query_is_in_the_published_memory(engine: Engine, tmp_path: Path):
    answered = AnsweredSearch("r1", "ada", None, 1_795_000_000.0, "Lamp", "lamp", None, "hybrid", 1)
    with transaction(engine) as connection:
        insert_searches(connection, [answered])
        connection.execute(text("SELECT ensure_event_partition(now())"))
        connection.execute(
            text(
                "INSERT INTO events (event_key, timestamp, event_id, user_id, item_id, type, request_id) "
                "VALUES (gen_random_uuid(), now(), 'e1', 'ada', 'lamp', 'purchase', 'r1')"
            )
        )
    result = update_search(engine, HomePaths(tmp_path), "english", lambda share: None)
    assert (result["memory"]["searches"], result["memory"]["events"], result["memory"]["pairs"]) == (1, 1, 1)
    memory = QueryMemory.read(HomePaths(tmp_path).search)
    assert memory is not None and memory.item_ids == ["lamp"]
    assert memory.weight.tolist() == pytest.approx([8.0], rel=1e-3)


@pytest.fixture
def storage(tmp_path: Path) -> ObjectStorage:
    return ObjectStorage((tmp_path / "bucket").as_uri())


def test_hosts_that_share_no_home_follow_one_index(engine: Engine, storage: ObjectStorage, tmp_path: Path):
    first, second, gateway = (HomePaths(tmp_path / name) for name in ("first", "second", "gateway"))
    mirror = Mirror(gateway, storage.url)
    built = update_search(engine, first, "english", lambda share: None, storage=storage)
    mirror.pull()
    assert "lamp" in items_of(gateway.search) and QueryMemory.read(gateway.search) is not None
    put(engine, stool="Bar stool")
    updated = update_search(engine, second, "english", lambda share: None, storage=storage)
    assert (updated["index"]["how"], updated["index"]["changed"]) == ("updated", 1)
    assert updated["suggestions"] == built["suggestions"]
    mirror.pull()
    assert mirror.failure is None and "stool" in items_of(gateway.search)
    suggestions = current_suggestions(gateway.suggest)
    assert suggestions is not None and suggestions.name == built["suggestions"]
    execute(engine, "DELETE FROM items WHERE item_id = 'rug'")
    again = bring_index(engine, first.search, "english", storage=storage)
    assert (again["how"], again["changed"]) == ("updated", 1)
    assert items_of(first.search) == ["bed", "desk", "lamp", "sofa", "stool", "vase"]


def test_workers_take_turns_and_go_on_from_each_other(engine: Engine, storage: ObjectStorage, tmp_path: Path):
    def bring(home: str) -> str:
        return bring_index(engine, tmp_path / home, "english", storage=storage)["how"]

    with ThreadPoolExecutor(2) as workers:
        assert sorted(workers.map(bring, ("first", "second"))) == ["built", "unchanged"]


def test_an_index_of_before_there_was_a_storage_goes_there(engine: Engine, storage: ObjectStorage, tmp_path: Path):
    home, other = HomePaths(tmp_path / "home"), HomePaths(tmp_path / "other")
    update_search(engine, home, "english", lambda share: None)
    with transaction(engine) as connection:
        assert search_is_due(connection, home.search, storage)
    assert update_search(engine, home, "english", lambda share: None, storage=storage)["index"]["how"] == "unchanged"
    with transaction(engine) as connection:
        assert not search_is_due(connection, other.search, storage)
    assert bring_index(engine, other.search, "english", storage=storage)["how"] == "unchanged"


def test_a_damaged_index_in_the_storage_is_replaced(engine: Engine, storage: ObjectStorage, tmp_path: Path):
    built = bring_index(engine, tmp_path / "first", "english", storage=storage)
    storage.write(f"search/{built['version']}/keys.npy", b"damaged")
    assert bring_index(engine, tmp_path / "second", "english", storage=storage)["how"] == "built"
    assert bring_index(engine, tmp_path / "third", "english", storage=storage)["how"] == "unchanged"


def test_a_storage_that_is_down_leaves_what_is_published(engine: Engine, tmp_path: Path):
    (tmp_path / "file").write_text("no folder")
    bring_index(engine, tmp_path / "search", "english")
    before = current_index(tmp_path / "search")
    put(engine, stool="Bar stool")
    with pytest.raises(DependencyDown):
        bring_index(engine, tmp_path / "search", "english", storage=ObjectStorage((tmp_path / "file" / "x").as_uri()))
    assert current_index(tmp_path / "search") == before and due(engine, tmp_path / "search")
